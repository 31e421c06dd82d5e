"""One experiment with one axis: a panel per metric, a line per model, bands for what repetition showed.

Reads the same for any experiment: what is measured stands over each panel, how
it was measured and what was left out stands below, and where on the way.
"""

import math
import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plots.style import FAINT, foot, heading, log_axis, look, number

AXIS_NAMES = {
    "rate": "offered rate [requests/s]",
    "connections": "connections",
    "idle": "idle connections",
    "size": "request size [bytes]",
    "depth": "requests under way per connection",
    "total": "connections, active and idle",
    "workers": "workers",
    "slow.connections": "slow readers beside the 20 prompt clients",
    "hogs.connections": "hogs beside the 20 pingers",
}
WIDTH, PANEL_HEIGHT, HEAD, NOTE_HEIGHT, LEGEND_ROW = 10.0, 2.9, 0.95, 0.15, 0.2  # inches
TITLE_WIDTH, TITLE_LINE = 52, 0.17  # characters that fit over a panel; inches


def draw(summary: dict, name: str) -> Figure:
    experiment = summary["experiments"][name]
    shown = panels_of(experiment)
    rows = (len(shown) + 1) // 2
    below = textwrap.wrap("  ".join(notes(summary, experiment)), 172)
    foot = 0.4 + NOTE_HEIGHT * len(below)
    head = HEAD + LEGEND_ROW * (math.ceil(len(experiment["arms"]) / columns(experiment)) - 1)
    head += TITLE_LINE * max(title(summary, part, metric).count("\n") for metric, part in shown[:2])
    height = head + foot + rows * PANEL_HEIGHT
    figure, grid = plt.subplots(rows, 2, figsize=(WIDTH, height), squeeze=False)
    figure.subplots_adjust(
        left=0.075, right=0.98, top=1 - head / height, bottom=(foot + 0.5) / height, hspace=0.42, wspace=0.2
    )
    axes = list(grid.flat)
    for axis, (metric, part) in zip(axes, shown):
        panel(axis, summary, part, metric)
    share_axes(axes, shown)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    furniture(figure, summary, experiment, below, height)
    return figure


def panels_of(experiment: dict) -> list[tuple[str, dict]]:
    """What each panel shows: a metric; or, with a second axis, the leading metric and the tail in each of its places."""
    names = dict.fromkeys(cell["panel"] for cell in experiment["cells"])
    shown = [m for m in experiment["metrics"] if any(points(experiment, arm, m) for arm in experiment["arms"])]
    if len(names) > 1:
        shown = shown[:1] + [m for m in shown[1:] if m == "p99_us"]
    parts = [{**experiment, "cells": [c for c in experiment["cells"] if c["panel"] == name]} for name in names]
    return [(metric, part) for part in parts for metric in shown]


def share_axes(axes: list[Axes], shown: list[tuple[str, dict]]) -> None:
    """Panels of one metric get one scale, so that they can be compared by eye."""
    for metric in {metric for metric, _ in shown}:
        same = [axis for axis, (m, _) in zip(axes, shown) if m == metric]
        if len(same) > 1:
            low, high = min(a.get_ylim()[0] for a in same), max(a.get_ylim()[1] for a in same)
            for axis in same:
                axis.set_ylim(low, high)
                log_axis(axis.yaxis)


def axis_name(experiment: dict) -> str:
    """The axis in words; a rate may be a share of a capacity instead."""
    if experiment["x"] == "rate" and isinstance(experiment["cells"][0]["params"]["rate"], str):
        return "offered rate [% of the capacity measured in the same run]"
    return AXIS_NAMES.get(experiment["x"], experiment["x"])


def axis_label(cell: dict, experiment: dict) -> str:
    """A cell's place as it was written, or shortened: 50%, 20k."""
    written = cell["params"][experiment["x"]]
    return written if isinstance(written, str) else number(written)


def points(experiment: dict, arm: str, metric: str) -> list[tuple[float, dict, str | None]]:
    """(x, value, who was the limit) of an arm, along the axis."""
    found = []
    for cell in experiment["cells"]:
        there = cell["arms"].get(arm)
        if there and there["values"].get(metric):
            found.append((cell["x"], there["values"][metric], there["limit"]))
    return sorted(found, key=lambda p: p[0])


def panel(axis: Axes, summary: dict, experiment: dict, metric: str) -> None:
    about = summary["metrics"][metric]
    for arm in experiment["arms"]:
        curve(axis, experiment, arm, metric)
    x_axis(axis, experiment)
    axis.set_title(title(summary, experiment, metric))
    if about["scale"] == "log":
        axis.set_yscale("log")
    if metric == "throughput_rps" and experiment["ceiling"]:
        ceiling_line(axis, experiment)
    marks(axis, experiment, metric)
    if about["scale"] == "log":
        log_axis(axis.yaxis)


def title(summary: dict, experiment: dict, metric: str) -> str:
    """What a panel shows, and of which place on a second axis, or which way is better; in lines that fit over it."""
    about, where = summary["metrics"][metric], experiment["cells"][0]["panel"]
    return textwrap.fill(f"{about['label']} [{about['unit']}], {where or about['better'] + ' is better'}", TITLE_WIDTH)


def curve(axis: Axes, experiment: dict, arm: str, metric: str) -> None:
    """Medians, their band, and hollow points where a throughput is not the server's capacity."""
    how = look(arm, experiment["arms"])
    place = places(experiment)
    found = [(place[x], value, limit) for x, value, limit in points(experiment, arm, metric)]
    for x, _, _ in (p for p in found if p[1]["median"] is None):
        axis.plot(
            x,
            0.97,
            marker="$\\uparrow$",
            transform=axis.get_xaxis_transform(),
            color=how.colour,
            markersize=9,
            clip_on=False,
        )
    found = [p for p in found if p[1]["median"] is not None]
    xs = [x for x, _, _ in found]
    medians = [v["median"] for _, v, _ in found]
    highs = [v["median"] if v["high"] is None else v["high"] for _, v, _ in found]
    alpha = 0.13 if len(experiment["arms"]) <= 8 else 0.05  # many bands over each other would hide the lines
    axis.fill_between(xs, [v["low"] for _, v, _ in found], highs, color=how.colour, alpha=alpha, linewidth=0)
    axis.plot(xs, medians, color=how.colour, linestyle=how.line)
    for x, y, (_, _, limit) in zip(xs, medians, found):
        hollow = metric == "throughput_rps" and limit != "server"
        axis.plot(
            x, y, how.marker, color=how.colour, markerfacecolor="white" if hollow else how.colour, markeredgewidth=1.2
        )


def places(experiment: dict) -> dict[float, float]:
    """Where each x stands.  A logarithmic axis has no 0: it stands a little left of the next, and its tick says 0."""
    xs = sorted({cell["x"] for cell in experiment["cells"]})
    return {x: x if x > 0 else (xs[1] / 5 if len(xs) > 1 else 1) for x in xs}


def x_axis(axis: Axes, experiment: dict) -> None:
    place = places(experiment)
    axis.set_xscale("log")
    labels = {cell["x"]: axis_label(cell, experiment) for cell in experiment["cells"]}
    axis.set_xticks(list(place.values()), [labels[x] for x in place])
    axis.set_xticks([], minor=True)
    axis.set_xlim(min(place.values()) / 1.25, max(place.values()) * 1.25)
    axis.set_xlabel(axis_name(experiment))


def marks(axis: Axes, experiment: dict, metric: str) -> None:
    """Below the curves, with their intervals: where an arm passes the reference, or its tail latency leaves the floor."""
    panel = experiment["cells"][0]["panel"]
    found = [(c["arm"], c) for c in experiment["crossovers"] if c["metric"] == metric and c["panel"] == panel]
    found += [(arm, knee) for arm, knee in experiment["knees"].items() if knee and metric == "p99_us"]
    for row, (arm, one) in enumerate(found):
        how, height = look(arm, experiment["arms"]), 0.02 + 0.025 * row
        place = axis.get_xaxis_transform()
        ends = [max(one["low"], 1e-9), one["high"]]
        axis.plot(ends, [height, height], color=how.colour, linewidth=2.2, solid_capstyle="butt", transform=place)
        axis.plot(one["x"], height, how.marker, color=how.colour, markersize=4, transform=place)


def ceiling_line(axis: Axes, experiment: dict) -> None:
    ceiling = experiment["ceiling"]
    axis.axhspan(ceiling["low"], ceiling["high"], color="#999999", alpha=0.15, linewidth=0)
    axis.axhline(ceiling["median"], color=FAINT, linewidth=1, linestyle=(0, (1, 2)))
    axis.annotate(
        f"client's ceiling, {number(ceiling['median'])}", (0.01, ceiling["low"]), xycoords=(
            "axes fraction", "data"
        ), xytext=(0, -3),
        textcoords="offset points", fontsize=7.5, color=FAINT, va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )


def columns(experiment: dict) -> int:
    """Of the legend: one row for as many as fit side by side, else even rows."""
    arms = len(experiment["arms"])
    return arms if arms <= 9 else math.ceil(arms / math.ceil(arms / 7))


def furniture(figure: Figure, summary: dict, experiment: dict, below: list[str], height: float) -> None:
    heading(figure, height, experiment["title"])
    arms = experiment["arms"]
    handles = [
        Line2D([], [], color=look(a, arms).colour, linestyle=look(a, arms).line, marker=look(a, arms).marker, label=a)
        for a in arms
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(
            0.005, 1 - 0.36 / height
        ), ncol=columns(experiment), handlelength=3.2, columnspacing=1.3
    )
    foot(figure, height, below, summary)


def notes(summary: dict, experiment: dict) -> list[str]:
    """How it was measured and what is missing, in sentences."""
    load = experiment["load"]
    loop = "Open loop, Poisson arrivals" if load.get("mode") == "open" and load.get(
        "arrival"
    ) == "poisson" else f"{load.get('mode', 'closed').capitalize()} loop"
    asked = load.get("path", "/") if load["protocol"] == "http" else f"{load.get('size', 64)} bytes"
    parts = [f"{loop}, {load['protocol']}, {asked}"]
    parts += [
        f"{load[k]} {word}"
        for k, word in (("connections", "active connections"), ("rate", "requests/s"))
        if k in load and k != experiment["x"]
    ]
    waits = "spins" if load.get("wait") == "spin" else "sleeps"
    parts.append(f"client {waits} while it waits, server and client on one CPU each.")
    said = [", ".join(parts)]
    if load.get("engine") in ("wrk", "h2load", "ab"):
        said.append(f"Driven by {load['engine']}; what its percentiles are: docs/crosscheck.md.")
    coverage = max(
        (v["coverage"] for c in experiment["cells"] for a in c["arms"].values() for v in a["values"].values() if v),
        default=0,
    )
    band = "95 % intervals of the median" if coverage >= 0.95 else "the range"
    said.append(f"Points are medians over {experiment['blocks']} blocks, a fresh server process in each; bands {band}.")
    if "throughput_rps" in experiment["metrics"]:
        said.append("Hollow: the server's CPU was not the limit, so no capacity is claimed.")
    if experiment["crossovers"]:
        said.append(f"Bars at the foot: where a model passes {experiment['reference']}, with the 95 % interval (all comparisons together).")
    if any(experiment["knees"].values()):
        said.append("Bars at the foot: where the 99th percentile is three times what it is at the lowest rate, with its 95 % interval.")
    if experiment["capacities"]:
        told = [f"{arm} {number(c['rps'])} ({number(c['low'])} to {number(c['high'])})" for arm, c in experiment["capacities"].items()]
        said.append(f"Capacity, where the server was the limit [requests/s], with 95 % intervals: {', '.join(told)}.")
    if any(
        v and v["median"] is None for c in experiment["cells"] for a in c["arms"].values() for v in a["values"].values()
    ):
        said.append("An arrow: too many requests were not answered in time; the percentile lies beyond all that was measured.")
    said += left_out(experiment)
    return said


def left_out(experiment: dict) -> list[str]:
    """Which models were not run where, and why: one sentence per reason and place."""
    missing: dict[tuple[str, str], list[str]] = {}
    for cell in experiment["cells"]:
        for arm, why in cell["left_out"].items():
            missing.setdefault((arm, why), []).append(axis_label(cell, experiment))
        for arm, found in cell["arms"].items():
            if not found["samples"]["ok"]:
                missing.setdefault((arm, "has no good sample"), []).append(axis_label(cell, experiment))
    every = len(experiment["cells"])
    places: dict[tuple[str, str], list[str]] = {}
    for (arm, why), xs in missing.items():
        where = "left out" if len(xs) == every else f"left out at {', '.join(dict.fromkeys(xs))}"
        places.setdefault((why, where), []).append(arm)
    return [f"{where[0].upper()}{where[1:]}: {', '.join(found)} ({why})." for (why, where), found in places.items()]
