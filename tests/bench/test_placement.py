"""Placement on machines of all shapes: disjoint physical cores, siblings left idle."""

import pytest

from bench import placement
from bench.errors import UsageError


def alone(cpu: int) -> tuple[int, ...]:
    return (cpu,)


def paired(cpu: int) -> tuple[int, ...]:  # 4 cores, 8 threads: 0 and 4 are one core
    return (cpu % 4, cpu % 4 + 4)


def test_two_cores() -> None:
    found = placement.place([0, 1], alone)
    assert (found.server, found.client, found.bench, found.shared) == ((1,), (0,), (0,), None)


def test_hyperthreads_of_one_core_never_serve_both_sides() -> None:
    found = placement.place(range(8), paired)
    assert not {cpu % 4 for cpu in found.server} & {cpu % 4 for cpu in found.client}
    assert len(found.server) == len(found.client) == 1
    assert found.shared is None and not set(found.bench) & set(found.server)


def test_only_the_allowed_set_is_used() -> None:
    found = placement.place([2, 3, 6], paired)
    assert set(found.server + found.client) <= {2, 3, 6}
    assert found.shared is None


def test_one_core_is_shared_and_says_so() -> None:
    assert "share a physical core" in (placement.place([1, 5], paired).shared or "")
    assert "share a CPU" in (placement.place([3], alone).shared or "")


def test_what_was_asked_for_is_taken() -> None:
    found = placement.place(range(8), alone, server="5-6", client="1")
    assert (found.server, found.client) == ((5, 6), (1,))
    assert set(found.bench) == {0, 1, 2, 3, 4, 7}


def test_client_makes_room_for_a_chosen_server() -> None:
    found = placement.place([0, 1], alone, server="0")
    assert (found.server, found.client, found.shared) == ((0,), (1,), None)


def test_overlap_that_was_asked_for_is_named() -> None:
    assert "share a CPU" in (placement.place(range(4), alone, server="1-2", client="2").shared or "")


@pytest.mark.parametrize("text, words", [("9", "not in the allowed set 0-3"), ("a-b", "expected CPUs such as 0,2-3")])
def test_bad_lists_are_named(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        placement.place(range(4), alone, server=text)
