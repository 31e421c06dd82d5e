"""Do two runs of the same claims come to the same verdicts?

A verdict flips when one run says `reproduced` and the other `not reproduced`.  From and to `inconclusive` is no flip:
an interval may cross an edge in one run and just miss it in the other.
"""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.claims_verdict import NOT_REPRODUCED, REPRODUCED


@dataclass(frozen=True)
class Pair:
    """One claim, or one of its parts, in both runs."""

    name: str  # P40, or P40 direction
    first: str
    second: str

    @property
    def flips(self) -> bool:
        return {self.first, self.second} == {REPRODUCED, NOT_REPRODUCED}


def pairs(first: dict, second: dict) -> list[Pair]:
    """Every claim that both ledgers have and every part of it, by name."""
    found = []
    theirs = {claim["id"]: claim for claim in second["claims"]}
    for claim in first["claims"]:
        if other := theirs.get(claim["id"]):
            found.append(Pair(claim["id"], claim["verdict"], other["verdict"]))
            parts = {part["name"]: part["verdict"] for part in other["parts"]}
            found += [
                Pair(f"{claim['id']} {part['name']}", part["verdict"], parts[part["name"]])
                for part in claim["parts"]
                if part["name"] in parts
            ]
    return found


def show(console: Console, found: list[Pair]) -> int:
    """What differs, flips first; how many flips there are."""
    differing = sorted((one for one in found if one.first != one.second), key=lambda one: not one.flips)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("claim", "first", "second", ""):
        table.add_column(column)
    for one in differing:
        table.add_row(one.name, one.first, one.second, "FLIPS" if one.flips else "")
    if differing:
        console.print(table)
    flips = sum(one.flips for one in differing)
    same = len(found) - len(differing)
    console.print(f"{same} of {len(found)} verdicts on claims and parts are the same, {flips} flip")
    return flips
