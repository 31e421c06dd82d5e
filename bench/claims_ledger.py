"""The ledger of a claims run: every claim with its parts, their estimates, verdicts and reasons, made from raw records.

derive() is a function of the run's folder alone: the claims are taken from plan.json as they were when the run was
planned, so a region cannot follow the figures.  Tables (claims_text.py) and figures (plots/claims.py) show what stands
in RUN/derived/ledger.json.
"""

import json
import math
import os
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import claims_text, claims_words, drawing, env, paths
from bench.claims_curves import attached, curves_of
from bench.claims_data import Data, bent_by_client
from bench.claims_file import Claim
from bench.claims_judge import Answer, answers
from bench.claims_parts import region_of
from bench.claims_plan import cell_of, series_of
from bench.claims_stats import Estimate
from bench.claims_verdict import UNTESTABLE, VERDICTS, Reason, Whole, contains, in_words, together
from bench.errors import BenchError, UsageError
from bench.metrics import limit
from bench.records import SCHEMA, read_json, read_samples
from bench.units import nearest, number

SAMPLE = paths.SAMPLE_RUN / "claims"
SAMPLES_SHOWN = 6  # commands of a part that names more cells are cut to these


class Sampled(Data):
    """Data over the committed sample, whose records have their figures read already (docs_claims.py)."""

    def values(self, claim: Claim, arm: str, metric: str, at: dict) -> dict[int, float]:
        bends = bent_by_client(claim, metric)
        return {
            record["block"]: float(record["figures"][metric])
            for record in self.good(claim, arm, at)
            if metric in record["figures"] and not (bends and limit(record) == "client")
        }


def data_of(folder: Path) -> Data:
    return Sampled(folder) if folder.resolve() == SAMPLE.resolve() else Data(folder)


def derive(folder: Path) -> dict:
    """The whole ledger of a run."""
    data = data_of(folder)
    where = env.footer(read_json(folder / "env.json"))
    return of_data(data, data.plan.get("run", folder.name), where, len(read_samples(folder)), named(folder))


def named(folder: Path) -> str:
    """A run's name as `python3 -m bench show` takes it."""
    return paths.from_root(folder) if folder.resolve() == SAMPLE.resolve() else folder.name


def of_data(data: Data, run: str, environment: str, samples: int, shown: str | None = None) -> dict:
    """`shown` is the run's name for commands, where it differs."""
    claims = [entry(data, claim, shown or run) for claim in data.claims]
    return {
        "schema": SCHEMA,
        "run": run,
        "profile": data.profile,
        "environment": environment,
        "samples": samples,
        "blocks": max((p["blocks"] for c in claims for p in c["parts"] if p["blocks"] and not p["exact"]), default=0),
        "counts": {word: n for word in VERDICTS if (n := sum(c["verdict"] == word for c in claims))},
        "claims": claims,
    }


def entry(data: Data, claim: Claim, run: str) -> dict:
    """One claim: its verdict, its parts, the crossovers that its samples show."""
    absent = data.missing(claim)
    found = [] if absent else answers(data, claim)
    whole = together([one.judged for one in found], claim.verdict)
    if absent:
        whole = Whole(UNTESTABLE, [Reason(absent.code, absent.text)])
    curves = {} if absent else curves_of(data, claim)
    parts = [part_of(claim, part, one, run, curves.get(part["name"])) for part, one in zip(claim.parts, found)]
    measured = any(part["value"] is not None or part["runs"] or part["curve"] for part in parts)
    return {
        "id": claim.id,
        "title": claim.title,
        "file": claim.file,
        "source": {k: v for k, v in claim.source.items() if k in ("title", "author", "year", "url", "numbers", "seed")},
        "regime": claim.regime,
        "ours": claim.ours,
        "tags": claim.tags,
        "contradicts": claim.contradicts,
        "kind": claim.kind,
        "verdict": whole.verdict,
        "why": [{"code": why.code, "text": why.text} for why in whole.reasons],
        "parts": parts,
        "crossovers": [] if absent else attached(data, claim),
        "figure": claim.id.lower() if measured else None,
    }


def part_of(claim: Claim, part: dict, one: Answer, run: str, curve: dict | None) -> dict:
    """One part as tables and figures want it; what is infinite or unknown is null."""
    estimate, judged = one.found.estimate, one.judged
    unit = claims_words.unit(claim, part)
    return {
        "name": part["name"],
        "statistic": part["statistic"],
        "said": claims_words.said(claim, part),
        "unit": unit,
        "region": region_of(part),
        "region_text": in_words(part.get("region", {"equals": True})),
        "theirs": part.get("theirs"),
        "value": finite(estimate.value) if estimate else None,
        "low": finite(estimate.low) if estimate else None,
        "high": finite(estimate.high) if estimate else None,
        "each": [clean(v) for v in estimate.each if math.isfinite(v)] if estimate else [],
        "blocks": estimate.blocks if estimate else one.found.blocks,
        "exact": bool(estimate and estimate.exact or one.found.runs is not None),
        "note": estimate.note if estimate else "",
        "runs": runs_of(one, part),
        "ours": in_figures(one, unit),
        "verdict": judged.verdict,
        "why": {"code": judged.reason.code, "text": judged.reason.text} if judged.reason else None,
        "commands": commands(claim, part, run),
        "curve": curve,
    }


def runs_of(one: Answer, part: dict) -> list[bool] | None:
    """Whether each run of what has no noise lay in the region."""
    if one.found.runs is not None:
        return one.found.runs
    estimate = one.found.estimate
    return [contains(region_of(part), v) for v in estimate.each] if estimate and estimate.exact else None


def in_figures(one: Answer, unit: str) -> str:
    """`×1.31 (1.24 to 1.38)`; of facts, what the runs said."""
    estimate = one.found.estimate
    if estimate is None or math.isnan(estimate.value):
        return one.found.said
    before, after = ("×", "") if unit == "×" else ("", f" {unit}" if unit else "")
    if estimate.exact:
        same = estimate.low == estimate.high
        spread = "" if same else f" ({figure(estimate.low)} to {figure(estimate.high)})"
        return f"{before}{figure(estimate.value)}{after}{spread} in {estimate.blocks} runs"
    value, low, high = (figure(rounded(v, estimate)) for v in (estimate.value, estimate.low, estimate.high))
    return f"{before}{value}{after} ({f'{low} to {high}' if estimate.blocks > 1 else 'one block'})"


def rounded(value: float, estimate: Estimate) -> float:
    """Where zero lies inside: to a tenth of the interval's leading digit, for what is smaller is noise."""
    half = (estimate.high - estimate.low) / 2
    if not (estimate.low < 0 < estimate.high and math.isfinite(half)):
        return value
    return round(value, 1 - math.floor(math.log10(half)))


def figure(value: float) -> str:
    """Three digits; what lies beyond all measured is infinite."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return number(value) if value >= 0 else f"−{number(-value)}"


def finite(value: float) -> float | None:
    return clean(value) if math.isfinite(value) else None


def clean(value: float) -> float:
    """Six significant digits, as in a run's summary."""
    return float(f"{value:.6g}")


def commands(claim: Claim, part: dict, run: str) -> list[str]:
    """What shows the samples that a part was judged by."""
    cells = [{}] if claim.kind == "probe" else claim.cells(part)
    names = list(dict.fromkeys(f"{series_of(claim)}/{cell_of(claim, cell)}" for cell in cells))
    shown = [f"python3 -m bench show {run} {quoted(name)}" for name in names[:SAMPLES_SHOWN]]
    return shown + ([f"and {len(names) - SAMPLES_SHOWN} cells more"] if len(names) > SAMPLES_SHOWN else [])


def quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


# --- what is done with it --------------------------------------------------------------------------------------------


def write(folder: Path) -> dict:
    """Derives and keeps it: RUN/derived/ledger.json, and the same for people, ledger.md; the sample's is a document."""
    ledger = derive(folder)
    target = folder / "derived"
    try:
        target.mkdir(exist_ok=True)
        (target / "ledger.json").write_text(as_json(ledger))
        if folder.resolve() != SAMPLE.resolve():
            (target / "ledger.md").write_text(markdown(folder, ledger))
    except OSError as error:
        raise BenchError(f"{paths.shown(target)} cannot be written: {error.strerror}") from None
    return ledger


def as_json(ledger: dict) -> str:
    """The ledger with a line for each claim, so that two of them can be compared line by line."""
    dumps = partial(json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    head = dumps({key: value for key, value in ledger.items() if key != "claims"})
    return head[:-1] + ',"claims":[\n' + ",\n".join(map(dumps, ledger["claims"])) + "\n]}\n"


def markdown(folder: Path, ledger: dict | None = None) -> str:
    """The ledger of a run as a document that lies in RUN/derived."""
    claims = os.path.relpath(paths.CLAIMS, folder / "derived")
    return claims_text.markdown(ledger or derive(folder), "../figures/claims", claims)


def show(folder: Path, console: Console, ledger: dict | None = None) -> dict:
    """The ledger on the terminal."""
    ledger = ledger or derive(folder)
    claims_text.show(ledger, console)
    return ledger


def show_claim(folder: Path, name: str, console: Console) -> None:
    """One claim in full, with the quotation out of the claim as it was planned."""
    data = data_of(folder)
    known = {claim.id: claim for claim in data.claims}
    claim = next((one for id, one in known.items() if id.upper() == name.upper()), None)
    if claim is None:
        raise UsageError(f"no claim {name!r} in {folder.name}{nearest(name.upper(), known)}")
    against = {*claim.contradicts, *(other.id for other in data.claims if claim.id in other.contradicts)} & set(known)
    picture = folder / "figures" / "claims" / f"{claim.id.lower()}.png"
    picture = picture if picture.is_file() else None
    found = entry(data, claim, named(folder))
    claims_text.show_claim(found, claim.source, sorted(against), picture, console)


def draw(folder: Path, only: str | None = None) -> list[Path]:
    """The figures of a run's ledger, which was written before: RUN/figures/claims."""
    return drawing.drawn("plots.claims", folder, *(["--only", only] if only else []))


def finish(folder: Path, console: Console, figures: bool = True) -> dict:
    """What follows the last sample: the ledger written, shown and drawn."""
    ledger = show(folder, console, write(folder))
    if figures:
        made = draw(folder)
        console.print(f"figures: {paths.shown(made[-1].parent)} ({len(made)} files)")
    console.print(f"ledger: {paths.shown(folder / 'derived' / 'ledger.md')}")
    return ledger
