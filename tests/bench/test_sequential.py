"""The gate's statistics, on seeded series: levels that hold in any weather, power, intervals that fit the tests."""

import math

import numpy as np
import pytest
import simulated
import conftest  # noqa: F401  (puts the bench on the path)

from bench import sequential
from bench.sequential import looks_of, rejected_at

LOOKS = looks_of(18, 3)


def quads(noise: simulated.Noise, number: int, seed: int, shift: float = 0.0) -> list[float]:
    """Log ratios of quads as the gate forms them: four samples and a control in the middle, the order by coin."""
    coin, place, found = np.random.default_rng(seed + 10_000), 0, []
    for _ in range(number):
        levels = [noise(place + k) for k in range(5)]
        place += 5
        outer, inner = (levels[0] + levels[4]) / 2, (levels[1] + levels[3]) / 2
        found.append(shift + (inner - outer if coin.integers(2) else outer - inner))
    return found


def test_spending_is_that_of_lan_and_demets() -> None:
    assert sequential.spent(1.0, 0.025) == pytest.approx(0.025)
    assert sequential.spent(0.5, 0.025) == pytest.approx(0.001525, rel=1e-3)  # their table for five looks has these
    assert sequential.spent(0.2, 0.025) == pytest.approx(5.4e-7, rel=0.05)
    assert sequential.spent(0.0, 0.025) == 0.0
    assert sequential.looks_of(42) == [(q, q / 42) for q in (7, 14, 21, 28, 35, 42)]


@pytest.mark.parametrize("noise", [simulated.independent, simulated.rough])
def test_the_level_holds_over_all_looks_in_any_weather(noise) -> None:
    runs, level = 200, 0.10
    wrong = sum(rejected_at(quads(noise(seed), 18, seed), 0.0, level, LOOKS) is not None for seed in range(runs))
    spread = math.sqrt(level * (1 - level) / runs)
    assert level - 4 * spread < wrong / runs < level + 3 * spread, f"{wrong} of {runs} at a level of {level}"


def test_a_plain_t_test_would_not_hold_there() -> None:
    """The weather is rough enough to matter: looking six times without spending errs far beyond the level."""
    runs, wrong = 150, 0
    for seed in range(runs):
        values = np.array(quads(simulated.rough(seed), 36, seed))
        looks = [values[:n] for n in range(6, 37, 6)]
        wrong += any(v.mean() / (v.std(ddof=1) / math.sqrt(len(v))) > 1.2816 for v in looks)  # 10 %, one-sided
    assert wrong / runs > 0.17


def test_ten_per_cent_is_found() -> None:
    looks = looks_of(40)
    found = [rejected_at(quads(simulated.independent(s), 40, s, math.log(1.1)), 0.0, 0.005, looks) for s in range(40)]
    assert sum(at is not None for at in found) >= 34
    assert sorted(at or 99 for at in found)[20] < 40, "half of them before the last look"


def test_one_wild_quad_neither_makes_nor_hides_a_difference() -> None:
    values = quads(simulated.independent(3), 40, 3, math.log(1.1))
    looks = looks_of(40)
    assert rejected_at(values, 0.0, 0.005, looks)
    assert rejected_at([*values[:20], -math.inf, *values[20:39]], 0.0, 0.005, looks)
    flat = quads(simulated.independent(4), 40, 4)
    assert not rejected_at([*flat[:20], math.inf, *flat[20:39]], 0.0, 0.005, looks)
    assert sequential.estimate([*flat, 50.0]) == pytest.approx(sequential.estimate(flat), abs=0.02)


def test_early_looks_need_more_than_late_ones() -> None:
    values = [0.1 + 0.01 * (-1) ** k for k in range(6)]
    assert rejected_at(values, 0.0, 0.01, looks_of(36)) is None, "six quads of 36: nothing may be spent yet"
    assert rejected_at(values * 6, 0.0, 0.01, looks_of(36)) == 18


def test_no_noise_at_all_is_no_trouble() -> None:
    looks = looks_of(24)
    assert rejected_at([0.0] * 24, 0.0, 0.01, looks) is None
    assert rejected_at([0.0] * 24, math.log(1.05), 0.05, looks, above=False)
    assert rejected_at([math.log(1.2)] * 24, 0.0, 0.01, looks)


def test_the_interval_is_what_the_tests_do_not_reject() -> None:
    values, looks = quads(simulated.independent(5), 24, 5, math.log(1.1)), looks_of(24)
    low, high = sequential.interval(values, 0.05, looks)
    assert low < sequential.estimate(values) < high
    assert rejected_at(values, low - 0.002, 0.025, looks) and not rejected_at(values, low + 0.002, 0.025, looks)
    assert rejected_at(values, high + 0.002, 0.025, looks, above=False)
    assert not rejected_at(values, high - 0.002, 0.025, looks, above=False)
    half = 2.07 * np.std(values, ddof=1) / math.sqrt(24)  # Student's, looking once
    assert 0.9 * half < (high - low) / 2 < 1.4 * half
    assert sequential.interval(values[:3], 0.05, [(3, 1.0)]) == (-math.inf, math.inf), "three quads exclude nothing"


def test_intervals_cover() -> None:
    looks, held = looks_of(15, 3), 0
    for seed in range(12):
        low, high = sequential.interval(quads(simulated.rough(seed), 15, seed, 0.07), 0.2, looks)
        held += low <= 0.07 <= high
    assert held >= 7, "80 % of 12 is 10; 6 or fewer has a chance of 2 %"


def test_a_moved_control_is_told_from_a_restless_one() -> None:
    chance = np.random.default_rng(1)
    still = 0.13 * chance.standard_normal(60)
    p, by = sequential.moved(still)
    assert p > 0.05
    p, by = sequential.moved(still + np.where(np.arange(60) < 25, 0.0, 0.4))
    assert p < 1e-6 and by == pytest.approx(0.4, abs=0.08)
    assert sequential.moved(still[:7]) == (1.0, 0.0)


def test_what_could_have_been_found() -> None:
    values = [0.13 * x for x in np.random.default_rng(2).standard_normal(400)]
    assert sequential.detectable(values, 0.025, 36) == pytest.approx(math.expm1(2.8016 * 0.13 / 6), rel=0.12)
    assert sequential.detectable([0.1], 0.025, 36) == math.inf
