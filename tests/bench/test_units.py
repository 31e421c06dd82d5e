"""Times, CPU lists and names as people write them."""

import pytest

from bench import units


@pytest.mark.parametrize(
    "text, ns",
    [
        ("500ns", 500),
        ("100us", 100_000),
        ("1.5ms", 1_500_000),
        ("2s", 2_000_000_000),
        ("2", 2_000_000_000),
        (0.5, 500_000_000),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert units.parse_time_ns(text) == ns


@pytest.mark.parametrize("text", ["", "fast", "1m", "-1s", "1 s", "1e3s"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        units.parse_time_ns(text)


@pytest.mark.parametrize("cpus, text", [((0,), "0"), ((0, 1, 2), "0-2"), ((0, 2, 3, 9), "0,2-3,9"), ((), "")])
def test_cpu_lists_there_and_back(cpus: tuple[int, ...], text: str) -> None:
    assert units.format_cpus(cpus) == text
    if cpus:
        assert units.parse_cpus(text) == cpus


@pytest.mark.parametrize(
    "seconds, words", [(3.4, "3 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4000, "1 h 06 min"), (-1, "0 s")]
)
def test_spans_for_people(seconds: float, words: str) -> None:
    assert units.format_seconds(seconds) == words


def test_nearest_names_one_or_lists_all() -> None:
    assert units.nearest("epol_lt", ["epoll_lt", "poll"]) == " (did you mean epoll_lt?)"
    assert units.nearest("zzz", ["a", "b"]) == " (there are: a, b)"
    assert units.nearest("zzz", []) == ""
