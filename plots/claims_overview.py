"""The whole ledger in one picture: a tile for each claim, and the authors' figures against ours.

The tiles say which claims hold here.  Below them, on one diagonal, how large the effects were there and are here: most
of what does not reproduce has the right sign and another size.
"""

import math
import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import Bbox

from plots.style import FAINT, INK, foot, heading, log_axis
from plots.verdicts import LOOKS

WIDTH, HEAD, FOOT = 10.0, 0.95, 0.8  # inches
ACROSS, TILE, GAP = 18, 0.42, 0.36  # tiles in a row, the height of a row, of a group's title
SCATTER = 4.4
GROUPS = {"A": "First source document", "B": "Second source document", "P": "Public claims: papers, blogs, commits"}


def draw(ledger: dict) -> Figure:
    groups = grouped(ledger["claims"])
    points = compared(ledger["claims"])
    tiles = sum(GAP + TILE * math.ceil(len(claims) / ACROSS) for claims in groups.values())
    height = HEAD + 0.45 + tiles + (SCATTER if points else 0) + FOOT
    figure = plt.figure(figsize=(WIDTH, height))
    decided = sum(ledger["counts"].get(word, 0) for word in ("reproduced", "not reproduced"))
    said = f"{len(ledger['claims'])} published claims about I/O models; {decided} decided, profile {ledger['profile']}"
    heading(figure, height, "The claims ledger", said)
    legend(figure, ledger["counts"], height)
    axis = figure.add_axes((0.012, (height - HEAD - 0.45 - tiles) / height, 0.976, tiles / height))
    mosaic(axis, groups, tiles)
    if points:
        left, wide = 0.075, 0.60
        scatter(figure.add_axes((left, (FOOT + 0.42) / height, wide, (SCATTER - 0.85) / height)), points)
        beside(figure, points, left + wide + 0.02, (FOOT + SCATTER - 0.45) / height)
    foot(figure, height, textwrap.wrap(NOTES, 172), ledger)
    return figure


NOTES = (
    "Each verdict is an interval against a region that was fixed before the run; few blocks only lean. "
    "The authors' servers and hosts are not ours: a replication of what was said, not a repetition of their runs."
)


def grouped(claims: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for claim in claims:
        found.setdefault(claim["id"][0], []).append(claim)
    return dict(sorted(found.items()))


def legend(figure: Figure, counts: dict[str, int], height: float) -> None:
    """The verdicts and how many claims have each."""
    x = 0.018
    for word, how in LOOKS.items():
        if counts.get(word):
            text = f"{how.sign} {word} {counts[word]}"
            edge = "#BBBBBB" if how.fill == "#FFFFFF" else how.fill
            box = {"facecolor": how.fill, "edgecolor": edge, "boxstyle": "round,pad=0.35", "linewidth": 0.8}
            drawn = figure.text(x, 1 - 0.93 / height, text, fontsize=8.5, color=how.on, va="center", bbox=box)
            x += drawn.get_window_extent().width / figure.bbox.width + 0.022


def mosaic(axis: Axes, groups: dict[str, list[dict]], height: float) -> None:
    """A tile for each claim, in the order of their numbers."""
    axis.set_xlim(0, ACROSS)
    axis.set_ylim(height, 0)
    axis.set_axis_off()
    top = 0.0
    for letter, claims in groups.items():
        title = f"{GROUPS.get(letter, letter)} ({len(claims)})"
        axis.text(0, top + GAP - 0.1, title, fontsize=9, fontweight="bold", color=INK, va="bottom")
        top += GAP
        for index, claim in enumerate(claims):
            tile(axis, claim, index % ACROSS, top + TILE * (index // ACROSS))
        top += TILE * math.ceil(len(claims) / ACROSS)


def tile(axis: Axes, claim: dict, x: float, y: float) -> None:
    how = LOOKS[claim["verdict"]]
    edge = "#BBBBBB" if how.fill == "#FFFFFF" else how.fill
    corner = {"boxstyle": "round,pad=0,rounding_size=0.05", "facecolor": how.fill, "edgecolor": edge, "linewidth": 0.8}
    axis.add_patch(FancyBboxPatch((x + 0.04, y + 0.035), 0.92, TILE - 0.07, **corner))
    middle = {"ha": "center", "va": "center_baseline", "fontsize": 8, "color": how.on}
    axis.text(x + 0.5, y + TILE / 2, f"{claim['id']} {how.sign}", **middle)


def compared(claims: list[dict]) -> list[tuple[dict, dict]]:
    """The parts whose author named a ratio, where we have one with an interval."""
    return [(claim, part) for claim in claims for part in claim["parts"] if is_comparable(part)]


def is_comparable(part: dict) -> bool:
    theirs = part["theirs"]
    given = isinstance(theirs, (int, float)) and not isinstance(theirs, bool) and theirs > 0
    return part["unit"] == "×" and given and all(part[end] and part[end] > 0 for end in ("value", "low", "high"))


def scatter(axis: Axes, points: list[tuple[dict, dict]]) -> None:
    """Theirs across, ours upwards, both as ratios; on the diagonal they agree."""
    known = [v for _, part in points for v in (part["theirs"], part["value"])] + [0.8, 1.25]
    low, high = min(known) / 1.25, max(known) * 1.25
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    axis.plot([low, high], [low, high], color="#888888", linewidth=0.9)
    for at in (axis.axvline, axis.axhline):
        at(1, color="#BBBBBB", linewidth=0.8, linestyle=(0, (2, 2)))
    for claim, part in points:
        how = LOOKS[part["verdict"]]
        axis.plot([part["theirs"]] * 2, [part["low"], part["high"]], color=how.ink, linewidth=1.4)
        axis.plot(part["theirs"], part["value"], "o", color=how.ink, markersize=5, zorder=3)
    log_axis(axis.xaxis)
    log_axis(axis.yaxis)
    name(axis, points)
    axis.set_xlabel("theirs, as a ratio")
    axis.set_ylabel("ours, with its interval")
    axis.set_title("How large it was there, and is here")


def name(axis: Axes, points: list[tuple[dict, dict]]) -> None:
    """The claims' ids, where there is room for them; those furthest from the diagonal come first."""
    taken: list[Bbox] = []
    far = sorted(points, key=lambda point: -abs(math.log(point[1]["value"] / point[1]["theirs"])))
    for claim, part in far:
        beside = {"xytext": (4, 2), "textcoords": "offset points", "fontsize": 7, "color": FAINT}
        drawn = axis.annotate(claim["id"], (part["theirs"], part["value"]), **beside)
        place = drawn.get_window_extent()
        if any(place.overlaps(other) for other in taken):
            drawn.remove()
        else:
            taken.append(place)


def beside(figure: Figure, points: list[tuple[dict, dict]], x: float, top: float) -> None:
    same = sum((part["theirs"] - 1) * (part["value"] - 1) > 0 for _, part in points)
    inside = sum(part["low"] <= part["theirs"] <= part["high"] for _, part in points)
    said = (
        f"{len(points)} parts name a ratio of their own.\n\n{same} of them point the same way here;\n"
        f"in {inside} our interval holds the author's figure.\n\n"
        "On the diagonal both agree; below it\nthe author's was larger."
    )
    figure.text(x, top, said, fontsize=8.5, color=FAINT, va="top", linespacing=1.4)
