"""One cell, many models: a row per model, a panel per metric, a point with its band and its value.

The picture for an experiment whose question is who costs what, not how a cost grows: lines would cross nothing.
"""

import math
import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from plots.curves import notes
from plots.style import FAINT, log_axis, look, number

WIDTH, HEAD, FOOT, ROW, NOTE_HEIGHT = 10.0, 0.75, 0.75, 0.25, 0.15  # inches


def draw(summary: dict, name: str) -> Figure:
    experiment = summary["experiments"][name]
    cell = experiment["cells"][0]
    arms = experiment["arms"]
    shown = [m for m in experiment["metrics"] if any(value_of(cell, arm, m) for arm in arms)]
    below = textwrap.wrap("  ".join(notes(summary, experiment)), 172)
    foot = FOOT + NOTE_HEIGHT * len(below)
    height = HEAD + foot + ROW * len(arms)
    figure, grid = plt.subplots(1, len(shown), figsize=(WIDTH, height), sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.125, right=0.985, top=1 - HEAD / height, bottom=foot / height, wspace=0.1)
    for axis, metric in zip(grid.flat, shown):
        panel(axis, summary, cell, arms, metric, experiment["reference"])
    figure.text(0.012, 1 - 0.10 / height, experiment["title"], fontsize=13, fontweight="bold", va="top")
    figure.text(0.012, 0.28 / height, "\n".join(below), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    footer = f"{summary['environment']}  ·  run {summary['run']}"
    figure.text(0.012, 0.10 / height, footer, fontsize=6.8, color=FAINT, va="bottom")
    return figure


def value_of(cell: dict, arm: str, metric: str) -> dict | None:
    """The arm's value, where it has a finite median."""
    value = (cell["arms"].get(arm) or {"values": {}})["values"].get(metric)
    return value if value and value["median"] is not None else None


def panel(axis: Axes, summary: dict, cell: dict, arms: list[str], metric: str, reference: str | None) -> None:
    about = summary["metrics"][metric]
    found = {arm: value_of(cell, arm, metric) for arm in arms}
    known = [v["median"] for v in found.values() if v and v["median"] > 0] or [1.0]
    low, high = min(known), max(known)
    room = max((high / low) ** 0.3, 1.35)  # the values stand to the right of their points
    if found.get(reference or ""):
        axis.axvline(found[reference]["median"], color="#888888", linewidth=0.8)
    for row, arm in enumerate(arms):
        how, value = look(arm, arms), found[arm]
        if not value or value["median"] <= 0:  # sockmap: no process of its own ever runs
            measured = (cell["arms"].get(arm) or {}).get("values", {}).get(metric)
            axis.text(
                0.03,
                row,
                "0" if value else "beyond all measured" if measured else "–",
                transform=axis.get_yaxis_transform(),
                va="center",
                fontsize=7,
                color=FAINT,
            )
            continue
        top = value["high"] if value["high"] is not None else value["median"]
        axis.plot([max(value["low"], low / 100), top], [row, row], color=how.colour, linewidth=1.6, solid_capstyle="butt")
        axis.plot(value["median"], row, how.marker, color=how.colour, markersize=5)
        axis.annotate(
            number(value["median"]),
            (max(top, value["median"]), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            annotation_clip=False,
        )
    axis.set_xscale("log")
    axis.set_xlim(low / max(room**0.35, 1.1), high * room)
    log_axis(axis.xaxis)
    if math.log10(high * room / low) > 1.2:  # narrow panels: labels a decade apart, or they run into each other
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    axis.set_title(f"{about['label']} [{about['unit']}]", fontsize=8)
    axis.set_yticks(range(len(arms)), arms)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(arms) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
