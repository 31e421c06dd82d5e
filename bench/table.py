"""The tables at the end of a run: one per experiment, an arm per row, a cell per column."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.arms import sort_key
from bench.units import format_seconds

MARKS = {  # verdict -> sign, style
    "leans ahead": ("▲", "green"),
    "leans behind": ("▼", "yellow"),
    "ahead": ("▲▲", "bold green"),
    "behind": ("▼▼", "bold yellow"),
    "tie": ("=", "cyan"),
    "unresolved": ("?", "dim"),
    "level": ("", ""),
}
LEGENDS = {
    "quick": "▲ leans ahead, ▼ leans behind: every block on that side and more than 3 % on average; a hint, no verdict",
    "full": "▲▲ ahead, ▼▼ behind, = tie (whole interval within 3 %), ? unresolved; 95 % for all comparisons of this table together",
}


def number(value: float) -> str:
    """Three significant digits, with a k for thousands: 5.42, 118, 79.8k."""
    if value >= 10_000:
        return f"{value / 1000:.3g}k" if value < 1_000_000 else f"{value / 1e6:.3g}M"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cell_texts(found: dict | None, why_left_out: str | None, metric: str) -> tuple[Text, Text]:
    """A cell's median, and beside it the ratio to the reference with its verdict."""
    if why_left_out:
        return Text("–", style="dim"), Text()
    if not found or not found["values"].get(metric):
        return Text(why_empty(found), style="red"), Text()
    value = Text(number(found["values"][metric]["median"]))
    if metric == "throughput_rps":
        value.append("°" if found["limit"] != "server" else " ", style="dim")
    ratio = found.get("ratios", {}).get(metric)
    if not ratio:
        return value, Text()
    sign, style = MARKS[ratio["verdict"]]
    return value, Text.assemble((f"×{ratio['ratio']:.2f} ", "dim"), (sign, style))


def why_empty(found: dict | None) -> str:
    """One word for a cell without a value: the worst thing that happened to its samples."""
    return next((status for status in ("failed", "invalid", "unavailable") if found and found["samples"][status]), "no value")


def of_metric(summary: dict, name: str, metric: str) -> Table:
    experiment, about = summary["experiments"][name], summary["metrics"][metric]
    table = Table(
        title=Text(f"{name}: {about['label']} [{about['unit']}], {about['better']} is better"),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", no_wrap=True)
    for cell in experiment["cells"]:
        table.add_column(f"  {experiment['x']} {cell['params'][experiment['x']]}", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    for arm in sorted({arm for cell in experiment["cells"] for arm in [*cell["arms"], *cell["left_out"]]}, key=sort_key):
        texts = [cell_texts(c["arms"].get(arm), c["left_out"].get(arm), metric) for c in experiment["cells"]]
        table.add_row(arm, *(text for pair in texts for text in pair))
    return table


def notes(summary: dict, name: str, metric: str) -> list[str]:
    """What a reader must know to read the table right."""
    experiment = summary["experiments"][name]
    lines = [f"medians over {experiment['blocks']} block{'s' * (experiment['blocks'] != 1)}, a fresh server process in each; × is the paired ratio to {experiment['reference']}"]
    verdicts = {r["verdict"] for c in experiment["cells"] for a in c["arms"].values() for r in [a.get("ratios", {}).get(metric)] if r}
    lines.append(LEGENDS["quick" if verdicts <= {"leans ahead", "leans behind", "level"} else "full"])
    if metric == "throughput_rps":
        lines.append("° the server's CPU was not the limit: no capacity is claimed")
        if experiment["ceiling"]:
            lines.append(f"the client's ceiling in this run is {number(experiment['ceiling']['median'])} requests/s (against {experiment['ceiling']['arm']})")
    reasons = {(arm, why) for cell in experiment["cells"] for arm, why in cell["left_out"].items()}
    lines += [f"– {arm} {why}" for arm, why in sorted(reasons)]
    failures = {(why_empty(found), arm, found["why"]) for cell in experiment["cells"] for arm, found in cell["arms"].items() if found["why"]}
    lines += [f"{word}: {arm}: {why}" for word, arm, why in sorted(failures)]
    return lines


def show(console: Console, summary: dict) -> None:
    """Every experiment's leading metrics, as tables with their notes."""
    for name, experiment in summary["experiments"].items():
        if not experiment["arms"]:
            console.print(f"{name}: nothing measured", style="red")
            continue
        latency = next((m for m in experiment["metrics"] if m == "p99_us"), None)
        for metric in dict.fromkeys([experiment["metrics"][0], latency]):
            if metric:
                console.print(of_metric(summary, name, metric))
                for line in notes(summary, name, metric):
                    console.print(f"  {line}", style="dim", highlight=False)
                console.print()


def closing(summary: dict, seconds: float) -> str:
    """One line on how the run went."""
    words = f"{summary['measured']} of {summary['planned']} samples in {format_seconds(seconds)}"
    for what in ("failed", "invalid", "unavailable"):
        if summary[what]:
            words += f", {summary[what]} {what}"
    return words
