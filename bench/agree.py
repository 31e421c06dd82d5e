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
DRAWS = 2000  # pairs of runs drawn anew from each cell


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
    ratios: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # of each run, to the reference in the same block

    @property
    def ratio(self) -> float:
        return float(np.median(self.second) / np.median(self.first))

    @property
    def close(self) -> bool:
        return abs(self.ratio - 1) <= TOLERANCE

    def expected_close(self, chance: np.random.Generator) -> float:
        """How often two runs would be within the tolerance if their samples scattered as these do within each run and
        nothing else had changed: medians of samples drawn anew, with replacement, from both runs' distances to their
        own mean, widened to the variance that those distances estimate.  NaN where no run has two samples."""
        logs = [np.log(values) for values in (self.first, self.second)]
        apart = [(v - v.mean()) * math.sqrt(len(v) / (len(v) - 1)) for v in logs if len(v) > 1]
        if not apart:
            return math.nan
        drawn = [np.median(chance.choice(np.concatenate(apart), (DRAWS, len(v))), axis=1) for v in logs]
        return float(np.mean(np.abs(np.expm1(drawn[1] - drawn[0])) <= TOLERANCE))

    @property
    def contains_zero(self) -> bool | None:
        low, high = welch(self.first, self.second)
        return None if math.isnan(low) else low <= 0 <= high

    @property
    def ratios_agree(self) -> bool | None:
        """Whether the interval of the difference of the log ratios contains zero; None without a reference."""
        low, high = welch(*self.ratios) if self.ratios else (math.nan, math.nan)
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


Key = tuple[str, str, str, str, bool]  # experiment, cell, arm, metric, whether it leads


def values(run: Path) -> dict[Key, dict[int, float]]:
    """The values of the good samples, by block."""
    plan = records.read_json(run / "plan.json")
    found: dict[Key, dict[int, float]] = defaultdict(dict)
    for record in records.read_samples(run):
        if record["status"] == "ok" and record["role"] == "arm":
            names = plan["experiments"][record["experiment"]]["metrics"]
            for name in names:
                value = metrics.METRICS[name].read(record)
                if value is not None and 0 < value < math.inf:
                    key = (record["experiment"], record["cell"], record["arm"], name, name == names[0])
                    found[key][record["block"]] = value
    return found


def ratios(run: Path, found: dict[Key, dict[int, float]]) -> dict[Key, tuple[float, ...]]:
    """Each arm over its experiment's reference, in the blocks that both have."""
    plan = records.read_json(run / "plan.json")
    told = {}
    for key, mine in found.items():
        experiment, cell, arm, metric, leads = key
        reference = plan["experiments"][experiment]["arms"].get("reference")
        theirs = found.get((experiment, cell, reference, metric, leads), {}) if reference != arm else {}
        told[key] = tuple(mine[block] / theirs[block] for block in sorted(mine.keys() & theirs.keys()))
    return told


def compare(first: Path, second: Path) -> list[Cell]:
    """The cells that both runs have; refused when the runs are of different hosts."""
    hosts = [records.read_json(run / "env.json")["fingerprint"] for run in (first, second)]
    if hosts[0] != hosts[1]:
        names = f"{first.name} and {second.name}"
        raise UsageError(f"{names} are of different hosts or settings (fingerprints {hosts[0]} and {hosts[1]})")
    ours, theirs = values(first), values(second)
    over = ratios(first, ours), ratios(second, theirs)
    return [
        Cell(
            *key,
            tuple(ours[key].values()),
            tuple(theirs[key].values()),
            (over[0][key], over[1][key]) if over[0][key] and over[1][key] else None,
        )
        for key in ours
        if key in theirs
    ]


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
        "experiment",
        "metric",
        "cells",
        f"within {TOLERANCE:.0%}",
        "difference contains 0",
        "of ratios",
        "largest difference",
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
            share(c.ratios_agree for c in mine if c.ratios_agree is not None),
            f"×{worst.ratio:.2f} {worst.arm} {worst.cell}",
        )
    console.print(table)
    leading = [c for c in cells if c.leads]
    total = sum(c.close for c in leading) / len(leading) if leading else 0.0
    console.print(Text(f"medians within {TOLERANCE:.0%} in {total:.0%} of {len(leading)} cells", style="bold"))
    chance = np.random.default_rng(1)
    scattered = [one for c in leading if not math.isnan(one := c.expected_close(chance))]
    if scattered:
        expected = float(np.mean(scattered))
        console.print(
            f"the scatter within each run alone would leave {expected:.0%} within it; what is missing beyond that is "
            "a host that changed between the runs"
        )
    console.print(f"of all {len(cells)} figures, tails included: {share(c.close for c in cells)}")
    paired = [c.ratios_agree for c in cells if c.ratios_agree is not None]
    if paired:
        console.print(
            f"ratios to the reference: the interval of the difference contains zero in {share(paired)} of {len(paired)} "
            "(95 % where nothing changed)"
        )
    return total


def share(answers) -> str:
    known = list(answers)
    return f"{sum(known) / len(known):.0%}" if known else "–"
