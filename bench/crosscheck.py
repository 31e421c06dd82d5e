"""`make crosscheck`: the same servers under our load generator and under wrk, h2load and ab.

An instrument that nobody else agrees with is no instrument.  A scene is one load of one server; within a block all
tools drive it back to back in fresh random order, each a fresh server process, so that what drifts meets them alike
and their ratios are paired.  The agreement scenes ask whether throughput, p50 and p99 agree; the others give the
evidence for why they differ where they do (docs/crosscheck.md).

This module says what is measured and measures it; crosscheck_derive.py says what follows, crosscheck_text.py shows it.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.text import Text

from bench import (
    arms,
    crosscheck_calls,
    crosscheck_derive,
    crosscheck_text,
    env,
    host,
    measure,
    paths,
    placement,
    prepare,
)
from bench import records, runner, witnesses
from bench.errors import BenchError, UsageError
from bench.plan import Sample
from bench.reach_site import NGINX_CONF, nginx_path
from bench.units import format_seconds, nearest, parse_time_ns

BLOCKS = 12
CONNECTIONS = (1, 50, 200)
SERVERS = ("epoll_lt", "io_uring", "thread_per_conn", "nginx")
EVIDENCE_ON = "epoll_lt"
WARMUP = "300ms"  # of our engines; the witnesses have none, or none of that kind
SIDE_S = 0.45  # what a sample takes beside its window: starting, stopping, wrk's last timer
ABOUT = "crosscheck.json"


@dataclass(frozen=True)
class Tool:
    """A load generator, and the options that make it this arm."""

    label: str
    options: dict

    @property
    def witness(self) -> str | None:
        return self.options["engine"] if witnesses.is_one(self.options) else None


TOOLS = {
    "epoll": Tool("loadgen, epoll", {"engine": "epoll"}),
    "io_uring": Tool("loadgen, io_uring", {"engine": "io_uring"}),
    "wrk": Tool("wrk", {"engine": "wrk"}),
    "h2load": Tool("h2load --h1", {"engine": "h2load"}),
    "h2load-log": Tool("h2load --h1 --log-file", {"engine": "h2load", "log": True}),
    "ab": Tool("ab -k", {"engine": "ab"}),
    "open": Tool("loadgen, open loop", {"engine": "epoll", "mode": "open", "arrival": "constant", "rate": 5000}),
    "epoll-once": Tool("loadgen --per-connection 1", {"engine": "epoll", "per-connection": 1}),
    "ab-once": Tool("ab", {"engine": "ab", "closes": True}),
    "wrk-2": Tool("wrk -t2", {"engine": "wrk", "threads": 2}),
    "h2load-warm": Tool("h2load --h1 --warm-up-time 1s", {"engine": "h2load", "own_warmup": "1s"}),
}
ALL = ("epoll", "io_uring", "wrk", "h2load", "h2load-log", "ab")
TIMED = ("epoll", "io_uring", "wrk", "h2load-log", "ab")  # those that tell percentiles


@dataclass(frozen=True)
class Scene:
    """One load of one server, and the tools that take turns in it; ratios are to the first of them."""

    name: str
    server: str
    tools: tuple[str, ...]
    load: dict = field(default_factory=dict)
    duration: str = "1s"
    traced: bool = False  # system calls are counted, once in a run, and nothing is timed

    def options(self, tool: str) -> dict:
        base = {"protocol": "http", "connections": 50, **self.load, **TOOLS[tool].options}
        warmup = "0s" if TOOLS[tool].witness or self.traced else WARMUP
        return base | {"warmup": warmup, "duration": self.duration}


STALL = "900ms+200ms"
EVIDENCE = (
    Scene("stall", EVIDENCE_ON, ("epoll", "wrk", "h2load-log", "ab", "open"), {"pause": STALL}, "2s"),
    Scene("delay", EVIDENCE_ON, TIMED, {"delay": "5ms"}),
    Scene("long-reply", EVIDENCE_ON, ("epoll", "wrk", "h2load-log", "ab"), {"reply": 1 << 20}),
    Scene("once", EVIDENCE_ON, ("epoll-once", "ab-once")),
    Scene("threads", EVIDENCE_ON, ("wrk", "wrk-2")),
    Scene("warm-up", EVIDENCE_ON, ("h2load", "h2load-warm")),
    Scene("calls", EVIDENCE_ON, ("epoll", "io_uring", "wrk", "h2load", "ab"), traced=True),
)


def scenes(servers: Sequence[str], connections: Sequence[int], evidence: bool) -> list[Scene]:
    agreement = [Scene(f"agree-{n}", server, ALL, {"connections": n}) for n in connections for server in servers]
    return agreement + (list(EVIDENCE) if evidence else [])


# --- what this host has ----------------------------------------------------------------------------------------------


def able(wanted: Sequence[Scene]) -> tuple[list[Scene], list[str]]:
    """The scenes that can be played here, with the tools that are here; and a line for each thing that is not."""
    lacking = {name: why for name in witnesses.WITNESSES if (why := witnesses.missing(name))}
    built = arms.model_names()
    gone = {
        server: f"{server} is not built (make)"
        if server != "nginx"
        else "nginx is not installed (bench/require.sh extras)"
        for server in {scene.server for scene in wanted}
        if (server not in built if server != "nginx" else not nginx_path())
    }
    played = []
    for scene in wanted:
        tools = tuple(tool for tool in scene.tools if TOOLS[tool].witness not in lacking)
        if scene.server not in gone and len(tools) > 1 and not (scene.traced and crosscheck_calls.missing()):
            played.append(replace(scene, tools=tools))
    left_out = [f"left out: system calls by name: {why}"] if (why := crosscheck_calls.missing()) else []
    left_out += [f"left out: everything by {name}: {why}" for name, why in lacking.items()]
    left_out += [f"left out: everything of {server}: {why}" for server, why in sorted(gone.items())]
    if len(lacking) == len(witnesses.WITNESSES):
        raise BenchError(f"there is nothing to check against: {'; '.join(lacking.values())}")
    return played, left_out


@contextmanager
def nginx_folder() -> Iterator[str]:
    """A folder for nginx, whose configuration has PORT where each sample puts its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "template").write_text(NGINX_CONF.format(folder=folder, port="PORT"))
        yield folder


def arm_of(server: str, folder: str) -> arms.Arm:
    if server != "nginx":
        return arms.models([server])[0]
    conf = f"{folder}/conf"
    start = f'sed "s/PORT/$0/" {folder}/template > {conf} && exec {nginx_path()} -c {conf} -p {folder} -e stderr'
    path = Path(str(nginx_path()))
    return arms.Arm(
        "nginx",
        ("/bin/sh", "-c", start, "{port}"),
        arms.file_hash(path),
        "nginx",
        protocols=("http",),
        kind="contender",
        contender={"port": "given", "ready_line": None},
    )


# --- the plan --------------------------------------------------------------------------------------------------------


def schedule(played: Sequence[Scene], blocks: int, seed: int) -> list[Sample]:
    """Every block has every scene in random order, every scene all its tools back to back in random order."""
    chance = random.Random(seed)
    return [
        Sample(
            f"{scene.name}/{scene.server}/{block}/{tool}",
            "crosscheck",
            f"scene={scene.name},tool={tool}",
            block,
            scene.server,
            "arm",
            scene.options(tool),
            {},
        )
        for block in range(blocks)
        for scene in chance.sample(played, len(played))
        if not (scene.traced and block > 0)
        for tool in chance.sample(scene.tools, len(scene.tools))
    ]


def expected_s(played: Sequence[Scene], blocks: int) -> float:
    return blocks * sum((parse_time_ns(s.duration) / 1e9 + SIDE_S) * len(s.tools) for s in played if not s.traced)


def lay_down(results: Path, played: Sequence[Scene], left_out: list[str], options: argparse.Namespace) -> Path:
    """The run's folder, with what will be measured before the first sample."""
    engines = {TOOLS[tool].witness for scene in played for tool in scene.tools}
    folder = records.create(results, "crosscheck")
    told = {
        "schema": records.SCHEMA,
        "seed": options.seed,
        "blocks": options.blocks,
        "tools": prepare.tools() | witnesses.needed(engines),
        "labels": {name: tool.label for name, tool in TOOLS.items()},
        "scenes": [asdict(scene) for scene in played],
        "left_out": left_out,
    }
    records.write_json(folder / ABOUT, told)
    records.write_json(folder / "env.json", env.collect())
    return folder


# --- measuring -------------------------------------------------------------------------------------------------------


def pending(folder: Path) -> list[Sample]:
    """The samples of the run that have no record yet."""
    told = records.read_json(folder / ABOUT)
    played = [Scene(**(scene | {"tools": tuple(scene["tools"])})) for scene in told["scenes"]]
    done = {record["id"] for record in records.read_samples(folder)}
    return [sample for sample in schedule(played, told["blocks"], told["seed"]) if sample.id not in done]


def carry_out(due: Sequence[Sample], folder: Path, console: Console) -> None:
    """Measures them; raises Interrupted when a signal ends it."""
    told = records.read_json(folder / ABOUT)
    loadgen, where = told["tools"]["loadgen"], placement.place()
    if arms.file_hash(paths.ROOT / loadgen["path"]) != loadgen["sha256"]:
        raise BenchError(f"the load generator is not what {folder.name} was begun with; start a new run")
    again = f"go on with: python3 -m bench crosscheck --from {paths.shown(folder)}"
    loops, keep = told["tools"]["calibrate"]["loops_per_us"], records.Appender(folder)
    try:
        with nginx_folder() as scratch, runner.out_of_the_way(where.bench), host.Stop(
            again
        ) as stop, runner.buried() as undertaker:
            bed = measure.Bed(loadgen["path"], where, undertaker, stop, loops, told["seed"])
            known = {name: arm_of(name, scratch) for name in dict.fromkeys(sample.arm for sample in due)}
            for sample in track(due, console=console, auto_refresh=False, disable=not console.is_terminal):
                stop.check()
                record = measured(sample, known[sample.arm], bed)
                keep.add(record)
                if record["why"]:
                    console.print(Text(f"{sample.id}: {record['status']}: {record['why']}", style="yellow"))
    finally:
        keep.close()


def measured(sample: Sample, arm: arms.Arm, bed: measure.Bed) -> dict:
    """A sample, with one more chance where the host was taken away; ours also as wrk would have corrected it."""
    if sample.cell.startswith("scene=calls,"):
        return crosscheck_calls.count(sample, arm, bed)
    for _ in range(runner.CHANCES):
        record = measure.measure(sample, arm, bed)
        if record["status"] != "invalid":
            break
        bed.stop.check()
    if record["status"] == "ok" and not witnesses.is_one(sample.options):
        record["corrected"] = crosscheck_derive.corrected_as_wrk(record["load"], sample.options["connections"])
    return record


# --- the command -----------------------------------------------------------------------------------------------------


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--servers", default=",".join(SERVERS), metavar="A,B", help=f"default: {','.join(SERVERS)}")
    command.add_argument(
        "--connections", default=",".join(map(str, CONNECTIONS)), metavar="N,M", help="default: 1,50,200"
    )
    command.add_argument("--no-evidence", action="store_true", help="leave out the scenes that show why tools differ")
    command.add_argument(
        "--blocks", type=int, default=BLOCKS, metavar="K", help=f"paired repetitions (default: {BLOCKS})"
    )
    command.add_argument(
        "--seed", type=int, default=int(time.time()), metavar="N", help="of the order (default: from the clock)"
    )
    command.add_argument("--from", dest="run", metavar="DIR", help="finish this run, or show it again")
    command.add_argument(
        "--sample", metavar="DIR", help="make this run the committed sample of docs/crosscheck.md, and stop"
    )
    command.add_argument("--no-figures", action="store_true", help="leave out the figure")
    command.add_argument("--dry-run", action="store_true", help="say what would be run and how long it takes, and stop")
    command.add_argument("--together", action="store_true", help="run even while another bench runs here")


def from_options(console: Console, options: argparse.Namespace) -> int:
    if options.sample:
        folder = found(paths.results_dir(options.results), options.sample)
        crosscheck_derive.take_sample(folder, paths.CROSSCHECK_SAMPLE)
        console.print(f"made: {paths.shown(paths.CROSSCHECK_SAMPLE)}")
        return 0
    if options.run:
        folder = found(paths.results_dir(options.results), options.run)
    else:
        played, left_out = able(wanted(options))
        for line in left_out:
            console.print(Text(line, style="yellow"))
        count = len(schedule(played, options.blocks, options.seed))
        console.print(
            f"crosscheck: {len(played)} scenes, {count} samples, "
            f"about {format_seconds(expected_s(played, options.blocks))}"
        )
        if os.getloadavg()[0] > prepare.BUSY:
            console.print(f"mind: other programs use this host (load average {os.getloadavg()[0]:.1f})")
        if options.dry_run:
            return 0
        folder = lay_down(paths.results_dir(options.results), played, left_out, options)
    if due := pending(folder):
        with runner.alone(options.together):
            carry_out(due, folder, console)
    summary = crosscheck_derive.write(folder)
    crosscheck_text.show(console, summary)
    if not options.no_figures:
        console.print(f"figure: {paths.shown(crosscheck_text.draw(folder, folder / 'figures'))}")
    console.print(f"records: {paths.shown(folder)}")
    return 1 if summary["failed"] else 0


def wanted(options: argparse.Namespace) -> list[Scene]:
    servers = options.servers.split(",")
    for server in servers:
        if server not in (*arms.model_names(), "nginx"):
            raise UsageError(f"--servers: no server {server!r}{nearest(server, [*arms.model_names(), 'nginx'])}")
    sizes = options.connections.split(",")
    if not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise UsageError(f"--connections: expected whole numbers such as 1,50, got {options.connections!r}")
    if options.blocks < 1:
        raise UsageError(f"--blocks: expected 1 or more, got {options.blocks}")
    return scenes(servers, [int(size) for size in sizes], not options.no_evidence)


def found(results: Path, name: str) -> Path:
    """The run of that path or name."""
    for folder in (Path(name), results / name):
        if (folder / ABOUT).is_file():
            return folder.resolve()
    known = [path.parent.name for path in results.glob(f"*/{ABOUT}")]
    raise UsageError(f"no run of crosscheck {name!r}{nearest(name, known)}")
