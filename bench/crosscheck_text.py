"""What a crosscheck says, as tables: on the terminal, and as the generated blocks of docs/crosscheck.md."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import crosscheck_derive, drawing, paths
from bench.units import number, parse_time_ns

MAIN = "agree-50"
AGREE = ("rps", "p50_us", "p99_us")
NOTHING = "–"
CALLS = "system calls per request"
WORDS = ("server", "tool", CALLS)
OTHERS = (("differs", "by more than 5 % off"), ("not shown", "show neither"))
NO_SAMPLE = "No sample of records is committed yet.\n"


@dataclass(frozen=True)
class Rows:
    """A table, before anybody has decided how it looks."""

    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        sides = "".join("---|" if head in WORDS else "---:|" for head in self.heads)
        lines = ["| " + " | ".join(self.heads) + " |", "|" + sides]
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in self.rows]) + "\n"

    def rich(self, title: str) -> Table:
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        for head in self.heads:
            table.add_column(head, no_wrap=True, justify="left" if head in WORDS else "right")
        for row in self.rows:
            table.add_row(*(Text(cell.replace("`", "")) for cell in row))
        return table


def heading(summary: dict, metric: str) -> str:
    about = summary["metrics"][metric]
    return f"{about['label']} [{about['unit']}]"


def plain(found: dict, metric: str) -> str:
    value = found["values"].get(metric)
    return number(value["median"]) if value else NOTHING


def against(found: dict, metric: str) -> str:
    """`×1.02 [1.00, 1.03] within 5 %`: the ratio to the scene's first tool, and what its interval shows."""
    ratio = found["ratios"].get(metric)
    return f"×{edge(ratio['ratio'])} [{edge(ratio['low'])}, {edge(ratio['high'])}] {ratio['verdict']}" if ratio else ""


def edge(value: float) -> str:
    """Two decimals where they matter; of a wide interval's far end only that it is far."""
    return "> 100" if value > 100 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def of(summary: dict, name: str) -> list[dict]:
    return [scene for scene in summary["scenes"] if scene["name"] == name and scene["measured"]]


# --- agreement -------------------------------------------------------------------------------------------------------


def medians(summary: dict, name: str) -> Rows:
    """Every tool on every server, in its own figures."""
    columns = (*AGREE, "client_cpu_us", "server_busy")
    rows = [
        (f"`{scene['server']}`", summary["labels"][tool], *(plain(found, metric) for metric in columns))
        for scene in of(summary, name)
        for tool, found in scene["measured"].items()
    ]
    return Rows(("server", "tool", *(heading(summary, metric) for metric in columns)), rows)


def ratios_only(summary: dict, name: str) -> Rows:
    """Without the reference, and without client CPU, which nobody expects to agree."""
    heads = ("server", "tool", *(f"{summary['metrics'][metric]['label']}: ratio" for metric in AGREE))
    rows = [
        (f"`{scene['server']}`", summary["labels"][tool], *(against(found, metric) or NOTHING for metric in AGREE))
        for scene in of(summary, name)
        for tool, found in scene["measured"].items()
        if tool != scene["reference"]
    ]
    return Rows(heads, rows)


def verdicts(summary: dict, name: str = MAIN) -> str:
    """A line for each figure: how many comparisons show what, and which show no agreement."""
    lines = []
    for metric in AGREE:
        shown: dict[str, list[str]] = defaultdict(list)
        for scene in of(summary, name):
            for tool, found in scene["measured"].items():
                if ratio := found["ratios"].get(metric):
                    shown[ratio["verdict"]].append(
                        f"{summary['labels'][tool]} on `{scene['server']}` ×{edge(ratio['ratio'])}"
                    )
        total = sum(map(len, shown.values()))
        said = [f"{len(shown[word])} agree {word}" for word in ("within 5 %", "within 10 %") if shown[word]]
        said += [f"{len(shown[word])} {words} ({'; '.join(shown[word])})" for word, words in OTHERS if shown[word]]
        lines.append(f"- **{summary['metrics'][metric]['label']}**, {total} comparisons: {', '.join(said) or 'none'}.")
    return "\n".join(lines) + "\n"


# --- evidence --------------------------------------------------------------------------------------------------------


def evidence(
    summary: dict, name: str, columns: tuple[str, ...], extra: Callable[[str, dict], tuple[str, ...]] | None = None
) -> Rows:
    """The tools of a scene of its own, a metric per column."""
    heads = ("tool", *(heading(summary, metric) for metric in columns))
    rows = []
    for scene in of(summary, name):
        for tool, found in scene["measured"].items():
            rows.append(
                (
                    summary["labels"][tool],
                    *(plain(found, metric) for metric in columns),
                    *(extra(tool, found) if extra else ()),
                )
            )
    return Rows(heads, rows)


def stall(summary: dict) -> str:
    """The table, led by what somebody who comes at any moment should have met."""
    scene = of(summary, "stall")[0]
    length_ms = parse_time_ns(scene["load"]["pause"].split("+")[1]) / 1e6
    window_ms = parse_time_ns(scene["duration"]) / 1e6
    due_ms = max(0.0, length_ms - 0.01 * window_ms)
    lead = (
        f"The server stands still once for {length_ms:.0f} ms in {window_ms / 1e3:.0f} s, "
        f"{100 * length_ms / window_ms:.0f} % of the time. "
        f"Of people who come at any moment, one in a hundred waits longer than {due_ms:.0f} ms: that is the p99 "
        "to be found.\n\n"
    )
    columns = ("p50_us", "p99_us", "sent_p99_us", "corrected_p99_us", "max_us")
    return lead + evidence(summary, "stall", columns).markdown()


def correction(summary: dict) -> Rows:
    """wrk's p99 beside ours, and beside ours after wrk's own correction."""
    heads = (
        "server",
        "connections",
        "p99, ours [µs]",
        "p99, wrk [µs]",
        "wrk / ours",
        "ours corrected [µs]",
        "wrk / ours corrected",
        "made up by the correction",
    )
    rows = []
    for scene in summary["scenes"]:
        measured = scene["measured"]
        if scene["name"].startswith("agree-") and "wrk" in measured and scene["reference"] in measured:
            ours, wrk = measured[scene["reference"]], measured["wrk"]
            share = ours["made_up_share"]
            rows.append(
                (
                    f"`{scene['server']}`",
                    str(scene["load"]["connections"]),
                    plain(ours, "p99_us"),
                    plain(wrk, "p99_us"),
                    against(wrk, "p99_us") or NOTHING,
                    plain(ours, "corrected_p99_us"),
                    against(wrk, "corrected_p99_us") or NOTHING,
                    NOTHING if share is None else f"{100 * share:.1f} %",
                )
            )
    return Rows(heads, rows)


def grain(summary: dict) -> Rows:
    """What a reader sees of a percentile, and what the tool knew: its middle sample in the agreement at 50."""
    heads = ("server", "tool", "p50 as printed", "p99 as printed", "p50, median of all samples [µs]", "p99 [µs]")
    rows = []
    for scene in of(summary, MAIN):
        for tool in ("wrk", "ab"):
            found = scene["measured"].get(tool)
            if found:
                printed = [found["printed"].get(rank, NOTHING) for rank in ("50", "99")]
                rows.append(
                    (
                        f"`{scene['server']}`",
                        summary["labels"][tool],
                        *printed,
                        plain(found, "p50_us"),
                        plain(found, "p99_us"),
                    )
                )
    return Rows(heads, rows)


def long_reply(summary: dict) -> Rows:
    rows = evidence(
        summary,
        "long-reply",
        ("rps", "p50_us", "p99_us"),
        lambda _, found: (found["printed"].get("first byte", NOTHING),),
    )
    return Rows((*rows.heads, "first byte, as printed"), rows.rows)


def calls(summary: dict) -> Rows:
    rows = [
        (summary["labels"][tool], ", ".join(f"{name} {share:.2f}" for name, share in found["calls"].items()))
        for scene in of(summary, "calls")
        for tool, found in scene["measured"].items()
        if found["calls"]
    ]
    return Rows(("tool", CALLS), rows)


def provenance(summary: dict) -> str:
    tools = ", ".join(summary["versions"].values())
    said = (
        f"Run `{summary['run']}`: {summary['measured']} samples over {summary['blocks']} blocks. "
        f"{tools}. {summary['environment']}."
    )
    return " ".join([said, *(f"{line[0].upper()}{line[1:]}." for line in summary["left_out"])]) + "\n"


SERVED = ("rps", "p50_us", "p99_us", "client_cpu_us")
BLOCKS: dict[str, Callable[[dict], str]] = {
    "crosscheck-verdicts": verdicts,
    "crosscheck-figure": lambda _: (
        "![Ratios of every tool to build/loadgen](FIGURES/crosscheck.svg)\n\n"
        "*Does anybody else measure what our load generator measures?*\n"
    ),
    "crosscheck-table": lambda summary: medians(summary, MAIN).markdown(),
    "crosscheck-ratios": lambda summary: ratios_only(summary, MAIN).markdown(),
    "crosscheck-one": lambda summary: ratios_only(summary, "agree-1").markdown(),
    "crosscheck-many": lambda summary: ratios_only(summary, "agree-200").markdown(),
    "crosscheck-stall": stall,
    "crosscheck-correction": lambda summary: correction(summary).markdown(),
    "crosscheck-grain": lambda summary: grain(summary).markdown(),
    "crosscheck-delay": lambda summary: evidence(summary, "delay", ("p50_us", "p99_us")).markdown(),
    "crosscheck-bytes": lambda summary: evidence(summary, MAIN, ("reply_bytes", "client_cpu_us")).markdown(),
    "crosscheck-calls": lambda summary: calls(summary).markdown(),
    "crosscheck-long-reply": lambda summary: long_reply(summary).markdown(),
    "crosscheck-once": lambda summary: evidence(summary, "once", SERVED).markdown(),
    "crosscheck-threads": lambda summary: evidence(summary, "threads", SERVED).markdown(),
    "crosscheck-warm-up": lambda summary: evidence(summary, "warm-up", ("rps", "max_us")).markdown(),
    "crosscheck-from": provenance,
}


@cache
def summary_of(folder: Path, _written_ns: int) -> dict:
    """Derived once for all blocks of a document."""
    return crosscheck_derive.derive(folder)


def block(name: str) -> str:
    """A generated block of docs/crosscheck.md, from the committed sample."""
    samples = paths.CROSSCHECK_SAMPLE / "samples.jsonl"
    if not samples.exists():
        return NO_SAMPLE
    try:
        return BLOCKS[name](summary_of(paths.CROSSCHECK_SAMPLE, samples.stat().st_mtime_ns))
    except IndexError:
        return "The committed sample was measured without this scene.\n"


# --- the terminal, the figure ----------------------------------------------------------------------------------------


def show(console: Console, summary: dict) -> None:
    """Everything, in the order of the document."""
    console.print()
    for name in dict.fromkeys(scene["name"] for scene in summary["scenes"] if scene["measured"]):
        if name.startswith("agree-"):
            title = f"{name.removeprefix('agree-')} connections, closed loop"
            console.print(medians(summary, name).rich(title))
            console.print()
            console.print(ratios_only(summary, name).rich(f"{title}: ratios to {summary['labels']['epoll']}"))
            console.print(Text(verdicts(summary, name).replace("**", "").replace("`", ""), style="dim"))
        elif name == "calls":
            console.print(calls(summary).rich("system calls per request, under strace"))
            console.print()
        else:
            columns = ("rps", "p50_us", "p99_us", "sent_p99_us", "max_us", "client_cpu_us")
            console.print(evidence(summary, name, columns).rich(f"evidence: {name}"))
            console.print()
    console.print(correction(summary).rich("wrk's correction"))
    console.print()


def draw(folder: Path, target: Path, svg_only: bool = False) -> Path:
    """The figure, by plots/ in a process of its own that reads derived data only."""
    words = ["--svg"] if svg_only else []
    return drawing.drawn("plots.crosscheck", folder, "--to", target, *words)[0]


def draw_sample() -> list[Path]:
    """The document's figure, where a sample is committed."""
    if not (paths.CROSSCHECK_SAMPLE / "crosscheck.json").exists():
        return []
    crosscheck_derive.write(paths.CROSSCHECK_SAMPLE)
    return [draw(paths.CROSSCHECK_SAMPLE, paths.ROOT / "docs" / "figures", svg_only=True)]
