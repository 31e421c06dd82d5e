"""The generated parts of docs/models.md: each model's facts, and the tables beside the figure of system calls.

They are made from the pages in servers/ and from results/sample/anatomy.jsonl, a run of `make anatomy`.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench import anatomy, lockstep, pages, paths
from bench.errors import BenchError, UsageError
from bench.records import check_schema
from bench.units import nearest, number

FIGURES = paths.ROOT / "docs" / "figures"
LOCKSTEP = {case.name: case for case in lockstep.CASES}


@cache
def sample() -> list[dict]:
    """The committed records; none before the first."""
    return anatomy.read(paths.SAMPLE_RUN) if (paths.SAMPLE_RUN / anatomy.FILE).exists() else []


def take_sample(run: str, results: Path) -> None:
    """Makes an anatomy run's records the committed ones; all but what the whole host's slabs held."""
    folder = next((place for place in (Path(run), results / run) if (place / anatomy.FILE).is_file()), None)
    if not folder:
        known = [path.parent.name for path in results.glob(f"*/{anatomy.FILE}")]
        raise UsageError(
            f"no anatomy run {run!r} in {paths.shown(results)}{nearest(run, known)}; make one with: make anatomy"
        )
    kept = []
    for record in anatomy.read(folder):
        check_schema(record["schema"], folder / anatomy.FILE)
        for moment in record.get("at", []):
            moment.pop("slabs", None)
        kept.append(json.dumps(record, ensure_ascii=False))
    (paths.SAMPLE_RUN / anatomy.FILE).write_text("\n".join(kept) + "\n")
    sample.cache_clear()


def draw() -> list[Path]:
    """The figure of the committed records."""
    if not sample():
        return []
    anatomy.derive(paths.SAMPLE_RUN)
    command = [sys.executable, "-m", "plots.anatomy", "--svg", "--to", str(FIGURES), str(paths.SAMPLE_RUN)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"the figure could not be drawn: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return [Path(line) for line in done.stdout.splitlines()]


def marked(text: str) -> str:
    """Names of calls as code, numbers of them plain."""
    return ", ".join(f"`{part.split(' ', 1)[0]}`" + part[len(part.split(" ", 1)[0]) :] for part in text.split(", "))


def calls(model: str, case: str) -> str:
    record = anatomy.of(sample(), model, "lockstep", case)
    return marked(anatomy.calls_text(record)) if record else "–"


def under_load(model: str) -> str:
    record = anatomy.of(sample(), model, "tracepoints")
    if not record or not record["valid"]:
        return "–"
    return f"{number(round(sum(record['calls'].values()), 2))} ({marked(anatomy.calls_text(record))})"


def memory(model: str) -> str:
    record = anatomy.of(sample(), model, "idle_memory")
    if not record or "user_bytes_per_idle_conn" not in record:
        return record["why"] if record and record.get("why") else "–"
    own, kernel = record["user_bytes_per_idle_conn"], record["kernel_bytes_per_idle_conn"]
    tasks = record["tasks_per_idle_conn"]
    said = f"{anatomy.bytes_text(own)} of its own, {anatomy.bytes_text(kernel)} of the kernel's for both ends"
    return said + (
        f"; {number(tasks)} thread{'s' if tasks != 1 else ''} or process{'es' if tasks != 1 else ''}" if tasks else ""
    )


def facts(model: str) -> Callable[[dict], str]:
    """A model's block: its thesis, and what was counted."""

    def block(_summary: dict) -> str:
        told = anatomy.of(sample(), model, "model")
        at_once = (
            "–"
            if not told
            else f"{told['clients_at_once']:,}"
            if told["clients_at_once"]
            else "as many as descriptors allow"
        )
        rows = {
            "system calls per request": calls(model, "echo"),
            "of a request that waits for a timer": calls(model, "delay"),
            "of a connection with one request": calls(model, "connection"),
            "per request under load": under_load(model),
            "clients at once": at_once,
            "memory per idle connection": memory(model),
            "speaks": ", ".join(told["protocols"]) if told else "–",
            **({"keeps for each connection": pages.read(model).keeps} if pages.read(model).keeps else {}),
            "needs": ", ".join(told["needs"]) or "nothing beyond POSIX" if told else "–",
        }
        lines = [f"*{pages.read(model).thesis}*", "", "| | |", "|---|---|"]
        return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()]) + "\n"

    return block


def table(_summary: dict) -> str:
    """Every model's calls in lock-step and their number under load."""
    lines = [
        "| model | a request | waits for a timer, more | a connection with one request | a request under load |",
        "|---|---|---|---:|---:|",
    ]
    for model in pages.names():
        whole = anatomy.of(sample(), model, "lockstep", "connection")
        load = anatomy.of(sample(), model, "tracepoints")
        lines.append(
            f"| `{model}` | {calls(model, 'echo')} | {more(model)} "
            f"| {number(sum(whole['calls'].values())) if whole else '–'} "
            f"| {number(round(sum(load['calls'].values()), 2)) if load and load['valid'] else '–'} |"
        )
    return "\n".join(lines) + "\n"


def more(model: str) -> str:
    """What a delay adds to a request."""
    plain, delayed = (anatomy.of(sample(), model, "lockstep", case) for case in ("http", "delay"))
    if not plain or not delayed:
        return "–"
    added = {name: n - plain["calls"].get(name, 0) for name, n in delayed["calls"].items()}
    return marked(anatomy.calls_text({"calls": added}))


def provenance(_summary: dict) -> str:
    run = next((record for record in sample() if record["kind"] == "run"), None)
    if not run:
        return "Nothing is measured yet: `make anatomy`.\n"
    return (
        f"Run `{run['run']}`: in lock-step {run['requests']} requests and as many again, the difference; under load "
        f"50 connections and 20,000 requests/s. {run['environment']}.\n"
    )


def figure(_summary: dict) -> str:
    return "![System calls per request by name](FIGURES/anatomy.svg)\n" if sample() else ""


BLOCKS: dict[str, Callable[[dict], str]] = {
    "anatomy-table": table,
    "anatomy-from": provenance,
    "figure-anatomy": figure,
    **{f"facts-{model}": facts(model) for model in pages.names()},
}
