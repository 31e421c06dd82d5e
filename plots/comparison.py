"""A comparison of two sides: for each model, load and figure what every quad said, the estimate, and its interval.

`python3 -m plots.comparison FOLDER [--to DIR] [--where TEXT]` draws it from a comparison's verdict.json.
"""

import argparse
import json
import math
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.style import FAINT, heading, save

WIDTH, HEAD, FOOT, ROW = 8.6, 0.95, 1.25, 0.74  # inches
COLOURS = {"REGRESSED": "#D55E00", "IMPROVED": "#009E73", "PASS": "#0072B2"}
UNDECIDED, MARGIN = "#6B6B6B", "#E4E4E4"
ROOM = 1.12  # of the widest interval or of most quads, on either side
MOST = 0.9  # of the quads must lie inside; the rest stand at the edge


def draw(told: dict, where: str) -> Figure:
    rows = [one for one in told["found"] if quads_of(told, one, "first")]
    height = HEAD + FOOT + ROW * len(rows)
    figure, axis = plt.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(left=0.3, right=0.83, top=1 - HEAD / height, bottom=FOOT / height)
    margin = 100 * told["margin"]
    axis.axvspan(0, margin, color=MARGIN, zorder=0)
    axis.axvline(0, color=FAINT, linewidth=0.8)
    ends = reach(told, rows)
    for place, one in enumerate(rows):
        row(axis, told, one, place, ends)
    axis.set_xlim(*ends)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    names = [label(one["contest"], told["labels"][one["metric"]]) for one in rows]
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("B over A [%], higher is slower")
    sides = {letter: short(told["sides"][letter]["shown"]) for letter in "AB"}
    heading(figure, height, f"{told['verdict']}: B against A", f"A: {sides['A']}, B: {sides['B']}")
    said = (
        f"Dots: quads of four processes, in their order from above; hollow: those of the second link order. Line: 95 % interval.\n"
        f"Grey: slower by less than {margin:g} % may pass. {told['control']['samples']} samples of the control server "
        f"vary by {told['control']['spread']:.0%}."
    )
    figure.text(0.012, 0.30 / height, said, fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    figure.text(0.012, 0.10 / height, f"{where}  ·  run {told['run']}", fontsize=6.8, color=FAINT, va="bottom")
    return figure


def label(contest: str, metric: str) -> str:
    """A model, its load and the figure, in lines that fit beside the axis."""
    return "\n".join([*textwrap.wrap(contest.replace(",", ", "), 36), metric])


def short(words: str, most: int = 48) -> str:
    return words if len(words) <= most else "…" + words[1 - most :]


def quads_of(told: dict, one: dict, number: str) -> list[float]:
    """The pass's differences, in per cent."""
    logs = told["quads"].get(one["contest"], {}).get(one["metric"], {}).get(number, [])
    return [100 * math.expm1(d) for d in logs if d is not None]


def reach(told: dict, rows: list[dict]) -> tuple[float, float]:
    """Ends of the axis: every estimate, every known end of an interval up to a doubling, and most quads."""
    found = [0.0, 100 * told["margin"]]
    for one in rows:
        found += [100 * (one[key] - 1) for key in ("ratio", "low", "high") if one[key] and 0.5 <= one[key] <= 2]
        quads = sorted(quads_of(told, one, "first"), key=abs)
        found += quads[: math.ceil(MOST * len(quads))]
    return ROOM * min(min(found), -2.0), ROOM * max(found)


def row(axis: Axes, told: dict, one: dict, place: int, ends: tuple[float, float]) -> None:
    """One model's figure: its quads in time from above, the estimate with its interval among them, the word beside."""
    colour = COLOURS.get(one["verdict"], UNDECIDED)
    for number, face in (("first", colour), ("second", "white")):
        quads = quads_of(told, one, number)
        heights = [place - 0.36 + 0.72 * (i + 0.5) / len(quads) for i in range(len(quads))]
        inside = [min(max(x, ends[0]), ends[1]) for x in quads]
        axis.scatter(inside, heights, s=9, facecolor=face, edgecolor=colour, linewidth=0.6, alpha=0.45, clip_on=False)
    low, high = (edge if one[key] is None else 100 * (one[key] - 1) for key, edge in zip(("low", "high"), ends))
    axis.plot([max(low, ends[0]), min(high, ends[1])], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
    if one["ratio"]:
        axis.plot(100 * (one["ratio"] - 1), place, "D", color=colour, markersize=6, markeredgecolor="white")
    figures = f"{100 * (one['ratio'] - 1):+.1f} %" if one["ratio"] else ""
    axis.annotate(
        f"{one['verdict']}\n{figures}", (1, place), xycoords=axis.get_yaxis_transform(), xytext=(8, 0),
        textcoords="offset points", color=colour, fontsize=8, va="center", fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("folder", type=Path, metavar="FOLDER")
    words.add_argument("--to", type=Path, metavar="DIR", help="default: FOLDER/figures")
    words.add_argument("--where", default="", metavar="TEXT", help="the host, for the last line")
    words.add_argument("--svg", action="store_true", help="no PNG")
    options = words.parse_args()
    target = options.to or options.folder / "figures"
    target.mkdir(parents=True, exist_ok=True)
    figure = draw(json.loads((options.folder / "verdict.json").read_text()), options.where)
    for path in save(figure, target / "comparison", (".svg",) if options.svg else (".svg", ".png")):
        print(path)


if __name__ == "__main__":
    main()
