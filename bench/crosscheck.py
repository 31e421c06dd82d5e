"""`make crosscheck`: the same servers under our load generator and under wrk, h2load and ab.

An instrument that nobody else agrees with is no instrument.  A scene is one load of one server; within a block all
tools drive it back to back in fresh random order, each a fresh server process, so that what drifts meets them alike
and their ratios are paired.  The agreement scenes ask whether throughput, p50 and p99 agree; the others give the
evidence for why they differ where they do (docs/crosscheck.md).

crosscheck_scenes.py says what is measured, this module measures it, crosscheck_derive.py says what follows, and
crosscheck_text.py shows it.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.text import Text

from bench import arms, crosscheck_calls, crosscheck_derive, crosscheck_text, env, host, measure, paths, placement
from bench import prepare, records, runner, witnesses
from bench.crosscheck_scenes import CONNECTIONS, SERVERS, TOOLS, Scene, able, arm_of, expected_s, nginx_folder
from bench.crosscheck_scenes import scenes, schedule
from bench.errors import BenchError, UsageError
from bench.plan import Sample
from bench.units import format_seconds, nearest

BLOCKS = 12
ABOUT = "crosscheck.json"


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
        if pending(folder):
            same_host(folder)
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


def same_host(folder: Path) -> None:
    """Refuses to go on with a run that was begun elsewhere."""
    then, now = records.read_json(folder / "env.json")["fingerprint"], env.collect()["fingerprint"]
    if then != now:
        begun = f"{folder.name} was begun on another host or setting (fingerprint {then}, here {now})"
        raise BenchError(f"{begun}; start a new run")


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
