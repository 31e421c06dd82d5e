"""A silent connection costs an event-driven model at most 512 bytes of its own memory, and the others what they say."""

import os

import pytest

from bench import arms, idle_memory, pages, placement
from bench.measure import Bed
from bench.serve import Unavailable

BUILT = arms.model_names()
AT_MOST_BYTES = 512


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough that what grows by pages shows per connection, few enough for a suite that runs beside others."""
    monkeypatch.setattr(idle_memory, "FEW", 200)
    monkeypatch.setattr(idle_memory, "MANY", 2200)
    monkeypatch.setattr(idle_memory, "MANY_PROCESSES", 300)


@pytest.mark.parametrize("model", pages.names())
def test_idle_connections_cost_what_the_page_says(model: str) -> None:
    if model not in BUILT:
        pytest.skip(f"{model} is not built")
    arm = arms.models([model])[0]
    if "echo" not in arm.protocols:
        pytest.skip(f"{model} does not speak echo")
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    try:
        found = idle_memory.measure(arm, Bed("", placement.Placement(cpus, cpus, cpus)))
    except Unavailable as why:
        pytest.skip(str(why))
    if "why" in found:
        pytest.skip(f"{model} {found['why']}")
    keeps, own, tasks = pages.read(model).keeps, found["user_bytes_per_idle_conn"], found["tasks_per_idle_conn"]
    if keeps:
        assert own > AT_MOST_BYTES or tasks > 0, f"the page says that it keeps {keeps}, and {own} bytes were seen"
    else:
        assert own <= AT_MOST_BYTES and tasks == 0
    assert own > 0, "somebody has to know that it is there"


@pytest.mark.parametrize(
    "at_once, limit, expected",
    [(None, 20000, (200, 2200)), (1, 20000, None), (16, 20000, (1, 16)), (None, 300, (23, 236)), (None, 64, None)],
)
def test_how_many_connections_are_compared(at_once: int | None, limit: int, expected: tuple | None) -> None:
    assert idle_memory.steps(arms.Arm("a", (), "", clients_at_once=at_once), limit) == expected


def test_nothing_is_made_up_where_nothing_can_be_compared() -> None:
    record = idle_memory.measure(arms.Arm("a", ("false",), "", clients_at_once=1), Bed("", None))
    assert "user_bytes_per_idle_conn" not in record and "one" in record["why"] or "1 client" in record["why"]


def test_the_whole_process_group_is_weighed() -> None:
    here = idle_memory.look(os.getpid(), 1)
    assert (
        here["processes"] >= 1
        and here["user_bytes"]["Pss"] > 1_000_000
        and set(here["kernel_bytes"]) == set(idle_memory.KERNEL)
    )
