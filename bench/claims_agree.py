"""Do two runs of the same claims agree?  A verdict may be lost to noise or found again, but must not turn round.

`python3 -m bench agree RUN RUN` says so of runs of claims: claim by claim and part by part, with exit status 1 where
one run confirms what the other refutes.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import claims_ledger
from bench.claims_verdict import LEANS_AGAINST, LEANS_TO, NOT_REPRODUCED, REPRODUCED, VERDICTS

SIDES = {REPRODUCED: 1, LEANS_TO: 1, NOT_REPRODUCED: -1, LEANS_AGAINST: -1}
VERDICT_ONLY = (REPRODUCED, NOT_REPRODUCED)


@dataclass(frozen=True)
class Pair:
    """A claim, or one of its parts, in two runs."""

    name: str
    first: str
    second: str
    figures: tuple[str, str] = ("", "")

    @property
    def turned(self) -> bool:
        """Both are verdicts, and they contradict each other; leanings may."""
        return self.first != self.second and {self.first, self.second} <= set(VERDICT_ONLY)

    @property
    def leans_apart(self) -> bool:
        return SIDES.get(self.first, 0) * SIDES.get(self.second, 0) < 0 and not self.turned


def pairs(first: dict, second: dict) -> tuple[list[Pair], list[Pair]]:
    """The claims that both ledgers have, and their parts; parts whose region changed in between are other parts."""
    others = {claim["id"]: claim for claim in second["claims"]}
    claims, parts = [], []
    for claim in first["claims"]:
        other = others.get(claim["id"])
        if other is None:
            continue
        asked = {(part["name"], str(part["region"])): part for part in other["parts"]}
        same = [(part, asked.get((part["name"], str(part["region"])))) for part in claim["parts"]]
        if None not in [found for _, found in same] and len(same) == len(other["parts"]):
            claims.append(Pair(claim["id"], claim["verdict"], other["verdict"]))
        for part, found in same:
            if found:
                name, figures = f"{claim['id']} {part['name']}", (part["ours"], found["ours"])
                parts.append(Pair(name, part["verdict"], found["verdict"], figures))
    return claims, parts


def show(first: Path, second: Path, console: Console) -> int:
    """What became of each verdict; 1 where one turned round."""
    claims, parts = pairs(claims_ledger.derive(first), claims_ledger.derive(second))
    for what, found in (("claims", claims), ("parts", parts)):
        same = sum(pair.first == pair.second for pair in found)
        turned, apart = sum(pair.turned for pair in found), sum(pair.leans_apart for pair in found)
        console.print(
            f"{len(found)} {what} in both: {same} with the same word, {turned} turned round, {apart} lean apart",
            highlight=False,
        )
    console.print(table(claims))
    for pair in [*claims, *parts]:
        if pair.turned or pair.leans_apart:
            told = f": {pair.figures[0]} and {pair.figures[1]}" if any(pair.figures) else ""
            console.print(f"{pair.name}: {pair.first}, then {pair.second}{told}", markup=False, highlight=False)
    return 1 if any(pair.turned for pair in [*claims, *parts]) else 0


def table(found: list[Pair]) -> Table:
    """How many claims went from which word (rows) to which (columns)."""
    counted = Counter((pair.first, pair.second) for pair in found)
    words = [word for word in VERDICTS if any(word in pair for pair in counted)]
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    made.add_column("from, to")
    for word in words:
        made.add_column(word, justify="right")
    for row in words:
        made.add_row(row, *(str(counted[row, column] or "·") for column in words))
    return made
