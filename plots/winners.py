"""Who is ahead where: a map over two parameters.  A cell in colour has a winner, a grey one has none.

The winner has the best median of the leading metric; the cell is grey when the runner-up's interval overlaps the
winner's, or lies within the 3 % that count as a tie everywhere here.
"""

import textwrap

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from plots.curves import axis_label, axis_name, notes
from plots.style import foot, heading, look, number

TIE = 1.03
WIDTH, HEAD, ROW = 10.0, 0.95, 0.75  # inches


def draw(summary: dict, name: str) -> Figure:
    experiment = summary["experiments"][name]
    metric = experiment["metrics"][0]
    about = summary["metrics"][metric]
    columns = list({cell["x"]: axis_label(cell, experiment) for cell in experiment["cells"]}.items())
    rows = list(dict.fromkeys(cell["panel"] for cell in experiment["cells"]))
    below = textwrap.wrap("  ".join([HOW, *notes(summary, experiment)]), 172)
    room = 0.9 + 0.15 * len(below)
    height = HEAD + room + ROW * len(rows)
    figure, axis = plt.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(left=0.11, right=0.985, top=1 - HEAD / height, bottom=room / height)
    for cell in experiment["cells"]:
        at = ([x for x, _ in columns].index(cell["x"]), rows.index(cell["panel"]))
        square(axis, at, standing(cell, metric, about["better"]), experiment["arms"], about["unit"])
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xticks(range(len(columns)), [text for _, text in columns])
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xlabel(axis_name(experiment))
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    title = f"{experiment['title']}: {about['label']}, {about['better']} is better"
    heading(figure, height, title, "the best in each cell, and how far the next is behind")
    foot(figure, height, below, summary)
    return figure


HOW = "Grey: no winner, for the runner-up's interval overlaps the best one's or its median lies within 3 %."


def standing(cell: dict, metric: str, better: str) -> list[tuple[str, dict]]:
    """The arms of a cell with a value, the best first."""
    known = [(arm, found["values"].get(metric)) for arm, found in cell["arms"].items()]
    known = [(arm, value) for arm, value in known if value and value["median"] is not None]
    return sorted(known, key=lambda item: item[1]["median"], reverse=better == "higher")


def leads(first: dict, second: dict) -> bool:
    """Whether the best is told from the next: intervals apart, medians further apart than a tie."""
    low, high = sorted((first, second), key=lambda value: value["median"])
    apart = high["low"] is not None and low["high"] is not None and low["high"] < high["low"]
    return apart and high["median"] / low["median"] > TIE


def square(axis, at: tuple[int, int], found: list[tuple[str, dict]], arms: list[str], unit: str) -> None:
    (column, row), won = at, len(found) > 1 and leads(found[0][1], found[1][1])
    colour = look(found[0][0], arms).colour if won else "#BBBBBB"
    place = (column - 0.48, row - 0.46)
    axis.add_patch(Rectangle(place, 0.96, 0.92, facecolor=colour, alpha=0.35 if won else 0.25, edgecolor="none"))
    if not found:
        lines = ["nothing measured"]
    else:
        lines = [f"{found[0][0]}  {number(found[0][1]['median'])} {unit}"]
        lines += [f"{'then' if won else 'level with'} {arm}  {number(value['median'])}" for arm, value in found[1:2]]
    axis.text(column, row, "\n".join(lines), ha="center", va="center", fontsize=8.5, linespacing=1.5)
