"""`python3 -m bench claim`: check, list, run and show claims."""

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import claims_file, claims_ledger, claims_run, paths, report
from bench.errors import UsageError


def add_options(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="check|list|run|show|derive")
    check = actions.add_parser("check", help="say what is wrong with claim files, or that nothing is (default: all)")
    check.add_argument("files", nargs="*", metavar="FILE")
    actions.add_parser("list", help="list the claims")
    run = actions.add_parser("run", help="measure what claims read, and print the ledger")
    run.add_argument("ids", nargs="*", metavar="ID", help="claims by id or file (default: all)")
    run.add_argument("--profile", choices=("quick", "full"), help="quick: leans; full: verdicts (default: quick)")
    run.add_argument("--blocks", type=int, metavar="K", help="this many blocks or runs instead of the profile's")
    run.add_argument("--seed", type=int, metavar="N", help="order of the plan (default: from the clock)")
    run.add_argument("--dry-run", action="store_true", help="say what would be run and how long it takes, and stop")
    show = actions.add_parser("show", help="show a run's ledger, or one of its claims in full")
    show.add_argument("run", nargs="?", metavar="RUN", help="default: the newest")
    show.add_argument("--id", metavar="ID", help="one claim: quotation, parts, samples, figure")
    derive = actions.add_parser("derive", help="redo the ledger and its figures from a run's raw records")
    derive.add_argument("run", nargs="?", metavar="RUN", help="default: the newest")
    for action in (run, show, derive):
        said = "folder that holds the runs (default: results)"
        action.add_argument("--results", metavar="DIR", default=argparse.SUPPRESS, help=said)
    measuring(run)


def measuring(run: argparse.ArgumentParser) -> None:
    """Options of every command that measures."""
    run.add_argument("--server-cpus", metavar="LIST", help="CPUs of the server (default: one of the last core)")
    run.add_argument("--client-cpus", metavar="LIST", help="CPUs of the client (default: one of another core)")
    run.add_argument("--no-figures", action="store_true", help="leave out the figures")
    run.add_argument("--together", action="store_true", help="run even while another bench runs here")


def from_options(options: argparse.Namespace, console: Console) -> int:
    actions = {"check": check, "list": listed, "run": run, "show": show, "derive": derive}
    return actions[options.action](options, console)


def check(options: argparse.Namespace, console: Console) -> int:
    """Every file is looked at, and every one that is wrong has its line; exit 2 then."""
    wrong, chosen = [], [Path(name) for name in options.files] or claims_file.files()
    for path in chosen:
        try:
            claims_file.load(path)
        except UsageError as error:
            wrong.append(str(error))
    if not wrong and not options.files:
        claims_file.load_all()
    if wrong:
        raise UsageError("\nbench: ".join(wrong))
    texts = [seed for seed in claims_file.SEED_TEXTS if claims_file.seed_text(seed)]
    unchecked = "" if texts else " (quotes unchecked: the source texts are not here)"
    console.print(f"{len(chosen)} claim{'s' * (len(chosen) != 1)}, nothing wrong{unchecked}")
    return 0


def listed(options: argparse.Namespace, console: Console) -> int:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("claim", "figures of", "parts", "what it says"):
        table.add_column(column, overflow="fold")
    for claim in claims_file.load_all():
        table.add_row(claim.id, source_of(claim), str(len(claim.parts)), claim.title)
    console.print(table)
    return 0


def source_of(claim: claims_file.Claim) -> str:
    """Where a claim's figures come from, in a word or two."""
    if claim.kind == "experiment":
        return claim.experiment.name if "/" in claim.experiment.name else "an experiment"
    if claim.kind == "probe":
        return f"probe {claim.setup['name']}"
    return claim.kind or "– (nobody can test it here)"


def run(options: argparse.Namespace, console: Console) -> int:
    begun = time.monotonic()
    return report.carry_out(claims_run.ready(options), options, console, begun)


def show(options: argparse.Namespace, console: Console) -> int:
    folder = claims_run.folder_of(paths.results_dir(options.results), options.run)
    if options.id:
        claims_ledger.show_claim(folder, options.id, console)
    else:
        claims_ledger.show(folder, console)
    return 0


def derive(options: argparse.Namespace, console: Console) -> int:
    claims_run.redo(claims_run.folder_of(paths.results_dir(options.results), options.run), console)
    return 0
