"""Statistics against scipy, against known distributions, and for coverage by simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from bench import stats


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(20240607)


def test_t_interval_is_scipys(chance: np.random.Generator) -> None:
    for size in (2, 3, 12, 40):
        logs = chance.normal(0.1, 0.2, size)
        ratio, low, high = stats.t_interval(logs)
        expected = scipy.stats.t.interval(0.95, size - 1, loc=logs.mean(), scale=scipy.stats.sem(logs))
        assert math.log(ratio) == pytest.approx(logs.mean())
        assert (math.log(low), math.log(high)) == pytest.approx(expected)


def test_t_interval_of_one_block_says_nothing() -> None:
    assert stats.t_interval([0.5]) == (pytest.approx(math.exp(0.5)), 0.0, math.inf)


def test_t_interval_covers_as_often_as_it_says(chance: np.random.Generator) -> None:
    trials = 4000
    hits = 0
    for logs in chance.normal(math.log(1.1), 0.05, (trials, 12)):
        _, low, high = stats.t_interval(logs)
        hits += low <= 1.1 <= high
    assert 0.93 <= hits / trials <= 0.97


def test_pairing_removes_what_a_block_shares(chance: np.random.Generator) -> None:
    drift = np.exp(chance.normal(0, 0.5, 12))  # the host's mood, far larger than the difference
    reference = drift * np.exp(chance.normal(0, 0.01, 12))
    arm = 1.1 * drift * np.exp(chance.normal(0, 0.01, 12))
    found = stats.compare(arm, reference, "lower")
    assert found.low < 1.1 < found.high and found.high - found.low < 0.05
    assert found.verdict == "behind"


@pytest.mark.parametrize("size", [6, 7, 12, 25, 60])
def test_median_interval_covers_at_least_its_level(size: int, chance: np.random.Generator) -> None:
    median, low, high, coverage = stats.median_interval(chance.exponential(1, size))
    assert coverage >= 0.95 and low <= median <= high
    trials = 3000
    hits = sum(
        found[1] <= math.log(2) <= found[2]
        for found in map(stats.median_interval, chance.exponential(1, (trials, size)))
    )
    assert hits / trials == pytest.approx(coverage, abs=4 * math.sqrt(0.05 * 0.95 / trials))


@pytest.mark.parametrize("size, coverage", [(1, 0.0), (2, 0.5), (3, 0.75), (5, 0.9375)])
def test_median_interval_of_few_is_their_range_and_says_how_little_that_is(size: int, coverage: float) -> None:
    values = [3.0, 1.0, 2.0, 5.0, 4.0][:size]
    median, low, high, said = stats.median_interval(values)
    assert (median, low, high, said) == (np.median(values), min(values), max(values), coverage)


def test_median_interval_is_the_sign_tests(chance: np.random.Generator) -> None:
    values = np.sort(chance.normal(0, 1, 15))
    _, low, high, coverage = stats.median_interval(values)
    rank = int(np.searchsorted(values, low)) + 1
    assert values[15 - rank] == high
    assert scipy.stats.binomtest(rank - 1, 15, 0.5).pvalue == pytest.approx(1 - coverage)
    assert scipy.stats.binomtest(rank, 15, 0.5).pvalue > 0.05, "a narrower interval would not cover 95 %"


VERDICTS = [
    (0.98, 1.02, 12, "tie"),
    (0.97, 1.03, 12, "tie"),
    (0.985, 0.995, 12, "tie"),
    (0.80, 0.90, 12, "ahead"),
    (0.95, 0.99, 12, "ahead"),
    (1.10, 1.20, 12, "behind"),
    (0.95, 1.05, 12, "unresolved"),
    (0.99, 1.04, 12, "unresolved"),
    (0.80, 0.90, 10, "ahead"),
    (0.80, 0.90, 9, "none"),
]


@pytest.mark.parametrize("low, high, blocks, expected", VERDICTS)
def test_verdict(low: float, high: float, blocks: int, expected: str) -> None:
    assert stats.verdict(low, high, blocks, "lower") == expected


def test_verdict_turns_round_where_more_is_better() -> None:
    assert stats.verdict(1.1, 1.2, 12, "higher") == "ahead"
    assert stats.verdict(0.8, 0.9, 12, "higher") == "behind"


def test_lean_needs_an_interval_on_one_side_and_a_mean_beyond_the_margin() -> None:
    assert stats.lean(np.log([0.90, 0.92, 0.88]), "lower") == "leans ahead"
    assert stats.lean(np.log([1.10, 1.20, 1.05]), "lower") == "leans behind"
    assert stats.lean(np.log([1.10, 1.20, 1.05]), "higher") == "leans ahead"
    assert stats.lean(np.log([0.70, 1.01, 0.80]), "lower") == "level", "one block disagrees, and the interval holds 1"
    assert stats.lean(np.log([0.99, 0.98, 0.985]), "lower") == "level", "within the margin of a tie"
    assert stats.lean(np.log([0.5]), "lower") == "level", "one block is no repetition"


def test_few_blocks_lean_and_never_decide(chance: np.random.Generator) -> None:
    words = {
        stats.compare(chance.lognormal(0, 0.3, 3), chance.lognormal(0, 0.3, 3), "lower").verdict for _ in range(200)
    }
    assert words == {"leans ahead", "leans behind", "level"}


def test_ratios_refuse_what_they_cannot_mean() -> None:
    with pytest.raises(ValueError, match="same blocks"):
        stats.log_ratios([1, 2], [1])
    with pytest.raises(ValueError, match="above zero"):
        stats.log_ratios([1, 0], [1, 1])


def test_max_t_of_one_comparison_is_close_to_students(chance: np.random.Generator) -> None:
    found = np.mean([stats.max_t_quantile([chance.normal(0, 1, 14)]) for _ in range(60)])
    assert found == pytest.approx(scipy.stats.t.ppf(0.975, 13), rel=0.05)


def test_max_t_grows_with_the_family_but_less_than_bonferroni_when_dependent(chance: np.random.Generator) -> None:
    shared = chance.normal(0, 1, 12)
    family = [shared + chance.normal(0, 0.2, 12) for _ in range(20)]
    joint = stats.max_t_quantile(family)
    assert stats.max_t_quantile(family[:1]) < joint < scipy.stats.t.ppf(1 - 0.025 / 20, 11)


def test_a_comparison_without_a_block_stays_in_the_family(chance: np.random.Generator) -> None:
    whole = chance.normal(0, 1, (5, 12))
    for lost in ((), (3,), (0, 11)):
        family = whole.copy()
        family[0, list(lost)] = math.nan
        alone = np.delete(whole[0], lost)
        assert stats.max_t_quantile(family[:1]) == pytest.approx(stats.max_t_quantile([alone]))


@pytest.mark.parametrize("lost", [0.0, 0.05])
@pytest.mark.parametrize("comparisons", [1, 7, 21])
def test_family_wise_coverage_of_max_t_intervals(comparisons: int, lost: float, chance: np.random.Generator) -> None:
    """All arms equal, one shared reference: how often does any interval miss 1?  Nominal 5 %."""
    trials, blocks = 400, 12
    misses = 0
    for _ in range(trials):
        reference = chance.normal(0, 0.05, blocks)
        family = chance.normal(0, 0.05, (comparisons, blocks)) - reference
        family[chance.random(family.shape) < lost] = math.nan
        quantile = stats.max_t_quantile(family)
        intervals = [stats.t_interval(logs[~np.isnan(logs)], quantile=quantile) for logs in family]
        misses += any(not low <= 1 <= high for _, low, high in intervals)
    assert misses / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert misses / trials >= 0.01, "an interval that never misses is too wide"
