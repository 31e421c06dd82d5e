"""A comparison's verdict as a headline, a table and a JSON document."""

import json
import math
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import metrics, paths, records
from bench.compare_judge import (
    CONTAMINATED,
    IMPROVED,
    INCONCLUSIVE,
    MISSING,
    PASS,
    REGRESSED,
    Judgement,
    Verdict,
    differences,
)
from bench.compare_plan import Plan

STYLES = {
    REGRESSED: "bold red",
    IMPROVED: "bold green",
    PASS: "green",
    INCONCLUSIVE: "yellow",
    CONTAMINATED: "bold yellow",
    MISSING: "bold red",
}
NEXT = {
    INCONCLUSIVE: "more time decides more: --max-time",
    CONTAMINATED: "run it again when the host is quiet (python3 -m bench doctor says what disturbs it)",
    MISSING: "name the models that both sides have with --models",
}
SAY_EVERY_S = 10.0


class Said:
    """Progress: one living line on a terminal, a line now and then elsewhere; nothing while a window is open."""

    def __init__(self, console: Console):
        self.console, self.last, self.phase = console, 0.0, ""

    def __call__(self, line: str) -> None:
        if self.console.is_terminal:
            self.console.print(f"\r{line}\x1b[K", end="", highlight=False, markup=False)
            return
        phase, now = line.partition(":")[0], time.monotonic()
        if phase != self.phase or now - self.last >= SAY_EVERY_S:
            self.phase, self.last = phase, now
            self.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        if self.console.is_terminal:
            self.console.print("\r\x1b[K", end="")


def percent(ratio: float | None) -> str:
    if not ratio or not math.isfinite(ratio):
        return "?"
    return f"{ratio - 1:+.1%}"


def table(judgement: Judgement) -> Table:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, justify in (
        ("model and load", "left"),
        ("figure", "left"),
        ("B over A", "right"),
        ("95 % interval", "right"),
        ("quads", "right"),
        ("verdict", "left"),
        ("", "left"),
    ):
        shown.add_column(heading, justify=justify, no_wrap=heading != "")
    for one in judgement.found:
        interval = (
            f"{percent(one.low)} to {percent(one.high)}" if one.low is not None and one.note[:8] != "the same" else ""
        )
        shown.add_row(
            one.contest,
            metrics.METRICS[one.metric].label,
            percent(one.ratio),
            interval,
            str(one.quads or ""),
            Text(one.verdict, style=STYLES[one.verdict]),
            Text(remark(one), style="dim"),
        )
    return shown


def remark(one: Verdict) -> str:
    if one.note or one.verdict != INCONCLUSIVE or one.detectable is None:
        return one.note
    return f"a slowdown of {one.detectable:.1%} would have been found in four of five runs"


def headline(plan: Plan, judgement: Judgement) -> Text:
    a, b = plan.sides["A"]["shown"], plan.sides["B"]["shown"]
    return Text.assemble(
        (judgement.verdict, STYLES[judgement.verdict]),
        f"  {b} against {a}" + (f": {judgement.why}" if judgement.why else ""),
    )


def show(console: Console, plan: Plan, judgement: Judgement, folder: Path | None) -> None:
    if judgement.found:
        console.print(table(judgement))
    for one in plan.missing:
        console.print(Text(f"missing: {one['why']}", style="yellow"))
    control = judgement.control
    if control["median_us"]:
        console.print(
            f"control server: {control['median_us']:.2f} µs per request over {control['samples']} samples, "
            f"spread {control['spread']:.0%}; {judgement.windows} windows in all"
            + (f", {judgement.discarded} of them invalid" if judgement.discarded else ""),
            highlight=False,
            style="dim",
        )
    console.print(headline(plan, judgement))
    if judgement.verdict in NEXT:
        console.print(NEXT[judgement.verdict], highlight=False, style="dim")
    if folder:
        console.print(
            f"{paths.shown(folder)}: decided again with: python3 -m bench compare --from {folder.name}",
            highlight=False,
            style="dim",
        )


def document(plan: Plan, judgement: Judgement, samples: list[dict], code: int, run: str | None) -> dict:
    """What --json writes and verdict.json keeps; no infinities, which JSON has not."""
    found = {
        "schema": records.SCHEMA,
        "run": run,
        "exit": code,
        "sides": plan.sides,
        "margin": plan.margin,
        **judgement.as_record(),
    }
    quads = {contest.key: quads_of(plan, samples, contest.key) for contest in plan.measured}
    labels = {metric: metrics.METRICS[metric].label for metric in plan.metrics}
    return finite({**found, "missing": plan.missing, "notes": plan.notes, "labels": labels, "quads": quads})


def quads_of(plan: Plan, samples: list[dict], contest: str) -> dict[str, dict[str, list[float]]]:
    """ln B - ln A of every quad, by figure and pass: what the estimate, the interval and the figure are made of."""
    return {
        metric: {
            name: [round(d, 5) for d in differences(samples, contest, number, metric)]
            for number, name in ((1, "first"), (2, "second"))
        }
        for metric in plan.metrics
    }


def finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(target: str, told: dict) -> None:
    if target == "-":
        json.dump(told, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        records.write_json(Path(target), told)
