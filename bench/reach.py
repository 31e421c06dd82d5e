"""`make reach`: the figures this project sets itself as bars, measured side by side.

A bar is one line of BARS: an arm over its reference under one load, and the ratio that should hold.  Server and
client have one CPU each; within a block all arms of a load run back to back in fresh random order, each with a fresh
server process; the answer is the paired ratio with its interval.  A missed bar is printed as missed: it is a figure,
not a failure.  Every sample is kept before the next begins, and what is judged can be redone from the samples.
"""

import argparse
import math
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import env, host, paths, placement, reach_lab, reach_loads, reach_models, records, runner, stats
from bench.errors import UsageError
from bench.reach_loads import LOADS
from bench.reach_site import Site
from bench.units import nearest, number

BLOCKS = 12
UNITS = {  # metric: (what it is, its unit)
    "server_cpu_us": ("server CPU per request", "µs"),
    "host_cpu_us": ("host CPU per request, server side", "µs"),
    "client_cpu_us": ("client CPU per request", "µs"),
    "rps": ("throughput", "requests/s"),
    "send_lag": ("p99.9 of send lag, of what is allowed", ""),
    "punctual_share": ("sends within 100 µs of schedule", ""),
    "lag_p999_us": ("p99.9 of send lag", "µs"),
    "idle_ns": ("a wait's price per idle descriptor", "ns"),
    "wait_ns": ("a wait", "ns"),
    "record_full_ns": ("recording a request, open loop, classes, timeline", "ns"),
    "record_open_ns": ("recording a request, open loop", "ns"),
    "record_closed_ns": ("recording a request, closed loop", "ns"),
}


@dataclass(frozen=True)
class Bar:
    """One metric of an arm over that of its reference, another arm or a constant, and the ratio that should hold.

    Without a limit the ratio is shown beside the others and nothing is asked of it.
    """

    group: str
    arm: str
    reference: str | float
    load: str
    metric: str = "server_cpu_us"
    at_most: float | None = None
    at_least: float | None = None
    within: float | None = None  # how far the interval may reach from the ratio, as a share of it

    @property
    def asked(self) -> str:
        if self.within:
            return f"known to {self.within:.0%}"
        if self.at_most and self.at_least:
            return f"{self.at_least} to {self.at_most}"
        return f"<= {self.at_most}" if self.at_most else f">= {self.at_least}" if self.at_least else "shown"

    @property
    def ratio_name(self) -> str:
        beneath = (
            self.reference if isinstance(self.reference, str) else f"{self.reference:g} {UNITS[self.metric][1]}".strip()
        )
        return f"{self.arm} / {beneath}"


BARS = (
    Bar("servers", "epoll_lt", "nginx", "http-wrk", at_most=0.95),
    Bar("servers", "io_uring", "nginx", "http-wrk", at_most=0.85),
    Bar("servers", "io_uring", "epoll_lt", "echo-100", at_most=0.88),
    Bar("servers", "epoll_lt", "plain_epoll", "echo-100", at_most=1.05),
    Bar("loadgen", "loadgen epoll", "wrk", "client-nginx", "rps", at_least=1.0),
    Bar("loadgen", "loadgen io_uring", "wrk", "client-nginx", "rps", at_least=1.0),
    Bar("loadgen", "loadgen epoll", "wrk", "client-nginx", "client_cpu_us", at_most=0.95),
    Bar("loadgen", "loadgen io_uring", "wrk", "client-nginx", "client_cpu_us", at_most=0.80),
    Bar("loadgen", "floor_client_epoll", "wrk", "client-nginx", "client_cpu_us"),
    Bar("loadgen", "loadgen epoll", "floor_client_epoll", "client-nginx", "client_cpu_us"),
    Bar("loadgen", "floor_client_uring", "wrk", "client-nginx", "client_cpu_us"),
    Bar("loadgen", "loadgen io_uring", "floor_client_uring", "client-nginx", "client_cpu_us"),
    Bar("loadgen", "loadgen epoll", 1.0, "open-half", "send_lag", at_most=1.0),
    Bar("loadgen", "loadgen io_uring", 1.0, "open-half", "send_lag", at_most=1.0),
    Bar("loadgen", "loadgen epoll", 1.0, "open-half", "punctual_share"),
    Bar("loadgen", "loadgen io_uring", 1.0, "open-half", "punctual_share"),
    Bar("loadgen", "record_cost", 50.0, "recording", "record_full_ns", at_most=1.0),
    Bar("loadgen", "record_cost", 50.0, "recording", "record_open_ns", at_most=1.0),
    Bar("loadgen", "record_cost", 50.0, "recording", "record_closed_ns", at_most=1.0),
)
BARS += tuple(
    Bar("models", arm, reference, load, metric, at_most=at_most)
    for arm, reference, load, metric, at_most in reach_models.bars()
)
BARS += tuple(Bar("lab", *which, **asked) for *which, asked in reach_lab.bars())
LOADS.update(reach_models.LOADS | reach_lab.LOADS)
GROUPS = tuple(dict.fromkeys(bar.group for bar in BARS))


# --- what is measured ------------------------------------------------------------------------------------------------


def chosen(groups: Sequence[str]) -> list[Bar]:
    for group in groups:
        if group not in GROUPS:
            raise UsageError(f"no group of bars {group!r}{nearest(group, GROUPS)}")
    return [bar for bar in BARS if not groups or bar.group in groups]


def arms_of(bar: Bar) -> list[str]:
    """The servers or clients that a bar needs; the cheapest is one of those that others need."""
    return [name for name in (bar.arm, bar.reference) if isinstance(name, str) and name != reach_models.CHEAPEST]


def divided(bars: Sequence[Bar]) -> tuple[list[Bar], list[str]]:
    """The bars that this host can measure, and a line for each of the others."""
    able, left_out = [], []
    for bar in bars:
        reasons = [why for arm in arms_of(bar) if (why := LOADS[bar.load].why_not(arm))]
        if reasons:
            left_out.append(f"left out: {bar.ratio_name}, {UNITS[bar.metric][0]}: {reasons[0]}")
        else:
            able.append(bar)
    return able, left_out


def measure_all(
    bars: Sequence[Bar], site: Site, keep: records.Appender, console: Console, seed: int, blocks: int
) -> list[dict]:
    shuffle, samples = random.Random(seed), []
    arms = {load: sorted({arm for bar in bars if bar.load == load for arm in arms_of(bar)}) for load in LOADS}
    for block in range(blocks):
        console.print(f"block {block + 1} of {blocks}", highlight=False)
        for load, names in arms.items():
            for name in shuffle.sample(names, len(names)):
                site.stop.check()
                where = {"schema": records.SCHEMA, "block": block, "load": load, "arm": name}
                samples.append(where | reach_loads.sample(load, name, site))
                keep.add(samples[-1])
                if samples[-1]["why"]:
                    console.print(Text(f"{name}, {LOADS[load].title}: {samples[-1]['why']}", style="yellow"))
    return samples


# --- what it says ----------------------------------------------------------------------------------------------------


def values(samples: Sequence[dict], load: str, arm: str, metric: str) -> dict[int, float]:
    """Block -> value."""
    return {
        s["block"]: s["values"][metric]
        for s in samples
        if s["load"] == load and s["arm"] == arm and metric in s["values"]
    }


def answer(bar: Bar, ratio: float, low: float, high: float) -> str:
    """met and missed only where the whole interval says so."""
    if bar.within is not None:
        return "met" if high / ratio - 1 <= bar.within and 1 - low / ratio <= bar.within else "missed"
    if bar.at_most is None and bar.at_least is None:
        return ""
    least, most = bar.at_least or 0.0, math.inf if bar.at_most is None else bar.at_most
    return "met" if least <= low and high <= most else "missed" if high < least or low > most else "within the noise"


def judge(bar: Bar, samples: Sequence[dict]) -> dict | None:
    """The bar with its ratio, interval and answer; None where nothing was measured."""
    name = cheapest_of(bar, samples) if bar.arm == reach_models.CHEAPEST else bar.arm
    arm = values(samples, bar.load, name, bar.metric) if name else {}
    if isinstance(bar.reference, str):
        reference = values(samples, bar.load, bar.reference, bar.metric)
    else:
        reference = dict.fromkeys(arm, bar.reference)
    blocks = sorted(arm.keys() & reference.keys())
    if not blocks:
        return None
    ours, theirs = [arm[b] for b in blocks], [reference[b] for b in blocks]
    ratio, low, high = stats.t_interval(stats.log_ratios(ours, theirs))
    medians = {"arm_median": stats.median_interval(ours)[0], "reference_median": stats.median_interval(theirs)[0]}
    known = {"ratio": ratio, "low": low, "high": high if math.isfinite(high) else None, "blocks": len(blocks)}
    return asdict(bar) | {"arm": name} | known | {"answer": answer(bar, ratio, low, high)} | medians


def cheapest_of(bar: Bar, samples: Sequence[dict]) -> str | None:
    """The arm of the bar's load with the lowest median, beside its reference."""
    names = {s["arm"] for s in samples if s["load"] == bar.load} - {bar.reference}
    found = {name: list(values(samples, bar.load, name, bar.metric).values()) for name in names}
    return reach_models.cheapest({name: stats.median_interval(v)[0] for name, v in found.items() if v})


def tables(bars: Sequence[Bar], samples: Sequence[dict]) -> list[Table]:
    """A table for each load that was measured."""
    return [
        table(load, [bar for bar in bars if bar.load == load], samples)
        for load in dict.fromkeys(bar.load for bar in bars)
    ]


def table(load: str, bars: Sequence[Bar], samples: Sequence[dict]) -> Table:
    shown = Table(
        title=LOADS[load].title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for heading in ("figure", "ratio", "bar", "measured, 95 % interval", "answer", "medians: arm, reference"):
        shown.add_column(heading, no_wrap=True)
    for bar in bars:
        what, unit = UNITS[bar.metric]
        found = judge(bar, samples)
        if found is None:
            shown.add_row(what, bar.ratio_name, bar.asked, "no good sample", "", "")
            continue
        interval = f"{found['ratio']:.3f} \\[{found['low']:.3f}, {ceiling(found['high'])}]"
        medians = f"{number(found['arm_median'])}, {number(found['reference_median'])} {unit}"
        ratio_name = bar.ratio_name if found["arm"] == bar.arm else f"{bar.ratio_name} ({found['arm']})"
        shown.add_row(what, ratio_name, bar.asked, interval, found["answer"], medians)
    return shown


def ceiling(high: float | None) -> str:
    """The upper end of an interval, of which nothing is known after one block and little after two."""
    return "∞" if high is None or high > 1000 else f"{high:.3f}"


# --- the command -----------------------------------------------------------------------------------------------------


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"only these bars: {', '.join(GROUPS)} (default: all)"
    )
    command.add_argument(
        "--blocks", type=int, default=BLOCKS, metavar="K", help=f"samples of each arm (default: {BLOCKS})"
    )
    command.add_argument("--seed", type=int, default=1, metavar="N", help="order of the arms (default: 1)")
    command.add_argument(
        "--from", dest="run", metavar="DIR", help="measure nothing: show the bars of these samples again"
    )


def from_options(console: Console, options: argparse.Namespace) -> int:
    if options.run:
        return show(console, Path(options.run))
    if options.blocks < 1:
        raise UsageError(f"--blocks: expected 1 or more, got {options.blocks}")
    return run(console, paths.results_dir(options.results), options.groups, options.seed, options.blocks)


def run(console: Console, results: Path, groups: Sequence[str], seed: int, blocks: int) -> int:
    """Measures the bars of these groups (none: all), prints the table, and leaves a folder with all of it."""
    bars, left_out = divided(chosen(groups))
    for line in left_out:
        console.print(Text(line, style="yellow"))
    if not bars:
        raise UsageError("nothing to measure: every bar is left out")
    where = placement.place(sorted(os.sched_getaffinity(0)))
    with runner.alone(False):
        folder = records.create(results, "reach")
        records.write_json(
            folder / "reach.json",
            {
                "schema": records.SCHEMA,
                "seed": seed,
                "blocks": blocks,
                "placement": where.as_record(),
                "bars": [asdict(bar) for bar in bars],
                "left_out": left_out,
            },
        )
        records.write_json(folder / "env.json", env.collect())
        keep = records.Appender(folder)
        again = f"what was measured is kept; show it with: python3 -m bench reach --from {paths.shown(folder)}"
        try:
            with runner.out_of_the_way(where.bench), host.Stop(again) as stop, runner.buried() as undertaker:
                measure_all(bars, Site(where.server, where.client, undertaker, stop), keep, console, seed, blocks)
        finally:
            keep.close()
    return show(console, folder)


def show(console: Console, folder: Path) -> int:
    """A run's table, from its samples alone; the judged bars are written beside them."""
    told, samples = records.read_json(folder / "reach.json"), records.read_samples(folder)
    bars = [Bar(**bar) for bar in told["bars"]]
    judged = [found for bar in bars if (found := judge(bar, samples))]
    records.write_json(folder / "bars.json", {"schema": records.SCHEMA, "bars": judged})
    for shown in tables(bars, samples):
        console.print(shown)
        console.print()
    for line in told["left_out"]:
        console.print(Text(line, style="yellow"))
    console.print(f"{len(samples)} samples: {paths.shown(folder / 'samples.jsonl')}", highlight=False)
    return 1 if any(sample["status"] == "failed" for sample in samples) else 0
