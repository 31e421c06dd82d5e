"""How a verdict looks in every figure: a colour, a sign, and whether it is filled, so that a grey print still reads.

Blue and vermilion are Okabe and Ito's (jfly.uni-koeln.de/color, 2008); what only leans has their lighter shade.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    ink: str  # of marks and words on white
    fill: str  # of a tile
    on: str  # of words on the tile
    sign: str


LOOKS = {
    "reproduced": Verdict("#0072B2", "#0072B2", "#FFFFFF", "✔"),
    "not reproduced": Verdict("#D55E00", "#D55E00", "#FFFFFF", "✘"),
    "inconclusive": Verdict("#6B6B6B", "#C9C9C9", "#222222", "?"),
    "leans reproduced": Verdict("#3C8FC4", "#CFE4F2", "#0B4A73", "✓"),
    "leans not reproduced": Verdict("#DD7A33", "#FADFCB", "#7A3600", "✗"),
    "open": Verdict("#8A8A8A", "#EDEDED", "#444444", "…"),
    "not testable here": Verdict("#8A8A8A", "#FFFFFF", "#777777", "–"),
}


def shade() -> str:
    """A region's colour: what lies in it confirms."""
    return "#E3EEF7"
