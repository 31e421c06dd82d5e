"""What the exact tier found: said in lines, kept as a record, and taken over by the ratchet."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench import env, paths, ratchet, records
from bench.gate_tier import MISSING, PASS, Outcome
from bench.units import format_seconds


def show(outcome: Outcome, console: Console) -> None:
    styles = {"worse": "bold red", "better": "green", "moved": "dim"}
    for verdict in ("worse", "better", "moved"):
        for change in [change for change in outcome.changes if change.verdict == verdict]:
            console.print(
                f"{verdict:<7} {change.says()}", style=styles[verdict], highlight=False, markup=False, soft_wrap=True
            )
    for line in outcome.missing:
        console.print(f"missing {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for line in outcome.notes:
        console.print(f"mind    {line}", style="dim", highlight=False, markup=False, soft_wrap=True)


def said(outcome: Outcome) -> str:
    """`20 models, 312 figures against bench/ratchet/...; 2 rose, 1 fell`."""
    values = [
        v
        for told in outcome.figures.values()
        for cases in told["figures"].values()
        for names in cases.values()
        for v in names.values()
    ]
    counts = {v: sum(change.verdict == v for change in outcome.changes) for v in ("worse", "better")}
    against = f" against {outcome.baseline}" if outcome.baseline else ", nothing to compare with"
    models = f"{len(outcome.figures)} model{'s' * (len(outcome.figures) != 1)}"
    timed = sum(isinstance(v, list) for v in values)
    apart = f" ({timed} of them depend on time and are not judged)" if timed else ""
    changed = f"{counts['worse']} rose, {counts['better']} fell, {len(outcome.missing)} missing"
    return f"{models}, {len(values)} figures{apart}{against}; {changed}"


def conclude(
    outcome: Outcome,
    chain: dict,
    options: argparse.Namespace,
    console: Console,
    begun: float,
    folder: Path | None = None,
) -> int:
    """Says and keeps it all; the exit code.  `folder` holds the ratchet of a project of its own."""
    show(outcome, console)
    record = keep(outcome, chain, paths.results_dir(options.results))
    code = follow(outcome, chain, options, console, folder) if options.update else outcome.code()
    spent = format_seconds(time.monotonic() - begun)
    verdict = "KEPT" if options.update else outcome.verdict()
    console.print(f"{verdict}: {said(outcome)}, {spent}; record: {paths.shown(record)}", highlight=False, soft_wrap=True)
    return code


def keep(outcome: Outcome, chain: dict, results: Path) -> Path:
    """The record that exports read."""
    folder = records.create(results, "gate")
    environment = env.collect()
    records.write_json(folder / "env.json", environment)
    told = {
        "schema": records.SCHEMA,
        "kind": "gate",
        "run": folder.name,
        "environment": env.footer(environment),
        "revision": environment["git"]["describe"],
        "toolchain": chain,
        "baseline": outcome.baseline,
        "verdict": outcome.verdict(),
        "models": outcome.figures,
        "changes": [asdict(change) | {"says": change.says()} for change in outcome.changes],
        "missing": outcome.missing,
        "notes": outcome.notes,
    }
    records.write_json(folder / "gate.json", told)
    return folder


def follow(
    outcome: Outcome, chain: dict, options: argparse.Namespace, console: Console, folder: Path | None = None
) -> int:
    """The ratchet moves: downwards, or upwards for a reason."""
    path = ratchet.path_of(chain, folder)
    new = ratchet.updated(ratchet.load(path), chain, outcome.figures, outcome.worse, options.allow_worse)
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(path, new)
    console.print(f"kept: {paths.shown(path)}")
    return MISSING if outcome.missing else PASS
