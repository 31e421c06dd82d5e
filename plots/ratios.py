"""Every arm over the reference, cell by cell, with intervals: the picture of the verdicts.

The grey band is a tie.  An interval inside it shows equivalence, one outside a
difference, one across its edge nothing yet.
"""

import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from plots.curves import axis_label, axis_name
from plots.style import FAINT, foot, heading, look

TIE = (0.97, 1.03)
CHARACTER = 0.0078  # of the figure's width, in the names beside the axis
WIDTH, HEAD, FOOT, ROW = 10.0, 0.95, 1.1, 0.26  # inches
TICKS = (0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100)


def has_any(experiment: dict) -> bool:
    """Whether there is anything to show; a second axis has too many cells for this picture, and a map of its own."""
    return not experiment.get("panels") and any(found.get("ratios") for cell in experiment["cells"] for found in cell["arms"].values())


def draw(summary: dict, name: str) -> Figure:
    experiment = summary["experiments"][name]
    metric = experiment["metrics"][0]
    about = summary["metrics"][metric]
    arms = [arm for arm in experiment["arms"] if arm != experiment["reference"]]
    cells = experiment["cells"]
    height = HEAD + FOOT + ROW * (len(arms) + 1)
    figure, grid = plt.subplots(1, len(cells), figsize=(WIDTH, height), sharey=True, squeeze=False)
    figure.subplots_adjust(left=max(0.125, 0.02 + CHARACTER * max(map(len, arms))), right=0.985, top=1 - HEAD / height, bottom=FOOT / height, wspace=0.08)
    for axis, cell in zip(grid.flat, cells):
        panel(axis, experiment, cell, arms, metric)
    title = f"{about['label'][0].upper()}{about['label'][1:]}: ratio to {experiment['reference']}"
    heading(figure, height, title, f"{axis_name(experiment)} over each panel; {about['better']} is better")
    foot(figure, height, textwrap.wrap("  ".join(notes(experiment, metric)), 172), summary)
    return figure


def panel(axis: Axes, experiment: dict, cell: dict, arms: list[str], metric: str) -> None:
    """One cell: a dot and a whisker per arm, from top to bottom in the order of the legend everywhere else."""
    axis.axvspan(*TIE, color="#DDDDDD", linewidth=0)
    axis.axvline(1, color="#888888", linewidth=0.8)
    for row, arm in enumerate(arms):
        ratio = ((cell["arms"].get(arm) or {}).get("ratios") or {}).get(metric)
        if not ratio:
            axis.text(
                0.5,
                row,
                "not run" if arm in cell["left_out"] else "no value",
                transform=axis.get_yaxis_transform(),
                fontsize=7,
                color=FAINT,
                ha="center",
                va="center",
            )
            continue
        how = look(arm, experiment["arms"])
        if ratio["low"] and ratio["high"]:
            axis.plot([ratio["low"], ratio["high"]], [row, row], color=how.colour, linewidth=1.6, solid_capstyle="butt")
        axis.plot(ratio["ratio"], row, how.marker, color=how.colour, markersize=4.5)
    axis.set_title(axis_label(cell, experiment), loc="center")
    axis.set_xscale("log")
    limits(axis, experiment, metric)
    axis.set_yticks(range(len(arms)), arms)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(arms) - 0.5, -0.5)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)


def limits(axis: Axes, experiment: dict, metric: str) -> None:
    """The same ratios in every panel, wide enough for all medians; a whisker may leave the panel, a dot may not."""
    ratios = [
        r["ratio"]
        for c in experiment["cells"]
        for a in c["arms"].values()
        for r in [(a.get("ratios") or {}).get(metric)]
        if r
    ]
    low, high = min([0.85, *ratios]), max([1.18, *ratios])
    room = max((high / low) ** 0.08, 1.06)
    low, high = low / room, high * room
    axis.set_xlim(low, high)
    inside = [t for t in TICKS if low <= t <= high]
    few = len(experiment["cells"]) > 3 or high / low > 5
    kept = [t for t in inside if t == 1 or not few or t in (0.5, 0.8, 1.25, 2, 5, 10, 50)]
    kept = [t for t in kept if t == 1 or high / low < 8 or t not in (0.8, 1.25)]
    axis.xaxis.set_major_locator(FixedLocator(kept))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.xaxis.set_minor_locator(NullLocator())


def notes(experiment: dict, metric: str) -> list[str]:
    verdicts = {
        r["verdict"]
        for c in experiment["cells"]
        for a in c["arms"].values()
        for r in [(a.get("ratios") or {}).get(metric)]
        if r
    }
    said = [
        f"Geometric means of ratios paired over {experiment['blocks']} blocks. The grey band, 0.97 to 1.03, is a tie."
    ]
    if verdicts & {"ahead", "behind", "tie", "unresolved"}:
        return said + ["Whiskers hold at 95 % for all comparisons of this figure together (max |t| by sign flips)."]
    return said + [
        "Whiskers are 95 % intervals, each for itself, wide with so few blocks: they lean, they give no verdict."
    ]
