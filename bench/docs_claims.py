"""The claims ledger in the documents: a committed sample of one run's figures, and what is made of it.

A run of all claims has thousands of records.  The sample keeps of each what claims read off it: the metrics that they
name, who was the limit, and the figures of workers, probes, arrivals and counts.  From these every statistic, every
verdict and every table is redone; quotations stay in the claims' files.

Until a sample is there the blocks are empty, and there is no docs/ledger.md.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench import claims_ledger, claims_stats, claims_text, claims_verdict, drawing, metrics, paths, records
from bench.claims_data import Data, metric_of
from bench.claims_file import Claim
from bench.claims_plan import series_of
from bench.errors import UsageError

SAMPLE = claims_ledger.SAMPLE
FIGURES = paths.ROOT / "docs" / "figures" / "claims"
PAGE = paths.ROOT / "docs" / "ledger.md"
WHOLE = "<!-- begin:ledger -->\n<!-- end:ledger -->\n"
KEPT = ("schema", "id", "experiment", "cell", "block", "arm", "role", "status", "why")
OWN = ("probe", "arrivals", "count")  # the figures of samples without a window


def take_sample(run: Path, target: Path = SAMPLE) -> None:
    """Makes a claims run the committed sample."""
    data = Data(run)
    if not data.claims:
        raise UsageError(f"{paths.shown(run)} is no run of claims; make one with: make claims")
    asked = asked_for(data.claims)
    target.mkdir(parents=True, exist_ok=True)
    records.write_json(target / "plan.json", {"run": run.name, **slim_plan(data.plan)})
    records.write_json(target / "env.json", records.read_json(run / "env.json"))
    kept = [slim(record, asked[record["experiment"]]) for record in records.read_samples(run)]
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for record in kept]
    (target / "samples.jsonl").write_text("\n".join(lines) + "\n")


def asked_for(claims: list[Claim]) -> dict[str, dict[str, Callable[[dict], float | None]]]:
    """Series -> the metrics that any claim reads there, and how."""
    found: dict[str, dict] = defaultdict(dict)
    for claim in claims:
        for part in claim.parts:
            if "metric" in part:
                found[series_of(claim)][part["metric"]] = metric_of(claim, part["metric"]).read
    return found


def slim(record: dict, asked: dict[str, Callable[[dict], float | None]]) -> dict:
    """A record cut down to what claims read; infinity is told as a word, for JSON has none."""
    found = {key: record.get(key) for key in KEPT}
    if record["status"] == "ok":
        figures = {name: read(record) for name, read in asked.items()} if record["role"] == "arm" else {}
        known = {name: value for name, value in figures.items() if value is not None}
        found["figures"] = {name: "inf" if value == math.inf else value for name, value in known.items()}
        found |= {key: record[key] for key in OWN if key in record}
    if record.get("load") and metrics.limit(record) == "client":
        found["load"] = {"bound": "client"}
    if workers := metrics.dig(record, "server", "report", "workers"):
        found["server"] = {"report": {"workers": workers}}
    return found


def slim_plan(plan: dict) -> dict:
    """The plan without the list of samples, each of which has its record, and without the claims' texts."""
    claims = {}
    for name, told in plan["claims"].items():
        source = {key: value for key, value in told["claim"]["source"].items() if key != "quote"}
        claims[name] = {**told, "text": "", "samples": [], "claim": {**told["claim"], "source": source}}
    return {**plan, "samples": [], "claims": claims}


# --- the blocks ------------------------------------------------------------------------------------------------------


@cache
def derived(_written_ns: int) -> dict:
    return claims_ledger.derive(SAMPLE)


def ledger() -> dict | None:
    plan = SAMPLE / "plan.json"
    return derived(plan.stat().st_mtime_ns) if plan.exists() else None


def summary(_summary: dict) -> str:
    """The README's part: counts, the picture, and the table folded away."""
    found = ledger()
    if not found:
        return ""
    return (
        f"On this host, **{claims_text.counts_line(found)}**. "
        "The whole ledger, with intervals, reasons and samples: [docs/ledger.md](docs/ledger.md); "
        "what surprised us: [docs/findings.md](docs/findings.md).\n\n"
        "![The claims ledger at a glance](FIGURES/claims/ledger.svg)\n\n"
        "<details><summary>Every claim and its verdict</summary>\n\n"
        f"{claims_text.compact(found)}\n</details>\n\n{claims_text.REPLICATION}\n\n{claims_text.provenance(found)}"
    )


def whole(_summary: dict) -> str:
    found = ledger()
    return claims_text.markdown(found, "FIGURES/claims", "../bench/claims") if found else ""


def one(name: str) -> Callable[[dict], str]:
    """A block with one claim: what it says, and its parts."""

    def block(_summary: dict) -> str:
        found = next((claim for claim in (ledger() or {"claims": []})["claims"] if claim["id"].lower() == name), None)
        return claims_text.parts_table(found) if found else ""

    return block


def power(_summary: dict) -> str:
    """How far beyond a region's edge the truth must lie to be decided in nine ledgers of ten: a formula, no sample."""
    noises, families = (0.03, 0.05, 0.13, 0.2), (1, 3, 6)
    heads = [f"{n} {'part' if n == 1 else 'parts'}" for n in families]
    lines = ["| a sample's noise | " + " | ".join(heads) + " |", "|---:|" + "---:|" * len(heads)]
    for noise in noises:
        factors = [
            claims_stats.smallest_decided(noise * math.sqrt(2), level=claims_verdict.level_for(n)) for n in families
        ]
        lines.append(f"| {100 * noise:.0f} % | " + " | ".join(f"×{factor:.2f}" for factor in factors) + " |")
    return "\n".join(lines) + "\n"


IDS = sorted(path.name.split("-")[0] for path in (paths.ROOT / "bench" / "claims").glob("*.toml"))
BLOCKS: dict[str, Callable[[dict], str]] = {
    "ledger-summary": summary,
    "ledger": whole,
    "claims-power": power,
    "findings-from": lambda _: claims_text.provenance(found) if (found := ledger()) else "",
    **{f"claim-{name}": one(name) for name in IDS},
}


def lay_page() -> None:
    """The ledger's page, as soon as there is something to say."""
    if SAMPLE.is_dir() and not PAGE.exists():
        PAGE.write_text(WHOLE)


def draw() -> list[Path]:
    """The figures of the committed sample."""
    if not ledger():
        return []
    claims_ledger.write(SAMPLE)
    made = drawing.drawn("plots.claims", SAMPLE, "--svg", "--text", "--to", FIGURES)
    for path in set(FIGURES.glob("*.svg")) - set(made):  # of claims that the sample before this one had
        path.unlink()
    return made
