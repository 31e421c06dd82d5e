"""Every tool over our epoll engine: throughput, p50, p99 and client CPU per request, as paired ratios with intervals.

The dark band is agreement within 5 %, the light one within 10 %: an interval inside a band shows agreement, one beyond
it a difference.  `python3 -m plots.crosscheck RUN` draws it from the run's derived data.
"""

import argparse
import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from plots.style import FAINT, save

METRICS = ("rps", "p50_us", "p99_us", "client_cpu_us")
WIDTH, HEAD, FOOT, ROW = 10.0, 1.05, 0.95, 0.205  # inches
# Connections, from few to many: told apart by colour, marker and place within the row.
LOOKS = (("#56B4E9", "o"), ("#0072B2", "s"), ("#D55E00", "D"), ("#444444", "^"))
EDGES = (0.5, 2.0)
TICKS = (0.6, 0.8, 1, 1.25, 1.7)


def draw(summary: dict) -> Figure:
    scenes = [scene for scene in summary["scenes"] if scene["name"].startswith("agree-") and scene["measured"]]
    sizes = sorted({scene["load"]["connections"] for scene in scenes})
    rows = rows_of(scenes)
    height = HEAD + FOOT + ROW * (len(rows) + 1)
    figure, grid = plt.subplots(1, len(METRICS), figsize=(WIDTH, height), sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.225, right=0.985, top=1 - HEAD / height, bottom=FOOT / height, wspace=0.08)
    for axis, metric in zip(grid.flat, METRICS):
        panel(axis, summary, scenes, rows, sizes, metric)
    grid[0, 0].set_yticks(range(len(rows)), [label(summary, row, rows) for row in rows], fontsize=7.5)
    furniture(figure, summary, sizes, height)
    return figure


def rows_of(scenes: list[dict]) -> list[tuple[str, str]]:
    """(server, tool), servers and tools in the order measured, without the reference."""
    servers = dict.fromkeys(scene["server"] for scene in scenes)
    return [
        (server, tool)
        for server in servers
        for tool in dict.fromkeys(
            t for s in scenes if s["server"] == server for t in s["measured"] if t != s["reference"]
        )
    ]


def label(summary: dict, row: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    """The server stands before the first of its tools only."""
    first = next(r for r in rows if r[0] == row[0]) == row
    return (f"{row[0]}   " if first else "") + summary["labels"][row[1]]


def panel(
    axis: Axes, summary: dict, scenes: list[dict], rows: list[tuple[str, str]], sizes: list[int], metric: str
) -> None:
    axis.axvspan(1 / 1.10, 1.10, color="#EEEEEE", linewidth=0)
    axis.axvspan(1 / 1.05, 1.05, color="#D4D4D4", linewidth=0)
    axis.axvline(1, color="#888888", linewidth=0.8)
    for scene in scenes:
        size = sizes.index(scene["load"]["connections"])
        colour, marker = LOOKS[size % len(LOOKS)]
        shift = (size - (len(sizes) - 1) / 2) * 0.24
        for tool, found in scene["measured"].items():
            ratio = found["ratios"].get(metric)
            if ratio:
                whisker(axis, ratio, rows.index((scene["server"], tool)) + shift, colour, marker)
    for line, (above, below) in enumerate(zip(rows, rows[1:])):
        if above[0] != below[0]:
            axis.axhline(line + 0.5, color="#BBBBBB", linewidth=0.7)
    axis.set_title(summary["metrics"][metric]["label"], loc="center")
    axis.set_xscale("log")
    axis.set_xlim(*EDGES)
    axis.xaxis.set_major_locator(FixedLocator(TICKS))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)


def whisker(axis: Axes, ratio: dict, y: float, colour: str, marker: str) -> None:
    """A ratio and its interval; one beyond the edge is told by an arrow there, with its figure."""
    low, high = (min(max(ratio[end], EDGES[0]), EDGES[1]) for end in ("low", "high"))
    axis.plot([low, high], [y, y], color=colour, linewidth=1.3, solid_capstyle="butt")
    if EDGES[0] < ratio["ratio"] < EDGES[1]:
        axis.plot(ratio["ratio"], y, marker, color=colour, markersize=3.2)
        return
    right = ratio["ratio"] >= EDGES[1]
    axis.plot(EDGES[1] / 1.03 if right else EDGES[0] * 1.03, y, ">" if right else "<", color=colour, markersize=4)
    axis.annotate(
        f"{ratio['ratio']:.2g}",
        (EDGES[1] / 1.07 if right else EDGES[0] * 1.07, y),
        fontsize=6,
        color=colour,
        ha="right" if right else "left",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def furniture(figure: Figure, summary: dict, sizes: list[int], height: float) -> None:
    figure.text(
        0.012, 1 - 0.10 / height, "Every tool over our load generator", fontsize=13, fontweight="bold", va="top"
    )
    said = f"ratio to {summary['labels']['epoll']}, same server, same load, closed loop"
    figure.text(0.012, 1 - 0.42 / height, said, fontsize=9, color=FAINT, va="top")
    handles = [
        Line2D(
            [],
            [],
            color=LOOKS[i % len(LOOKS)][0],
            marker=LOOKS[i % len(LOOKS)][1],
            markersize=4,
            label=f"{n} connection{'s' * (n > 1)}",
        )
        for i, n in enumerate(sizes)
    ]
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.99, 1 - 0.05 / height), ncol=len(handles))
    notes = (
        f"Geometric means of ratios paired over {summary['blocks']} blocks, a fresh server process for each sample; "
        "whiskers are 95 % intervals, each for itself. Dark band: within 5 %, light band: within 10 %. "
        "A tool without a mark does not tell that figure. "
        "Client CPU per request of wrk, h2load and ab is that of their whole life, starting and connecting included."
    )
    figure.text(
        0.012,
        0.26 / height,
        "\n".join(textwrap.wrap(notes, 172)),
        fontsize=7.5,
        color=FAINT,
        va="bottom",
        linespacing=1.35,
    )
    figure.text(
        0.012,
        0.10 / height,
        f"{summary['environment']}  ·  run {summary['run']}",
        fontsize=6.8,
        color=FAINT,
        va="bottom",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python3 -m plots.crosscheck", description="Draws the figure of a crosscheck run."
    )
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--to", metavar="DIR", type=Path, help="default: RUN/figures")
    parser.add_argument("--svg", action="store_true", help="no PNG beside the SVG")
    options = parser.parse_args()
    target = options.to or options.run / "figures"
    target.mkdir(parents=True, exist_ok=True)
    summary = json.loads((options.run / "derived" / "summary.json").read_text())
    for path in save(draw(summary), target / "crosscheck", (".svg",) if options.svg else (".svg", ".png")):
        print(path)


if __name__ == "__main__":
    main()
