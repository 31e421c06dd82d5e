"""The tables at the end of a run: one per experiment, an arm per row, a cell per column."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import notes
from bench.arms import sort_key
from bench.units import label, number

NO_VALUE = "·"  # measured, but this metric cannot be read there: memory of a handful of connections, say
MARKS = {  # verdict -> sign, style
    "leans ahead": ("▲", "green"),
    "leans behind": ("▼", "yellow"),
    "ahead": ("▲▲", "bold green"),
    "behind": ("▼▼", "bold yellow"),
    "tie": ("=", "cyan"),
    "unresolved": ("?", "dim"),
    "level": ("", ""),
}


def cell_texts(found: dict | None, why_left_out: str | None, metric: str) -> tuple[Text, Text]:
    """A cell's median, and beside it the ratio to the reference with its verdict."""
    if why_left_out:
        return Text("–", style="dim"), Text()
    if not found or not found["values"].get(metric):
        word = why_empty(found)
        return Text(word, style="red" if word != NO_VALUE else "dim"), Text()
    median = found["values"][metric]["median"]
    if median is None:
        return Text(f">{number(found['values'][metric]['above'])}", style="yellow"), Text()
    value = Text(number(median))
    if metric == "throughput_rps":
        value.append("°" if found["limit"] != "server" else " ", style="dim")
    ratio = found.get("ratios", {}).get(metric)
    if not ratio:
        return value, Text()
    sign, style = MARKS[ratio["verdict"]]
    return value, Text.assemble((f"×{ratio['ratio']:.2f} ", "dim"), (sign, style))


def why_empty(found: dict | None) -> str:
    """One word for a cell without a value: the worst thing that happened to its samples."""
    return next(
        (status for status in ("failed", "invalid", "unavailable") if found and found["samples"][status]), NO_VALUE
    )


def blank_table(first: str, columns: list[str]) -> Table:
    """A model column, then pairs of a right-aligned value and what stands beside it."""
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for heading in columns:
        table.add_column(f"  {heading}", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    return table


def all_arms(experiment: dict) -> list[str]:
    """The rows: what was measured anywhere, and what one client at a time kept out; the notes name the others."""
    found = {arm for cell in experiment["cells"] for arm in cell["arms"]}
    found |= {arm for cell in experiment["cells"] for arm, why in cell["left_out"].items() if not why.startswith("has no ")}
    return sorted(found, key=sort_key)


def by_panel(experiment: dict) -> dict[str | None, dict]:
    """The experiment once for each panel, with that panel's cells; itself where there is but one."""
    panels = dict.fromkeys(cell["panel"] for cell in experiment["cells"])
    return {p: {**experiment, "cells": [c for c in experiment["cells"] if c["panel"] == p]} for p in panels}


def of_metric(experiment: dict, metric: str) -> Table:
    """One metric: an arm per row, a cell per column."""
    table = blank_table(
        f"{experiment['x']} →", [label(cell["params"][experiment["x"]]) for cell in experiment["cells"]]
    )
    for arm in all_arms(experiment):
        texts = [cell_texts(c["arms"].get(arm), c["left_out"].get(arm), metric) for c in experiment["cells"]]
        table.add_row(arm, *(text for pair in texts for text in pair))
    return table


def of_cell(summary: dict, experiment: dict) -> Table:
    """An experiment of one cell: an arm per row, a metric per column."""
    cell = experiment["cells"][0]
    table = blank_table(
        "model",
        [
            f"{metric.removesuffix('_us').removesuffix('_rps')} [{summary['metrics'][metric]['unit']}]".replace(
                "[", "\\["
            )
            for metric in experiment["metrics"]
        ],
    )
    for arm in all_arms(experiment):
        texts = [
            cell_texts(cell["arms"].get(arm), cell["left_out"].get(arm), metric) for metric in experiment["metrics"]
        ]
        table.add_row(arm, *(text for pair in texts for text in pair))
    return table


def of_growth(experiment: dict, unit: str) -> Table:
    """The fitted line of each arm, and what it amounts to."""
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in (
        "model",
        f"c0 ({unit})",
        f"c1 ({unit} per 1,000)",
        "95 % interval of c1",
        f"c1 × {max(c['x'] for c in experiment['cells']):g} / c0",
        "verdict",
    ):
        table.add_column(heading, justify="left" if heading in ("model", "verdict") else "right", no_wrap=True)
    for arm, line in experiment["scaling"].items():
        if line:
            word = "" if line["verdict"] == "none" else line["verdict"]
            band = f"{line['c1_low'] * 1000:.3g} to {line['c1_high'] * 1000:.3g}"
            table.add_row(arm, f"{line['c0']:.3g}", f"{line['c1'] * 1000:.3g}", band, f"{line['growth']:.2g}", word)
    return table


def show(console: Console, summary: dict) -> None:
    """Every experiment's leading metric and its tail latency, as tables with their notes."""
    for name, experiment in summary["experiments"].items():
        if not experiment["arms"]:
            console.print(f"{name}: nothing measured", style="red")
            for line in notes.left_out(experiment):
                console.print(Text(f"  {line}", style="dim"))
        elif len(experiment["cells"]) == 1:
            print_one(
                console, experiment["title"], of_cell(summary, experiment), notes.of(experiment, experiment["metrics"])
            )
        else:
            for metric in dict.fromkeys(
                [experiment["metrics"][0], *(m for m in experiment["metrics"] if m in ("p99_us", "rss_kib_per_conn"))]
            ):
                about = summary["metrics"][metric]
                title = f"{name}: {about['label']} [{about['unit']}], {about['better']} is better"
                parts = by_panel(experiment)
                for count, (panel, part) in enumerate(parts.items(), 1):
                    said = notes.of(experiment, [metric]) if count == len(parts) else []
                    print_one(console, f"{title}; {panel}" if panel else title, of_metric(part, metric), said)
        if any((experiment["scaling"] or {}).values()):
            unit = summary["metrics"][experiment["metrics"][0]]["unit"]
            print_one(console, f"{name}: growth with {experiment['x']}", of_growth(experiment, unit), [notes.GROWTH])
        for line in notes.troubles(experiment):
            console.print(Text(line, style="yellow"))


def print_one(console: Console, title: str, table: Table, lines: list[str]) -> None:
    console.print(Text(title, style="bold"))
    console.print(table)
    for line in lines:
        console.print(Text(f"  {line}", style="dim"))
    console.print()
