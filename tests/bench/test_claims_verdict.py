"""Verdicts: regions, few blocks, what may not decide, parts together; and planted claims over simulated ledgers."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from claims_fakes import NOISE, Fake, claim, part

from bench import claims_stats
from bench import claims_verdict as v
from bench.claims_judge import answers
from bench.claims_ledger import of_data
from bench.claims_parts import first_unserved
from bench.claims_stats import Estimate

PROBE = '[probe]\nname = "edge_trigger"\n'


def told(value: float, low: float, high: float, blocks: int = 12, each: tuple[float, ...] = ()) -> Estimate:
    return Estimate(value, low, high, blocks, each)


def verdicts(data: Fake, claim) -> dict[str, str]:
    return {one.judged.name: one.judged.verdict for one in answers(data, claim)}


def reasons(data: Fake, claim) -> dict[str, str | None]:
    return {one.judged.name: one.judged.reason and one.judged.reason.code for one in answers(data, claim)}


# --- regions and single parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "region, low, high, expected",
    [
        ({"above": 1.2}, 1.21, 1.5, True),
        ({"above": 1.2}, 1.1, 1.3, None),
        ({"above": 1.2}, 0.9, 1.2, False),
        ({"below": 1}, 0.8, 0.9, True),
        ({"below": 1}, 1.0, 1.1, False),
        ({"within": [0.9, 1.1]}, 0.95, 1.05, True),
        ({"within": [0.9, 1.1]}, 0.85, 1.05, None),
        ({"within": [0.9, 1.1]}, 1.2, 1.3, False),
        ({"outside": [0.9, 1.1]}, 1.2, 1.3, True),
        ({"outside": [0.9, 1.1]}, 0.95, 1.0, False),
        ({"outside": [0.9, 1.1]}, 0.8, 1.2, None),
        ({"above": 1, "below": 2}, 1.1, 1.9, True),
        ({"above": 1, "below": 2}, 1.5, 2.5, None),
        ({"above": 1, "below": 2}, 2.1, 2.5, False),
        ({"equals": 1}, 1.1, 1.2, False),
        ({"equals": 1}, 0.9, 1.2, None),
        ({"above": 1}, 2.0, math.inf, True),
        ({"below": 5}, -math.inf, math.inf, None),
    ],
)
def test_an_interval_lies_inside_outside_or_across(region: dict, low: float, high: float, expected) -> None:
    assert v.against(region, low, high) is expected


@pytest.mark.parametrize(
    "region, value, expected",
    [
        ({"equals": True}, True, True),
        ({"equals": 1}, True, False),
        ({"equals": 524}, 524, True),
        ({"equals": 1 / 3}, 0.3333333333333333, True),
        ({"equals": ["event", 500, "none"]}, ["event", 500, "none"], True),
        ({"equals": [1, 2]}, [1, 2, 3], False),
        ({"equals": "EAGAIN"}, "EAGAIN", True),
        ({"above": 0}, 0, False),
        ({"within": [0, 1]}, 1, True),
        ({"outside": [0, 1]}, math.nan, False),
        ({"above": 3}, "many", False),
    ],
)
def test_a_fact_satisfies_a_region_or_does_not(region: dict, value: object, expected: bool) -> None:
    assert v.contains(region, value) is expected


def test_regions_are_told_in_words() -> None:
    told = ({"above": 1.20}, {"within": [0.95, 1.05]}, {"equals": True}, {"equals": 0}, {"above": 1, "below": 2})
    words = ["above 1.2", "within 0.95 to 1.05", "equals true", "equals 0", "above 1 and below 2"]
    assert list(map(v.in_words, told)) == words


def test_ten_good_blocks_decide_and_fewer_lean() -> None:
    region = {"above": 1.2}
    assert v.judge("x", told(1.4, 1.3, 1.5), region).verdict == "reproduced"
    assert v.judge("x", told(1.0, 0.9, 1.1), region).verdict == "not reproduced"
    crosses = v.judge("x", told(1.25, 1.1, 1.4), region)
    assert crosses.verdict == "inconclusive" and crosses.reason.code == "noise"
    assert crosses.reason.text == "the interval crosses 1.2; about 108 blocks would tell"
    assert v.judge("x", told(1.4, 1.3, 1.5, 10), region).verdict == "reproduced"
    few = told(1.4, 0.5, 3, 9)
    assert v.judge("x", few, region, hint=told(1.4, 1.3, 1.5)).verdict == "leans reproduced"
    assert v.judge("x", told(1.0, 0.5, 3, 3), region, hint=told(1.0, 0.9, 1.1)).verdict == "leans not reproduced"
    open_ = v.judge("x", few, region, hint=told(1.4, 1.1, 1.7))
    assert open_.verdict == "open" and open_.reason.code == "too-few"
    assert v.judge("x", told(1.4, 1.3, 1.5, 1), region).verdict == "open", "one block has no interval"


def test_what_has_no_noise_is_decided_by_runs_that_agree() -> None:
    assert v.judge("x", claims_stats.exact([2, 2, 2]), {"equals": 2}).verdict == "reproduced"
    assert v.judge("x", claims_stats.exact([2, 2, 2]), {"below": 2}).verdict == "not reproduced"
    mixed = v.judge("x", claims_stats.exact([2, 2, 3]), {"equals": 2})
    assert mixed.verdict == "inconclusive" and mixed.reason.code == "disagree" and "2 of 3 runs" in mixed.reason.text
    assert v.judge("x", claims_stats.exact([2]), {"equals": 2}).verdict == "leans reproduced", "one run"
    assert v.by_agreement("x", []).verdict == "open"


def test_a_share_that_runs_cannot_show_is_told_before_the_run() -> None:
    share = {"statistic": "interleaving", "region": {"above": 0.99}}
    assert "12 runs that all agree show a share of 0.74" in v.undecidable(share)
    assert v.undecidable({**share, "region": {"above": 0.7}}) is None
    assert v.undecidable({**share, "region": {"equals": 1}}) is None
    assert v.undecidable({**share, "region": {"above": 0.99}}, runs=400) is None


# --- parts together --------------------------------------------------------------------------------------------------


def test_three_valued_logic_is_kleenes() -> None:
    for values in itertools.product((True, False, None), repeat=2):
        low = min(values, key=lambda x: {False: 0, None: 1, True: 2}[x])
        high = max(values, key=lambda x: {False: 0, None: 1, True: 2}[x])
        assert v.both(values) is low and v.either(values) is high
    known = {"a": True, "b": False, "c": None}
    assert v.evaluate({"all": ["a", {"not": "b"}, {"any": ["c", "a"]}]}, known) is True
    assert v.evaluate({"not": "c"}, known) is None and v.evaluate({"any": ["b", "c"]}, known) is None
    assert v.evaluate({"all": ["c", "b"]}, known) is False and v.evaluate(["a"], known) is True


def judged(name: str, holds: bool | None, firm: bool = True, testable: bool = True) -> v.Judged:
    return v.Judged(name, holds, firm, reason=None if holds is not None else v.Reason("noise", name), testable=testable)


@pytest.mark.parametrize(
    "parts, expression, expected",
    [
        ([judged("a", True), judged("b", True)], None, "reproduced"),
        ([judged("a", True), judged("b", None)], None, "inconclusive"),
        ([judged("a", False), judged("b", None, False)], None, "not reproduced"),
        ([judged("a", True), judged("b", True, False)], None, "leans reproduced"),
        ([judged("a", True, False), judged("b", None, False)], None, "open"),
        ([judged("a", True), judged("b", None, True, False)], None, "inconclusive"),
        ([judged("a", True), judged("b", None, True, False)], {"any": ["a", "b"]}, "reproduced"),
        ([judged("a", None, True, False)], None, "not testable here"),
        ([judged("a", False), judged("b", True)], {"all": [{"not": "a"}, "b"]}, "reproduced"),
        ([], None, "not testable here"),
    ],
)
def test_parts_make_a_verdict(parts: list[v.Judged], expression: object, expected: str) -> None:
    assert v.together(parts, expression).verdict == expected


def test_parts_of_a_claim_share_its_error() -> None:
    assert v.level_for(1) == 0.95 and v.level_for(0) == 0.95 and v.level_for(5) == pytest.approx(0.99)


# --- what may not decide ---------------------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path):
    return claim(tmp_path, part("direction", "above = 1.2"))


def twice(arm: str, metric: str, cell: dict) -> float:
    return 200.0 if arm == "poll" else 100.0


def test_samples_bound_by_the_client_never_decide(planted) -> None:
    assert verdicts(Fake([planted], twice), planted) == {"direction": "reproduced"}
    most = Fake([planted], twice, bound=lambda arm, cell, block: arm == "poll" and block < 8)
    assert verdicts(most, planted) == {"direction": "inconclusive"}
    assert reasons(most, planted) == {"direction": "client-bound"}
    all_of_them = Fake([planted], twice, bound=lambda arm, cell, block: True)
    assert verdicts(all_of_them, planted) == {"direction": "inconclusive"}
    assert reasons(all_of_them, planted) == {"direction": "client-bound"}
    two = Fake([planted], twice, bound=lambda arm, cell, block: arm == "poll" and block < 2)
    assert verdicts(two, planted) == {"direction": "reproduced"}, "ten of twelve are left"
    few = Fake([planted], twice, bound=lambda arm, cell, block: arm == "poll" and block < 3)
    assert verdicts(few, planted) == {"direction": "leans reproduced"}
    assert reasons(few, planted) == {"direction": "client-bound"}


def test_few_blocks_say_what_took_the_others(planted) -> None:
    lost = Fake([planted], twice, blocks=4, bound=lambda arm, cell, block: block == 0)
    assert verdicts(lost, planted) == {"direction": "leans reproduced"}
    assert reasons(lost, planted) == {"direction": "client-bound"}


def test_invalid_samples_never_decide(planted) -> None:
    gone = Fake([planted], twice, invalid=lambda arm, cell, block: block % 2 == 0 or block < 4)
    assert verdicts(gone, planted) == {"direction": "inconclusive"}
    assert reasons(gone, planted) == {"direction": "invalid"}


def test_a_missing_arm_is_not_testable_and_says_why(planted) -> None:
    without = Fake([planted], twice, left_out={"poll": ("missing", "is not built here")})
    assert verdicts(without, planted) == {"direction": "not testable here"}
    [entry] = of_data(without, "run", "host", 0)["claims"]
    assert entry["verdict"] == "not testable here"
    assert entry["why"] == [{"code": "missing", "text": "poll is not built here"}]


def test_nothing_measured_yet_is_open(planted) -> None:
    data = Fake([planted], twice, blocks=0)
    assert verdicts(data, planted) == {"direction": "open"} and reasons(data, planted) == {"direction": "no-data"}


def test_another_platform_is_not_testable(planted) -> None:
    data = Fake([planted], twice, lacking={"P90": SimpleNamespace(code="platform", text="kqueue is BSD's")})
    [entry] = of_data(data, "run", "host", 0)["claims"]
    assert (entry["verdict"], entry["parts"]) == ("not testable here", []) and entry["why"][0]["code"] == "platform"


# --- every statistic, through the claim language ---------------------------------------------------------------------

COST = 'arm = "poll"\nalong = "connections"'
PAIR = 'arm = "poll"\nover = "epoll_lt"\n'
UP = "at = {connections = 1000}\nto = {connections = 1}"
COUNTS = 'arm = "poll"\nof = "accepted"\nat = {connections = 10}'
FIRST = 'arm = "select"\nalong = "connections"'
LEVEL = 'along = "connections"\nlevel = '
LANGUAGE = [
    (part("p", "within = [80, 120]", "value", 'arm = "epoll_lt"\nat = {connections = 10}'), "reproduced"),
    (part("p", "above = 2", "ratio", PAIR + "at = {connections = 1000}"), "reproduced"),
    (part("p", "above = 1.2", "ratio", PAIR + "at = {connections = 1}"), "not reproduced"),
    (part("p", "above = 3", "ratio_across", 'arm = "poll"\n' + UP), "reproduced"),
    (part("p", "above = 3", "ratio_across", PAIR + UP), "reproduced"),
    (part("p", "above = 3", "growth", COST), "reproduced"),
    (part("p", "below = 0.3", "growth", COST), "not reproduced"),
    (part("p", "within = [0.3, 0.5]", "growth", COST + '\nshare = "c1"'), "reproduced"),
    (part("p", "above = 0.3", "slope", COST + "\nfrom = 10"), "reproduced"),
    (part("p", "above = 0.9", "slope", COST + '\nof = "r2"\nfit = "linear"'), "reproduced"),
    (part("p", "within = [20, 800]", "crossover", PAIR + LEVEL + "1.5"), "reproduced"),
    (part("p", "within = [2, 20]", "crossover", PAIR + LEVEL + "1.5"), "not reproduced"),
    (part("p", "within = [2, 20]", "crossover", PAIR + LEVEL + "0.3"), "not reproduced"),
    (part("p", "equals = true", "order", 'arms = ["epoll_lt", "poll"]\nat = {connections = 1000}'), "reproduced"),
    (part("p", "equals = true", "order", 'arms = ["poll", "epoll_lt"]\nat = {connections = 1000}'), "not reproduced"),
    (part("p", "within = [2.5, 3.5]", "skew", COUNTS, ""), "reproduced"),
    (part("p", "above = 0.9", "skew", COUNTS + "\njain = true", ""), "not reproduced"),
    (part("p", "within = [0.45, 0.55]", "skew", COUNTS + "\ntop = true", ""), "reproduced"),
    (part("p", "equals = 1000", "first_fails", FIRST, ""), "reproduced"),
    (part("p", "below = 500", "first_fails", FIRST, ""), "not reproduced"),
]


def grows(arm: str, metric: str, cell: dict) -> float:
    return 100 + 0.4 * cell["connections"] if arm == "poll" else 100.0


def names(cases: list[tuple]) -> list[str]:
    return [f"{number}-{case[-2].split(chr(34))[3]}" for number, case in enumerate(cases)]


@pytest.mark.parametrize("text, expected", LANGUAGE, ids=names(LANGUAGE))
def test_every_statistic_of_an_experiment(tmp_path: Path, text: str, expected: str) -> None:
    one = claim(tmp_path, text)
    assert verdicts(Fake([one], grows, noise=0.05), one) == {"p": expected}


ARRIVALS = '[arrivals]\ncount = [4]\ndelay = "50ms"\narms.models = ["thread_pool"]\n'
COUNT = '[count]\nprotocol = "echo"\narms.models = ["epoll_lt"]\n'
POOL = [SimpleNamespace(service_s=0.05, completions_s=[0.051, 0.05, 0.101, 0.102], interleaved=True)] * 12
ALONE = [
    (ARRIVALS, part("p", "below = 0.1", "staircase", 'arm = "thread_pool"\nworkers = 2', ""), "reproduced"),
    (ARRIVALS, part("p", "below = 0.1", "staircase", 'arm = "thread_pool"\nworkers = 4', ""), "not reproduced"),
    (ARRIVALS, part("p", "within = [1.9, 2.2]", "kth", 'arm = "thread_pool"\nk = 3', ""), "reproduced"),
    (ARRIVALS, part("p", "within = [1.9, 2.2]", "makespan", 'arm = "thread_pool"', ""), "reproduced"),
    (ARRIVALS, part("p", "above = 0.7", "interleaving", 'arm = "thread_pool"', ""), "reproduced"),
    (ARRIVALS, part("p", "below = 0.7", "interleaving", 'arm = "thread_pool"', ""), "not reproduced"),
    (ARRIVALS, part("p", "equals = 1", "interleaving", 'arm = "thread_pool"', ""), "reproduced"),
    (COUNT, part("p", "equals = 2", "calls", 'arm = "epoll_lt"\ncall = ["recv", "send"]', ""), "reproduced"),
    (COUNT, part("p", "equals = 4", "calls", 'arm = "epoll_lt"\ncall = "all"', ""), "not reproduced"),
    (COUNT, part("p", "equals = 0", "calls", 'arm = "epoll_lt"\ncall = "epoll_ctl"', ""), "reproduced"),
    (PROBE, part("p", "equals = 524", "fact", 'field = "after.queued"', ""), "reproduced"),
    (PROBE, part("p", "equals = false", "fact", 'field = "again"', ""), "inconclusive"),
    (PROBE, part("p", 'equals = ["event", 500]', "sequence", 'field = "story"', ""), "reproduced"),
    (PROBE, part("p", "below = 60", "fact", 'field = "wait_ms"', ""), "reproduced"),
    (PROBE, part("p", "equals = 1", "fact", 'field = "nowhere"', ""), "open"),
]
FACTS = [{"after": {"queued": 524}, "again": b == 3, "story": ["event", 500], "wait_ms": 50 + b / 10} for b in range(5)]


@pytest.mark.parametrize("source, text, expected", ALONE, ids=names(ALONE))
def test_every_statistic_without_a_window(tmp_path: Path, source: str, text: str, expected: str) -> None:
    one = claim(tmp_path, text, source=source)
    data = Fake([one], runs=POOL, called=[{"recvfrom": 1, "sendto": 1, "epoll_wait": 1}] * 3, facts=FACTS)
    assert verdicts(data, one) == {"p": expected}


def test_requests_that_were_never_answered_are_a_median(tmp_path: Path) -> None:
    one = claim(tmp_path, part("p", "above = 5", metric="p99_us"))
    data = Fake([one], lambda arm, metric, cell: math.inf if arm == "poll" else 100.0)
    assert verdicts(data, one) == {"p": "reproduced"}


# --- planted claims --------------------------------------------------------------------------------------------------

LEDGERS = range(1, 21)
EDGE = 1.2
FAR = claims_stats.smallest_decided(NOISE * math.sqrt(2), power=0.9999, level=v.level_for(3))
PLANTED = (
    part("direction", f"above = {EDGE}")
    + part("size", "within = [1.2, 4]", "ratio_across", 'arm = "poll"\n' + UP)
    + part("scaling", "above = 0.05", "slope", 'arm = "poll"\nalong = "connections"')
)


def truth(ratio: float):
    """poll over epoll_lt at 100 connections is `ratio`; it grows with the connections by a third power's tenth."""

    def of(arm: str, metric: str, cell: dict) -> float:
        return 100 * ratio * (cell["connections"] / 100) ** 0.115 if arm == "poll" else 100.0

    return of


def whole(one, ratio: float, seed: int) -> str:
    return of_data(Fake([one], truth(ratio), seed=seed), "run", "host", 0)["claims"][0]["verdict"]


def test_planted_claims_are_confirmed_and_refuted_every_time(tmp_path: Path) -> None:
    """Twenty ledgers of twelve blocks at 13 % of noise: an effect FAR beyond the region's edge is always seen."""
    assert 1.35 < FAR < 1.6, "an effect that a claim can honestly have"
    one = claim(tmp_path, PLANTED)
    assert {whole(one, EDGE * FAR, seed) for seed in LEDGERS} == {"reproduced"}
    assert {whole(one, EDGE / FAR, seed) for seed in LEDGERS} == {"not reproduced"}


def test_a_claim_at_the_edge_is_inconclusive_and_never_turns_round(tmp_path: Path) -> None:
    one = claim(tmp_path, part("direction", f"above = {EDGE}"))
    found = [whole(one, EDGE, seed) for seed in LEDGERS]
    assert found.count("inconclusive") >= 17
    for first, second in zip(found, found[1:]):
        assert first == second or "inconclusive" in (first, second)


@pytest.mark.parametrize("region, at", [("above = 1.2", 1.2), ("within = [1.2, 2.0]", 1.2), ("below = 1.2", 1.2)])
def test_false_verdicts_at_the_edge_are_at_most_one_in_twenty(tmp_path: Path, region: str, at: float) -> None:
    """Either verdict is false there, the one way or the other; 5 % of 800 ledgers, and what chance adds to it."""
    one = claim(tmp_path, part("direction", region))
    decided = [verdicts(Fake([one], truth(at), seed=seed), one)["direction"] != "inconclusive" for seed in range(800)]
    assert np.mean(decided) <= 0.05 + 1.64 * math.sqrt(0.05 * 0.95 / 800)


def test_a_family_of_parts_errs_no_more_often_than_one(tmp_path: Path) -> None:
    """Three parts at their edges: the share of ledgers in which any of them is decided."""
    where = 'over = "epoll_lt"\nat = {connections = 100}'
    parts = [part(arm, "above = 1.2", rest=f'arm = "{arm}"\n{where}') for arm in ("poll", "epoll_et", "select")]
    one = claim(tmp_path, "".join(parts))
    edge = lambda arm, metric, cell: 100.0 if arm == "epoll_lt" else 120.0  # noqa: E731
    wrong = [set(verdicts(Fake([one], edge, seed=seed), one).values()) != {"inconclusive"} for seed in range(400)]
    assert np.mean(wrong) <= 0.05 + 1.64 * math.sqrt(0.05 * 0.95 / 400)


def test_few_blocks_at_the_edge_lean_one_time_in_five_at_most(tmp_path: Path) -> None:
    one = claim(tmp_path, part("direction", f"above = {EDGE}"))
    found = [verdicts(Fake([one], truth(EDGE), blocks=6, seed=seed), one)["direction"] for seed in range(500)]
    assert np.mean([word != "open" for word in found]) <= 0.2 + 1.64 * math.sqrt(0.2 * 0.8 / 500)


def test_few_blocks_never_give_a_verdict(tmp_path: Path) -> None:
    one = claim(tmp_path, PLANTED)
    ledgers = [of_data(Fake([one], truth(2.0), blocks=3, seed=seed), "run", "host", 0) for seed in LEDGERS]
    found = {ledger["claims"][0]["verdict"] for ledger in ledgers}
    assert found <= {"leans reproduced", "leans not reproduced", "open"} and "leans reproduced" in found


@pytest.mark.parametrize(
    "served, expected",
    [
        ([(19, {0: True}), (20, {0: False}), (21, {0: False})], 20),
        ([(19, {0: True}), (20, {0: True})], math.inf),
        ([(19, {0: True}), (20, {})], None),  # no good sample: it might have been this one
        ([(19, {}), (20, {0: False})], None),
        ([(19, {0: False}), (20, {})], 19),  # what comes after the first does not matter
    ],
)
def test_the_first_that_is_not_served_is_known_only_where_all_before_it_are(served: list, expected: float | None) -> None:
    assert first_unserved(served, 0) == expected
