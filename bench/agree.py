"""Do two runs of the same experiments agree?

Cell by cell: medians against a tolerance, and the interval of the difference.  A cell agrees when the figure that leads
its experiment does; its other figures, tails among them, are shown beside it.

Meant for two runs on one idle machine: it is the repeatability that a reader may count on.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy import special

from bench import metrics, records
from bench.errors import UsageError

TOLERANCE = 0.10


@dataclass(frozen=True)
class Cell:
    """One metric of one arm in one cell, in both runs."""

    experiment: str
    cell: str
    arm: str
    metric: str
    leads: bool
    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return float(np.median(self.second) / np.median(self.first))

    @property
    def close(self) -> bool:
        return abs(self.ratio - 1) <= TOLERANCE

    @property
    def contains_zero(self) -> bool | None:
        low, high = welch(self.first, self.second)
        return None if math.isnan(low) else low <= 0 <= high


def welch(first: tuple[float, ...], second: tuple[float, ...], level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of mean logarithms of two independent sets with unequal spreads.

    Source: B. L. Welch, Biometrika 34 (1947) 28-35.
    """
    a, b = np.log(first), np.log(second)
    if len(a) < 2 or len(b) < 2:
        return math.nan, math.nan
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    difference = float(b.mean() - a.mean())
    if va + vb == 0:
        return difference, difference
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = float(special.stdtrit(freedom, 0.5 + level / 2) * math.sqrt(va + vb))
    return difference - half, difference + half


def values(run: Path) -> dict[tuple[str, str, str, str, bool], tuple[float, ...]]:
    """(experiment, cell, arm, metric, whether it leads) -> the values of the good samples."""
    plan = records.read_json(run / "plan.json")
    found: dict[tuple[str, str, str, str, bool], list[float]] = defaultdict(list)
    for record in records.read_samples(run):
        if record["status"] == "ok" and record["role"] == "arm":
            names = plan["experiments"][record["experiment"]]["metrics"]
            for name in names:
                value = metrics.METRICS[name].read(record)
                if value is not None and 0 < value < math.inf:
                    key = (record["experiment"], record["cell"], record["arm"], name, name == names[0])
                    found[key].append(value)
    return {key: tuple(v) for key, v in found.items()}


def compare(first: Path, second: Path) -> list[Cell]:
    """The cells that both runs have; refused when the runs are of different hosts."""
    hosts = [records.read_json(run / "env.json")["fingerprint"] for run in (first, second)]
    if hosts[0] != hosts[1]:
        names = f"{first.name} and {second.name}"
        raise UsageError(f"{names} are of different hosts or settings (fingerprints {hosts[0]} and {hosts[1]})")
    ours, theirs = values(first), values(second)
    return [Cell(*key, ours[key], theirs[key]) for key in ours if key in theirs]


def by_metric(cells: list[Cell]) -> Iterator[tuple[str, str, list[Cell]]]:
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.experiment, cell.metric].append(cell)
    for (experiment, metric), mine in sorted(groups.items()):
        yield experiment, metric, mine


def show(console: Console, cells: list[Cell]) -> float:
    """Tables for people; the share of cells within the tolerance."""
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in (
        "experiment", "metric", "cells", f"within {TOLERANCE:.0%}", "difference contains 0", "largest difference"
    ):
        table.add_column(
            heading,
            justify="left" if heading in ("experiment", "metric", "largest difference") else "right",
            no_wrap=True,
        )
    for experiment, metric, mine in by_metric(cells):
        worst = max(mine, key=lambda c: abs(math.log(c.ratio)))
        decided = [c.contains_zero for c in mine if c.contains_zero is not None]
        table.add_row(
            experiment,
            metric + " (leads)" * mine[0].leads,
            str(len(mine)),
            share(c.close for c in mine),
            share(decided),
            f"×{worst.ratio:.2f} {worst.arm} {worst.cell}",
        )
    console.print(table)
    leading = [c.close for c in cells if c.leads]
    total = sum(leading) / len(leading) if leading else 0.0
    console.print(Text(f"medians within {TOLERANCE:.0%} in {total:.0%} of {len(leading)} cells", style="bold"))
    console.print(f"of all {len(cells)} figures, tails included: {share(c.close for c in cells)}")
    return total


def share(answers) -> str:
    known = list(answers)
    return f"{sum(known) / len(known):.0%}" if known else "–"
