"""The lab's part of the documents: the steps of io_uring, the topologies, and the wait alone.

From two samples of committed records beside the headline one: a run of the lab's experiments, and a run of micro.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench import derive, drawing, env, micro, paths, records
from bench.errors import UsageError
from bench.units import nearest

LAB = paths.SAMPLE_RUN / "lab"
MICRO = paths.SAMPLE_RUN / "micro"
FIGURES = paths.ROOT / "docs" / "figures"


def take_micro(name: str, results: Path) -> None:
    """Makes a run of micro the committed one."""
    run = next((place for place in (Path(name), results / name) if (place / "samples.jsonl").is_file()), None)
    if not run or (run / "plan.json").exists():
        known = [path.name for path in results.glob("*-micro")]
        where = paths.shown(results)
        raise UsageError(f"no run of micro {name!r} in {where}{nearest(name, known)}; make one with: make micro")
    MICRO.mkdir(parents=True, exist_ok=True)
    records.write_json(MICRO / "env.json", {"run": run.name, **records.read_json(run / "env.json")})
    (MICRO / "samples.jsonl").write_bytes((run / "samples.jsonl").read_bytes())


@cache
def lab_summary(_written_ns: int) -> dict:
    return derive.derive(LAB)


def lab() -> dict | None:
    plan = LAB / "plan.json"
    return lab_summary(plan.stat().st_mtime_ns) if plan.exists() else None


def figure(name: str) -> Callable[[dict], str]:
    def block(_summary: dict) -> str:
        experiment = (lab() or {"experiments": {}})["experiments"].get(name)
        if not experiment:
            return "No sample of records is committed yet.\n"
        return f"![{experiment['title']}](FIGURES/{name}.svg)\n\n*{experiment['question']}*\n"

    return block


def lab_from(_summary: dict) -> str:
    found = lab()
    if not found:
        return "No sample of records is committed yet.\n"
    blocks = max(e["blocks"] for e in found["experiments"].values())
    return f"Run `{found['run']}`: {found['measured']} samples in {blocks} blocks. {found['environment']}.\n"


def micro_figure(_summary: dict) -> str:
    if not (MICRO / "samples.jsonl").exists():
        return "No sample of records is committed yet.\n"
    surface = "![What a wait costs, over watched and ready](FIGURES/micro-surface.svg)\n"
    return "![The wait alone](FIGURES/micro.svg)\n\n" + surface


def micro_table(_summary: dict) -> str:
    """The prices of a wait, with their intervals."""
    if not (MICRO / "samples.jsonl").exists():
        return ""
    lines = [
        "| way of waiting | c0 [ns] | c1 [ns per watched] | c2 [ns per ready] | fit off by |",
        "|---|---:|---:|---:|---:|",
    ]
    found, _ = micro.read(MICRO)
    for way in found:
        cost = micro.price(way)
        prices = " | ".join(micro.spread(triple) for triple in (cost.c0, cost.c1, cost.c2))
        lines.append(f"| `{way.name}` | {prices} | {cost.off:.0%} |")
    host = records.read_json(MICRO / "env.json")
    return "\n".join(lines) + f"\n\nRun `{host['run']}`. {env.footer(host)}.\n"


def draw() -> list[Path]:
    """The figures of the committed samples."""
    made = []
    if lab():
        derive.write(LAB)
        made += drawing.drawn("plots", "--svg", "--to", FIGURES, LAB)
    if (MICRO / "samples.jsonl").exists():
        name = json.loads((MICRO / "env.json").read_text())["run"]
        made += micro.drawn(MICRO, micro.read(MICRO)[0], FIGURES, name, (".svg",))
    return made


BLOCKS: dict[str, Callable[[dict], str]] = {
    "figure-ladder": figure("io_uring_ladder"),
    "figure-ladder-ratios": lambda _: "![The same as ratios](FIGURES/io_uring_ladder-ratios.svg)\n" if lab() else "",
    "figure-topologies": figure("topologies"),
    "lab-from": lab_from,
    "figure-micro": micro_figure,
    "micro-table": micro_table,
}
