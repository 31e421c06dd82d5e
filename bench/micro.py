"""`make micro`: the price of the wait alone, without TCP, by build/micro (bench/tools/micro).

Every cell is N watched descriptors of which M are ready; a sample is one fresh process, and the ways of waiting
take turns in fresh random order within each block.  A wait is then described by c0 + c1*N + c2*M nanoseconds.
"""

import argparse
import json
import os
import random
import resource
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text
from scipy import optimize

from bench import env, paths, placement, records, runner
from bench.errors import BenchError, UsageError
from bench.units import format_seconds, nearest, number

BLOCKS = 7
MILLISECONDS = 40  # of measured rounds per sample
SAMPLE_S = 0.14  # a sample as a whole, as seen; only the announcement uses it
WATCHED = (1, 10, 100, 1000, 3000, 9000)
READY = (1, 10, 100, 1000)
PARTS = ("write", "wait", "read", "again")
RESAMPLES = 2000
TOLERANCE = 0.05


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--ways", metavar="A,B", help="only these ways of waiting (build/micro --list)")
    command.add_argument("--kind", choices=("socketpair", "pipe"), default="socketpair", help="what is watched")
    places = "where the ready ones lie among the watched (default: spread)"
    command.add_argument("--place", choices=("spread", "first", "last"), default="spread", help=places)
    command.add_argument("--blocks", type=int, default=BLOCKS, metavar="K", help=f"samples of each cell ({BLOCKS})")
    command.add_argument("--seed", type=int, default=1, metavar="N", help="order of the samples (default: 1)")
    command.add_argument("--show", metavar="RUN", type=Path, help="measure nothing: a run's table and figures again")
    command.add_argument("--agree", nargs=2, metavar="RUN", type=Path, help="measure nothing: do two runs agree?")


def from_options(console: Console, options: argparse.Namespace) -> int:
    if options.agree:
        return 0 if agree(console, *options.agree) else 1
    folder = options.show
    if not folder:
        results = paths.results_dir(options.results)
        with runner.alone(together=False):
            how = (options.kind, options.blocks, options.seed, options.place)
            folder = run(console, results, options.ways, *how)
    show(console, folder)
    return 0


@dataclass(frozen=True)
class Cell:
    watched: int
    ready: int


def cells(most: int) -> list[Cell]:
    """Every number of ready ones of every number of watched ones, as far as the limit of descriptors goes."""
    return [Cell(n, m) for n in sorted({min(n, most) for n in WATCHED}) for m in READY if m <= n]


def most_watched() -> int:
    """A pair takes two descriptors, of as many as the hard limit allows."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 64) // 2


def program() -> Path:
    path = paths.build_dir() / "micro"
    if not path.exists():
        raise BenchError(f"{paths.shown(path)} is not built; run: make micro")
    return path


def ways() -> list[str]:
    listed = subprocess.run([program(), "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines()]


def chosen(named: str | None) -> list[str]:
    known = ways()
    if not named:
        return known
    for name in named.split(","):
        if name not in known:
            raise UsageError(f"--ways: there is no way of waiting {name!r}{nearest(name, known)}")
    return named.split(",")


def measure(way: str, cell: Cell, kind: str, cpu: int, place: str = "spread") -> dict:
    """One sample; a way that this host does not have is told as such, everything else that fails ends the run."""
    told = {"way": way, "watched": cell.watched, "ready": cell.ready}
    asked = {**told, "kind": kind, "place": place, "for": MILLISECONDS}
    words = [f"--{name}={value}" for name, value in asked.items()]
    done = subprocess.run(
        [program(), *words], capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {cpu})
    )
    why = (done.stderr.strip().splitlines() or [f"micro ended with status {done.returncode}"])[-1]
    if done.returncode == 77:
        return {**told, "status": "unavailable", "why": why}
    if done.returncode != 0:
        raise BenchError(why)
    return {**json.loads(done.stdout), "status": "ok"}


def schedule(grid: list[Cell], names: list[str], blocks: int, seed: int) -> list[tuple[int, Cell, str]]:
    """Every block, within it every cell in fresh random order, within that every way in fresh random order."""
    order = random.Random(seed)
    return [
        (block, cell, way)
        for block in range(blocks)
        for cell in order.sample(grid, len(grid))
        for way in order.sample(names, len(names))
    ]


def run(
    console: Console, results: Path, named: str | None, kind: str, blocks: int, seed: int, place: str = "spread"
) -> Path:
    """Measures, shows, and returns the run's folder."""
    grid, names, cpu = cells(most_watched()), chosen(named), placement.place().server[0]
    total = len(grid) * len(names) * blocks
    console.print(
        f"micro: {len(names)} ways of waiting, {len(grid)} cells, {blocks} blocks: {total} samples, "
        f"about {format_seconds(total * SAMPLE_S)}"
    )
    folder = records.create(results, "micro")
    records.write_json(folder / "env.json", env.collect())
    output = records.Appender(folder)
    gone: set[str] = set()
    order, quiet = schedule(grid, names, blocks, seed), not console.is_terminal
    for block, cell, way in track(order, console=console, auto_refresh=False, disable=quiet):
        if way in gone:
            continue
        record = measure(way, cell, kind, cpu, place)
        output.add({"schema": records.SCHEMA, "block": block, "kind": kind, "place": place, "cpu": cpu, **record})
        if record["status"] == "unavailable":
            gone.add(way)
    output.close()
    return folder


# --- what the records say -----------------------------------------------------------------------------------------


def net(record: dict, part: str) -> float:
    """Nanoseconds of a part per round, without reading the clock; nothing costs less than one."""
    return max(record[f"{part}_ns"]["p50"] - record["clock_ns"], 1.0)


@dataclass(frozen=True)
class Way:
    """Everything measured of one way of waiting: values[cell][part] has one figure per block, in ns per round."""

    name: str
    values: dict[Cell, dict[str, np.ndarray]]

    def median(self, cell: Cell, part: str = "wait") -> float:
        return float(np.median(self.values[cell][part]))


@dataclass(frozen=True)
class Price:
    """c0 + c1*N + c2*M in ns, each (estimate, low, high) at 95 %, and the largest share by which a cell misses it."""

    c0: tuple[float, float, float]
    c1: tuple[float, float, float]
    c2: tuple[float, float, float]
    off: float


def read(folder: Path) -> tuple[list[Way], dict[str, str]]:
    """The ways in a run's folder, and why some are missing."""
    if not (folder / "samples.jsonl").exists():
        raise UsageError(f"{paths.shown(folder)} is no run of micro: it has no samples.jsonl")
    found: dict[str, dict[Cell, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    missing = {}
    for record in records.read_samples(folder):
        if record["status"] != "ok":
            missing[record["way"]] = record["why"]
            continue
        cell = found[record["way"]][Cell(record["watched"], record["ready"])]
        for part in PARTS:
            cell[part].append(net(record, part))
        cell["watch"].append(record["watch_ns"] / record["watched"])
        cell["unwatch"].append(record["unwatch_ns"] / record["watched"])
    return [
        Way(name, {cell: {part: np.array(v) for part, v in parts.items()} for cell, parts in by_cell.items()})
        for name, by_cell in sorted(found.items(), key=lambda item: ways_order(item[0]))
    ], missing


def summary(found: list[Way]) -> dict:
    """What the figures are drawn from: each part's values over the blocks, in ns per round."""
    return {
        "parts": list(PARTS),
        "ways": [
            {
                "name": way.name,
                "cells": [
                    {"watched": cell.watched, "ready": cell.ready, **{part: list(parts[part]) for part in PARTS}}
                    for cell, parts in way.values.items()
                ],
            }
            for way in found
        ],
    }


def ways_order(name: str) -> tuple[int, str]:
    order = ("select", "poll", "ppoll", "epoll_lt", "epoll_et", "epoll_oneshot")
    return (order.index(name) if name in order else len(order), name)


def fit(at: Sequence[Cell], times: Sequence[float]) -> np.ndarray:
    """c0, c1, c2 >= 0 that miss the times by the least sum of squared relative errors.

    Non-negative least squares: C. L. Lawson, R. J. Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    design = np.array([[1.0, cell.watched, cell.ready] for cell in at])
    weights = 1.0 / np.asarray(times)
    return optimize.nnls(design * weights[:, None], np.ones(len(times)))[0]


def price(way: Way, seed: int = 1, resamples: int = RESAMPLES) -> Price:
    """The fit to the medians, with percentile intervals from resampled blocks.

    Source: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    at = list(way.values)
    matrix = [way.values[cell]["wait"] for cell in at]
    best = fit(at, [float(np.median(row)) for row in matrix])
    rng = np.random.default_rng(seed)
    medians = np.array([np.median(rng.choice(row, (resamples, len(row))), axis=1) for row in matrix])
    drawn = np.array([fit(at, times) for times in medians.T])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    predicted = np.array([best @ (1.0, cell.watched, cell.ready) for cell in at])
    measured = np.array([np.median(row) for row in matrix])
    triples = [(float(b), float(lo), float(hi)) for b, lo, hi in zip(best, low, high)]
    return Price(*triples, off=float(np.max(np.abs(predicted / measured - 1))))


def table(found: list[Way]) -> Table:
    out = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    out.add_column("way of waiting", no_wrap=True)
    for heading in ("c0 [ns]", "c1 [ns/watched]", "c2 [ns/ready]", "fit off by", "watch [ns]", "unwatch [ns]"):
        out.add_column(heading, justify="right", no_wrap=True)
    for way in found:
        cost = price(way)
        widest = max(way.values, key=lambda cell: (cell.watched, -cell.ready))
        out.add_row(
            way.name,
            *(spread(c) for c in (cost.c0, cost.c1, cost.c2)),
            f"{cost.off:.0%}",
            number(way.median(widest, "watch")),
            number(way.median(widest, "unwatch")),
        )
    return out


def spread(triple: tuple[float, float, float]) -> str:
    value, low, high = (0 if c < 0.005 else number(c) for c in triple)
    return f"{value} [{low}, {high}]"


def show(console: Console, folder: Path) -> None:
    """The table, what is missing, and where the figures are."""
    found, missing = read(folder)
    if not found:
        raise BenchError(f"{paths.shown(folder)} has no good sample")
    console.print(table(found))
    console.print(
        "A wait costs c0 + c1·watched + c2·ready nanoseconds; 95 % intervals over blocks. The fit is made to\n"
        "all cells at once; what it is off by at most says how far a straight line is from the truth. Watch and\n"
        "unwatch are per descriptor, at the largest number."
    )
    for way, why in missing.items():
        console.print(Text(f"left out: {way} ({why})"))
    for path in drawn(folder, found, folder / "figures", folder.name):
        console.print(f"figure: {paths.shown(path)}")


def drawn(
    folder: Path, found: list[Way], target: Path, run: str, suffixes: tuple[str, ...] = (".svg", ".png")
) -> list[Path]:
    """The figures of a run in a folder, written to another."""
    from plots import micro, style  # here: matplotlib takes a while to load, and measuring does not need it

    footer = f"{env.footer(records.read_json(folder / 'env.json'))}  ·  run {run}"
    target.mkdir(exist_ok=True)
    return [
        *style.save(micro.draw(summary(found), footer), target / "micro", suffixes),
        *style.save(micro.surface(summary(found), footer), target / "micro-surface", suffixes),
    ]


# --- two runs ----------------------------------------------------------------------------------------------------


def agree(console: Console, first: Path, second: Path) -> bool:
    """Do the medians of two runs differ by at most 5 %, cell by cell?  Says so; true where nine of ten do."""
    theirs = {way.name: way for way in read(second)[0]}
    out = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("way of waiting", "cells", f"within {TOLERANCE:.0%}", "largest difference"):
        out.add_column(heading, justify="left" if heading == "way of waiting" else "right", no_wrap=True)
    ratios: list[float] = []
    for way in read(first)[0]:
        other = theirs.get(way.name)
        shared = [cell for cell in way.values if other and cell in other.values]
        if not shared:
            continue
        mine = [other.median(cell) / way.median(cell) for cell in shared]
        close = sum(abs(ratio - 1) <= TOLERANCE for ratio in mine)
        worst = max(zip(mine, shared), key=lambda pair: abs(np.log(pair[0])))
        where = f"×{worst[0]:.3f} {worst[1].watched} watched, {worst[1].ready} ready"
        out.add_row(way.name, str(len(mine)), f"{close / len(mine):.0%}", where)
        ratios += mine
    if not ratios:
        raise UsageError(f"{paths.shown(first)} and {paths.shown(second)} have no cell in common")
    share = float(np.mean([abs(ratio - 1) <= TOLERANCE for ratio in ratios]))
    console.print(out)
    console.print(Text(f"medians within {TOLERANCE:.0%} in {share:.0%} of {len(ratios)} cells", style="bold"))
    return share >= 0.9
