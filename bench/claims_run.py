"""A claims run from options to ledger: an ordinary run (plan, records, resume) of what the claims read."""

import argparse
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from bench import claims_file, claims_ledger, claims_plan, needs, paths, placement, plan, prepare, records
from bench.claims_file import Claim
from bench.errors import BenchError, UsageError
from bench.plan import Plan
from bench.units import format_seconds, nearest

WITHIN_S = {"quick": 5 * 60, "full": 90 * 60}  # what a whole run may take; a plan beyond that says so
LEDGER_S = 25  # of it for the ledger and its figures, of 150 claims on 2 cores
KINDS = {"arm": "under load", "capacity": "under load", "probe": "probes", "arrivals": "arrivals", "count": "counts"}


def ready(options: argparse.Namespace) -> prepare.Ready:
    """Everything that can be wrong is found here, before anything is written."""
    if options.blocks is not None and options.blocks < 1:
        raise UsageError(f"--blocks: expected 1 or more, got {options.blocks}")
    profile, chosen = options.profile or "quick", choose(options.ids)
    where = placement.place(server=options.server_cpus, client=options.client_cpus)
    made = claims_plan.make(
        chosen,
        profile,
        int(time.time()) if options.seed is None else options.seed,
        prepare.fd_limit(),
        options.blocks,
        lambda wanted: needs.missing(wanted, prepare.fd_limit(), len(where.server)),
    )
    made.tools = prepare.tools()
    names = [claim.id.lower() for claim in chosen] if len(chosen) <= 3 else []
    label = "-".join(["claims", *names, profile])
    return prepare.Ready(made, where, label)


def choose(ids: list[str]) -> list[Claim]:
    """The claims of these ids or files; all when none is named."""
    known = {path.stem.partition("-")[0].upper(): path for path in claims_file.files()}
    if not ids:
        if not known:
            raise UsageError(f"{paths.shown(paths.CLAIMS)} has no claims")
        return claims_file.load_all()
    chosen = []
    for name in ids:
        path = Path(name) if name.endswith(".toml") else known.get(name.upper())
        if path is None:
            raise UsageError(f"no claim {name!r}{nearest(name.upper(), known)}")
        chosen.append(path)
    return claims_file.load_all(dict.fromkeys(chosen))


def announce(made: Plan) -> list[str]:
    """How many claims, how long each kind of sample takes, and what cannot be tested here."""
    absent = [id for id, told in made.claims.items() if told["missing"]]
    untestable = f", {len(absent)} of them not testable here: {', '.join(absent)}" if absent else ""
    lines = [f"  {len(made.claims)} claims{untestable}"]
    spent: Counter[str] = Counter()
    for sample in made.samples:
        spent[KINDS[sample.role]] += plan.expected_s(sample)
    counts = Counter(KINDS[sample.role] for sample in made.samples)
    lines += [f"  {kind}: {counts[kind]} samples, {format_seconds(seconds)}" for kind, seconds in spent.items()]
    if made.expected_s + LEDGER_S > WITHIN_S[made.profile]:
        limit = format_seconds(WITHIN_S[made.profile])
        lines.append(f"  mind: longer than the {limit} that a {made.profile} run is meant to take at most")
    return lines


def wants_threads(made: Plan) -> bool:
    parts = [part for told in made.claims.values() for part in told["claim"]["parts"]]
    return any(part.get("metric") == "threads" for part in parts)


def finish(made: Plan, folder: Path, options: argparse.Namespace, console: Console, begun: float) -> int:
    """The ledger, then what went wrong; 1 when a sample failed of which no claim asks whether it fails."""
    claims_ledger.finish(folder, console, figures=not options.no_figures)
    found = records.read_samples(folder)
    asked = {id for told in made.claims.values() if asks_for_failure(told) for id in told["samples"]}
    failed = [record for record in found if record["status"] == "failed" and record["id"] not in asked]
    for record in failed[:5]:
        console.print(f"failed: {record['id']}: {record['why']}", markup=False)
    took = format_seconds(time.monotonic() - begun)
    console.print(f"{len(found)} samples in {took}, {len(failed)} failed; records: {paths.shown(folder)}")
    return 1 if failed else 0


def asks_for_failure(told: dict) -> bool:
    return any(part["statistic"] == "first_fails" for part in told["claim"]["parts"])


def folder_of(results: Path, name: str | None) -> Path:
    """The claims run that was named; without a name the newest."""
    if name:
        folder = records.find(results, name)
        if not is_claims_run(folder):
            raise UsageError(f"{paths.shown(folder)} is no run of claims; make one with: make claims")
        return folder
    for folder in reversed(records.runs(results)):
        if is_claims_run(folder):
            return folder
    raise UsageError(f"no runs of claims in {paths.shown(results)} yet; make one with: make claims")


def is_claims_run(folder: Path) -> bool:
    return bool(records.read_json(folder / "plan.json").get("claims"))


def redo(folder: Path, console: Console) -> None:
    """Everything that is made from the run's raw records."""
    claims_ledger.write(folder)
    console.print(f"derived: {paths.shown(folder / 'derived' / 'ledger.json')}, ledger.md")
    try:
        made = claims_ledger.draw(folder)
    except BenchError as error:
        raise BenchError(f"{error}; the ledger itself is whole") from None
    if made:
        console.print(f"figures: {paths.shown(made[-1].parent)} ({len(made)} files)")
