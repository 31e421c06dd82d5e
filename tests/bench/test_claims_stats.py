"""The statistics of claims: exact without noise, and intervals that cover as often as they say, at a busy host's."""

import math

import numpy as np
import pytest

from bench import claims_lines as lines
from bench import claims_stats as s

NOISE, BLOCKS = 0.13, 12  # a sample's standard deviation on a busy host, as a logarithm; blocks of a full run
SIZES = (0, 1000, 4000, 8000)
TRIALS = 2000


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(7)


def noisy(chance: np.random.Generator, truth: float | list[float], blocks: int = BLOCKS) -> np.ndarray:
    """Values x blocks around the truth, each sample with noise of its own."""
    truth = np.atleast_1d(np.asarray(truth, dtype=float))
    return np.squeeze(truth[:, None] * np.exp(chance.normal(0, NOISE, (len(truth), blocks))))


def curves(chance: np.random.Generator, cost, sizes=SIZES, blocks: int = BLOCKS, noise: float = NOISE) -> lines.Curves:
    return {b: {x: cost(x) * math.exp(chance.normal(0, noise)) for x in sizes} for b in range(blocks)}


def coverage(make, truth: float, trials: int = TRIALS) -> float:
    found = [make() for _ in range(trials)]
    return sum(e.low <= truth <= e.high for e in found) / trials


# --- what is exact without noise -------------------------------------------------------------------------------------


def test_without_noise_each_statistic_is_what_it_says() -> None:
    straight = {b: {x: 20 + 0.05 * x for x in SIZES} for b in range(3)}
    power = {b: {x: 3 * x**0.7 for x in (16, 256, 4096)} for b in range(3)}
    assert s.ratio([3, 6, 9], [2, 4, 6]).value == pytest.approx(1.5)
    assert s.ratio_of_ratios([8, 8], [2, 2], [4, 4], [2, 2]).value == pytest.approx(2)
    assert lines.growth(straight).value == pytest.approx(20) and lines.growth(straight).note == ""
    assert lines.per_unit(straight).value == pytest.approx(0.05)
    assert lines.slope(power).value == pytest.approx(0.7)
    assert lines.rise(straight).value == pytest.approx(0.05) and lines.straightness(straight).value == pytest.approx(1)
    assert lines.straightness(power).value < 0.999
    assert lines.straightness(lines.logarithms(power)).value == pytest.approx(1)
    assert s.order([[1, 1], [2, 2], [3, 3]]).value == pytest.approx(1.5)


def test_a_line_is_found_from_above_and_from_below_alike(chance: np.random.Generator) -> None:
    """A fit that weighs by the measured values would come out some per cent too low here."""
    ys = np.array([list(c.values()) for c in curves(chance, lambda n: 20 + 0.05 * n, blocks=4000).values()])
    c0, rise = np.exp(np.log(lines.lines(SIZES, ys)).mean(axis=0))
    assert c0 == pytest.approx(20, rel=0.015) and rise == pytest.approx(400, rel=0.015)


def test_curves_without_enough_places_or_whole_blocks_say_nothing() -> None:
    short = {b: {0: 1.0, 10: 2.0} for b in range(3)}
    assert lines.growth(short) is None and lines.straightness(short) is None and lines.growth({}) is None
    assert lines.slope({0: {0: 1.0, 10: 2.0}}) is None, "0 has no logarithm, and one place no slope"
    holes = {0: {0: 1.0, 10: 2.0, 20: 3.0}, 1: {0: 1.0, 20: 3.0}}
    assert lines.growth(holes).blocks == 1


def test_slope_begins_where_it_is_told_to() -> None:
    bent = {b: {10: 5.0, 100: 5.0, 1000: 50.0, 10000: 500.0} for b in range(3)}
    assert lines.slope(bent, 100).value == pytest.approx(1) and lines.slope(bent).value < 0.8


def test_curvature_is_said() -> None:
    square = {b: {x: (5 + 1e-5 * x * x) * (1 + b / 1000) for x in (0, 1000, 2000, 4000, 8000)} for b in range(12)}
    assert lines.growth(square).note == "curved"


# --- intervals cover as often as they say ----------------------------------------------------------------------------


def test_ratio_covers(chance: np.random.Generator) -> None:
    assert 0.93 <= coverage(lambda: s.ratio(noisy(chance, 130), noisy(chance, 100)), 1.3, 4000) <= 0.97


def test_ratio_covers_at_a_family_s_level(chance: np.random.Generator) -> None:
    found = coverage(lambda: s.ratio(noisy(chance, 130), noisy(chance, 100), 0.99), 1.3, 4000)
    assert 0.985 <= found <= 0.995


def test_ratio_of_ratios_covers(chance: np.random.Generator) -> None:
    assert 0.93 <= coverage(lambda: s.ratio_of_ratios(*noisy(chance, [8, 2, 6, 3])), 2, 4000) <= 0.97


def test_value_covers_the_median(chance: np.random.Generator) -> None:
    assert 0.93 <= coverage(lambda: s.median(noisy(chance, 50)), 50, 4000) <= 0.975


@pytest.mark.parametrize("c0, c1", [(20, 0.05), (20, 0.002), (20, 0.0001)], ids=["steep", "between", "flat"])
def test_growth_and_its_unit_cover(chance: np.random.Generator, c0: float, c1: float) -> None:
    """All trials' blocks are fitted in one call, and judged as growth() and per_unit() judge them."""
    truth = np.array([c0 + c1 * n for n in SIZES])
    rows = truth * np.exp(chance.normal(0, NOISE, (TRIALS * BLOCKS, len(SIZES))))
    fitted = lines.lines(SIZES, rows).reshape(TRIALS, BLOCKS, 2)
    grown = [lines.fieller(c[:, 1], c[:, 0]) for c in fitted]
    each = [s.student(c[:, 1] / 8000) for c in fitted]
    assert 0.93 <= np.mean([low <= c1 * 8000 / c0 <= high for _, low, high in grown]) <= 0.97
    assert 0.93 <= np.mean([u.low <= c1 <= u.high for u in each]) <= 0.97
    assert lines.growth(curves(chance, lambda n: c0 + c1 * n)).blocks == BLOCKS


def test_slope_covers(chance: np.random.Generator) -> None:
    places = (256, 1024, 4096, 15000)
    assert 0.93 <= coverage(lambda: lines.slope(curves(chance, lambda n: 3 * n**0.9, places)), 0.9, 1000) <= 0.97


def test_rise_covers(chance: np.random.Generator) -> None:
    truth = 0.05 * math.exp(0.05**2 / 2)  # of the mean, which noise of a logarithm lifts
    made = lambda: curves(chance, lambda n: 20 + 0.05 * n, noise=0.05)  # noqa: E731
    assert 0.93 <= coverage(lambda: lines.rise(made()), truth, 1000) <= 0.97


def test_straightness_covers_what_one_round_shows(chance: np.random.Generator) -> None:
    """Noise is part of a round's R^2: its median over many rounds is what is covered."""
    make = lambda blocks: curves(chance, lambda n: 20 + 0.05 * n, blocks=blocks)  # noqa: E731
    truth = lines.straightness(make(20_000)).value
    assert 0.93 <= coverage(lambda: lines.straightness(make(BLOCKS)), truth, 600) <= 0.975


def test_a_crossover_covers(chance: np.random.Generator) -> None:
    xs, truth = (1, 10, 100, 1000), 0.45 * (np.log10((1, 10, 100, 1000)) - 1.5)
    found = [lines.crossovers(xs, truth[:, None] + chance.normal(0, 1.414 * NOISE, (4, BLOCKS))) for _ in range(250)]
    shown = [f[0] for f in found if len(f) == 1]
    assert len(shown) >= 0.97 * len(found)
    assert 0.93 <= np.mean([c.low <= 10**1.5 <= c.high for c in shown]) <= 0.975


def test_no_crossover_is_shown_where_there_is_none(chance: np.random.Generator) -> None:
    level = [lines.crossovers((1, 10, 100, 1000), chance.normal(0, 0.18, (4, BLOCKS))) for _ in range(200)]
    assert np.mean([bool(f) for f in level]) <= 0.03
    assert lines.sides(np.full((3, BLOCKS), 0.5) + chance.normal(0, 0.1, (3, BLOCKS))) == [1, 1, 1]


def test_order_of_two_covers_and_of_three_at_least(chance: np.random.Generator) -> None:
    assert 0.93 <= coverage(lambda: s.order(noisy(chance, [10, 13])), 1.3) <= 0.97
    assert coverage(lambda: s.order(noisy(chance, [10, 13, 20])), 1.3, 500) >= 0.95


def test_completions_cover_their_median(chance: np.random.Generator) -> None:
    """Ten clients of a pool of two, 50 ms each, and a run's own delay on top."""
    steps = np.ceil(np.arange(1, 11) / 2) * 50

    def runs(count: int = BLOCKS) -> list[list[float]]:
        return [list(steps * (1 + abs(chance.normal(0, 0.03)))) for _ in range(count)]

    late = 0.03 * 0.6745  # the median of |N(0, 0.03)|
    made = [runs() for _ in range(800)]
    found = [(s.completion(r, 3, 50), s.completion(r, None, 50), s.staircase(r, 2, 50)) for r in made]
    for index, truth in enumerate((2 * (1 + late), 5 * (1 + late), late)):
        assert 0.93 <= np.mean([f[index].low <= truth <= f[index].high for f in found]) <= 0.98


def test_a_share_never_covers_less_than_it_says(chance: np.random.Generator) -> None:
    for truth in (0.05, 0.5, 0.9, 1.0):
        assert coverage(lambda: s.share(chance.random(20) < truth), truth) >= 0.94
    assert s.share([True] * 12).low == pytest.approx(0.025 ** (1 / 12)) and s.share([True] * 12).high == 1
    assert s.share([False] * 12).high == pytest.approx(1 - 0.025 ** (1 / 12)) and s.share([False] * 12).low == 0


def test_fieller_has_no_end_where_the_divisor_may_be_zero() -> None:
    assert lines.fieller([5, 6, 7, 5], [0.1, -0.1, 0.2, -0.1])[2] == math.inf
    value, low, high = lines.fieller([5, 6, 7, 5], [1.0, 1.1, 0.9, 1.0])
    assert low < value < high < 10


# --- figures that are zero, infinite or alone ------------------------------------------------------------------------


def test_a_ratio_with_unanswered_requests_is_a_median() -> None:
    found = s.ratio([10, math.inf, 30, math.inf, math.inf, 20], [1, 1, 1, 1, 1, 1])
    assert found.high == math.inf and found.low == 10 and found.note == "median of ratios"
    assert s.ratio([0.0, 0.0], [0.0, 0.0]).blocks == 0


def test_one_block_has_no_interval() -> None:
    assert s.student([3.0]).high == math.inf and s.ratio([3.0], [2.0]).high == math.inf


def test_workers() -> None:
    assert s.most_over_least([30, 10]) == 3 and s.most_over_least([5, 0]) == math.inf and s.most_over_least([0, 0]) == 1
    assert s.jain([5, 5, 5]) == 1 and s.jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert s.busiest([6, 3, 3]) == 0.5


def test_staircase_takes_the_worst_step_and_sorts() -> None:
    assert s.worst_step([50, 50, 100, 110], 2, 50) == pytest.approx(0.1)
    assert s.completion([[150, 50, 100]], 1, 50).value == 1 and s.completion([[150, 50, 100]], None, 50).value == 3


def test_counts_have_their_range_and_no_noise() -> None:
    found = s.exact([2.0, 2.0, 2.0])
    assert found.exact and (found.low, found.value, found.high) == (2, 2, 2)


# --- power -----------------------------------------------------------------------------------------------------------


def test_the_smallest_effect_decided_nine_times_of_ten_is_decided_that_often(chance: np.random.Generator) -> None:
    factor = s.smallest_decided(NOISE * math.sqrt(2))
    assert factor == pytest.approx(1.21, abs=0.01)
    decided = [s.ratio(noisy(chance, 1.2 * factor), noisy(chance, 1)).low > 1.2 for _ in range(3000)]
    assert 0.87 <= np.mean(decided) <= 0.92
