"""`make calibrate`: how often does the gate err, and what does it find?  Asked of the gate itself, on this host.

The same server against itself in three flavours (one file, a copy, linked in another order), servers slowed by 2, 5,
10 and 20 % of a request's CPU, and one with one more system call per request.  Some comparisons are made live by
`compare`; more come from long recordings that are put through the same code window by window (calibrate_replay.py).
"""

import argparse
import io
import math
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench import (
    compare,
    compare_plan,
    compare_programs,
    compare_run,
    compare_text,
    env,
    host,
    metrics,
    paths,
    prepare,
    records,
    relink,
    runner,
)
from bench.arms import Arm, from_executable
from bench.calibrate_derive import CONDITIONS, LIVE, PLAN, QUADS, SUMMARY, derive, found, show
from bench.compare_plan import Contest, Plan, options_of
from bench.errors import BenchError, UsageError
from bench.measure import Bed, measure
from bench.placement import place
from bench.units import format_seconds

CELL = "rate=20000"
CHUNK = 20  # quads of one condition in a row
PILOT_QUADS = 6
AROUND_S = 3.0  # of a live comparison's time: the environment, staging, warm-up
SERVER = "servers/epoll_lt"


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--live-alike", type=int, default=10, metavar="N", help="live comparisons of a server with itself (default: 10)"
    )
    command.add_argument(
        "--live-slowed",
        type=int,
        default=5,
        metavar="N",
        help="live comparisons with a server slowed by 10 %% (default: 5)",
    )
    command.add_argument(
        "--quads",
        type=int,
        default=240,
        metavar="N",
        help="recorded of each pair that is alike, half as many of each other (default: 240)",
    )
    command.add_argument("--replays", type=int, default=400, metavar="N", help="of each condition (default: 400)")
    command.add_argument("--seed", type=int, default=1, metavar="N")
    command.add_argument(
        "--from", dest="run", metavar="RUN", help="measure nothing: put a recording through the gate again"
    )


def from_options(console: Console, options: argparse.Namespace) -> int:
    for name in ("live_alike", "live_slowed", "quads", "replays", "seed"):
        if getattr(options, name) < 0:
            raise UsageError(f"--{name.replace('_', '-')}: expected 0 or more, got {getattr(options, name)}")
    folder = found(paths.results_dir(options.results), options.run) if options.run else carried_out(console, options)
    summary = derive(folder, options.replays)
    records.write_json(folder / SUMMARY, summary)
    show(console, summary)
    console.print(f"{paths.shown(folder)}; into docs/gate.md with: make docs GATE={folder.name}", highlight=False)
    return 0


# --- the servers -----------------------------------------------------------------------------------------------------


def made(target: str) -> Path:
    """A target of this tree's Makefile, up to date."""
    path = paths.build_dir() / target
    done = subprocess.run(
        ["make", "-s", "--no-print-directory", f"BUILD={paths.build_dir()}", str(path)],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")},
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"{paths.shown(path)} does not build: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return path


def programs(stage: Path, loops_per_us: int, cpu_us: float) -> dict[str, tuple[Path, Path]]:
    """A and B of each condition; loops are a share of what a request costs here, as the pilot said."""
    base, server = made("arms/slowed-0-0"), made(SERVER)
    pairs: dict[str, tuple[Path, Path]] = {"same": (server, server)}
    for flavour in ("copy", "relinked"):
        (stage / flavour).mkdir()
        target = stage / flavour / "epoll_lt"
        if flavour == "copy":
            shutil.copy(server, target)
        elif not relink.relinked(paths.build_dir(), SERVER, 7, target):
            raise BenchError("epoll_lt cannot be linked anew: its objects are gone; run: make")
        pairs[flavour] = (server, target)
    for one in CONDITIONS:
        if not one.alike:
            loops = round((one.percent or 0) / 100 * cpu_us * loops_per_us)
            pairs[one.name] = (base, made(f"arms/slowed-{loops}-{one.calls}"))
    return pairs


def staged(pair: tuple[Path, Path], stage: Path, name: str) -> dict[str, Arm]:
    """Both under equally long paths; one file stays one file."""
    arms = {}
    for letter, path in zip("AB", pair):
        target = stage / "staged" / name / letter.lower() / "servers" / "contender"
        target.parent.mkdir(parents=True)
        if letter == "B" and pair[0] == pair[1]:
            os.link(target.parent.parent.parent / "a" / "servers" / "contender", target)
        else:
            shutil.copy(path, target)
        arms[letter] = from_executable(target)
    return arms


# --- recording -------------------------------------------------------------------------------------------------------


def carried_out(console: Console, options: argparse.Namespace) -> Path:
    """The pilot, the recordings, the live comparisons; everything is on disk before the next begins."""
    tools, held, where = prepare.tools(), compare_programs.control(), place()
    loops = tools["calibrate"]["loops_per_us"]
    folder = records.create(paths.results_dir(options.results), "calibrate")
    with ExitStack() as stack:
        stack.enter_context(runner.alone(False))
        stage = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muxbench-")))
        records.write_json(folder / "env.json", env.collect())
        with host.Stop(f"what was recorded stays in {paths.shown(folder)}") as stop, runner.buried() as undertaker:
            with runner.out_of_the_way(where.bench):
                bed = Bed(str(paths.build_dir() / "loadgen"), where, undertaker, stop, loops, options.seed)
                keep = records.Appender(folder)
                stack.callback(keep.close)
                bench = compare_run.Bench(
                    lambda s, a: measure(s, a, bed), lambda *_: held, held, keep, stop.check, lambda _: None
                )
                pilot = pilot_of(bench, stage, options.seed)
                pairs = programs(stage, loops, pilot["cpu_us"])
                planned, confirm = compare_plan.quads_within(compare.FIRST_CELL_S - AROUND_S, 1, pilot["quad_s"])
                told = {
                    "schema": records.SCHEMA,
                    "seed": options.seed,
                    "cell": CELL,
                    "quads": planned,
                    "confirm_quads": confirm,
                }
                told |= {"pilot": pilot, "loops_per_us": loops, "conditions": [asdict(one) for one in CONDITIONS]}
                records.write_json(folder / PLAN, told)
                record(
                    console, bench, {name: staged(pair, stage, name) for name, pair in pairs.items()}, options, folder
                )
        live(console, pairs, options, folder)
    return folder


def pilot_of(bench: compare_run.Bench, stage: Path, seed: int) -> dict:
    """What a request of the base costs here, and how long a quad takes."""
    base = made("arms/slowed-0-0")
    arms = staged((base, base), stage, "pilot")
    contest, plan = contest_of("pilot", arms), Plan(seed, {}, [], {})
    bench.arm = lambda _number, _contest, letter: arms[letter]
    begun = time.monotonic()
    for index in range(PILOT_QUADS):
        compare_run.run_quad(bench, plan, contest, 0, index)
    quad_s = (time.monotonic() - begun) / PILOT_QUADS
    values = sorted(
        v for s in bench.samples if s["role"] == "arm" and (v := metrics.METRICS["server_cpu_us_per_req"].read(s))
    )
    if not values:
        raise BenchError("no good sample in the pilot: the load generator cannot keep its schedule here")
    return {"cpu_us": values[len(values) // 2], "quad_s": quad_s}


def contest_of(name: str, arms: dict[str, Arm]) -> Contest:
    return Contest(name, CELL, options_of(CELL), arms["A"].as_record(), arms["B"].as_record())


def record(
    console: Console,
    bench: compare_run.Bench,
    arms: dict[str, dict[str, Arm]],
    options: argparse.Namespace,
    folder: Path,
) -> None:
    """Chunks of quads of all conditions in random order, so that the weather of an hour meets all alike."""
    chance, plan = random.Random(options.seed), Plan(options.seed, {}, [], {})
    due = []
    for one in CONDITIONS:
        wanted = options.quads if one.alike else options.quads // 2
        due += [(one.name, first, min(first + CHUNK, wanted)) for first in range(0, wanted, CHUNK)]
    chance.shuffle(due)
    begun = time.monotonic()
    for done, (name, first, last) in enumerate(due):
        bench.arm = lambda _number, _contest, letter, name=name: arms[name][letter]
        for index in range(first, last):
            bench.samples.clear()
            compare_run.run_quad(bench, plan, contest_of(name, arms[name]), 1, index)
            records.append_line(folder / QUADS, slim(name, index, bench.samples))
        left = (time.monotonic() - begun) / (done + 1) * (len(due) - done - 1)
        console.print(
            f"recorded {done + 1} of {len(due)} windows ({name}); {format_seconds(left)} to go", highlight=False
        )


def slim(name: str, index: int, samples: Sequence[dict]) -> dict:
    def read(metric: str, sample: dict) -> float | None:
        value = metrics.METRICS[metric].read(sample) if sample["status"] == "ok" else None
        return round(value, 4) if value is not None and math.isfinite(value) else None

    taken = [[s["arm"], read("server_cpu_us_per_req", s), read("p50_us", s)] for s in samples]
    return {"schema": records.SCHEMA, "condition": name, "index": index, "samples": taken}


# --- live ------------------------------------------------------------------------------------------------------------


def live(console: Console, pairs: dict[str, tuple[Path, Path]], options: argparse.Namespace, folder: Path) -> None:
    """Whole comparisons as anybody would make them, in random order."""
    alike = [one.name for one in CONDITIONS if one.alike]
    due = [alike[i % len(alike)] for i in range(options.live_alike)] + ["slow10"] * options.live_slowed
    random.Random(options.seed + 1).shuffle(due)
    for index, name in enumerate(due):
        told = one_live(pairs[name], options.seed + index, folder)
        records.append_line(folder / LIVE, {"schema": records.SCHEMA, "condition": name, **told})
        console.print(
            f"live {index + 1} of {len(due)}: {name}: {told['verdict']} {told['why']}", highlight=False, markup=False
        )


def one_live(pair: tuple[Path, Path], seed: int, folder: Path) -> dict:
    parser = argparse.ArgumentParser()
    compare.add_options(parser)
    words = [str(pair[0]), str(pair[1]), "--cells", CELL, "--measure-identical", "--together", "--no-figures"]
    options = parser.parse_args([*words, "--seed", str(seed)])
    options.results = str(folder / "live")
    begun = time.monotonic()
    judgement = compare.compare(Console(file=io.StringIO()), options)
    took = time.monotonic() - begun
    kept = compare_text.finite(judgement.as_record())
    return {**kept, "took_s": round(took, 1), "seed": seed}
