"""The tables at the end of a run: one per experiment, an arm per row, a cell per column."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.units import format_seconds

MARKS = {
    "leans ahead": ("leans ahead", "green"),
    "leans behind": ("leans behind", "yellow"),
    "ahead": ("ahead", "bold green"),
    "behind": ("behind", "bold yellow"),
    "tie": ("tie", "cyan"),
    "unresolved": ("unresolved", "dim"),
    "level": ("", ""),
}


def number(value: float) -> str:
    """Three significant digits, with a k for thousands: 5.42, 118, 79.8k."""
    if value >= 10_000:
        return f"{value / 1000:.3g}k" if value < 1_000_000 else f"{value / 1e6:.3g}M"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cell_text(found: dict | None, why_left_out: str | None, metric: str, reference: bool) -> Text:
    if why_left_out:
        return Text("–", style="dim")
    if not found or not found["values"].get(metric):
        why = found["why"] if found else None
        return Text("failed" if why else "no value", style="red" if why else "dim")
    text = Text(number(found["values"][metric]["median"]))
    if metric == "throughput_rps" and found["limit"] != "server":
        text.append("°", style="dim")
    ratio = found.get("ratios", {}).get(metric)
    if ratio and not reference:
        words, style = MARKS[ratio["verdict"]]
        text.append(f"  ×{ratio['ratio']:.2f}", style="dim")
        if words:
            text.append(f" {words}", style=style)
    return text


def of_metric(summary: dict, name: str, metric: str) -> Table:
    experiment, about = summary["experiments"][name], summary["metrics"][metric]
    table = Table(
        title=f"{name}: {about['label']} [{about['unit']}], {about['better']} is better",
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("model")
    for cell in experiment["cells"]:
        table.add_column(f"{experiment['x']} {cell['params'][experiment['x']]}", justify="right", no_wrap=True)
    arms = experiment["arms"] + sorted({a for c in experiment["cells"] for a in c["left_out"]} - set(experiment["arms"]))
    for arm in arms:
        texts = [cell_text(c["arms"].get(arm), c["left_out"].get(arm), metric, arm == experiment["reference"]) for c in experiment["cells"]]
        table.add_row(arm, *texts)
    return table


def notes(summary: dict, name: str, metric: str) -> list[str]:
    """What a reader must know to read the table right."""
    experiment = summary["experiments"][name]
    lines = [f"medians of {experiment['blocks']} fresh server processes; × is the paired ratio to {experiment['reference']}"]
    if metric == "throughput_rps":
        lines.append("° the server's CPU was not the limit: no capacity is claimed")
        if experiment["ceiling"]:
            lines.append(f"the client's ceiling in this run is {number(experiment['ceiling']['median'])} requests/s (against {experiment['ceiling']['arm']})")
    reasons = {(arm, why) for cell in experiment["cells"] for arm, why in cell["left_out"].items()}
    lines += [f"– {arm} {why}" for arm, why in sorted(reasons)]
    failures = {(arm, found["why"]) for cell in experiment["cells"] for arm, found in cell["arms"].items() if found["samples"]["failed"]}
    lines += [f"failed: {arm}: {why}" for arm, why in sorted(failures)]
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
    for what in ("failed", "invalid"):
        if summary[what]:
            words += f", {summary[what]} {what}"
    return words
