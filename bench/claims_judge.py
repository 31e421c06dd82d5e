"""A claim's parts with their verdicts: what was estimated, what was left out, and whether what is left may decide.

An invalid sample never decides, nor does one in which the client was the limit where a figure of time is asked: where
most blocks went that way, what remains is a choice of the luckiest, and the part stays inconclusive for that reason.
"""

from dataclasses import dataclass, field, replace

from bench.claims_parts import STATISTICS, Ask, Data, Found, is_noisy, region_of
from bench.claims_verdict import ENOUGH, LEAN_LEVEL, Judged, Reason, by_agreement, judge, level_for

HERE_NOT = ("limit", "missing", "platform")  # codes of what this host cannot have


@dataclass(frozen=True)
class Answer:
    """A part with all that is known of it."""

    judged: Judged
    found: Found
    left_out: list = field(default_factory=list)  # the data's Whys, each once


def answers(data: Data, claim) -> list[Answer]:
    """Every part of a claim, each at the level that makes all their intervals hold together."""
    level = level_for(sum(map(is_noisy, claim.parts)))
    return [answer(Ask(data, claim, part, level)) for part in claim.parts]


def answer(ask: Ask) -> Answer:
    found, left_out = STATISTICS[ask.part["statistic"]](ask), what_is_left_out(ask)
    return Answer(judged(ask, found, left_out), found, left_out)


def what_is_left_out(ask: Ask) -> list:
    if ask.part["statistic"] in ("fact", "sequence"):
        return []
    arms = [name for name in (ask.part.get("arm"), ask.part.get("over"), *ask.part.get("arms", [])) if name]
    whys = [
        why
        for arm in arms
        for cell in ask.claim.cells(ask.part)
        for why in ask.data.why(ask.claim, arm, cell, ask.part.get("metric"))
    ]
    return list({why.text: why for why in whys}.values())


def judged(ask: Ask, found: Found, left_out: list) -> Judged:
    name, estimate, wanted = ask.part["name"], found.estimate, ask.data.wanted(ask.claim)
    if found.runs is not None:
        return by_agreement(name, found.runs, estimate)
    if estimate is None and not found.blocks:
        return nothing(name, wanted, found, left_out)
    bound = [why for why in left_out if why.code in ("client-bound", "invalid")]
    blocks = estimate.blocks if estimate else found.blocks
    if bound and 2 * blocks < wanted:  # what is left is a choice of the luckiest blocks
        return Judged(name, None, wanted >= ENOUGH, estimate, Reason(bound[0].code, bound[0].text))
    firm = blocks >= ENOUGH or bool(estimate and estimate.exact)
    hint = found if firm else STATISTICS[ask.part["statistic"]](replace(ask, level=LEAN_LEVEL))
    if hint.settled is not None or estimate is None or hint.estimate is None:
        why = Reason("noise" if firm else "too-few", hint.said) if hint.settled is None else None
        return Judged(name, hint.settled, firm, estimate, why)
    verdict = judge(name, estimate, region_of(ask.part), hint.estimate)
    if bound and not verdict.firm and blocks < wanted:
        left = Reason(bound[0].code, f"{blocks} of {wanted} blocks are left: {bound[0].text}")
        return Judged(name, verdict.holds, False, estimate, left)
    return verdict


def nothing(name: str, wanted: int, found: Found, left_out: list) -> Judged:
    """No sample that counts, and why."""
    absent = [why for why in left_out if why.code in HERE_NOT]
    first = next(iter(absent or left_out), None)
    reason = Reason(first.code, first.text) if first else Reason("no-data", found.said or "nothing was measured yet")
    return Judged(name, None, wanted >= ENOUGH and not reason.code == "no-data", None, reason, testable=not absent)
