"""Which differences a host can detect, from how much the blocks of a run differed."""

import math
from pathlib import Path

import numpy as np
from scipy import special

from bench import derive, records, stats


def detectable(spreads: list[float], blocks: int, power: float = 0.8) -> float:
    """The smallest ratio above 1 that this many blocks would find in four of five runs, from the spread of log ratios.

    (t_.975 + t_.8) s / sqrt K with K-1 degrees of freedom.
    Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 1988, section 2.4.
    """
    quantiles = special.stdtrit(blocks - 1, 0.975) + special.stdtrit(blocks - 1, power)
    return math.exp(quantiles * float(np.median(spreads)) / math.sqrt(blocks)) - 1


def spreads_of(run: Path) -> list[float]:
    """Standard deviations of paired log ratios of CPU per request, one per cell and arm of a run."""
    found = []
    cells: dict[tuple[str, str], list[dict]] = {}
    for record in records.read_samples(run):
        if record["role"] == "arm":
            cells.setdefault((record["experiment"], record["cell"]), []).append(record)
    plan = records.read_json(run / "plan.json")
    for (name, _), mine in cells.items():
        reference = plan["experiments"][name]["arms"].get("reference")
        for arm in {r["arm"] for r in mine} - {reference}:
            pairs = list(derive.paired(mine, arm, reference, "server_cpu_us_per_req").values()) if reference else []
            if len(pairs) >= 3:
                found.append(float(stats.log_ratios([p[0] for p in pairs], [p[1] for p in pairs]).std(ddof=1)))
    return found
