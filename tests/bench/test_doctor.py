"""The doctor: each check on hosts that are well and hosts that are not, and the detectable effect by simulation."""

import os
from pathlib import Path

import numpy as np
import pytest

from bench import doctor, hiccup, resolution, stats
from bench.placement import Placement

APART = Placement((1,), (0,), (0,))
SHARED = Placement((0,), (0,), (0,), "server and client share a CPU: each figure contains both")

HOSTS = [
    (doctor.descriptors, (20_000,), "good"),
    (doctor.descriptors, (1024,), "mind"),
    (doctor.ports, ("32768 60999",), "good"),
    (doctor.ports, ("60000 60999",), "mind"),
    (doctor.ports, (None,), "mind"),
    (doctor.backlog, ("4096",), "good"),
    (doctor.backlog, ("128",), "mind"),
    (doctor.governor, ("performance",), "good"),
    (doctor.governor, (None,), "good"),
    (doctor.governor, ("powersave",), "mind"),
    (doctor.placement, (APART,), "good"),
    (doctor.placement, (SHARED,), "bad"),
    (doctor.parallel, (1000.0, 990.0), "good"),
    (doctor.parallel, (1000.0, 900.0), "mind"),
    (doctor.parallel, (1000.0, 500.0), "bad"),
    (doctor.stolen, (0.001,), "good"),
    (doctor.stolen, (0.02,), "mind"),
    (doctor.stolen, (0.2,), "bad"),
    (doctor.hiccups, ([150.0, 200.0], 1.0), "good"),
    (doctor.hiccups, ([9000.0], 1.0), "mind"),
    (doctor.hiccups, ([500.0] * 50, 1.0), "mind"),
    (doctor.waking, ([20.0] * 99 + [90.0], [5.0] * 100), "good"),
    (doctor.waking, ([60.0] * 50 + [1500.0] * 50, [5.0] * 50 + [1400.0] * 50), "good"),
    (doctor.waking, ([60.0] * 100, None), "good"),
    (doctor.waking, ([60.0] * 90 + [1500.0] * 10, [5.0] * 100), "mind"),
    (doctor.other_load, (0, 0.05), "good"),
    (doctor.other_load, (2, 0.5), "mind"),
    (doctor.other_load, (5, 8.0), "bad"),
    (doctor.io_uring, ("0",), "good"),
    (doctor.io_uring, ("2",), "mind"),
    (doctor.confinement, (None, "0", None), "good"),
    (doctor.confinement, ("docker", "2", "max 100000"), "mind"),
    (doctor.confinement, ("docker", "0", "50000 100000"), "bad"),
    (doctor.built, (["poll"],), "good"),
    (doctor.built, ([],), "bad"),
]


@pytest.mark.parametrize("check, about, level", HOSTS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_finding(check, about: tuple, level: str) -> None:
    found = check(*about)
    assert found.level == level
    assert found.found
    if level != "good":
        assert found.effect and found.mend, "what it does to a result, and how to mend it"


@pytest.mark.parametrize("blocks", [3, 12])
def test_detectable_effect_is_found_in_four_of_five_runs(blocks: int) -> None:
    chance = np.random.default_rng(3)
    spread = 0.04
    shift = np.log(1 + resolution.detectable([spread], blocks))
    found = 0
    for logs in chance.normal(shift, spread, (2000, blocks)):
        _, low, _ = stats.t_interval(logs)
        found += low > 1
    # The formula is the textbook approximation by quantiles; with three blocks it errs on the cautious side.
    assert 0.76 <= found / 2000 <= (0.92 if blocks == 3 else 0.84)


def test_more_blocks_see_less() -> None:
    assert resolution.detectable([0.05], 12) < resolution.detectable([0.05], 3) / 3


def test_sleeps_end_late_and_the_one_who_keeps_the_cpu_awake_is_gone() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    for awake in (False, True):
        late = hiccup.woken(min(os.sched_getaffinity(0)), 0.1, awake)
        assert late and min(late) >= 0
    assert children.read_text() == before


def test_a_spinning_process_sees_that_it_was_stopped() -> None:
    """Two spin on one CPU: each must see the other's turns as gaps."""
    cpu = min(os.sched_getaffinity(0))
    found = hiccup.spun([cpu, cpu], 0.5)
    assert all(sum(gaps) > 50_000 for _, gaps in found), "0.5 s shared by two: at least 50 ms each without the CPU"
    assert all(rounds > 0 for rounds, _ in found)
