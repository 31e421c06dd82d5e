"""`make anatomy`: what a model does per request and holds per connection, beside how long it takes.

Three passes over each model, none of which measures time: system calls in lock-step (bench/lockstep.py, exact), the
same under load (bench/traced.py, where the kernel's tracepoints can be read), memory of idle connections
(bench/idle_memory.py).  One JSON line per model and pass in results/TIME-anatomy/anatomy.jsonl; `python3 -m bench docs
--anatomy RUN` makes a run the committed sample, from which docs/models.md gets its tables.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import arms, env, idle_memory, lockstep, paths, placement, prepare, records, runner, traced
from bench.arms import Arm, sort_key
from bench.errors import BenchError, UsageError
from bench.measure import Bed
from bench.serve import Unavailable
from bench.units import nearest, number

PASSES = ("lockstep", "tracepoints", "memory")
REQUESTS = 100
FILE = "anatomy.jsonl"


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", nargs="*", metavar="MODEL", help="default: every model that is built")
    command.add_argument(
        "--only", metavar="A,B", default=",".join(PASSES), help=f"of the passes {', '.join(PASSES)} (default: all)"
    )
    command.add_argument(
        "--requests", type=int, default=REQUESTS, metavar="N", help=f"in lock-step: N and 2 N (default: {REQUESTS})"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Every pass over every model; records, table, figure."""
    passes = [name.strip() for name in options.only.split(",")]
    for name in passes:
        if name not in PASSES:
            raise UsageError(f"--only: no pass {name!r}{nearest(name, PASSES)}")
    if options.requests < 1:
        raise UsageError(f"--requests: expected 1 or more, got {options.requests}")
    models = arms.models(list(dict.fromkeys(options.models)) or "all")
    for name, impossible in (("lockstep", lockstep.why_impossible()), ("tracepoints", traced.why_impossible())):
        if name in passes and impossible:
            console.print(f"{name} is left out: {impossible}", style="yellow")
            passes.remove(name)
    if not passes:
        raise BenchError("no pass can be run here")
    with runner.alone(False), runner.buried() as undertaker:
        folder = records.create(paths.results_dir(options.results), "anatomy")
        bed = Bed(str(paths.build_dir() / "loadgen"), placement.place(), undertaker)
        environment = env.collect()
        records.write_json(folder / "env.json", environment)
        run = {"kind": "run", "run": folder.name, "requests": options.requests, "environment": env.footer(environment)}
        with open(folder / FILE, "w") as file:
            for record in itertools.chain([run], measure_all(models, passes, options.requests, bed, console)):
                file.write(json.dumps({"schema": records.SCHEMA, **record}, ensure_ascii=False) + "\n")
                file.flush()
    found = derive(folder)
    console.print(table(found))
    console.print(f"records: {paths.shown(folder / FILE)}", highlight=False)
    return 1 if any(record.get("failed") for record in found) else 0


def measure_all(models: list[Arm], passes: list[str], requests: int, bed: Bed, console: Console) -> Iterable[dict]:
    """The records as they come; a model that fails has a record that says so, and the rest goes on."""
    for arm in models:
        begun = time.monotonic()
        yield {
            "kind": "model",
            "model": arm.name,
            "protocols": arm.protocols,
            "clients_at_once": arm.clients_at_once,
            "needs": arm.needs,
            "sha256": arm.sha256,
        }
        try:
            yield from of_model(arm, passes, requests, bed)
        except Unavailable as why:
            yield {"kind": "unavailable", "model": arm.name, "why": str(why)}
            console.print(f"{arm.name}: cannot run here: {why}", style="yellow")
        except BenchError as why:
            yield {"kind": "failure", "model": arm.name, "failed": True, "why": str(why)}
            console.print(f"{arm.name}: {why}", style="red")
        console.print(f"{arm.name}: {time.monotonic() - begun:.1f} s", style="dim")


def of_model(arm: Arm, passes: list[str], requests: int, bed: Bed) -> Iterable[dict]:
    seen: set[str] = set()
    if "lockstep" in passes:
        for case in lockstep.CASES:
            if case.protocol in arm.protocols and set(case.options) <= set(arm.options):
                record = lockstep.count(arm, case, requests, bed.placement.server, bed.undertaker)
                seen |= set(record["calls"])
                yield record
    if "tracepoints" in passes and not arms.why_unfit(arm, traced.LOAD, prepare.fd_limit()):
        yield traced.count(arm, seen or {"read", "write", "recvfrom", "sendto"}, bed)
    if "memory" in passes and "echo" in arm.protocols:
        yield idle_memory.measure(arm, bed)


def read(folder: Path) -> list[dict]:
    """The records of an anatomy run, or of the sample."""
    try:
        found = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    except FileNotFoundError:
        raise UsageError(f"{paths.shown(folder)} has no {FILE}; make one with: make anatomy") from None
    for record in found:
        records.check_schema(record["schema"], folder / FILE)
    return found


def derive(folder: Path) -> list[dict]:
    """The records; and what the figure shows of them, kept in derived/anatomy.json."""
    found = read(folder)
    run = next(record for record in found if record["kind"] == "run")
    models = {}
    for model in models_of(found):
        exact, load = of(found, model, "lockstep", "echo"), of(found, model, "tracepoints")
        if exact:
            models[model] = {"lockstep": exact["calls"], "load": load["calls"] if load and load["valid"] else None}
    (folder / "derived").mkdir(exist_ok=True)
    shown = {"schema": records.SCHEMA, "run": run["run"], "environment": run["environment"], "models": models}
    records.write_json(folder / "derived" / "anatomy.json", shown)
    return found


def of(found: list[dict], model: str, kind: str, case: str | None = None) -> dict | None:
    """The one record of that kind."""
    return next((r for r in found if r.get("model") == model and r["kind"] == kind and r.get("case") == case), None)


def models_of(found: list[dict]) -> list[str]:
    return sorted({record["model"] for record in found if "model" in record}, key=sort_key)


def calls_text(record: dict | None, join: str = ", ") -> str:
    """`epoll_pwait2, recvfrom, sendto 2`: whole numbers in lock-step, two digits where they vary."""
    if not record:
        return "–"
    calls = sorted(record["calls"].items())
    return (
        join.join(name if round(n, 2) == 1 else f"{name} × {number(round(n, 2))}" for name, n in calls if n >= 0.01)
        or "none"
    )


def bytes_text(value: int | None) -> str:
    return "–" if value is None else f"{value:,} B" if value < 10_000 else f"{value / 1024:,.0f} KiB"


def table(found: list[dict]) -> Table:
    shown = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("model", "system calls per request", "under load", "idle: its own", "the kernel's"):
        shown.add_column(heading, overflow="fold")
    for model in models_of(found):
        memory = of(found, model, "idle_memory") or {}
        load = of(found, model, "tracepoints")
        total = "–" if not load else number(round(sum(load["calls"].values()), 2)) if load["valid"] else "invalid"
        shown.add_row(
            model,
            calls_text(of(found, model, "lockstep", "echo")),
            total,
            bytes_text(memory.get("user_bytes_per_idle_conn")),
            bytes_text(memory.get("kernel_bytes_per_idle_conn")),
        )
    return shown
