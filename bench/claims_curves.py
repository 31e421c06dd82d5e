"""The curves behind a claim's parts, for its figure, and the crossovers that its samples show, asked for or not."""

import math

import numpy as np

from bench import claims_lines, claims_stats, claims_words
from bench.claims_parts import Ask, Data, is_noisy, positive, ratio_curve
from bench.claims_verdict import ENOUGH, level_for

ALONG = ("growth", "slope", "crossover")


def curves_of(data: Data, claim) -> dict[str, dict]:
    """Part name -> the curve that it was read from; parts that look along one axis at the same figure share it."""
    found: dict[str, dict] = {}
    groups: dict[tuple, list[dict]] = {}
    for part in claim.parts:
        if part["statistic"] == "crossover":
            curve = of_ratio(Ask(data, claim, part))
            found |= {part["name"]: curve} if curve else {}
        elif part["statistic"] in ALONG:
            groups.setdefault((part["metric"], part["along"], str(part["at"])), []).append(part)
    for parts in groups.values():
        curve = of_metric(data, claim, parts)
        found |= {parts[0]["name"]: curve} if curve else {}
    return found


def of_metric(data: Data, claim, parts: list[dict]) -> dict | None:
    """A line for each arm of these parts, and for others of the claim that were measured there: geometric means."""
    metric, first = parts[0]["metric"], list(dict.fromkeys(part["arm"] for part in parts))
    named = [p.get(key) for p in claim.parts if p.get("metric") == metric for key in ("arm", "over")]
    lines = []
    for arm in dict.fromkeys(first + [name for name in named if name]):
        points = points_of(positive(Ask(data, claim, {**parts[0], "arm": arm}).curves(arm)))
        if points and (arm in first or len(points) >= 3):
            lines.append({"arm": arm, "points": points})
    label, unit = claims_words.label(claim, metric)
    label = f"{label} [{unit}]" if unit else label
    return {"along": parts[0]["along"], "label": label, "lines": lines} if lines else None


def points_of(curves: dict[int, dict[float, float]]) -> list[list[float]]:
    """[x, mean, low, high] at each place."""
    found = []
    for x in sorted({x for curve in curves.values() for x in curve}):
        logs = np.log([curve[x] for curve in curves.values() if x in curve])
        found.append([x, *ends(claims_stats.geometric(logs))])
    return found


def ends(estimate: claims_stats.Estimate) -> list[float]:
    """Mean and interval; of a single block the mean alone, thrice."""
    found = (estimate.value, estimate.low, estimate.high) if estimate.blocks > 1 else (estimate.value,) * 3
    return [float(f"{v:.6g}") for v in found]


def of_ratio(ask: Ask) -> dict | None:
    """The ratio along the axis, its level, and where it passes."""
    xs, logs = ratio_curve(ask)
    if not logs.size:
        return None
    level = ask.part.get("level", 1.0)
    points = [[x, *ends(claims_stats.geometric(row))] for x, row in zip(xs, logs)]
    crossed = claims_lines.crossovers(xs, logs - math.log(level), ask.level)
    label = claims_words.label(ask.claim, ask.part["metric"])[0]
    return {
        "along": ask.part["along"],
        "label": f"{label}, over {ask.part['over']}",
        "lines": [{"arm": ask.part["arm"], "points": points}],
        "level": level,
        "crossovers": [{end: float(f"{getattr(c, end):.6g}") for end in ("x", "low", "high")} for c in crossed],
    }


def attached(data: Data, claim) -> list[dict]:
    """Where one arm passes another along any axis that was measured: for each pair of arms whose ratio a part judges.

    The regime of a claim is rarely its author's whole range; where the sign turns says where the claim ends.  A part
    that asks for a crossover itself shows it itself.
    """
    found: dict[tuple, dict] = {}
    level = level_for(sum(map(is_noisy, claim.parts)))
    for part in claim.parts:
        if part["statistic"] not in ("ratio", "ratio_across") or "over" not in part or data.wanted(claim) < ENOUGH:
            continue
        for along in [axis for axis, values in claim.grid.items() if len(values) > 1]:
            at = {axis: value for axis, value in part["at"].items() if axis != along}
            for one in passages(Ask(data, claim, {**part, "along": along, "at": at}, level)):
                found[part["arm"], part["over"], part["metric"], along, one["x"]] = one
    return list(found.values())


def passages(ask: Ask) -> list[dict]:
    """The crossovers of a pair along one axis."""
    part, (xs, logs) = ask.part, ratio_curve(ask)
    if len(xs) < 2 or not logs.size or logs.shape[1] < ENOUGH:
        return []
    pair = {key: part[key] for key in ("arm", "over", "metric", "along")}
    pair["label"] = claims_words.label(ask.claim, part["metric"])[0]
    return [
        {**pair, "rises": one.rises, **{end: float(f"{getattr(one, end):.6g}") for end in ("x", "low", "high")}}
        for one in claims_lines.crossovers(xs, logs, ask.level)
    ]
