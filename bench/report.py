"""A run from first sample to the last word: measure, derive, tables, pictures, paths."""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import aside, claims_ledger, claims_run, derive, metrics, notes, paths, prepare, progress
from bench import records, runner, table, terminal_plot
from bench.doctor import Finding
from bench.errors import BenchError, UsageError
from bench.measure import Bed
from bench.prepare import Ready
from bench.units import nearest, number


def carry_out(ready: Ready, options: argparse.Namespace, console: Console, begun: float) -> int:
    """A new run, announced and told of; only announced where that is all that was asked for."""
    console.print(prepare.announce(ready), highlight=False)
    if options.dry_run:
        return 0
    with runner.alone(options.together):
        folder = prepare.lay_down(ready, paths.results_dir(options.results))
        return run_and_show(ready, folder, options, console, begun)


def run_and_show(ready: Ready, folder: Path, options: argparse.Namespace, console: Console, begun: float) -> int:
    """Carries the plan out and shows the result; the exit code says whether every sample was good."""
    tools = ready.plan.tools
    bed = Bed(
        tools["loadgen"]["path"], ready.placement, loops_per_us=tools["calibrate"]["loops_per_us"], seed=ready.plan.seed
    )
    bed = replace(bed, count_threads=claims_run.wants_threads(ready.plan))
    runner.carry_out(ready.plan, folder, bed, progress.choose(console))
    if ready.plan.claims:
        return claims_run.finish(ready.plan, folder, options, console, begun)
    summary = show(folder, console, derive.write(folder))
    if not options.no_figures:
        draw(folder, console)
    session = (records.read_samples(folder, "sessions.jsonl") or [None])[-1]
    console.print(f"{notes.closing(summary, time.monotonic() - begun, session)}; records: {paths.shown(folder)}")
    return exit_code(summary)


def exit_code(summary: dict) -> int:
    """0 when every cell has its figures; 1 when a sample failed; 3 when a cell was left with invalid samples only."""
    if summary["failed"]:
        return 1
    cells = [found for e in summary["experiments"].values() for c in e["cells"] for found in c["arms"].values()]
    return 3 if any(found["samples"]["invalid"] and not found["samples"]["ok"] for found in cells) else 0


def show(folder: Path, console: Console, summary: dict | None = None) -> dict:
    """A run's tables and its pictures in characters; the ledger of a run of claims."""
    if summary is None and claims_run.is_claims_run(folder):
        return claims_ledger.show(folder, console)
    summary = summary or derive.derive(folder)
    console.print()
    table.show(console, summary)
    for name in summary["experiments"]:
        picture = terminal_plot.draw(summary, name, min(console.width, 110) if console.is_terminal else 100)
        if picture:
            console.print(picture, markup=False, highlight=False, no_wrap=True, soft_wrap=True)
            console.print()
    return summary


def draw(folder: Path, console: Console) -> None:
    """Figures by plots/, in a process of its own that reads derived data only."""
    done = subprocess.run([sys.executable, "-m", "plots", str(folder)], cwd=paths.ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        again = f"python3 -m bench derive {paths.shown(folder)}"
        raise BenchError(f"the figures could not be drawn ({last}); the records are whole. Try again with: {again}")
    for line in done.stdout.splitlines():
        console.print(f"figure: {paths.shown(Path(line))}")


def derive_and_draw(folder: Path, console: Console) -> None:
    if claims_run.is_claims_run(folder):
        claims_run.redo(folder, console)
        return
    derive.write(folder)
    console.print(f"derived: {paths.shown(folder / 'derived' / 'summary.json')}, summary.tsv")
    draw(folder, console)


def show_cell(folder: Path, cell: str, console: Console) -> None:
    """The samples behind one point of a figure, in the order measured."""
    found = records.read_samples(folder)
    names = sorted({f"{r['experiment']}/{r['cell']}" for r in found})
    if cell not in names:
        raise UsageError(f"no cell {cell!r} in {folder.name}{nearest(cell, names)}")
    mine = [r for r in found if f"{r['experiment']}/{r['cell']}" == cell]
    shown = [m for m in metrics.METRICS.values() if any(m.read(r) is not None for r in mine)]
    out = Table(
        title=f"{cell}, {len(mine)} samples in the order measured",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    out.add_column("id", no_wrap=True)
    out.add_column("status")
    for metric in shown:
        out.add_column(f"{metric.name}\n[{metric.unit}]".replace("[", "\\["), justify="right")
    for record in mine:
        values = [metric.read(record) for metric in shown]
        out.add_row(record["id"], record["status"], *("" if v is None else number(v) for v in values))
    console.print(out)
    for record in mine:
        if "figures" in record:  # of a committed sample of claims, whose records have them read already
            console.print(f"{record['id']}: {json.dumps(record['figures'])}", markup=False, soft_wrap=True)
        for role in aside.ROLES:
            if role in record:
                console.print(f"{record['id']}: {json.dumps(record[role])}", markup=False, soft_wrap=True)
        if record["why"]:
            console.print(
                f"{record['id']}: {record['why']}" + (
                    f"\n  last words: {record['last_words']}" if record["last_words"] else ""
                ),
                markup=False,
            )


def show_findings(findings: list[Finding], console: Console) -> None:
    """The doctor's findings, what each does to a result, and how to mend it."""
    styles = {"good": "green", "mind": "yellow", "bad": "bold red"}
    for finding in findings:
        level, what = (f"{finding.level:<5}", styles[finding.level]), (f"{finding.what:<13}", "bold")
        console.print(Text.assemble(level, what, finding.found))
        for lead, words in (("so: ", finding.effect), ("mend: ", finding.mend)):
            if words:
                console.print(Text(f"{'':18}{lead}{words}", style="dim"))
