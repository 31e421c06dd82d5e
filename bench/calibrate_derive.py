"""What a calibration says, from its records alone: verdicts of each condition, live and replayed, with their bounds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import env, paths, records
from bench.calibrate_replay import at_most, bound, counted, measured_ratio, replay
from bench.compare_text import finite
from bench.errors import UsageError

PLAN, QUADS, LIVE, SUMMARY = "calibrate.json", "quads.jsonl", "live.jsonl", "summary.json"


@dataclass(frozen=True)
class Condition:
    """What is compared, and what the gate should say of it."""

    name: str
    label: str
    alike: bool = False
    percent: float | None = None  # of a request's CPU, added in work
    calls: int = 0


CONDITIONS = (
    Condition("same", "A against A: one file", alike=True),
    Condition("copy", "A against A: a copy", alike=True),
    Condition("relinked", "A against A: linked in another order", alike=True),
    *(Condition(f"slow{p:02}", f"{p} % more work per request", percent=p) for p in (2, 5, 10, 20)),
    Condition("call", "one more system call per request", calls=1),
)


def found(results: Path, name: str) -> Path:
    folder = next((path for path in (Path(name), results / name) if (path / PLAN).is_file()), None)
    if folder is None:
        raise UsageError(f"no calibration {name!r} in {paths.shown(results)}: a folder with {PLAN}")
    return folder


def derive(folder: Path, replays: int) -> dict:
    """The summary of a calibration, from its records alone."""
    told = records.read_json(folder / PLAN)
    quads: dict[str, list[list]] = {}
    for line in records.read_samples(folder, QUADS):
        if all(value is not None for taken in line["samples"] for value in taken[1:]):
            quads.setdefault(line["condition"], []).append((line["index"], line["samples"]))
    lives = records.read_samples(folder, LIVE)
    rows = []
    for one in (Condition(**condition) for condition in told["conditions"]):
        recorded = [samples for _, samples in sorted(quads.get(one.name, []), key=lambda pair: pair[0])]
        row = asdict(one) | {"live": counted([j for j in lives if j["condition"] == one.name])}
        row["took_s"] = sorted(j["took_s"] for j in lives if j["condition"] == one.name)
        if recorded:
            ratio = measured_ratio(recorded)
            again = [
                replay(recorded, one.alike, seed, told["quads"], told["confirm_quads"], {}) for seed in range(replays)
            ]
            row |= {"recorded_quads": len(recorded), "log_ratio": finite(list(ratio)), "replays": counted(again)}
        rows.append(row)
    return {
        "schema": records.SCHEMA,
        "run": folder.name,
        "environment": env.footer(records.read_json(folder / "env.json")),
        "plan": {key: told[key] for key in ("cell", "quads", "confirm_quads", "pilot", "loops_per_us")},
        "conditions": rows,
        "alike": {
            kind: pooled([row[kind] for row in rows if row["alike"] and kind in row]) for kind in ("live", "replays")
        },
    }


def pooled(counts: Sequence[dict]) -> dict:
    """The flavours of one server against itself, counted together: false alarms, and what their share is at most."""
    of, false = (sum(count[key] for count in counts) for key in ("comparisons", "regressed"))
    return {"comparisons": of, "regressed": false, "interval": list(bound(false, of)), "at_most": at_most(false, of)}


def show(console: Console, summary: dict) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("what is compared", "REGRESSED, live", "replayed", "at least", "at most", "quads, median"):
        table.add_column(heading, justify="left" if heading.startswith("what") else "right", no_wrap=True)
    for row in summary["conditions"]:
        again = row.get("replays")
        cells = (
            [
                f"{again['regressed']} of {again['comparisons']}",
                *(f"{share:.1%}" for share in again["interval"]),
                str(again["median_quads"]),
            ]
            if again
            else [""] * 4
        )
        table.add_row(row["label"], f"{row['live']['regressed']} of {row['live']['comparisons']}", *cells)
    console.print(table)
    parts = [
        f"{count['regressed']} of {count['comparisons']} {kind} (at most {count['at_most']:.2%})"
        for kind, count in (("live", summary["alike"]["live"]), ("replayed", summary["alike"]["replays"]))
    ]
    console.print(f"false alarms: {', '.join(parts)}, at 95 %", highlight=False)
