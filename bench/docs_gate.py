"""The gate's part of the documents: its false alarms and its power, from the committed calibration.

Until one is committed the blocks are empty: a bound that nobody measured is not shown.
"""

import math
from collections.abc import Callable
from pathlib import Path

from bench import calibrate_derive, drawing, paths, records
from bench.errors import UsageError

GATE = paths.SAMPLE_RUN / "gate"
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
}


def draw() -> list[Path]:
    return drawing.drawn("plots.gate", "--svg", "--to", FIGURES, GATE) if summary() else []
