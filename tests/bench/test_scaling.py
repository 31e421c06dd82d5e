"""Scaling: planted lines are found, flat ones stay flat, curves are called curves, and intervals cover."""

import math

import numpy as np
import pytest

from bench import scaling

SIZES = [0, 100, 500, 1000, 2000, 4000, 8000]


def blocks(
    cost, count: int = 12, noise: float = 0.03, seed: int = 1, sizes: list[int] = SIZES
) -> dict[int, dict[float, float]]:
    chance = np.random.default_rng(seed)
    return {b: {n: cost(n) * math.exp(chance.normal(0, noise)) for n in sizes} for b in range(count)}


def test_fit_is_exact_without_noise() -> None:
    assert scaling.fit(SIZES, [5 + 0.04 * n for n in SIZES]) == pytest.approx([5, 0.04])
    assert scaling.fit(SIZES, [5 + 0.04 * n + 1e-6 * n * n for n in SIZES], degree=2) == pytest.approx([5, 0.04, 1e-6])


PLANTED = [
    (lambda n: 5 + 0.05 * n, "O(N)"),
    (lambda n: 5.0, "O(1)"),
    (lambda n: 5 + 0.0001 * n, "O(1)"),
    (lambda n: 5 + 0.0008 * n, "grows"),
    (lambda n: 5 + 1e-5 * n * n, "neither"),
]


@pytest.mark.parametrize("cost, expected", PLANTED, ids=["line", "flat", "nearly flat", "between", "square"])
def test_planted_growth_is_judged_right(cost, expected: str) -> None:
    verdicts = [scaling.judge(blocks(cost, seed=seed)).verdict for seed in range(20)]
    assert verdicts.count(expected) >= 19, verdicts


def test_few_blocks_give_a_line_and_no_verdict() -> None:
    found = scaling.judge(blocks(PLANTED[0][0], count=3))
    assert found.verdict == "none" and found.c1 == pytest.approx(0.05, rel=0.1)


def test_too_little_to_fit_is_none() -> None:
    assert scaling.judge(blocks(lambda n: 5.0, sizes=[0, 8000])) is None
    assert scaling.judge(blocks(lambda n: 5.0, count=1)) is None


def test_blocks_with_a_missing_cell_are_left_out() -> None:
    data = blocks(PLANTED[0][0])
    del data[3][1000]
    found = scaling.judge(data)
    assert (found.blocks, found.verdict) == (11, PLANTED[0][1])


def test_what_grows_faster_than_a_line_from_above_zero_is_never_called_constant() -> None:
    sizes = (10, 1000, 8000)
    chance = np.random.default_rng(5)
    data = {b: {n: 1e-6 * n**2 * chance.lognormal(0, 0.02) for n in sizes} for b in range(12)}
    assert scaling.judge(data).verdict == "unresolved"


def test_slope_interval_covers_as_often_as_it_says() -> None:
    trials, hits = 600, 0
    for seed in range(trials):
        found = scaling.judge(blocks(lambda n: 5 + 0.01 * n, seed=seed))
        hits += found.c1_low <= 0.01 <= found.c1_high
    assert 0.93 <= hits / trials <= 0.97
