"""The generated parts of docs/models.md: each model's facts, and the tables beside the figure of system calls.

They are made from the pages in servers/ and from results/sample/anatomy.jsonl, a run of `make anatomy`.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench import anatomy, drawing, lockstep, pages, paths
from bench.errors import UsageError
from bench.units import nearest, number

FIGURES = paths.ROOT / "docs" / "figures"
LOCKSTEP = {case.name: case for case in lockstep.CASES}


@cache
def sample() -> list[dict]:
    """The committed records; none before the first."""
    return anatomy.read(paths.SAMPLE_RUN) if (paths.SAMPLE_RUN / anatomy.FILE).exists() else []


def take_sample(runs: str, results: Path) -> None:
    """Makes anatomy runs the committed records, all but what the whole host's slabs held.

    Of several runs, as A,B, the later replaces the models that it has.
    """
    kept: list[dict] = []
    for run in runs.split(","):
        found = anatomy.read(anatomy_run(run, results))
        again = set(anatomy.models_of(found))
        kept = [record for record in kept if record.get("model") not in again] + found
    for record in kept:
        for moment in record.get("at", []):
            moment.pop("slabs", None)
    lines = [json.dumps(record, ensure_ascii=False) for record in kept]
    (paths.SAMPLE_RUN / anatomy.FILE).write_text("\n".join(lines) + "\n")
    sample.cache_clear()


def anatomy_run(run: str, results: Path) -> Path:
    folder = next((place for place in (Path(run), results / run) if (place / anatomy.FILE).is_file()), None)
    if folder:
        return folder
    known = [path.parent.name for path in results.glob(f"*/{anatomy.FILE}")]
    where = f"{paths.shown(results)}{nearest(run, known)}"
    raise UsageError(f"no anatomy run {run!r} in {where}; make one with: make anatomy")


def draw() -> list[Path]:
    """The figure of the committed records."""
    if not sample():
        return []
    anatomy.derive(paths.SAMPLE_RUN)
    return drawing.drawn("plots.anatomy", "--svg", "--to", FIGURES, paths.SAMPLE_RUN)


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
    own, kernel = anatomy.bytes_text(record["user_bytes_per_idle_conn"]), record["kernel_bytes_per_idle_conn"]
    tasks = record["tasks_per_idle_conn"]
    parts = [f"{own} of its own"]
    parts += [f"{anatomy.bytes_text(kernel)} of the kernel's for both ends"] if kernel is not None else []
    parts += [f"{number(tasks)} of its threads or processes"] if tasks else []
    return ", ".join(parts)


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
    runs = [record for record in sample() if record["kind"] == "run"]
    if not runs:
        return "Nothing is measured yet: `make anatomy`.\n"
    names = ", ".join(f"`{run['run']}`" for run in runs)
    return (
        f"Run {names}: in lock-step {runs[0]['requests']} requests and as many again, the difference; under load "
        f"50 connections and 20,000 requests/s. {runs[-1]['environment']}.\n"
    )


def figure(_summary: dict) -> str:
    return "![System calls per request by name](FIGURES/anatomy.svg)\n" if sample() else ""


BLOCKS: dict[str, Callable[[dict], str]] = {
    "anatomy-table": table,
    "anatomy-from": provenance,
    "figure-anatomy": figure,
    **{f"facts-{model}": facts(model) for model in pages.names()},
}
