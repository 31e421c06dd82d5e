"""The wait alone: what a wait costs as the watched grow, what an event costs as the ready grow, and who pays.

Drawn from bench/micro.py's summary of a run: ways, their cells, and in each the parts of a round over the blocks.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from plots.style import FAINT, log_axis, look, number

WIDTH, HEIGHT = 10.0, 8.4  # inches
SHADES = {"write": "#BBBBBB", "wait": "#0072B2", "read": "#DDDDDD", "again": "#D55E00"}
MEANING = {"write": "the writer's write", "wait": "wait", "read": "read", "again": "asking again"}


def draw(summary: dict, footer: str) -> Figure:
    found = summary["ways"]
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, HEIGHT))
    figure.subplots_adjust(left=0.075, right=0.985, top=0.865, bottom=0.115, hspace=0.38, wspace=0.2)
    most = max(cell["watched"] for way in found for cell in way["cells"])
    ready = sorted({c["ready"] for way in found for c in way["cells"] if c["watched"] == most and c["ready"] < most})
    curves(grid[0, 0], found, lambda cell: cell["watched"] if cell["ready"] == 1 else None, per_event=False)
    grid[0, 0].set_title("a wait that finds one ready [ns], lower is better")
    grid[0, 0].set_xlabel("descriptors watched")
    curves(grid[0, 1], found, lambda cell: cell["ready"] if cell["watched"] == most and cell["ready"] < most else None)
    grid[0, 1].set_title(f"the wait per event, {most:,} watched [ns]")
    grid[0, 1].set_xlabel("descriptors ready")
    curves(grid[1, 0], found, lambda cell: cell["watched"] if cell["ready"] == cell["watched"] else None)
    grid[1, 0].set_title("the wait per event when all are ready [ns]")
    grid[1, 0].set_xlabel("descriptors watched, all ready")
    who_pays(grid[1, 1], summary, most, ready[-1] if ready else most)
    figure.text(0.012, 0.985, "The wait alone", fontsize=13, fontweight="bold", va="top")
    said = "One process, no TCP, nothing sleeps: medians over fresh processes, without the cost of reading the clock."
    figure.text(0.012, 0.952, said, fontsize=9, color=FAINT, va="top")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    narrow = {"ncols": len(found), "fontsize": 7.5, "columnspacing": 1.2, "handlelength": 1.8}
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.005, 0.938), **narrow)
    figure.text(0.012, 0.012, footer, fontsize=6.8, color=FAINT, va="bottom")
    return figure


def curves(axis: Axes, found: list[dict], x_of: Callable[[dict], int | None], per_event: bool = True) -> None:
    """A line for each way through the cells that have an x."""
    names = [way["name"] for way in found]
    for way in found:
        points = sorted(((x_of(cell), cell) for cell in way["cells"] if x_of(cell)), key=lambda point: point[0])
        how = look(way["name"], names)
        xs = [x for x, _ in points]
        ys = [np.array(cell["wait"]) / (cell["ready"] if per_event else 1) for _, cell in points]
        if not points:
            continue
        low, middle, high = zip(*(np.percentile(y, (25, 50, 75)) for y in ys))
        axis.plot(xs, middle, color=how.colour, marker=how.marker, linestyle=how.line, label=way["name"])
        axis.fill_between(xs, low, high, color=how.colour, alpha=0.15, linewidth=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    log_axis(axis.xaxis)
    log_axis(axis.yaxis)


def median(way: dict, watched: int, ready: int, part: str = "wait") -> float:
    """A part's median in a cell; nan where the cell was not measured."""
    cells = [cell for cell in way["cells"] if (cell["watched"], cell["ready"]) == (watched, ready)]
    return float(np.median(cells[0][part])) if cells else np.nan


def who_pays(axis: Axes, summary: dict, watched: int, ready: int) -> None:
    """One event from write to asking again: what a cheap wait moved elsewhere."""
    found = summary["ways"]
    left = np.zeros(len(found))
    for part in summary["parts"]:
        widths = np.array([median(way, watched, ready, part) / ready for way in found])
        axis.barh(range(len(found)), widths, left=left, color=SHADES[part], height=0.72, label=MEANING[part])
        left += widths
    axis.set_yticks(range(len(found)), [way["name"] for way in found], fontsize=7.5)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.set_title(f"an event as a whole, {ready:,} ready of {watched:,} [ns]")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v)))
    axis.set_xlabel("nanoseconds per event")
    below = {"loc": "upper center", "bbox_to_anchor": (0.45, -0.13)}
    axis.legend(fontsize=7.5, ncols=4, handlelength=1, columnspacing=1, **below)


def surface(summary: dict, footer: str) -> Figure:
    """The wait's price over watched and ready, a panel for each way of waiting, one colour scale for all."""
    found = summary["ways"]
    columns = 5
    rows = -(-len(found) // columns)
    height = 1.35 + 1.95 * rows
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.065, right=0.985, top=1 - 0.9 / height, bottom=0.75 / height, hspace=0.3, wspace=0.1)
    prices = [np.median(cell["wait"]) for way in found for cell in way["cells"]]
    scale = LogNorm(min(prices), max(prices))
    watched, ready = (sorted({c[side] for way in found for c in way["cells"]}) for side in ("watched", "ready"))
    for axis, way in zip(grid.flat, found):
        patch(axis, way, watched, ready, scale)
    for axis in list(grid.flat)[len(found) :]:
        axis.set_visible(False)
    heading = {"fontsize": 13, "fontweight": "bold", "va": "top"}
    figure.text(0.012, 1 - 0.1 / height, "What a wait costs [ns], all its events included", **heading)
    said = "across: descriptors watched; upwards: descriptors ready"
    figure.text(0.012, 1 - 0.42 / height, said, fontsize=9, color=FAINT, va="top")
    figure.text(0.012, 0.1 / height, footer, fontsize=6.8, color=FAINT, va="bottom")
    return figure


def patch(axis: Axes, way: dict, watched: list[int], ready: list[int], scale: LogNorm) -> None:
    values = np.array([[median(way, n, m) for n in watched] for m in ready])
    axis.imshow(values, origin="lower", aspect="auto", norm=scale, cmap="cividis")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if scale(value) < 0.55 else "black"
            axis.text(column, row, number(value), ha="center", va="center", fontsize=6, color=ink)
    axis.set_title(way["name"], fontsize=8.5)
    axis.set_xticks(range(len(watched)), map(number, watched), fontsize=7)
    axis.set_yticks(range(len(ready)), map(number, ready), fontsize=7)
    axis.grid(visible=False)
    axis.tick_params(length=0)
