"""The gate's part of the documents: its false alarms and its power, from the committed calibration, and a comparison
of two revisions as an example.

Until these are committed the blocks are empty: a bound that nobody measured is not shown.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

from bench import calibrate_derive, compare, compare_judge, compare_text, drawing, paths, records
from bench.errors import UsageError

GATE = paths.SAMPLE_RUN / "gate"
COMPARISON = paths.SAMPLE_RUN / "compare"
FIGURES = paths.ROOT / "docs" / "figures"
SLIM = (calibrate_derive.PLAN, calibrate_derive.QUADS, calibrate_derive.LIVE, calibrate_derive.SUMMARY, "env.json")


def take(name: str, results: Path, target: Path | None = None) -> None:
    """Makes a calibration the committed one: its plan, each quad's figures, the live verdicts, and their summary."""
    run, target = calibrate_derive.found(results, name), target or GATE
    if not (run / calibrate_derive.SUMMARY).is_file():
        raise UsageError(
            f"{paths.shown(run)} has no {calibrate_derive.SUMMARY}; "
            f"make it with: python3 -m bench calibrate --from {run.name}"
        )
    target.mkdir(parents=True, exist_ok=True)
    for file in SLIM:
        if (run / file).is_file():
            (target / file).write_bytes((run / file).read_bytes())


def take_comparison(name: str, results: Path, target: Path | None = None) -> None:
    """Makes a comparison the committed one: its plan, every sample without its histograms, and where it was made."""
    target = target or COMPARISON
    _, samples, run = compare.recorded(results, name)
    target.mkdir(parents=True, exist_ok=True)
    plan = records.read_json(run / compare.PLAN)
    records.write_json(target / compare.PLAN, {"run": run.name, **plan})
    records.write_json(target / "env.json", records.read_json(run / "env.json"))
    lines = [json.dumps(records.without_bins(sample), ensure_ascii=False, separators=(",", ":")) for sample in samples]
    (target / "samples.jsonl").write_text("\n".join(lines) + "\n")


def comparison() -> dict | None:
    """The committed comparison, decided again."""
    if not (COMPARISON / compare.PLAN).is_file():
        return None
    plan, samples, _ = compare.recorded(COMPARISON.parent, str(COMPARISON))
    judgement = compare_judge.judge(plan, samples)
    run = records.read_json(COMPARISON / compare.PLAN)["run"]
    return compare_text.document(plan, judgement, samples, compare.exit_code(judgement.verdict, False), run)


def example(_summary: dict) -> str:
    """What a comparison of two revisions says, as a table and a figure."""
    told = comparison()
    if not told:
        return ""
    lines = ["| model and load | figure | B over A | 95 % interval | quads | verdict |", "|---|---|---:|---:|---:|---|"]
    for one in told["found"]:
        ends = " to ".join(compare_text.percent(one[key]) for key in ("low", "high"))
        words = (one["contest"], told["labels"][one["metric"]], compare_text.percent(one["ratio"]), ends)
        lines.append("| " + " | ".join((*words, str(one["quads"]), one["verdict"])) + " |")
    sides = ", ".join(f"{letter} is {told['sides'][letter]['shown']}" for letter in "AB")
    return (
        f"{sides}. The verdict: **{told['verdict']}**{': ' + told['why'] if told['why'] else ''}.\n\n"
        + "\n".join(lines)
        + "\n\n![Two revisions of this repository, compared](FIGURES/comparison.svg)\n"
    )


def summary() -> dict | None:
    path = GATE / calibrate_derive.SUMMARY
    return records.read_json(path) if path.is_file() else None


def verdicts(_summary: dict) -> str:
    """What each condition was said to be."""
    told = summary()
    if not told:
        return ""
    heads = (
        "what is compared",
        "B over A, measured",
        "REGRESSED live",
        "REGRESSED replayed",
        "95 % interval",
        "quads, median",
        "seconds live, median",
    )
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in told["conditions"]]
    return "\n".join(lines) + "\n"


def cells(row: dict) -> list[str]:
    ratio = ["?" if part is None else f"{math.expm1(part):+.1%}" for part in row.get("log_ratio", [])]
    again, live = row.get("replays"), row["live"]
    return [
        row["label"],
        f"{ratio[0]} ({ratio[1]} to {ratio[2]})" if ratio else "",
        f"{live['regressed']} of {live['comparisons']}" if live["comparisons"] else "",
        f"{again['regressed']} of {again['comparisons']}" if again else "",
        f"{again['interval'][0]:.1%} to {again['interval'][1]:.1%}" if again else "",
        str(again["median_quads"]) if again else "",
        f"{row['took_s'][len(row['took_s']) // 2]:.0f}" if row["took_s"] else "",
    ]


def false_alarms(_summary: dict) -> str:
    """The measured false-alarm rate with its bound, in a sentence."""
    told = summary()
    if not told:
        return ""
    live, again = told["alike"]["live"], told["alike"]["replays"]
    return (
        f"Of {live['comparisons']} live comparisons of a server with itself {live['regressed']} said REGRESSED: "
        f"the rate is at most {live['at_most']:.1%}, at 95 %. Of {again['comparisons']} replayed ones "
        f"{again['regressed']} did: at most {again['at_most']:.2%} in the recorded weather. "
        f"At most {told['plan']['quads']} quads each. Run `{told['run']}`. {told['environment']}.\n"
    )


def figure(_summary: dict) -> str:
    return "![What the gate finds, and how often it errs](FIGURES/gate.svg)\n" if summary() else ""


BLOCKS: dict[str, Callable[[dict], str]] = {
    "gate-verdicts": verdicts,
    "gate-false-alarms": false_alarms,
    "figure-gate": figure,
    "gate-example": example,
}


def draw() -> list[Path]:
    made = drawing.drawn("plots.gate", "--svg", "--to", FIGURES, GATE) if summary() else []
    if told := comparison():
        records.write_json(COMPARISON / "verdict.json", told)
        made += compare.drawn(COMPARISON, "--svg", "--to", FIGURES)
    return made
