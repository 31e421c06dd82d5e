"""From raw records to what figures and tables show; no record is changed, and everything here can be redone.

derive() is a pure function of plan.json, env.json and samples.jsonl: the same
records give the same bytes.
"""

import csv
import io
import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench import crossing, env, metrics, scaling, stats
from bench.arms import sort_key
from bench.errors import BenchError
from bench.experiment import cell_key
from bench.records import SCHEMA, read_json, read_samples, write_json
from bench.units import label, value_of


STEP_MS = 20.0  # slewing is below 1 ms in a second, and the two clocks are read within a preemption of each other


def derive(folder: Path) -> dict:
    """The summary of a run's records."""
    plan, records = read_json(folder / "plan.json"), read_samples(folder)
    if len({r["id"] for r in records}) != len(records):
        raise BenchError(
            f"{folder.name}: a sample id occurs twice in samples.jsonl; the file was changed after it was written"
        )
    return {
        "schema": SCHEMA,
        "run": plan.get("run", folder.name),
        "profile": plan["profile"],
        "environment": env.footer(read_json(folder / "env.json")),
        "placement": records[0]["placement"] if records else None,
        "planned": len(plan["samples"]),
        "measured": len(records),
        "failed": sum(r["status"] == "failed" for r in records),
        "invalid": sum(r["status"] == "invalid" for r in records),
        "clock_step_ms": clock_step_ms(records),
        "unavailable": sum(r["status"] == "unavailable" for r in records),
        "metrics": {
            m.name: {"label": m.label, "unit": m.unit, "better": m.better, "scale": m.scale}
            for m in metrics.METRICS.values()
        },
        "experiments": {name: of_experiment(plan, name, records) for name in plan["experiments"]},
    }


def clock_step_ms(records: list[dict]) -> float:
    """The largest step of the wall clock during a sample; 0 for what slewing and reading two clocks amount to."""
    steps = [abs(r.get("clock_step_ns") or 0) / 1e6 for r in records]
    return clean(largest) if (largest := max(steps, default=0.0)) >= STEP_MS else 0.0


def of_experiment(plan: dict, name: str, records: list[dict]) -> dict:
    experiment = plan["experiments"][name]
    grid = experiment["profiles"][plan["profile"]]["grid"]
    mine = [r for r in records if r["experiment"] == name]
    by_cell: dict[str, list[dict]] = defaultdict(list)
    for record in mine:
        if record["role"] == "arm":
            by_cell[record["cell"]].append(record)
    left_out: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in plan["left_out"]:
        if entry["experiment"] == name:
            left_out[entry["cell"]][entry["arm"]] = entry["why"]
    reference = experiment["arms"].get("reference")
    cells = []
    for params in combinations(grid):
        key = cell_key(params)
        arms = of_cell(by_cell[key], experiment["metrics"])
        place = {"x": value_of(params[experiment["x"]]), "panel": panel_of(experiment, params)}
        cells.append({"cell": key, "params": params, **place, "arms": arms, "left_out": left_out[key]})
    crossovers = add_ratios(cells, by_cell, experiment["metrics"], reference)
    return {
        "title": experiment["title"],
        "question": experiment["question"],
        "figure": experiment["figure"],
        "x": experiment["x"],
        "panels": experiment.get("panels"),
        "metrics": experiment["metrics"],
        "reference": reference,
        "load": experiment["load"],
        "blocks": len({r["block"] for r in mine}),
        "arms": sorted({r["arm"] for r in mine if r["role"] == "arm"}, key=sort_key),
        "ceiling": ceiling([r for r in mine if r["role"] == "ceiling" and r["status"] == "ok"], experiment),
        "crossovers": crossovers,
        "capacities": capacities(experiment, cells, by_cell),
        "knees": knees(experiment, cells, by_cell),
        "scaling": growth(experiment, cells, by_cell) if experiment["scaling"] else None,
        "cells": cells,
    }


def panel_of(experiment: dict, params: dict) -> str | None:
    """Which panel and table a cell belongs to, where an experiment has a second axis."""
    axis = experiment.get("panels")
    return f"{axis} {label(params[axis])}" if axis else None


def growth(experiment: dict, cells: list[dict], by_cell: dict[str, list[dict]]) -> dict[str, dict | None]:
    """Arm -> the line through its leading metric over x, or None where too little was measured."""
    metric = metrics.METRICS[experiment["metrics"][0]]
    blocks: dict[str, dict[int, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        for record in by_cell[cell["cell"]]:
            value = metric.read(record) if record["status"] == "ok" else None
            if value:
                blocks[record["arm"]][record["block"]][cell["x"]] = value
    lines = {arm: scaling.judge(blocks[arm]) for arm in sorted(blocks, key=sort_key)}
    return {
        arm: line and {k: finite(v) if isinstance(v, float) else v for k, v in asdict(line).items()}
        for arm, line in lines.items()
    }


def combinations(grid: dict) -> list[dict]:
    """The grid's cells, as Experiment.cells makes them, from a plan's record."""
    cells: list[dict] = [{}]
    for option, values in grid.items():
        cells = [{**cell, option: value} for cell in cells for value in values]
    return cells


def of_cell(records: list[dict], names: list[str]) -> dict:
    """Each arm of one cell: medians with intervals, who was the limit, what failed."""
    by_arm: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        by_arm[record["arm"]].append(record)
    arms = {}
    for arm in sorted(by_arm, key=sort_key):
        good = sorted((r for r in by_arm[arm] if r["status"] == "ok"), key=lambda r: r["block"])
        limits = [metrics.limit(r) for r in good]
        arms[arm] = {
            "samples": {
                status: sum(r["status"] == status for r in by_arm[arm])
                for status in ("ok", "failed", "invalid", "unavailable")
            },
            "why": next((r["why"] for r in by_arm[arm] if r["why"]), None),
            "limit": max(sorted(set(limits)), key=limits.count) if limits else None,
            "values": {name: of_metric(good, name) for name in [*names, "server_busy", "client_busy"]},
        }
    return arms


def of_metric(records: list[dict], name: str) -> dict | None:
    """Median and interval over records; beside an infinite median, `above`: the longest latency that was measured."""
    known = [v for v in (metrics.METRICS[name].read(r) for r in records) if v is not None]
    if not known:
        return None
    median, low, high, coverage = stats.median_interval(known)
    found = {
        "median": finite(median),
        "low": finite(low),
        "high": finite(high),
        "coverage": round(coverage, 4),
        "n": len(known),
    }
    if found["median"] is None:
        found["above"] = clean(max((v for v in map(metrics.latency_known_us, records) if v is not None), default=0.0))
    return found


def finite(value: float) -> float | None:
    """A figure as JSON can keep it; None for one beyond all that was measured."""
    return clean(value) if math.isfinite(value) else None


def clean(value: float) -> float:
    """Six significant digits: far beyond what is measured, and the same bytes on every machine."""
    return float(f"{value:.6g}")


def paired(records: list[dict], arm: str, reference: str, metric: str) -> dict[int, tuple[float, float]]:
    """Block -> (arm, reference), where both are good."""
    found: dict[str, dict[int, float]] = {arm: {}, reference: {}}
    for record in records:
        if record["arm"] in found and record["status"] == "ok":
            value = metrics.METRICS[metric].read(record)
            if value is not None and 0 < value < math.inf:
                found[record["arm"]][record["block"]] = value
    return {b: (found[arm][b], found[reference][b]) for b in sorted(found[arm]) if b in found[reference]}


def add_ratios(
    cells: list[dict], by_cell: dict[str, list[dict]], names: list[str], reference: str | None
) -> list[dict]:
    """Each arm over the reference; with blocks enough for verdicts all comparisons of a metric are one family.

    Returns the crossovers: where on the axis an arm passes the reference.
    """
    crossovers: list[dict] = []
    for metric in names if reference else []:
        family: list[Compared] = []
        for cell in cells:
            for arm in cell["arms"]:
                if arm != reference and reference in cell["arms"]:
                    pairs = paired(by_cell[cell["cell"]], arm, reference, metric)
                    if len(pairs) >= 2:
                        family.append(Compared(cell, arm, pairs))
        quantile = family_quantile(family)
        for one in family:
            ours, theirs = zip(*one.pairs.values())
            ratio = stats.compare(ours, theirs, metrics.METRICS[metric].better, quantile if one.decides else None)
            shown = {k: finite(v) if isinstance(v, float) else v for k, v in asdict(ratio).items()}
            one.cell["arms"][one.arm].setdefault("ratios", {})[metric] = shown
        crossovers += crossovers_of(family, metric, quantile)
    return crossovers


@dataclass(frozen=True)
class Compared:
    """An arm and the reference in one cell: block -> (arm, reference)."""

    cell: dict
    arm: str
    pairs: dict[int, tuple[float, float]]

    @property
    def decides(self) -> bool:
        return len(self.pairs) >= stats.VERDICT_BLOCKS

    @property
    def logs(self) -> dict[int, float]:
        return dict(zip(self.pairs, stats.log_ratios(*zip(*self.pairs.values())).tolist()))


def crossovers_of(family: list[Compared], metric: str, quantile: float | None) -> list[dict]:
    """Where each arm passes the reference in one metric, panel by panel, from blocks enough for verdicts on.

    Cells are measured at different times, so any block of one may be joined with any of the next.
    """
    along: dict[tuple[str | None, str], list[Compared]] = defaultdict(list)
    for one in family:
        along[one.cell["panel"], one.arm].append(one)
    found = []
    for (panel, arm), curve in along.items():
        curve.sort(key=lambda one: one.cell["x"])
        blocks = min(len(one.pairs) for one in curve)
        if blocks >= stats.VERDICT_BLOCKS:
            values = [list(one.logs.values())[:blocks] for one in curve]
            for place in crossing.crossings([one.cell["x"] for one in curve], values, quantile=quantile):
                found.append({"metric": metric, "panel": panel, "arm": arm, **tidy(asdict(place))})
    return found


def capacities(experiment: dict, cells: list[dict], by_cell: dict[str, list[dict]]) -> dict[str, dict]:
    """Arm -> what it carried at most in the cells in which it was the limit itself; closed loops only."""
    if experiment["load"].get("mode") == "open" or "throughput_rps" not in experiment["metrics"]:
        return {}
    if experiment.get("panels"):  # one figure for each arm would be of which panel?
        return {}
    found: dict[str, dict[float, list[float]]] = defaultdict(dict)
    for cell in cells:
        for arm, there in cell["arms"].items():
            if there["limit"] == "server":
                good = [r for r in by_cell[cell["cell"]] if r["arm"] == arm and r["status"] == "ok"]
                found[arm][cell["x"]] = [v for v in map(metrics.throughput, good) if v]
    told = {arm: crossing.capacity(found[arm]) for arm in sorted(found, key=sort_key)}
    return {arm: tidy(asdict(capacity)) for arm, capacity in told.items() if capacity}


def knees(experiment: dict, cells: list[dict], by_cell: dict[str, list[dict]]) -> dict[str, dict | None]:
    """Arm -> the rate at which its tail latency has grown to crossing.KNEE times that of the lowest rate."""
    if experiment["x"] != "rate" or experiment["load"].get("mode") != "open" or "p99_us" not in experiment["metrics"]:
        return {}
    if experiment.get("panels"):
        return {}
    curves: dict[str, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        for record in by_cell[cell["cell"]]:
            value = metrics.METRICS["p99_us"].read(record) if record["status"] == "ok" else None
            if value == math.inf:  # beyond all that was measured: at least that long
                value = metrics.latency_known_us(record)
            if value:
                curves[record["arm"]][cell["x"]][record["block"]] = value
    told: dict[str, dict | None] = {}
    for arm in sorted(curves, key=sort_key):
        rates = sorted(curves[arm])
        blocks = sorted(set.intersection(*(set(curves[arm][rate]) for rate in rates)))
        one = crossing.knee(rates, [[curves[arm][rate][b] for b in blocks] for rate in rates]) if len(blocks) > 1 else None
        told[arm] = one and tidy(asdict(one))
    return told


def tidy(found: dict) -> dict:
    return {key: clean(value) if isinstance(value, float) else value for key, value in found.items()}


def family_quantile(family: list[Compared]) -> float | None:
    """The max-|t| quantile over all comparisons that decide; None while there is none."""
    logs = [one.logs for one in family if one.decides]
    blocks = sorted({block for one in logs for block in one})
    return stats.max_t_quantile([[one.get(block, math.nan) for block in blocks] for one in logs]) if logs else None


def ceiling(records: list[dict], experiment: dict) -> dict | None:
    """What the client could carry in this run, measured against the cheapest responder."""
    value = of_metric(records, "client_ceiling_rps")
    return None if value is None else {"arm": experiment["ceiling"]["arm"], **value}


def rows(summary: dict) -> list[dict]:
    """The summary in long form: one row per experiment, cell, arm and metric."""
    out = []
    for name, experiment in summary["experiments"].items():
        for cell in experiment["cells"]:
            for arm, found in cell["arms"].items():
                for metric, value in found["values"].items():
                    if value:
                        ratio = found.get("ratios", {}).get(metric, {})
                        out.append(
                            {"experiment": name, "cell": cell["cell"], "x": cell["x"], "arm": arm}
                            | {
                                "metric": metric,
                                "unit": summary["metrics"][metric]["unit"],
                                **value,
                                "above": value.get("above"),
                                "limit": found["limit"],
                            }
                            | {
                                f"ratio_{k}" if k != "ratio" else k: ratio.get(k)
                                for k in ("ratio", "low", "high", "verdict")
                            }
                        )
    return out


def as_table(summary: dict, delimiter: str) -> str:
    """Long form as CSV or TSV: pandas, R and gnuplot read it in one line."""
    found = rows(summary)
    text = io.StringIO()
    writer = csv.DictWriter(
        text, fieldnames=list(found[0]) if found else ["experiment"], delimiter=delimiter, lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def write(folder: Path) -> dict:
    """Derives and keeps it: RUN/derived/summary.json and summary.tsv."""
    summary = derive(folder)
    target = folder / "derived"
    try:
        target.mkdir(exist_ok=True)
        (target / "summary.tsv").write_text(as_table(summary, "\t"))
    except OSError as error:
        raise BenchError(f"{target} cannot be written: {error.strerror}") from None
    write_json(target / "summary.json", summary)
    return summary
