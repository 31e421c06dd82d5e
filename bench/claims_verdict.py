"""From estimates to verdicts: an interval against a region that was fixed before the run, then the parts together.

reproduced           the whole interval lies in the region
not reproduced       the whole interval lies outside it
inconclusive         it crosses an edge, or what was measured may not decide; the reason says which
not testable here    nothing could be measured, and why

Fewer than ten good blocks lean or stay open, they do not decide; full plans twelve.  A part without noise (a fact of the kernel, a count) is
decided by its runs, which must all agree.  Parts go together as true, false and unknown do (Kleene): what one part
leaves open, the others may still decide.

The parts of a claim are a family: each noisy one has its interval at 1 - 5 %/parts (Bonferroni), so that all hold at
once in at least 95 % of ledgers.  Not max |t| by sign flips, as between arms: parts differ in their statistics (ratios,
slopes, medians, shares), and these have no common scale on which the largest could be taken.
Source: R. G. Miller, Simultaneous Statistical Inference, 2nd ed., 1981, chapter 1; S. C. Kleene, Introduction to
Metamathematics, 1952, section 64.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench import stats
from bench.claims_stats import LEVEL, Estimate

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
LEANS_TO, LEANS_AGAINST, OPEN, UNTESTABLE = "leans reproduced", "leans not reproduced", "open", "not testable here"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, LEANS_TO, LEANS_AGAINST, OPEN, UNTESTABLE)
ENOUGH, LEAN_LEVEL = stats.VERDICT_BLOCKS, stats.LEAN_LEVEL
ENOUGH_RUNS = 2  # of what has no noise: one run has nothing to agree with

# Why a part has no verdict, for programs; each is told to people in a sentence of its own beside it.
CODES = {
    "noise": "the interval crosses the region's edge",
    "client-bound": "the client was the limit, and a throughput then says nothing about the server",
    "invalid": "too many samples were invalid or failed",
    "disagree": "runs of what has no noise did not agree",
    "too-few": "fewer blocks than a verdict needs",
    "no-data": "nothing was measured yet",
    "limit": "a limit of this host keeps it out",
    "missing": "a model, a program or a feature is missing here",
    "platform": "it speaks of another system",
    "undecidable": "no sample of this size could decide it",
}


@dataclass(frozen=True)
class Reason:
    """Why there is no verdict: a code of CODES, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class Judged:
    """One part: whether its region holds (None: not known), and whether that is a verdict or a leaning."""

    name: str
    holds: bool | None
    firm: bool
    estimate: Estimate | None = None
    reason: Reason | None = None
    testable: bool = True

    @property
    def verdict(self) -> str:
        if not self.testable:
            return UNTESTABLE
        if self.holds is None:
            return INCONCLUSIVE if self.firm else OPEN
        return word(self.holds, self.firm)


def word(holds: bool, firm: bool) -> str:
    if firm:
        return REPRODUCED if holds else NOT_REPRODUCED
    return LEANS_TO if holds else LEANS_AGAINST


# --- regions ---------------------------------------------------------------------------------------------------------


def contains(region: Mapping[str, object], value: object) -> bool:
    """Whether a value satisfies a region: `above` and `below` without their edge, `within` with both."""
    return all(holds(kind, edge, value) for kind, edge in region.items())


def holds(kind: str, edge: object, value: object) -> bool:
    if kind == "equals":
        return same(value, edge)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return False
    if kind == "above":
        return value > edge
    if kind == "below":
        return value < edge
    inside = edge[0] <= value <= edge[1]
    return inside if kind == "within" else not inside


def same(value: object, wanted: object) -> bool:
    """Equality of facts; numbers to nine digits, since 1/3 of a request is still a count."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(value) == len(wanted) and all(map(same, value, wanted))
    return value == wanted


def against(region: Mapping[str, object], low: float, high: float) -> bool | None:
    """Whether an interval lies in a region (True), outside (False), or across an edge (None)."""
    return both([lies(kind, edge, low, high) for kind, edge in region.items()])


def lies(kind: str, edge: object, low: float, high: float) -> bool | None:
    if kind == "above":
        return True if low > edge else False if high <= edge else None
    if kind == "below":
        return True if high < edge else False if low >= edge else None
    if kind == "equals":  # no interval of some width ever lies on a point
        return False if edge < low or edge > high else None
    inside, apart = edge[0] <= low and high <= edge[1], high < edge[0] or low > edge[1]
    if not inside and not apart:
        return None
    return inside if kind == "within" else apart


def edges_of(region: Mapping[str, object]) -> list[float]:
    """The numbers at which a region begins and ends."""
    found = [e for edge in region.values() for e in (edge if isinstance(edge, (list, tuple)) else [edge])]
    return [float(e) for e in found if isinstance(e, (int, float)) and not isinstance(e, bool)]


def in_words(region: Mapping[str, object]) -> str:
    """`above 1.2`, `within 0.95 to 1.05`, `equals true`."""
    return " and ".join(f"{kind} {edge_in_words(kind, edge)}" for kind, edge in region.items())


def edge_in_words(kind: str, edge: object) -> str:
    if kind in ("within", "outside"):
        return " to ".join(f"{e:g}" for e in edge)
    return str(edge).lower() if isinstance(edge, bool) else f"{edge:g}" if isinstance(edge, float) else str(edge)


def level_for(noisy_parts: int) -> float:
    """The level of each interval that makes all of a claim's hold at once (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(noisy_parts, 1)


# --- one part --------------------------------------------------------------------------------------------------------


def judge(name: str, estimate: Estimate, region: Mapping[str, object], hint: Estimate | None = None) -> Judged:
    """A part's estimate against its region; `hint` is the same at LEAN_LEVEL, by which few blocks lean."""
    if estimate.exact:
        return by_agreement(name, [contains(region, v) for v in estimate.each], estimate)
    if math.isnan(estimate.value):
        return Judged(name, None, estimate.blocks >= ENOUGH, estimate, Reason("no-data", estimate.note or "no value"))
    if estimate.blocks < ENOUGH:
        return leaning(name, estimate, region, hint or estimate)
    holds = against(region, estimate.low, estimate.high)
    return Judged(name, holds, True, estimate, Reason("noise", needed(estimate, region)) if holds is None else None)


def by_agreement(name: str, held: Sequence[bool], estimate: Estimate | None = None) -> Judged:
    """What has no noise: every run must say the same."""
    firm = len(held) >= ENOUGH_RUNS
    if len(set(held)) == 1:
        return Judged(name, held[0], firm, estimate, None if firm else Reason("too-few", "one run"))
    if not held:
        return Judged(name, None, False, estimate, Reason("no-data", "no run"))
    said = f"{sum(held)} of {len(held)} runs say so, the others do not"
    return Judged(name, None, True, estimate, Reason("disagree", said))


def leaning(name: str, estimate: Estimate, region: Mapping[str, object], hint: Estimate) -> Judged:
    """What few blocks hint at: the 80 % interval is on one side, and the estimate with it.

    At a region's very edge that happens to one part in five at most: a hint, never a verdict.
    """
    side = against(region, hint.low, hint.high)
    agreed = side if side is not None and estimate.blocks > 1 and contains(region, estimate.value) == side else None
    few = Reason("too-few", f"{estimate.blocks} of the {ENOUGH} blocks that a verdict needs")
    return Judged(name, agreed, False, estimate, few)


def needed(estimate: Estimate, region: Mapping[str, object]) -> str:
    """In words why an interval does not decide, and what would: intervals shrink with the root of the blocks."""
    edges = [e for e in edges_of(region) if estimate.low <= e <= estimate.high]
    said = f"the interval crosses {' and '.join(f'{e:g}' for e in edges)}" if edges else "the interval crosses an edge"
    if len(edges) != 1 or not all(map(math.isfinite, (estimate.low, estimate.high, estimate.value))):
        return said
    distance, beyond = abs(estimate.value - edges[0]), estimate.high if estimate.value < edges[0] else estimate.low
    half = abs(beyond - estimate.value)
    if distance <= half / 5:
        return f"{said}, which lies at the estimate itself"
    return f"{said}; about {math.ceil(estimate.blocks * (half / distance) ** 2)} blocks would tell"


def undecidable(part: Mapping[str, object], runs: int = stats.FULL_BLOCKS) -> str | None:
    """Why no sample of `runs` runs could decide a part, in words; None where some could.

    claims_regions.py knows the other reasons.

    A share of runs has the coarsest grain: if all of them say yes, that still shows no more than (5 %/2)^(1/runs).
    """
    region = part.get("region", {})
    if part["statistic"] != "interleaving" or "equals" in region:
        return None
    surest = ((1 - LEVEL) / 2) ** (1 / runs)
    inside = [against(region, surest, 1.0), against(region, 0.0, 1 - surest)]
    if None not in inside:
        return None
    said = f"{runs} runs that all agree show a share of {surest:.2f}, no more"
    return f"{said}; for `always` and `never` say equals = 1 or 0"


# --- the parts together ----------------------------------------------------------------------------------------------


def both(values: Sequence[bool | None]) -> bool | None:
    """Kleene's and: one false part settles it."""
    return False if False in values else None if None in values else True


def either(values: Sequence[bool | None]) -> bool | None:
    """Kleene's or: one true part settles it."""
    return True if True in values else None if None in values else False


def evaluate(expression: object, known: Mapping[str, bool | None]) -> bool | None:
    """A claim's [verdict]: a part's name, a list (all of it), or one of {all = [...]}, {any = [...]}, {not = ...}."""
    if isinstance(expression, str):
        return known[expression]
    if isinstance(expression, (list, tuple)):
        return both([evaluate(one, known) for one in expression])
    [(word_of, inner)] = expression.items()
    if word_of == "not":
        value = evaluate(inner, known)
        return None if value is None else not value
    return (both if word_of == "all" else either)([evaluate(one, known) for one in inner])


def each_once(reasons: Sequence[Reason]) -> list[Reason]:
    """Reasons without repetition; of those that blocks are too few one is enough."""
    return list({why.code if why.code == "too-few" else why.text: why for why in reasons}.values())


@dataclass(frozen=True)
class Whole:
    """A claim's verdict over its parts."""

    verdict: str
    reasons: list[Reason] = field(default_factory=list)


def together(parts: Sequence[Judged], expression: object = None) -> Whole:
    """Verdict parts first; where they do not settle it, with the leaning ones."""
    expression = [part.name for part in parts] if expression is None else expression
    reasons = each_once([p.reason for p in parts if p.reason and p.verdict not in (REPRODUCED, NOT_REPRODUCED)])
    if not parts or not any(part.testable for part in parts):
        return Whole(UNTESTABLE, reasons)
    firm = evaluate(expression, {p.name: p.holds if p.firm else None for p in parts})
    if firm is not None:
        return Whole(word(firm, True), [])
    loose = evaluate(expression, {p.name: p.holds for p in parts})
    if loose is not None:
        return Whole(word(loose, False), reasons)
    few = any(part.testable and not part.firm for part in parts)
    return Whole(OPEN if few else INCONCLUSIVE, reasons)
