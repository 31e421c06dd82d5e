"""The bars between models: every page has its ratios to floor and epoll_lt, and the cheapest is found, not named."""

import pytest

from bench import pages, reach, reach_models
from bench.reach import Bar

BARS = [bar for bar in reach.BARS if bar.group == "models"]


@pytest.mark.parametrize("reference", ["floor", "epoll_lt"])
@pytest.mark.parametrize("load, metric", reach_models.MODELS_100)
def test_every_page_is_held_against_both_references_under_both_loads(reference: str, load: str, metric: str) -> None:
    found = [bar.arm for bar in BARS if (bar.reference, bar.load, bar.metric) == (reference, load, metric)]
    assert set(pages.names()) - {reference} <= set(found)
    assert len(found) == len(set(found))


def test_the_bars_that_this_project_set_itself_are_among_them() -> None:
    asked = {(bar.arm, bar.reference, bar.load): bar.at_most for bar in BARS if bar.at_most}
    assert asked == reach_models.limits()
    assert asked["io_uring", "epoll_lt", "models-1000"] == 0.85 and asked["poll", "epoll_lt", "models-64"] == 1.1


def test_the_floor_is_loaded_alike_in_every_load() -> None:
    assert reach_models.options_of("floor", 100, 20000) == reach_models.options_of("floor", 1000, None)
    assert "--rate" in reach_models.options_of("poll", 100, 20000) and "--rate" not in reach_models.options_of(
        "poll", 100, None
    )


def samples(**values: list[float]) -> list[dict]:
    return [
        {"block": block, "load": "models-100", "arm": arm, "values": {"server_cpu_us": value}}
        for arm, column in values.items()
        for block, value in enumerate(column)
    ]


def test_the_cheapest_is_the_lowest_median_beside_the_floor() -> None:
    bar = Bar("models", reach_models.CHEAPEST, "floor", "models-100", at_most=1.15)
    measured = samples(floor=[5.0, 5.0, 5.0], poll=[5.5, 5.5, 9.0], epoll_lt=[6.0, 6.0, 5.0])
    found = reach.judge(bar, measured)
    assert found["arm"] == "poll" and found["arm_median"] == 5.5
    assert reach.judge(bar, samples(floor=[5.0])) is None


def test_a_model_that_cannot_hold_the_crowd_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"protocols": ["echo"], "clients_at_once": 16}
    monkeypatch.setattr(reach_models, "no_server", lambda name: None)
    monkeypatch.setattr(reach_models, "program", lambda name: None)
    monkeypatch.setattr(reach_models.arms, "describe", lambda path: told)
    why_not = reach_models.LOADS["models-100"].why_not
    assert why_not("prefork") == "prefork serves 16 clients at once"
    assert why_not("floor") is None and why_not(reach_models.CHEAPEST) is None
    told["protocols"] = ["http"]
    assert why_not("floor") == "floor does not speak echo"
