"""From a claim's part to its estimate: which samples each statistic reads, and what stands in their way.

Each statistic of the claim language is one function here; it asks the data for blocks and gives them to a pure function
of claims_stats.py.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from bench import claims_lines, claims_stats
from bench.claims_stats import Estimate
from bench.claims_verdict import against, both, contains, either

COUNTED = ("fact", "sequence", "calls")


class Data(Protocol):
    """What claims_data.Data offers, as far as it is used here and by the ledger."""

    def wanted(self, claim) -> int: ...
    def missing(self, claim): ...
    def values(self, claim, arm: str, metric: str, at: dict) -> dict[int, float]: ...
    def workers(self, claim, arm: str, of: str, at: dict) -> dict[int, list[float]]: ...
    def served(self, claim, arm: str, at: dict) -> dict[int, bool]: ...
    def why(self, claim, arm: str, at: dict, metric: str | None = None) -> list: ...
    def probe(self, claim) -> list[dict]: ...
    def arrivals(self, claim, arm: str, at: dict) -> list: ...
    def counts(self, claim, arm: str, at: dict) -> list[dict[str, float]]: ...
    def cells(self, claim, along: str, at: dict | None = None) -> list[dict]: ...
    def place(self, cell: dict, along: str) -> float: ...


@dataclass(frozen=True)
class Found:
    """What a statistic gave: an estimate; of facts, whether each run said so; of a curve, that nothing crosses."""

    estimate: Estimate | None = None
    runs: list[bool] | None = None
    settled: bool | None = None  # without an estimate: surely so (True), surely not (False)
    blocks: int = 0  # then
    said: str = ""


@dataclass(frozen=True)
class Ask:
    """One part of one claim, at its level."""

    data: Data
    claim: object
    part: Mapping
    level: float = claims_stats.LEVEL

    def values(self, arm: str, at: dict) -> dict[int, float]:
        return self.data.values(self.claim, arm, self.part["metric"], at)

    def cells(self) -> list[dict]:
        return self.data.cells(self.claim, self.part["along"], self.part["at"])

    def curves(self, arm: str) -> dict[int, dict[float, float]]:
        """Block -> {place: value}."""
        found: dict[int, dict[float, float]] = {}
        for cell in self.cells():
            for block, value in self.values(arm, cell).items():
                found.setdefault(block, {})[self.data.place(cell, self.part["along"])] = value
        return found


def is_noisy(part: Mapping) -> bool:
    """Whether its figure has an interval; `equals` asks whether all runs agree."""
    return part["statistic"] not in COUNTED and ("equals" not in region_of(part) or part["statistic"] == "order")


def region_of(part: Mapping) -> dict:
    """A part's region; an order that is merely named is one that holds, told by its smallest step being above 1."""
    if part["statistic"] != "order":
        return part["region"]
    return {"above": 1} if part.get("region", {}).get("equals", True) else {"below": 1}


def paired(*sides: Mapping[int, float]) -> list[list[float]]:
    """The values of the blocks that all sides have."""
    blocks = sorted(set.intersection(*(set(side) for side in sides)))
    return [[side[block] for block in blocks] for side in sides]


# --- the statistics --------------------------------------------------------------------------------------------------


def value(ask: Ask) -> Found:
    known = list(ask.values(ask.part["arm"], ask.part["at"]).values())
    return of_runs(ask, known)


def of_runs(ask: Ask, known: Sequence[float]) -> Found:
    """The median over blocks or runs; where the region is a number, the figures are counts and have no interval."""
    if not known:
        return Found()
    return Found(claims_stats.exact(known) if "equals" in ask.part["region"] else claims_stats.median(known, ask.level))


def ratio(ask: Ask) -> Found:
    arm, over = paired(*(ask.values(ask.part[side], ask.part["at"]) for side in ("arm", "over")))
    return Found(claims_stats.ratio(arm, over, ask.level)) if arm else Found()


def ratio_across(ask: Ask) -> Found:
    arms = [ask.part["arm"], *([ask.part["over"]] if "over" in ask.part else [])]
    sides = paired(*(ask.values(arm, ask.part[at]) for arm in arms for at in ("at", "to")))
    if not sides[0]:
        return Found()
    if len(sides) == 2:
        return Found(claims_stats.ratio(*sides, ask.level))
    usable = [quad for quad in zip(*sides) if all(0 < v < math.inf for v in quad)]
    return Found(claims_stats.ratio_of_ratios(*zip(*usable), ask.level)) if usable else Found()


def growth(ask: Ask) -> Found:
    of = claims_lines.per_unit if ask.part.get("share") == "c1" else claims_lines.growth
    curves = ask.curves(ask.part["arm"])
    return noted(Found(of(positive(curves), ask.level)), curves)


def slope(ask: Ask) -> Found:
    measured, start = ask.curves(ask.part["arm"]), ask.part.get("from", -math.inf)
    squares, straight, curves = ask.part.get("of") == "r2", ask.part.get("fit") == "linear", positive(measured)
    if squares and not straight:
        curves, start = claims_lines.logarithms(curves), math.log(start) if start > 0 else -math.inf
    of = claims_lines.straightness if squares else claims_lines.rise if straight else claims_lines.slope
    return noted(Found(of(curves, start, ask.level)), measured)


def positive(curves: dict[int, dict[float, float]]) -> dict[int, dict[float, float]]:
    """Without the values that have no logarithm: zero, and infinity."""
    return {b: {x: y for x, y in curve.items() if 0 < y < math.inf} for b, curve in curves.items()}


def noted(found: Found, measured: dict[int, dict[float, float]]) -> Found:
    """Says at which places nothing could be used, for a line without its end is another line."""
    kept = {x for curve in positive(measured).values() for x in curve}
    lost = sorted({x for curve in measured.values() for x in curve} - kept)
    if not lost or found.estimate is None:
        return found
    told = f"without {', '.join(f'{x:g}' for x in lost)}, where nothing was finite and above zero"
    return Found(replace(found.estimate, note="; ".join(filter(None, (found.estimate.note, told)))))


def order(ask: Ask) -> Found:
    arms = paired(*(ask.values(arm, ask.part["at"]) for arm in ask.part["arms"]))
    kept = [column for column in zip(*arms) if all(0 < v < math.inf for v in column)]
    return Found(claims_stats.order(list(zip(*kept)), ask.level)) if kept else Found()


def ratio_curve(ask: Ask) -> tuple[list[float], np.ndarray]:
    """The places at which both arms were measured, and ln(arm / over) there (places x blocks)."""
    arm, over = (positive(ask.curves(ask.part[side])) for side in ("arm", "over"))
    blocks = {b: {x: math.log(arm[b][x] / over[b][x]) for x in arm[b] if x in over[b]} for b in arm if b in over}
    xs, ys = claims_lines.complete(blocks)
    return xs, ys.T


def crossover(ask: Ask) -> Found:
    """Where the curve passes the level.  Of several passages the region must hold all, and their hull is shown."""
    xs, logs = ratio_curve(ask)
    if len(xs) < 2 or not logs.size:
        return Found()
    logs = logs - math.log(ask.part.get("level", 1.0))
    found, region, blocks = claims_lines.crossovers(xs, logs, ask.level), region_of(ask.part), logs.shape[1]
    if not found:
        return no_crossover(xs, claims_lines.sides(logs, ask.level), region, blocks)
    low, high = min(c.low for c in found), max(c.high for c in found)
    said = f"{len(found)} crossovers, at {' and '.join(f'{c.x:.4g}' for c in found)}" if len(found) > 1 else ""
    inside = both([against(region, c.low, c.high) for c in found])
    settled = inside if len(found) > 1 else None
    return Found(Estimate(found[0].x, low, high, blocks, note=said), settled=settled, blocks=blocks, said=said)


def no_crossover(xs: list[float], sides: list[int], region: dict, blocks: int) -> Found:
    """Surely on one side all the way means no passage between the first place and the last, and says nothing beyond."""
    word = {1: "above", -1: "below", 0: ""}[sides[0] if len(set(sides)) == 1 else 0]
    if not word:
        return Found(said="no crossover is shown", blocks=blocks)
    away = either([against(region, -math.inf, xs[0]), against(region, xs[-1], math.inf)])
    said = f"no crossover from {xs[0]:g} to {xs[-1]:g}: the ratio is {word} the level all the way"
    return Found(said=said, settled=None if away is not False else False, blocks=blocks)


def completions(ask: Ask) -> list:
    return ask.data.arrivals(ask.claim, ask.part["arm"], ask.part["at"])


def staircase(ask: Ask) -> Found:
    worst = [claims_stats.worst_step(run.completions_s, ask.part["workers"], run.service_s) for run in completions(ask)]
    return of_runs(ask, worst)


def kth(ask: Ask) -> Found:
    k = ask.part.get("k", 0)
    return of_runs(ask, [sorted(run.completions_s)[k - 1] / run.service_s for run in completions(ask)])


def interleaving(ask: Ask) -> Found:
    """A share of runs; with `equals`, 1 says always and 0 never, and every run must agree."""
    told = [run.interleaved for run in completions(ask) if run.interleaved is not None]
    if not told:
        return Found()
    if "equals" in ask.part["region"]:
        return Found(claims_stats.exact([float(one) for one in told]))
    return Found(claims_stats.share(told, ask.level))


def skew(ask: Ask) -> Found:
    counts = ask.data.workers(ask.claim, ask.part["arm"], ask.part["of"], ask.part["at"])
    share = claims_stats.busiest if ask.part.get("top") else claims_stats.most_over_least
    of = claims_stats.jain if ask.part.get("jain") else share
    return of_runs(ask, [of(each) for each in counts.values()])


def first_fails(ask: Ask) -> Found:
    """In each block the smallest place at which not every client was served; infinite where all were, everywhere."""
    arm = ask.part["arm"]
    told = []
    for cell in ask.cells():
        if not any(why.code in ("limit", "missing") for why in ask.data.why(ask.claim, arm, cell)):
            told.append((ask.data.place(cell, ask.part["along"]), ask.data.served(ask.claim, arm, cell)))
    told.sort(key=lambda one: one[0])
    blocks = sorted({block for _, served in told for block in served})
    found = [first_unserved(told, block) for block in blocks]
    return of_runs(ask, [place for place in found if place is not None])


def first_unserved(told: list[tuple[float, dict[int, bool]]], block: int) -> float | None:
    """None where this block has no good sample of a place before: it might have been that one."""
    for place, served in told:
        if block not in served:
            return None
        if not served[block]:
            return place
    return math.inf


def calls(ask: Ask) -> Found:
    runs, named = ask.data.counts(ask.claim, ask.part["arm"], ask.part["at"]), ask.part["call"]
    wanted = [named] if isinstance(named, str) else named
    sums = [sum(n for call, n in run.items() if named == "all" or call in wanted) for run in runs]
    return Found(claims_stats.exact(sums)) if sums else Found()


def fact(ask: Ask) -> Found:
    told = [dig(facts, ask.part["field"]) for facts in ask.data.probe(ask.claim)]
    if not told:
        return Found()
    if None in told:
        return Found(said=f"the probe tells no {ask.part['field']}")
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in told):
        return Found(claims_stats.exact(told), runs=[contains(ask.part["region"], v) for v in told])
    shown = list(dict.fromkeys(map(in_short, told)))
    said = f"{shown[0]} in {len(told)} of {len(told)} runs" if len(shown) == 1 else " or ".join(shown[:3])
    return Found(runs=[contains(ask.part["region"], v) for v in told], blocks=len(told), said=said)


def in_short(told: object) -> str:
    """A fact as JSON people would write it: true, 12, [1, 0]."""
    text = str(told).lower() if isinstance(told, bool) else str(told).replace("'", "")
    return text if len(text) <= 60 else text[:57] + "..."


def dig(facts: object, path: str) -> object:
    for key in path.split("."):
        if isinstance(facts, list) and key.isdigit() and int(key) < len(facts):
            facts = facts[int(key)]
        else:
            facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


STATISTICS: dict[str, Callable[[Ask], Found]] = {
    "value": value,
    "ratio": ratio,
    "ratio_across": ratio_across,
    "growth": growth,
    "slope": slope,
    "crossover": crossover,
    "order": order,
    "staircase": staircase,
    "kth": kth,
    "makespan": kth,
    "interleaving": interleaving,
    "skew": skew,
    "calls": calls,
    "fact": fact,
    "sequence": fact,
    "first_fails": first_fails,
}
