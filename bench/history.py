"""History: what every run said of every arm, as a ratio to a reference that was measured in the same run.

A ratio travels further in time than a figure: what a busy or slowed host did to an arm it did to the reference, too.
One file for each fingerprint of a host, results/history/FINGERPRINT.jsonl, one line for each run, cell, arm and metric.
Lines are only ever added, and each has an id, so that adding a run twice or merging the folders of many CI jobs gives
every line once; git merges such files by union (.gitattributes).
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import changepoints, derive, metrics, paths, records
from bench.arms import sort_key
from bench.drawing import drawn
from bench.errors import UsageError
from bench.export_rows import find
from bench.history_lines import lines_of

FOLDER = "history"
ACTIONS = ("add", "merge", "show", "chart")
TELLING = 6  # runs, below which no change can be found (changepoints.LEAST on either side)


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "action", choices=ACTIONS, help="add runs; merge folders of histories; show it as a table, or as charts"
    )
    command.add_argument(
        "what", nargs="*", metavar="RUN|FOLDER|WORD", help="runs to add, folders to merge, or words that a series has"
    )
    command.add_argument(
        "--reference",
        metavar="ARM",
        help="add: take ratios to this arm (default: the frozen one, else the experiment's)",
    )
    command.add_argument(
        "--fingerprint", metavar="HOST", help="show, chart: only this host's (default: every host's, each for itself)"
    )
    command.add_argument("--to", metavar="DIR", help="chart: where the figures go (default: in the history's folder)")


def from_options(console: Console, options: argparse.Namespace) -> int:
    results = paths.results_dir(options.results)
    folder = results / FOLDER
    if options.action == "add":
        runs = [find(results, name) for name in options.what] or [find(results, None, ("compare.json",))]
        for run in runs:
            added, known = keep(folder, lines_of(run, options.reference))
            console.print(
                f"{run.name}: {added} lines added, {known} known already; in {paths.shown(folder)}", highlight=False
            )
        return 0
    if options.action == "merge":
        return merge(folder, [Path(name) for name in options.what], console)
    found = [
        series for series in read(folder, options.fingerprint) if all(word in series.name for word in options.what)
    ]
    if not found and not options.what and not options.fingerprint:
        console.print(f"no history in {paths.shown(folder)} yet")
        return 0
    if not found:
        raise UsageError(f"no such series in {paths.shown(folder)}; add a run with: python3 -m bench history add RUN")
    if options.action == "show":
        console.print(table(found))
        return 0
    return chart(found, Path(options.to) if options.to else folder / "figures", console)


# --- lines ------------------------------------------------------------------------------------------------------------


def keep(folder: Path, lines: list[dict]) -> tuple[int, int]:
    """Adds the lines that are not there yet, each to its host's file; how many were new, and how many known."""
    added = 0
    by_host: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        by_host[line["fingerprint"]].append(line)
    for host, mine in by_host.items():
        folder.mkdir(parents=True, exist_ok=True)
        known = {line["id"] for line in records.read_samples(folder, f"{host}.jsonl")}
        new = {line["id"]: line for line in mine if line["id"] not in known}
        appender = records.Appender(folder, f"{host}.jsonl")
        try:
            for line in new.values():
                appender.add(line)
        finally:
            appender.close()
        added += len(new)
    return added, len(lines) - added


def merge(folder: Path, others: list[Path], console: Console) -> int:
    """Other histories, such as the artifacts of many jobs: whatever lies below a folder as FINGERPRINT.jsonl."""
    if not others:
        raise UsageError("history merge: expected folders that hold FINGERPRINT.jsonl files")
    for other in others:
        found = [path for path in sorted(other.rglob("*.jsonl")) if path.parent.resolve() != folder.resolve()]
        lines = [line for path in found for line in histories(path)]
        if not lines:
            raise UsageError(f"{paths.shown(other)}: no history below it, that is no FINGERPRINT.jsonl")
        added, known = keep(folder, lines)
        console.print(f"{paths.shown(other)}: {added} lines added, {known} known already", highlight=False)
    return 0


def histories(path: Path) -> list[dict]:
    """A file's lines if it is a history, for other records end in .jsonl, too."""
    lines = records.read_samples(path.parent, path.name)
    return lines if all(line.get("fingerprint") == path.stem and "ratio" in line for line in lines) else []


# --- series -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """One arm's ratio over the runs of one host, oldest first, and where it changed its level."""

    place: tuple[str, ...]  # fingerprint, experiment, cell, arm, metric, reference
    lines: list[dict]
    changes: list[changepoints.Change]

    @property
    def name(self) -> str:
        _, experiment, cell, arm, metric, _ = self.place
        return f"{experiment}/{cell} {arm} {metric}"

    @property
    def better(self) -> str:
        return self.lines[-1]["better"]


def read(folder: Path, fingerprint: str | None = None) -> list[Series]:
    """Every series of a history's folder, each line once, in the order of the runs."""
    by_place: dict[tuple[str, ...], dict[str, dict]] = defaultdict(dict)
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        if fingerprint in (None, path.stem):
            for line in records.read_samples(folder, path.name):
                place = tuple(line[k] for k in ("fingerprint", "experiment", "cell", "arm", "metric", "reference"))
                by_place[place][line["id"]] = line
    found = []
    for place, lines in by_place.items():
        ordered = sorted(lines.values(), key=lambda line: (line["when"] or "", line["run"], line.get("side", "")))
        changes = changepoints.changes([line["ratio"] for line in ordered]) if len(ordered) >= TELLING else []
        found.append(Series(place, ordered, changes))
    return sorted(found, key=lambda s: (s.place[0], s.place[1], s.place[2], sort_key(s.place[3]), s.place[4]))


def revision_of(line: dict) -> str:
    return line["describe"] or (line["revision"] or "unversioned")[:10]


def table(found: list[Series]) -> Table:
    shown = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("host", "series", "runs", "newest", "interval", "changes of level"):
        shown.add_column(heading, justify="right" if heading in ("runs", "newest") else "left", overflow="fold")
    for series in found:
        last = series.lines[-1]
        interval = f"{last['low']:.3f} to {last['high']:.3f}" if last["low"] is not None else "–"
        told = "; ".join(change_text(series, change) for change in series.changes)
        few = "" if len(series.lines) >= TELLING else f"needs {TELLING} runs"
        shown.add_row(
            series.place[0], series.name, str(len(series.lines)), f"×{last['ratio']:.3f}", interval, told or few
        )
    return shown


def change_text(series: Series, change: changepoints.Change) -> str:
    """`+9.8 % (worse) from abc1234 on`."""
    worse = (change.ratio > 1) == (series.better == "lower")
    line = series.lines[change.at]
    return f"{change.ratio - 1:+.1%} ({'worse' if worse else 'better'}) from {revision_of(line)} on"


# --- charts -----------------------------------------------------------------------------------------------------------


def chart(found: list[Series], target: Path, console: Console) -> int:
    """A figure for each series, as files; and each with a change, or the only one, in characters."""
    from bench import terminal_plot

    target.mkdir(parents=True, exist_ok=True)
    data = target / "history.json"
    records.write_json(data, {"schema": records.SCHEMA, "series": [as_drawn(series) for series in found]})
    for series in found:
        if series.changes or len(found) == 1:
            picture = terminal_plot.draw_history(
                as_drawn(series), min(console.width, 110) if console.is_terminal else 100
            )
            if picture:
                console.print(picture, markup=False, highlight=False, no_wrap=True, soft_wrap=True)
    for path in drawn("plots.history", data, "--to", target):
        console.print(f"figure: {paths.shown(path)}", highlight=False)
    return 0


def as_drawn(series: Series) -> dict:
    """A series as plots/history.py and gnuplot want it."""
    edges = [0, *(change.at for change in series.changes), len(series.lines)]
    ratios = [line["ratio"] for line in series.lines]
    levels = [{"from": a, "to": b, "mean": derive.clean(sum(ratios[a:b]) / (b - a))} for a, b in zip(edges, edges[1:])]
    metric = metrics.METRICS.get(series.place[4])
    return {
        "name": series.name,
        "place": list(series.place),
        "label": metric.label if metric else series.place[4],
        "better": series.better,
        "frozen": all(line["frozen"] for line in series.lines),
        "environment": series.lines[-1]["environment"],
        "points": [
            {
                "ratio": line["ratio"],
                "low": line["low"],
                "high": line["high"],
                "revision": revision_of(line),
                "when": line["when"],
            }
            for line in series.lines
        ],
        "changes": [{"at": c.at, "p": c.p, "says": change_text(series, c)} for c in series.changes],
        "levels": levels,
    }
