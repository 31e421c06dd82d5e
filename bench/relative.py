"""Relative rates: `rate = "50%"` becomes requests per second once the capacity that it is a share of was measured.

The plan keeps the share, for it is written before the first sample; the record of a sample keeps the rate that was
offered and where it came from.  Both follow from the plan and the records alone, so that a resumed run offers the
same rates.
"""

import statistics
from collections.abc import Iterable
from dataclasses import replace

from bench import metrics
from bench.plan import Sample


def capacities(records: Iterable[dict]) -> dict[tuple[str, str], float]:
    """(experiment, arm) -> the median throughput of its closed loops."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record["role"] == "capacity" and record["status"] == "ok":
            found.setdefault((record["experiment"], record["arm"]), []).append(metrics.throughput(record))
    return {key: statistics.median(values) for key, values in found.items()}


def resolve(sample: Sample, experiment: dict, records: Iterable[dict]) -> tuple[Sample, dict | None]:
    """The sample with a rate in requests per second, and how it came about; unmeasured, the share stays."""
    share = sample.options.get("rate")
    if not isinstance(share, str):
        return sample, None
    of = experiment["capacity"]["of"]
    arm = sample.arm if of == "each" else of
    capacity = capacities(records).get((sample.experiment, arm))
    told = {"share": share, "of": arm, "capacity_rps": capacity}
    if capacity is None:
        return sample, told
    rate = max(1, round(capacity * float(share.rstrip("%")) / 100))
    return replace(sample, options={**sample.options, "rate": rate}), told
