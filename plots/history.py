"""`python3 -m plots.history FILE --to DIR`: series of runs as ratios to a reference, with revisions and change points.

A dot and a whisker for each run, a line for each level that the change points leave, a mark where one begins.  FILE is
what bench/history.py wrote; the figures that were drawn are printed.
"""

import argparse
import json
import re
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.style import FAINT, heading, look, save

WIDTH, HEIGHT = 10.0, 4.4  # inches
MOST_LABELS = 24


def draw(series: dict) -> Figure:
    _, experiment, cell, arm, _, reference = series["place"]
    figure, axis = plt.subplots(figsize=(WIDTH, HEIGHT))
    figure.subplots_adjust(left=0.075, right=0.985, top=0.80, bottom=0.30)
    points(axis, series, look(arm, [arm]))
    levels(axis, series)
    revisions(axis, [point["revision"] for point in series["points"]])
    axis.set_ylabel(f"ratio to {reference}")
    title = f"{arm}: {series['label']}"
    heading(
        figure,
        HEIGHT,
        title,
        f"{experiment}/{cell}, ratio to {reference} of the same run; {series['better']} is better",
    )
    notes = textwrap.wrap("  ".join(said(series)), 172)
    figure.text(0.012, 0.30 / HEIGHT, "\n".join(notes), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    figure.text(0.012, 0.10 / HEIGHT, series["environment"], fontsize=6.8, color=FAINT, va="bottom")
    return figure


def points(axis: Axes, series: dict, how) -> None:
    """Each run's ratio with its 95 % interval; the axis leaves room for the ratios, and a whisker may leave it."""
    found = series["points"]
    for x, point in enumerate(found):
        if point["low"] is not None:
            axis.plot([x, x], [point["low"], point["high"]], color=how.colour, linewidth=1.1, alpha=0.55)
    ratios = [point["ratio"] for point in found]
    axis.plot(range(len(found)), ratios, how.marker, color=how.colour, markersize=5)
    low, high = min(ratios), max(ratios)
    room = max(0.25 * (high - low), 0.03 * high)
    axis.set_ylim(low - room, high + room)
    axis.set_xlim(-0.7, len(found) - 0.3)


def levels(axis: Axes, series: dict) -> None:
    for level in series["levels"]:
        axis.plot([level["from"] - 0.4, level["to"] - 0.6], [level["mean"]] * 2, color="#222222", linewidth=1.4)
    for change in series["changes"]:
        axis.axvline(change["at"] - 0.5, color="#D55E00", linewidth=1.2, linestyle=(0, (4, 2)))
        where = axis.get_ylim()[1]
        axis.annotate(change["says"], (change["at"] - 0.4, where), fontsize=7.5, color="#D55E00", va="top")


def revisions(axis: Axes, names: list[str]) -> None:
    """Where a revision begins; when there are many, as many as can be read."""
    begins = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    step = -(-len(begins) // MOST_LABELS)
    kept = begins[::step]
    axis.set_xticks(kept, [names[i] for i in kept], rotation=40, ha="right", fontsize=7)
    axis.grid(axis="x", visible=False)


def said(series: dict) -> list[str]:
    whiskers = "Whiskers: 95 % intervals of the paired ratio. Lines: levels between change points (E-divisive, at 1 %)."
    if series["frozen"]:
        return [whiskers, "The reference is frozen: no commit changes it."]
    return [whiskers, "The reference is a model of the same tree: a change of it moves this line, too."]


def file_name(series: dict) -> str:
    """Host, place and metric, as a name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "-", "-".join(series["place"][:5]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m plots.history", description="Draws the series of a history.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--to", type=Path, metavar="DIR", required=True)
    options = parser.parse_args()
    for series in json.loads(options.file.read_text())["series"]:
        for path in save(draw(series), options.to / file_name(series)):
            print(path)


if __name__ == "__main__":
    main()
