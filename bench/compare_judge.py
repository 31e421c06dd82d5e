"""What the quads of a comparison say: pure functions of the plan and the samples, asked at each look and afterwards.

First pass: a comparison (a contest's metric) is PASS once a slowdown by the margin is rejected, suspect once "no
slower" is rejected first, IMPROVED once "no faster" is.  A suspect is REGRESSED only if a second pass, on programs
linked in another order, rejects "no slower" again.  The levels are in compare_plan.py; docs/gate.md explains them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from bench import metrics, sequential
from bench.compare_plan import FEWEST_TO_REJECT, Contest, Plan
from bench.sequential import Look

REGRESSED, IMPROVED, PASS, INCONCLUSIVE = "REGRESSED", "IMPROVED", "PASS", "INCONCLUSIVE"
CONTAMINATED, MISSING = "CONTAMINATED", "MISSING"
OPEN, SUSPECT = "OPEN", "SUSPECT"
SHOWN_LEVEL = 0.05  # of the intervals in tables
CONTROL_METRIC = "server_cpu_us_per_req"
MOVED_P, MOVED_BY = 0.001, math.log(
    1.25
)  # pairing takes drift out; a jump like this leaves too much in its quad's pairs
RESTLESS = 0.30  # standard deviation of the control's logarithm from one sample to the next
DISCARDED_SHARE = 0.25


@dataclass(frozen=True)
class Verdict:
    """One comparison: a metric of a model under one load."""

    contest: str
    metric: str
    verdict: str
    quads: int = 0
    decided_at: int | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None  # a slowdown that the planned quads would find in four of five runs
    confirmed: dict | None = None  # quads and ratio of the second pass
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    verdict: str
    why: str
    found: list[Verdict]
    control: dict
    discarded: int  # invalid windows
    windows: int  # all of them, whose samples counted or not

    def as_record(self) -> dict:
        return asdict(self)


# --- from samples to differences -------------------------------------------------------------------------------------


def quads_of(samples: Iterable[dict], contest: str, number: int) -> list[list[dict]]:
    """The complete quads of a contest in a pass, in the order measured."""
    gathered: dict[int, list[dict]] = {}
    for sample in samples:
        if sample["cell"] == contest and sample["pass"] == number:
            gathered.setdefault(sample["block"], []).append(sample)
    arms = {index: [s for s in quad if s["role"] == "arm" and s["status"] == "ok"] for index, quad in gathered.items()}
    return [quad for quad in arms.values() if sorted(s["arm"] for s in quad) == ["A", "A", "B", "B"]]


def difference(quad: Sequence[dict], metric: str) -> float | None:
    """ln B - ln A, each the mean of two samples: what drifts evenly through the quad cancels."""
    sides: dict[str, list[float]] = {"A": [], "B": []}
    for sample in quad:
        value = metrics.METRICS[metric].read(sample)
        if value is None or value <= 0:
            return None
        sides[sample["arm"]].append(math.log(value))
    apart = sum(sides["B"]) / 2 - sum(sides["A"]) / 2
    return 0.0 if math.isnan(apart) else apart  # both without an answer: neither is slower


def differences(samples: Iterable[dict], contest: str, number: int, metric: str) -> list[float]:
    found = (difference(quad, metric) for quad in quads_of(samples, contest, number))
    return [value for value in found if value is not None]


# --- one comparison --------------------------------------------------------------------------------------------------


def due(looks: Sequence[Look], quads: int, over: bool) -> list[Look]:
    """The looks that have come; a pass that is over before its plan looks once more, and spends what is left."""
    past = [look for look in looks if look[0] <= quads]
    if over and quads and (not past or past[-1][1] < 1):
        past = [look for look in past if look[0] < quads] + [(quads, 1.0)]
    return past


def first_pass(plan: Plan, values: Sequence[float], over: bool) -> tuple[str, int | None]:
    """OPEN, SUSPECT, IMPROVED, PASS or INCONCLUSIVE, and after how many quads that was known."""
    looks = due(plan.looks(1), len(values), over)
    if not looks:
        return (INCONCLUSIVE if over else OPEN), None
    share = plan.level / plan.comparisons
    slower = sequential.rejected_at(values, 0.0, share, looks, above=True)
    bearable = sequential.rejected_at(values, math.log1p(plan.margin), plan.pass_level, looks, above=False)
    faster = sequential.rejected_at(values, 0.0, share, looks, above=False)
    if bearable is not None and (slower is None or bearable <= slower):
        if faster is not None:
            return IMPROVED, max(faster, bearable)
        done = looks[-1][1] >= 1 or sequential.estimate(values) > -math.log1p(plan.margin) / 2
        return (PASS, bearable) if done else (OPEN, None)
    if slower is not None:
        return SUSPECT, slower
    if faster is not None:
        return IMPROVED, faster
    return (INCONCLUSIVE if looks[-1][1] >= 1 else OPEN), None


def second_pass(plan: Plan, values: Sequence[float], over: bool) -> str:
    """OPEN, REGRESSED, or INCONCLUSIVE: the slowdown did not survive another link order, or the time was over."""
    looks = due(plan.looks(2), len(values), over)
    if looks and sequential.rejected_at(values, 0.0, plan.confirm_level, looks, above=True) is not None:
        return REGRESSED
    return INCONCLUSIVE if over or (looks and looks[-1][1] >= 1) else OPEN


def settled(plan: Plan, values: Sequence[float]) -> tuple[str, int | None]:
    """The first pass's answer once no more quads come: what a look had decided stays so, whatever came later."""
    decided = first_pass(plan, values, False)
    return decided if decided[0] != OPEN else first_pass(plan, values, True)


def goes_on(plan: Plan, samples: Sequence[dict], contest: Contest) -> bool:
    """Does a contest's first pass go on?  Not once one metric is suspect or all are decided."""
    states = [first_pass(plan, differences(samples, contest.key, 1, metric), False)[0] for metric in plan.metrics]
    return OPEN in states and SUSPECT not in states


def suspects(plan: Plan, samples: Sequence[dict], contest: Contest) -> list[str]:
    """The metrics in which the first pass found a contest slower."""
    return [m for m in plan.metrics if settled(plan, differences(samples, contest.key, 1, m))[0] == SUSPECT]


def confirming(plan: Plan, samples: Sequence[dict], contest: Contest) -> str:
    """Where a suspect's second pass stands: OPEN, REGRESSED, or INCONCLUSIVE."""
    of = suspects(plan, samples, contest)
    states = [second_pass(plan, differences(samples, contest.key, 2, metric), False) for metric in of]
    return REGRESSED if REGRESSED in states else OPEN if OPEN in states else INCONCLUSIVE


def factor(log: float) -> float:
    """e^log; a side that does not answer is infinitely slower."""
    return math.exp(log) if log < 700 else math.inf


def verdict_of(plan: Plan, samples: Sequence[dict], contest: Contest, metric: str, intervals: bool) -> Verdict:
    """The comparison's last word; the interval holds at 95 % for this comparison whenever the looks stopped."""
    values = differences(samples, contest.key, 1, metric)
    if contest.identical:
        return Verdict(
            contest.key, metric, PASS, ratio=1.0, low=1.0, high=1.0, note="the same machine code: nothing to measure"
        )
    word, at = settled(plan, values)
    found = Verdict(contest.key, metric, word, len(values), at)
    if not values:
        return replace(found, verdict=INCONCLUSIVE, note="no complete quad")
    found = replace(found, ratio=factor(sequential.estimate(values)))
    if intervals:
        over = first_pass(plan, values, False)[0] == OPEN  # then the word is that of a look beyond the planned ones
        ends = sequential.interval(values, SHOWN_LEVEL, due(plan.looks(1), len(values), over))
        detectable = sequential.detectable(values, plan.level / plan.comparisons, max(plan.quads, len(values)))
        found = replace(found, low=factor(ends[0]), high=factor(ends[1]), detectable=detectable)
    if word == SUSPECT:
        return confirmed(plan, samples, contest, found)
    if word == PASS and found.low is not None and found.low > 1:
        found = replace(found, note="slower, and surely by less than the margin")
    return found


def confirmed(plan: Plan, samples: Sequence[dict], contest: Contest, found: Verdict) -> Verdict:
    again = differences(samples, contest.key, 2, found.metric)
    if not again:
        return replace(found, verdict=INCONCLUSIVE, note="slower in the first pass; no time was left to confirm it")
    told = {"quads": len(again), "ratio": factor(sequential.estimate(again))}
    stood = second_pass(plan, again, False)
    anew = contest.model not in plan.as_linked
    how = "when linked in another order" if anew else "when measured again as it is"
    if REGRESSED in (stood, stood if stood != OPEN else second_pass(plan, again, True)):
        return replace(found, verdict=REGRESSED, confirmed=told, note=f"×{told['ratio']:.3f} {how}")
    if len(again) < FEWEST_TO_REJECT:
        note = f"slower in the first pass; the time was over after {len(again)} quads of the second"
    else:
        why = "where the code lies, or chance" if anew else "chance"
        note = f"slower in the first pass, ×{told['ratio']:.3f} {how}: {why}"
    return replace(found, verdict=INCONCLUSIVE, confirmed=told, note=note)


# --- the host --------------------------------------------------------------------------------------------------------


def control_of(samples: Iterable[dict]) -> dict:
    """What the server that nobody changes did: its level, whether that moved, how much it varies."""
    values = [
        metrics.METRICS[CONTROL_METRIC].read(s) for s in samples if s["role"] == "control" and s["status"] == "ok"
    ]
    logs = np.log([value for value in values if value])
    if len(logs) < 2:
        return {"samples": len(logs), "p": 1.0, "moved": 0.0, "spread": 0.0, "median_us": None}
    p, by = sequential.moved(logs)
    spread = 1.4826 * float(np.median(np.abs(np.diff(logs)))) / math.sqrt(2)
    median = float(np.exp(np.median(logs)))
    return {"samples": len(logs), "p": p, "moved": by, "spread": spread, "median_us": median}


def contamination(control: dict, discarded: int, windows: int, verdict: str) -> str | None:
    """Why the host, not the commit, is what was seen; PASS needs no excuse: noise cannot show that none is slower."""
    if verdict not in (REGRESSED, IMPROVED, INCONCLUSIVE):
        return None
    if control["p"] < MOVED_P and abs(control["moved"]) > MOVED_BY:
        return f"the control server, which nobody changed, moved by {math.expm1(control['moved']):+.0%} during the run"
    if windows and discarded / windows > DISCARDED_SHARE:
        return f"{discarded} of {windows} windows were invalid: the load generator was kept from its schedule"
    if verdict == INCONCLUSIVE and control["spread"] > RESTLESS:
        return f"the control server, which nobody changed, varied by {control['spread']:.0%} from sample to sample"
    return None


def judge(plan: Plan, samples: Sequence[dict], intervals: bool = True) -> Judgement:
    """The verdict of the whole comparison, with each of its parts."""
    found = [
        verdict_of(plan, samples, contest, metric, intervals) for contest in plan.contests for metric in plan.metrics
    ]
    control = control_of(samples)
    discarded = sum(len(s.get("discarded", [])) + (s["status"] == "invalid") for s in samples)
    windows = len(samples) + sum(len(s.get("discarded", [])) for s in samples)
    words = {one.verdict for one in found}
    if REGRESSED in words:
        word, why = REGRESSED, worst(found, REGRESSED)
    elif plan.missing:
        word, why = MISSING, plan.missing[0]["why"]
    elif INCONCLUSIVE in words:
        word, why = INCONCLUSIVE, worst(found, INCONCLUSIVE)
    elif IMPROVED in words:
        word, why = IMPROVED, worst(found, IMPROVED)
    else:
        word, why = PASS, "" if found else "no server differs"
    if excuse := contamination(control, discarded, windows, word):
        word, why = CONTAMINATED, excuse
    return Judgement(word, why, found, control, discarded, windows)


def worst(found: Sequence[Verdict], word: str) -> str:
    """The comparison that decided, in words."""
    one = max((v for v in found if v.verdict == word), key=lambda v: abs(math.log(v.ratio)) if v.ratio else 0.0)
    ratio = f" ×{one.ratio:.3f}" if one.ratio else ""
    return f"{one.contest}: {metrics.METRICS[one.metric].label}{ratio}" + (f" ({one.note})" if one.note else "")
