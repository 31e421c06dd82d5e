"""The lab's bars: the price of an idle descriptor is a slope, a way is held against itself, every step has its ratio."""

import pytest

from bench import experiment, micro, prepare, reach, reach_lab
from bench.errors import BenchError
from bench.reach import Bar
from bench.reach_models import CHEAPEST

BARS = [bar for bar in reach.BARS if bar.group == "lab"]


class Ground:
    """As much of a site as a wait needs."""

    server_cpus = (0,)


def told(wait_ns: float, status: str = "ok") -> dict:
    return {"status": status, "why": "the kernel has none", "wait_ns": {"p50": wait_ns}, "clock_ns": 20}


def test_an_idle_descriptors_price_is_the_slope_between_few_and_many(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = {1000: 520.0, 9000: 1320.0}
    monkeypatch.setattr(micro, "measure", lambda way, cell, kind, cpu: told(prices[cell.watched]))
    assert reach_lab.idle_price("epoll_lt", Ground())["values"]["idle_ns"] == pytest.approx(0.1)
    prices[9000] = 400.0  # noise below nothing
    assert reach_lab.idle_price("epoll_lt", Ground())["values"]["idle_ns"] == reach_lab.LEAST_NS


def test_a_way_and_its_second_time_are_measured_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(micro, "measure", lambda *which: asked.append(which) or told(300))
    for bar in (bar for bar in BARS if bar.load == "micro-usual"):
        assert bar.reference == bar.arm + reach_lab.AGAIN
        both = [reach_lab.usual_wait(name, Ground())["values"] for name in (bar.arm, bar.reference)]
        assert both[0] == both[1] == {"wait_ns": 280} and asked[-1] == asked[-2]


def test_a_way_that_this_host_does_not_have_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro, "measure", lambda *_: told(0, "unavailable"))
    with pytest.raises(BenchError, match="select: the kernel has none"):
        reach_lab.usual_wait("select", Ground())


@pytest.mark.parametrize("load", ["ladder-100", "ladder-1000"])
def test_every_step_of_the_ladder_is_held_against_the_page(load: str) -> None:
    ladder = experiment.load(prepare.path_of(reach_lab.LADDER))
    steps = {arm["name"] for arm in ladder.arms["variants"]}
    mine = [bar for bar in BARS if bar.load == load]
    assert steps < {bar.arm for bar in mine} and {bar.reference for bar in mine} == {"io_uring"}
    measured = [
        {"block": block, "load": load, "arm": arm, "values": {"server_cpu_us": value}}
        for arm, value in {"io_uring": 5.0, "1-oneshot": 9.0, "direct": 5.1}.items()
        for block in range(4)
    ]
    found = reach.judge(next(bar for bar in mine if bar.arm == CHEAPEST), measured)
    assert found["arm"] == "direct", "the page is no step of its own ladder"


@pytest.mark.parametrize(
    "asked, values, answer",
    [
        ({"within": 0.1}, [10.0, 10.2, 9.9, 10.1], "met"),
        ({"within": 0.1}, [10.0, 14.0, 8.0, 11.0], "missed"),
        ({"at_least": 0.95, "at_most": 1.05}, [1.0, 1.01, 0.99, 1.0], "met"),
        ({"at_least": 0.95, "at_most": 1.05}, [1.0, 1.2, 0.85, 1.0], "within the noise"),
        ({"at_least": 0.95, "at_most": 1.05}, [1.2, 1.21, 1.19, 1.2], "missed"),
        ({"at_least": 0.95, "at_most": 1.05}, [0.8, 0.81, 0.79, 0.8], "missed"),
    ],
)
def test_precision_and_equality_are_asked_of_the_whole_interval(asked: dict, values: list[float], answer: str) -> None:
    measured = [
        {"block": block, "load": "micro-idle", "arm": "poll", "values": {"idle_ns": value}}
        for block, value in enumerate(values)
    ]
    assert reach.judge(Bar("lab", "poll", 1.0, "micro-idle", "idle_ns", **asked), measured)["answer"] == answer
