"""`python3 -m bench claim`: check, list and run claims."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import claims_file, paths
from bench.errors import UsageError


def add_options(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="check|list|run")
    check = actions.add_parser("check", help="say what is wrong with claim files, or that nothing is (default: all)")
    check.add_argument("files", nargs="*", metavar="FILE")
    actions.add_parser("list", help="list the claims")


def from_options(options: argparse.Namespace, console: Console) -> int:
    return {"check": check, "list": listed}[options.action](options, console)


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
    console.print(f"{len(chosen)} claims, nothing wrong{unchecked}")
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
