"""`make docs`: figures and tables in the documents, made from the committed sample of real records, never typed.

A document holds marked blocks; what stands between the marks is replaced:

    <!-- begin:NAME -->
    ...
    <!-- end:NAME -->

The names are the keys of BLOCKS.  What is generated depends on the sample and
this code alone, so a test can tell whether a committed document is current.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import (
    crosscheck_text,
    derive,
    docs_claim_format,
    docs_claims,
    docs_gate,
    docs_lab,
    docs_models,
    drawing,
    paths,
    records,
)
from bench.arms import sort_key
from bench.errors import UsageError
from bench.units import nearest, number

DOCUMENTS = ("README.md", "docs/*.md")
MARK = re.compile(r"(<!-- begin:([a-z0-9_-]+) -->\n)(.*?)(<!-- end:\2 -->)", re.DOTALL)


@dataclass(frozen=True)
class Column:
    """A column of the headline table: one metric in one cell of one experiment."""

    experiment: str
    metric: str
    choose: Callable[[list], object]  # which x of those measured
    heading: str  # {x} is the chosen one, {rate} the experiment's
    unless: str | None = None  # an experiment that says it better, where the run has it


def middle(xs: list) -> object:
    return xs[len(xs) // 2]


def hundred(xs: list) -> object:
    return min(xs, key=lambda x: abs(x - 100))


HEADLINES = (
    Column("models", "server_cpu_us_per_req", middle, "CPU per request at {x} requests/s [µs]"),
    Column("models", "p99_us", middle, "p99 latency there [µs]"),
    Column("rates", "server_cpu_us_per_req", middle, "CPU per request at {x} requests/s [µs]", unless="models"),
    Column("rates", "p99_us", middle, "p99 latency there [µs]", unless="models"),
    Column("connections", "throughput_rps", hundred, "requests/s over {x} connections"),
    Column("idle", "server_cpu_us_per_req", min, "CPU per request at {rate:,} requests/s, no idle connections [µs]"),
    Column("idle", "server_cpu_us_per_req", max, "the same with {x} idle connections [µs]"),
)


def headline_table(summary: dict) -> str:
    """Every model's medians in one Markdown table, ratios to the reference beside the first."""
    there = summary["experiments"]
    columns = [c for c in HEADLINES if c.experiment in there and c.unless not in there]
    chosen = [c.choose(sizes(summary["experiments"][c.experiment])) for c in columns]
    heads = [
        c.heading.format(x=f"{x:,}", rate=summary["experiments"][c.experiment]["load"].get("rate", 0))
        for c, x in zip(columns, chosen)
    ]
    arms = sorted(
        {
            arm
            for e in summary["experiments"].values()
            for cell in e["cells"]
            for arm in [*cell["arms"], *cell["left_out"]]
        },
        key=sort_key,
    )
    lines = ["| model | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for arm in arms:
        values = [headline(summary["experiments"][c.experiment], c.metric, x, arm) for c, x in zip(columns, chosen)]
        lines.append(f"| `{arm}` | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def sizes(experiment: dict) -> list:
    """The values on an experiment's axis."""
    return [cell["x"] for cell in experiment["cells"]]


def headline(experiment: dict, metric: str, x: object, arm: str) -> str:
    cell = next(c for c in experiment["cells"] if c["x"] == x)
    if arm in cell["left_out"]:
        return cell["left_out"][arm]
    found = cell["arms"].get(arm)
    value = found["values"].get(metric) if found else None
    if not value:
        return "no good sample" if found and not found["samples"]["ok"] else "–"
    if value["median"] is None:
        return f"> {number(value['above'])}"
    text = number(value["median"]) + ("°" if metric == "throughput_rps" and found["limit"] != "server" else "")
    ratio = found.get("ratios", {}).get(metric)
    return text + (f" (×{ratio['ratio']:.2f})" if ratio else "")


def provenance(summary: dict) -> str:
    """Where the figures come from, in a sentence or two."""
    blocks = max(e["blocks"] for e in summary["experiments"].values())
    reference = next((e["reference"] for e in summary["experiments"].values() if e["reference"]), "the reference")
    return (
        f"Run `{summary['run']}` ({summary['profile']}): {summary['measured']} samples, medians over {blocks} blocks, "
        "each sample a fresh server process; server and client on one CPU each. "
        f"× is the paired ratio to `{reference}`; ° means that the server's CPU was not the limit, "
        f"so no capacity is claimed. {summary['environment']}.\n"
    )


def figure(name: str) -> Callable[[dict], str]:
    """A block that shows docs/figures/NAME.svg with its question."""

    def block(summary: dict) -> str:
        experiment = summary["experiments"].get(name)
        return f"![{experiment['title']}](FIGURES/{name}.svg)\n\n*{experiment['question']}*\n" if experiment else ""

    return block


def models_table(summary: dict) -> str:
    plan = records.read_json(paths.SAMPLE_RUN / "plan.json")
    lines = ["| model | how it waits | clients at once |", "|---|---|---:|"]
    for name in sorted(plan["arms"], key=sort_key):
        arm = plan["arms"][name]
        lines.append(f"| `{name}` | {arm['thesis']} | {arm['clients_at_once'] or 'the descriptor limit'} |")
    return "\n".join(lines) + "\n"


BLOCKS: dict[str, Callable[[dict], str]] = {
    "results-table": headline_table,
    "results-from": provenance,
    **{name: lambda _, name=name: crosscheck_text.block(name) for name in crosscheck_text.BLOCKS},
    "figure-rates": figure("rates"),
    "figure-connections": figure("connections"),
    "figure-idle": figure("idle"),
    "figure-models": figure("models"),
    "models": models_table,
    **docs_models.BLOCKS,
    **docs_claim_format.BLOCKS,
    **docs_claims.BLOCKS,
    **docs_lab.BLOCKS,
    **docs_gate.BLOCKS,
}


def documents() -> list[Path]:
    return sorted(path for pattern in DOCUMENTS for path in paths.ROOT.glob(pattern))


def filled(text: str, summary: dict, where: Path) -> str:
    """A document with its marked blocks made anew."""
    figures = "docs/figures" if where.parent == paths.ROOT else "figures"

    def fill(found: re.Match) -> str:
        name = found[2]
        if name not in BLOCKS:
            raise UsageError(f"{paths.shown(where)}: unknown block {name!r}{nearest(name, BLOCKS)}")
        return found[1] + BLOCKS[name](summary).replace("FIGURES", figures) + found[4]

    return MARK.sub(fill, text)


def take_sample(run: Path, target: Path | None = None) -> None:
    """Makes a run's records a committed sample: all of it but the histograms' bins, which are most of its size.

    Percentiles stay, so everything derived from the sample is what the run itself gives.
    """
    target = target or paths.SAMPLE_RUN
    target.mkdir(parents=True, exist_ok=True)
    plan = records.read_json(run / "plan.json")
    records.write_json(target / "plan.json", {"run": run.name, **plan})
    records.write_json(target / "env.json", records.read_json(run / "env.json"))
    lines = [
        json.dumps(records.without_bins(record), ensure_ascii=False, separators=(",", ":"))
        for record in records.read_samples(run)
    ]
    (target / "samples.jsonl").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Taken:
    """Runs that become the committed samples; None: those that are committed stay."""

    headline: str | None = None
    anatomy: str | None = None
    lab: str | None = None
    micro: str | None = None
    gate: str | None = None
    claims: str | None = None
    comparison: str | None = None


def take(taken: Taken, results: Path) -> None:
    if taken.headline:
        take_sample(records.find(results, taken.headline))
    if taken.anatomy:
        docs_models.take_sample(taken.anatomy, results)
    if taken.lab:
        take_sample(records.find(results, taken.lab), docs_lab.LAB)
    if taken.micro:
        docs_lab.take_micro(taken.micro, results)
    if taken.claims:
        docs_claims.take_sample(records.find(results, taken.claims))
    if taken.gate:
        docs_gate.take(taken.gate, results)
    if taken.comparison:
        docs_gate.take_comparison(taken.comparison, results)


def make() -> list[Path]:
    """Regenerates figures and documents from the committed samples; the files that changed."""
    if not (paths.SAMPLE_RUN / "plan.json").exists():
        raise UsageError(
            f"no sample of records in {paths.shown(paths.SAMPLE_RUN)}; make a run the sample with: make docs RUN=NAME"
        )
    derive.write(paths.SAMPLE_RUN)
    summary = derive.derive(paths.SAMPLE_RUN)
    docs_claims.lay_page()
    changed = []
    for path in documents():
        before = path.read_text()
        after = filled(before, summary, path)
        if after != before:
            path.write_text(after)
            changed.append(path)
    return changed + draw_figures() + docs_models.draw() + docs_lab.draw() + docs_claims.draw() + docs_gate.draw()


def draw_figures() -> list[Path]:
    target = paths.ROOT / "docs" / "figures"
    made = drawing.drawn("plots", "--svg", "--to", target, paths.SAMPLE_RUN)
    return made + crosscheck_text.draw_sample()
