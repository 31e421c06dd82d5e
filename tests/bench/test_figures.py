"""Figures: one look for each model, nothing drawn outside or over each other, nothing but derived data read."""

import ast
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb

from bench.arms import ORDER
from plots import curves, ranking, ratios, style, winners

PLOTS = Path(__file__).resolve().parents[2] / "plots"


def luminance(colour: str) -> float:
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def summary(arms: list[str], xs: list[int], metrics: list[str], failed: bool = False) -> dict:
    def value(base: float) -> dict:
        return {"median": base, "low": base * 0.9, "high": base * 1.1, "coverage": 0.75, "n": 3}

    cells = []
    for x in xs:
        found = {
            arm: {
                "samples": {"ok": 3, "failed": 0, "invalid": 0, "unavailable": 0},
                "why": None,
                "limit": "server" if x > 5 else "neither",
                "values": {m: value(1000 * (1 + i / 10) * max(x, 1)) for m in metrics},
            }
            for i, arm in enumerate(arms)
        }
        if failed:
            found[arms[0]] |= {
                "samples": {"ok": 0, "failed": 3, "invalid": 0, "unavailable": 0},
                "why": "killed by SIGSEGV",
                "values": {m: None for m in metrics},
            }
        cells.append({"cell": f"connections={x}", "params": {"connections": x}, "x": x, "panel": None, "arms": found, "left_out": {"blocking": "serves one client at a time"} if x > 1 else {}})
    about = {m: {"label": f"label of {m}", "unit": "µs", "better": "lower", "scale": "log"} for m in metrics}
    experiment = {
        "title": "A title",
        "x": "connections",
        "metrics": metrics,
        "arms": arms,
        "blocks": 3,
        "reference": arms[0],
        "ceiling": {"median": 9e6, "low": 8e6, "high": 1e7, "arm": "epoll_lt"},
        "load": {"protocol": "echo", "mode": "closed", "wait": "block"},
        "crossovers": [],
        "capacities": {},
        "knees": {},
        "cells": cells,
    }
    return {"metrics": about, "experiments": {"e": experiment}, "environment": "a host", "run": "a run"}


CHARTER = ["blocking", "thread_per_conn", "thread_pool", "select", "poll", "epoll_lt", "epoll_et", "io_uring"]


def test_every_model_has_a_look_of_its_own() -> None:
    assert set(style.LOOKS) == set(ORDER)
    looks = list(style.LOOKS.values())
    assert len({(one.colour, one.marker) for one in looks}) == len({(one.colour, str(one.line)) for one in looks}) == len(ORDER)
    assert all(luminance(one.colour) < 0.45 for one in looks), "a light line is lost on white paper"


def test_the_models_that_most_figures_show_differ_in_everything() -> None:
    looks = [style.LOOKS[name] for name in CHARTER]
    for of in (lambda one: one.colour, lambda one: one.marker, lambda one: str(one.line)):
        assert len({of(one) for one in looks}) == len(CHARTER)


def test_unforeseen_arms_get_distinct_looks() -> None:
    arms = [f"contender_{i}" for i in range(10)]
    looks = [style.look(arm, arms) for arm in arms]
    assert len({(one.colour, one.marker) for one in looks}) == 10
    assert not {(one.colour, one.marker) for one in looks} & {(one.colour, one.marker) for one in style.LOOKS.values()}


@pytest.mark.parametrize(
    "metrics", [["throughput_rps"], ["throughput_rps", "p99_us"], ["throughput_rps", "p50_us", "p99_us"]]
)
def test_nothing_leaves_the_page_and_no_texts_overlap(metrics: list[str]) -> None:
    figure = curves.draw(summary(list(ORDER), [1, 10, 100, 1000], metrics, failed=True), "e")
    figure.canvas.draw()
    page = figure.bbox
    texts = [t for t in figure.texts if t.get_text()] + [axis.title for axis in figure.axes if axis.get_visible()]
    boxes = [(t.get_text() or t._text, t.get_window_extent()) for t in texts]
    boxes += [("legend", figure.legends[0].get_window_extent())]
    boxes += [
        (axis._left_title.get_text(), axis._left_title.get_window_extent())
        for axis in figure.axes
        if axis.get_visible()
    ]
    boxes = [(words, box) for words, box in boxes if words]
    for words, box in boxes:
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, f"{words!r} leaves the page"
    for i, (words, box) in enumerate(boxes):
        for others, other in boxes[i + 1 :]:
            assert not box.overlaps(other), f"{words!r} lies over {others!r}"


def test_points_that_claim_no_capacity_are_hollow() -> None:
    figure = curves.draw(summary(["epoll_lt"], [1, 10], ["throughput_rps"]), "e")
    faces = {
        line.get_xdata()[0]: line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_marker() == "o"
    }
    assert faces[1] == "white" and faces[10] == style.LOOKS["epoll_lt"].colour


def test_percentile_beyond_all_that_was_measured_is_an_arrow_and_explained() -> None:
    data = summary(["epoll_lt"], [1, 10], ["p99_us"])
    data["experiments"]["e"]["cells"][1]["arms"]["epoll_lt"]["values"]["p99_us"] = {
        "median": None, "low": 1.0, "high": None, "above": 9.0, "coverage": 0.75, "n": 3
    }
    figure = curves.draw(data, "e")
    figure.canvas.draw()
    arrows = [line for line in figure.axes[0].lines if "uparrow" in str(line.get_marker())]
    assert [line.get_xdata()[0] for line in arrows] == [10]
    assert any("An arrow" in text.get_text() for text in figure.texts)


def test_notes_say_what_is_missing_and_why() -> None:
    said = " ".join(curves.left_out(summary(["epoll_lt"], [1, 10, 100], ["p99_us"], failed=True)["experiments"]["e"]))
    assert "Left out at 10, 100: blocking (serves one client at a time)." in said
    assert "Left out: epoll_lt (has no good sample)." in said


def test_ratios_show_every_dot_whole_and_say_what_the_whiskers_hold() -> None:
    data = summary(["epoll_lt", "poll", "io_uring"], [1, 10], ["p99_us"])
    for cell, ratio in zip(data["experiments"]["e"]["cells"], (1.2, 40.0)):
        cell["arms"]["poll"]["ratios"] = {
            "p99_us": {"ratio": ratio, "low": ratio * 0.9, "high": ratio * 1.1, "blocks": 12, "verdict": "behind"}
        }
    experiment = data["experiments"]["e"]
    assert ratios.has_any(experiment)
    figure = ratios.draw(data, "e")
    figure.canvas.draw()
    low, high = figure.axes[1].get_xlim()
    assert low < 0.85 and high > 40 * 1.05
    assert [
        label.get_text() for label in figure.axes[0].get_yticklabels()
    ] == ["poll", "io_uring"], "the reference is 1 everywhere"
    assert any(text.get_text() == "no value" for text in figure.axes[0].texts), "io_uring has none"
    assert any("for all comparisons of this figure together" in text.get_text() for text in figure.texts)
    for axis in figure.axes:
        boxes = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
        assert not any(
            a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]
        ), "tick labels run into each other"


def test_zero_stands_on_the_axis_and_is_called_zero() -> None:
    figure = curves.draw(summary(["epoll_lt"], [0, 1000, 8000], ["p99_us"]), "e")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0", "1k", "8k"]


@pytest.mark.parametrize("path", sorted(PLOTS.glob("*.py")), ids=lambda p: p.name)
def test_figure_code_imports_no_part_of_the_runner(path: Path) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }
    assert not {name for name in imported if name and name.split(".")[0] == "bench"}


def with_panels(metrics: list[str]) -> dict:
    data = summary(["epoll_lt", "poll"], [1, 10], metrics)
    experiment = data["experiments"]["e"]
    again = [{**cell, "cell": cell["cell"] + "b", "panel": "share 100%"} for cell in experiment["cells"]]
    experiment["cells"] = [{**cell, "panel": "share 1%"} for cell in experiment["cells"]] + again
    experiment["panels"] = "share"
    return data


def test_a_second_axis_gets_a_panel_for_each_place_and_a_map() -> None:
    data = with_panels(["server_cpu_us_per_req", "p99_us", "p50_us"])
    shown = curves.panels_of(data["experiments"]["e"])
    assert [(m, part["cells"][0]["panel"], len(part["cells"])) for m, part in shown] == [
        ("server_cpu_us_per_req", "share 1%", 2), ("p99_us", "share 1%", 2), ("server_cpu_us_per_req", "share 100%", 2), ("p99_us", "share 100%", 2)
    ]
    figure = winners.draw(data, "e")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 4 and all("epoll_lt" in text for text in texts)
    assert not ratios.has_any(data["experiments"]["e"])


@pytest.mark.parametrize(
    "first, second, won",
    [
        ((100, 99, 101), (110, 109, 111), True),
        ((100, 99, 101), (102, 101.5, 102.5), False),  # within a tie
        ((100, 90, 112), (110, 108, 111), False),  # the intervals overlap
        ((110, 109, 111), (100, 99, 101), True),  # higher is better: the same
        ((100, 99, None), (110, 109, 111), False),  # no upper end: nothing is shown
    ],
)
def test_a_winner_is_beyond_a_tie_and_its_interval_apart(first: tuple, second: tuple, won: bool) -> None:
    one, other = ({"median": m, "low": low, "high": high} for m, low, high in (first, second))
    assert winners.leads(one, other) == won


def test_a_ranking_has_a_row_for_each_arm_also_for_one_that_costs_nothing() -> None:
    """An echo inside the kernel has no process that runs: a zero has no place on a logarithmic axis, but a row."""
    data = summary(["epoll_lt", "sockmap", "poll"], [1], ["server_cpu_us_per_req", "p99_us"])
    cell = data["experiments"]["e"]["cells"][0]
    cell["arms"]["sockmap"]["values"]["server_cpu_us_per_req"] = {
        "median": 0.0, "low": 0.0, "high": 0.0, "coverage": 0.75, "n": 3
    }
    axis = ranking.draw(data, "e").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["epoll_lt", "sockmap", "poll"]
    assert "0" in [text.get_text() for text in axis.texts]
    assert axis.get_xlim()[0] > 0
