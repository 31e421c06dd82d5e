"""Crossings, knees and capacities: found where they are, silent where nothing is, covering as often as they say."""

import math

import numpy as np
import pytest

from bench import crossing, derive

XS = (1, 10, 100, 1000)


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(20)


def line(
    chance: np.random.Generator, zero_at: float = 1.5, slope: float = 0.3, noise: float = 0.05, blocks: int = 12
) -> np.ndarray:
    truth = slope * (np.log10(XS) - zero_at)
    return truth[:, None] + chance.normal(0, noise, (len(XS), blocks))


def test_a_crossing_is_found_where_it_is() -> None:
    exact = np.repeat([[-0.45], [-0.15], [0.15], [0.45]], 12, axis=1)
    [found] = crossing.crossings(XS, exact)
    assert found.x == pytest.approx(10**1.5, rel=1e-6) and found.rises
    assert found.low <= found.x <= found.high and found.high / found.low < 1.02
    [falling] = crossing.crossings(XS, -exact)
    assert not falling.rises and falling.x == pytest.approx(found.x)


def test_an_interval_of_a_crossing_covers_as_often_as_it_says(chance: np.random.Generator) -> None:
    trials, hits, shown = 2000, 0, 0
    for _ in range(trials):
        for found in crossing.crossings(XS, line(chance)):
            shown += 1
            hits += found.low <= 10**1.5 <= found.high
    assert shown >= 0.99 * trials, "ends ten standard errors from zero are told from it"
    assert 0.93 <= hits / shown <= 0.97


def test_no_crossing_is_shown_where_there_is_none(chance: np.random.Generator) -> None:
    """Level curves: both signs would have to be shown, in the wrong places, by chance alone."""
    wrong = sum(bool(crossing.crossings(XS, chance.normal(0, 0.05, (4, 12)))) for _ in range(2000))
    assert wrong / 2000 <= 0.05
    assert crossing.crossings(XS, line(chance, zero_at=-3)) == [], "it never reaches zero"
    assert crossing.crossings(XS, line(chance, blocks=1)) == [], "one block has no interval"


def test_two_crossings_are_two() -> None:
    there_and_back = np.repeat([[-0.3], [0.3], [0.3], [-0.3]], 12, axis=1)
    assert [c.rises for c in crossing.crossings(XS, there_and_back)] == [True, False]


def test_an_axis_with_zero_is_straight_in_x() -> None:
    [found] = crossing.crossings((0, 100), np.repeat([[-1.0], [1.0]], 3, axis=1))
    assert found.x == pytest.approx(50)


RATES = (10e3, 20e3, 40e3, 80e3)


def hockey(chance: np.random.Generator, noise: float = 0.1) -> np.ndarray:
    """Flat up to 20,000/s, then straight over log x to 27 times as much at 80,000/s: three times at 31,748/s."""
    truth = np.log([100, 100, 100 * math.sqrt(27), 2700])
    return np.exp(truth[:, None] + chance.normal(0, noise, (4, 12)))


def test_a_knee_is_where_latency_is_three_times_its_floor_and_its_interval_covers(chance: np.random.Generator) -> None:
    truth = 20e3 * 2 ** (math.log(3) / math.log(math.sqrt(27)))
    exact = crossing.knee(RATES, np.exp(np.log([[100] * 3, [100] * 3, [100 * math.sqrt(27)] * 3, [2700] * 3])))
    assert exact.x == pytest.approx(truth, rel=1e-6)
    found = [crossing.knee(RATES, hockey(chance)) for _ in range(1500)]
    shown = [f for f in found if f]
    assert len(shown) >= 0.99 * len(found)
    assert 0.93 <= sum(f.low <= truth <= f.high for f in shown) / len(shown) <= 0.97


def test_no_knee_where_latency_stays_flat(chance: np.random.Generator) -> None:
    assert crossing.knee(RATES, 100 * np.exp(chance.normal(0, 0.1, (4, 12)))) is None


def test_capacity_of_one_cell_covers_as_often_as_it_says(chance: np.random.Generator) -> None:
    hits, trials = 0, 2000
    for _ in range(trials):
        found = crossing.capacity({100: 1000 * np.exp(chance.normal(0, 0.03, 12))})
        hits += found.low <= 1000 <= found.high
    assert 0.93 <= hits / trials <= 0.97


@pytest.mark.parametrize("means", [(1000, 1000, 1000, 1000), (900, 950, 990, 1000), (500, 700, 1000)])
def test_capacity_chosen_among_cells_errs_at_most_as_often_as_it_says(
    means: tuple[float, ...], chance: np.random.Generator
) -> None:
    hits, trials = 0, 2000
    for _ in range(trials):
        found = crossing.capacity({x: mean * np.exp(chance.normal(0, 0.03, 12)) for x, mean in enumerate(means)})
        hits += found.low <= max(means) <= found.high
    assert hits / trials >= 0.94, "95 %, less three standard errors of this simulation"


def test_capacity_needs_a_cell_and_two_blocks() -> None:
    assert crossing.capacity({}) is None and crossing.capacity({10: [5.0]}) is None
    found = crossing.capacity({10: [100.0, 100.0], 100: [200.0, 200.0]})
    assert (found.at, found.blocks) == (100, 2) and found.rps == pytest.approx(200)


def test_a_run_says_who_passes_the_reference_where_and_only_with_blocks_enough(chance: np.random.Generator) -> None:
    ratios = np.exp(line(chance, noise=0.02))
    for blocks, shown in ((10, 1), (9, 0)):
        family = [
            derive.Compared({"x": x, "panel": None}, "poll", {b: (ratios[i, b], 1.0) for b in range(blocks)})
            for i, x in enumerate(XS)
        ]
        found = derive.crossovers_of(family, "p50_us", 2.8)
        assert len(found) == shown
        if shown:
            assert found[0]["arm"] == "poll" and found[0]["low"] < 10**1.5 < found[0]["high"] and found[0]["rises"]


def test_capacities_count_only_cells_in_which_the_server_was_the_limit() -> None:
    def cell(x: int, limit: str) -> dict:
        return {"cell": f"c={x}", "x": x, "arms": {"poll": {"limit": limit}}}

    records = {
        f"c={x}": [{"arm": "poll", "status": "ok", "load": {"achieved_rps": rps}} for rps in (x * 10.0, x * 10.2)]
        for x in (10, 100)
    }
    experiment = {"load": {"mode": "closed"}, "metrics": ["throughput_rps"]}
    found = derive.capacities(experiment, [cell(10, "server"), cell(100, "client")], records)
    assert found["poll"]["at"] == 10 and found["poll"]["rps"] == pytest.approx(101, abs=0.1)
    assert derive.capacities({**experiment, "load": {"mode": "open"}}, [cell(10, "server")], records) == {}


def test_knees_take_the_unanswered_for_what_they_surely_exceed() -> None:
    def record(rate: int, block: int, p99: float | None) -> dict:
        latency = {"p99": p99, "max": 9e6, "unfinished": 5 if p99 is None else 0}
        return {
            "arm": "poll",
            "status": "ok",
            "block": block,
            "options": {"mode": "open"},
            "load": {"latency_intended_ns": latency},
        }

    cells = [{"cell": str(rate), "x": rate} for rate in (1000, 2000, 4000)]
    by_cell = {
        str(rate): [record(rate, b, p99) for b in range(3)] for rate, p99 in ((1000, 1e5), (2000, 1e5), (4000, None))
    }
    found = derive.knees({"x": "rate", "load": {"mode": "open"}, "metrics": ["p99_us"]}, cells, by_cell)
    assert 2000 < found["poll"]["x"] < 4000
