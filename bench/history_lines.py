"""What a run adds to a history: a line for each cell, arm and metric, as a ratio to an arm of the same run."""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path

from bench import derive, env, metrics, records, stats
from bench.compare_plan import Plan
from bench.errors import UsageError

FROZEN = ("control", "plain_epoll")  # arms that no commit changes: the control of a comparison
WHOLE = ["A", "A", "B", "B", "control"]  # a quad


def lines_of(run: Path, reference: str | None = None) -> list[dict]:
    """What a run of experiments or a comparison adds."""
    if (run / "gate.json").is_file():
        raise UsageError(f"{run.name} is a record of the exact tier, which has a ratchet and no history")
    if (run / "compare.json").is_file():
        return of_comparison(run)
    return of_experiments(run, reference)


def of_experiments(run: Path, reference: str | None) -> list[dict]:
    summary, found = derive.derive(run), records.read_samples(run)
    about = about_run(run, found, summary["environment"])
    lines = []
    for name, experiment in summary["experiments"].items():
        base = reference_of(name, experiment, reference)
        for cell in experiment["cells"]:
            mine = [r for r in found if r["experiment"] == name and r["cell"] == cell["cell"] and r["role"] == "arm"]
            for arm in [arm for arm in cell["arms"] if arm != base]:
                for metric in experiment["metrics"]:
                    ratio = ratio_of(mine, arm, base, metric)
                    if ratio:
                        place = {
                            "experiment": name,
                            "cell": cell["cell"],
                            "arm": arm,
                            "metric": metric,
                            "reference": base,
                        }
                        lines.append(
                            {"id": identity(run.name, place), **about, **place, "frozen": base in FROZEN, **ratio}
                        )
    return lines


def about_run(run: Path, found: list[dict], footer: str) -> dict:
    """What every line of a run says."""
    environment = records.read_json(run / "env.json")
    return {
        "schema": records.SCHEMA,
        "run": run.name,
        "when": min((record["started"] for record in found), default=None),
        "revision": environment["git"]["revision"],
        "describe": environment["git"]["describe"],
        "fingerprint": environment["fingerprint"],
        "environment": footer,
    }


def of_comparison(run: Path) -> list[dict]:
    """Both sides, each against the control in the middle of its quads; the second pass was linked otherwise."""
    if records.read_json(run / "verdict.json")["verdict"] == "CONTAMINATED":
        return []  # the instrument itself was disturbed: these are no figures
    plan = Plan.from_record(records.read_json(run / "compare.json"))
    found = records.read_samples(run)
    about = about_run(run, found, env.footer(records.read_json(run / "env.json")))
    lines = []
    for contest in plan.measured:
        quads = quads_of(found, contest.key)
        for side in ("A", "B"):
            told = plan.sides[side]
            arm, revision = named(contest.model, told)
            version = {"revision": revision, "describe": revision[:12], "side": side}
            for metric in plan.metrics:
                pairs = [pair for quad in quads if (pair := against_control(quad, side, metric))]
                place = {
                    "experiment": "compare",
                    "cell": contest.cell,
                    "arm": arm,
                    "metric": metric,
                    "reference": "control",
                }
                if pairs:
                    name = identity(run.name, {**place, "side": side})
                    lines.append(
                        {"id": name, **about, **version, **place, "frozen": True, **ratio_of_pairs(pairs, metric)}
                    )
    return lines


def named(model: str, side: dict) -> tuple[str, str]:
    """An arm's name and revision: of a contender by its file, NAME@REVISION.toml where a project's gate made it."""
    if side["kind"] != "contender":
        return model, side.get("revision") or side["shown"]
    name, _, revision = Path(side["word"]).name.removesuffix(".toml").partition("@")
    return name, revision or name


def quads_of(found: Iterable[dict], contest: str) -> list[list[dict]]:
    """The complete quads of the first pass, with their control."""
    gathered: dict[int, list[dict]] = {}
    for record in found:
        if record["cell"] == contest and record["pass"] == 1 and record["status"] == "ok":
            gathered.setdefault(record["block"], []).append(record)
    return [quad for quad in gathered.values() if sorted(record["arm"] for record in quad) == WHOLE]


def against_control(quad: list[dict], side: str, metric: str) -> tuple[float, float] | None:
    """The geometric mean of a side's two samples, and the control's; None where one of them cannot say."""
    mine = [metrics.METRICS[metric].read(record) for record in quad if record["arm"] == side]
    control = [metrics.METRICS[metric].read(record) for record in quad if record["role"] == "control"]
    if len(mine) != 2 or len(control) != 1 or not all(value and math.isfinite(value) for value in mine + control):
        return None
    return math.sqrt(mine[0] * mine[1]), control[0]


def reference_of(name: str, experiment: dict, wanted: str | None) -> str:
    """The arm that ratios are taken to: the one asked for, else the frozen one, else the experiment's own."""
    arms = experiment["arms"]
    base = wanted or next((arm for arm in FROZEN if arm in arms), None) or experiment["reference"]
    if base not in arms:
        said = f"no arm {base!r} was measured" if base else "it has no reference"
        raise UsageError(f"{name}: {said}; name one with --reference ({', '.join(arms)})")
    return base


def ratio_of(found: list[dict], arm: str, base: str, metric: str) -> dict | None:
    """The paired ratio and its interval; without an interval where only one block is whole."""
    pairs = list(derive.paired(found, arm, base, metric).values())
    return ratio_of_pairs(pairs, metric) if pairs else None


def ratio_of_pairs(pairs: list[tuple[float, float]], metric: str) -> dict:
    logs = stats.log_ratios([p[0] for p in pairs], [p[1] for p in pairs])
    ratio, low, high = stats.t_interval(logs)
    bounds = (low, high) if len(pairs) > 1 else (None, None)
    value = math.exp(sum(math.log(p[0]) for p in pairs) / len(pairs))
    told = {
        "value": derive.clean(value),
        "unit": metrics.METRICS[metric].unit,
        "better": metrics.METRICS[metric].better,
    }
    shown = [derive.clean(bound) if bound is not None else None for bound in bounds]
    return {**told, "ratio": derive.clean(ratio), "low": shown[0], "high": shown[1], "blocks": len(pairs)}


def identity(run: str, place: dict) -> str:
    """The same for the same run and place, wherever and whenever it is added."""
    return hashlib.sha256(json.dumps([run, place], sort_keys=True).encode()).hexdigest()[:16]
