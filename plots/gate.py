"""The gate's power: how often it says REGRESSED, over what was added to a request's CPU time.

At zero stands the same server against itself: the false alarms.  Lines are replayed recordings, diamonds live
comparisons; bars are Clopper and Pearson's 95 % intervals.  `python3 -m plots.gate FOLDER [--to DIR]` draws it from a
calibration's summary.json.
"""

import argparse
import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.style import FAINT, INK, heading, save

WIDTH, HEIGHT = 8.2, 4.4
BESIDE = 0.35  # live ones stand a little to the right, so that bars do not hide each other
REPLAYED, LIVE, MARGIN = "#0072B2", "#D55E00", "#E4E4E4"


def draw(summary: dict) -> Figure:
    figure, axis = plt.subplots(figsize=(WIDTH, HEIGHT))
    figure.subplots_adjust(left=0.085, right=0.985, top=1 - 0.78 / HEIGHT, bottom=0.92 / HEIGHT)
    rows = [row for row in summary["conditions"] if not row["calls"]]
    slowed = [row for row in rows if not row["alike"]]
    points = [(0.0, summary["alike"]["replays"], summary["alike"]["live"])]
    points += [
        (100 * math.expm1(row["log_ratio"][0]), row.get("replays"), row["live"]) for row in slowed if "replays" in row
    ]
    axis.axhspan(0, 5, color=MARGIN, zorder=0)
    axis.axvline(5, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.annotate(
        "the margin", (5, 100), xytext=(-4, 0), textcoords="offset points", color=FAINT, fontsize=8, ha="right"
    )
    series(
        axis,
        [(x, replays) for x, replays, _ in points if replays and replays["comparisons"]],
        REPLAYED,
        "o",
        "replayed",
        "-",
    )
    series(axis, [(x + BESIDE, live) for x, _, live in points if live["comparisons"]], LIVE, "D", "live", "none")
    axis.set_xlabel("CPU per request over the other side's, as the whole recording measured it [%]")
    axis.set_ylabel("comparisons that said REGRESSED [%]")
    axis.set_ylim(-3, 107)
    axis.legend(loc="lower right")
    said = (
        f"one model, one load, {summary['plan']['quads']} quads at most; 0 %: the same server on both sides; band: 5 %"
    )
    heading(figure, HEIGHT, "What the gate finds, and how often it errs", said)
    where = f"{summary['environment']}  ·  run {summary['run']}"
    figure.text(0.012, 0.10 / HEIGHT, where, fontsize=6.8, color=FAINT, va="bottom")
    return figure


def series(axis: Axes, points: list[tuple[float, dict]], colour: str, marker: str, label: str, line: str) -> None:
    if not points:
        return
    xs = [x for x, _ in points]
    ys = [100 * count["regressed"] / count["comparisons"] for _, count in points]
    ends = [count["interval"] for _, count in points]
    low = [max(0.0, y - 100 * e[0]) for y, e in zip(ys, ends)]
    high = [max(0.0, 100 * e[1] - y) for y, e in zip(ys, ends)]
    face = colour if line == "-" else "white"
    axis.errorbar(
        xs, ys, yerr=[low, high], color=colour, marker=marker, linestyle=line, label=label, capsize=3,
        markerfacecolor=face, ecolor=colour,
        markeredgecolor=colour, markersize=6 if line == "-" else 7,
    )  # fmt: skip
    if line == "-":
        for x, y, end, (_, count) in zip(xs, ys, ends, points):
            at, place = (100 * end[1], (4, 5)) if y < 80 else (100 * end[0], (4, -12))
            axis.annotate(
                f"{count['regressed']} of {count['comparisons']}", (x, at), xytext=place, textcoords="offset points",
                fontsize=7.5, color=INK, ha="right",
            )  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("folder", type=Path, metavar="FOLDER")
    words.add_argument("--to", type=Path, metavar="DIR", help="default: FOLDER")
    words.add_argument("--svg", action="store_true", help="no PNG")
    options = words.parse_args()
    figure = draw(json.loads((options.folder / "summary.json").read_text()))
    for path in save(figure, (options.to or options.folder) / "gate", (".svg",) if options.svg else (".svg", ".png")):
        print(path)


if __name__ == "__main__":
    main()
