"""Agreement of two runs: Welch's interval against scipy, shares counted right, hosts not mixed."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from conftest import House

from bench import agree, records
from bench.errors import UsageError


def test_welch_is_scipys() -> None:
    chance = np.random.default_rng(1)
    first, second = chance.lognormal(0, 0.1, 9), chance.lognormal(0.1, 0.3, 12)
    low, high = agree.welch(tuple(first), tuple(second))
    p = scipy.stats.ttest_ind(np.log(second), np.log(first), equal_var=False).pvalue
    for level in (1 - p - 1e-6, 1 - p + 1e-6):  # the interval touches zero exactly at the test's level
        below, above = agree.welch(tuple(first), tuple(second), level)
        assert (below <= 0 <= above) == (level > 1 - p)
    assert low < high


def cell(first: tuple[float, ...], second: tuple[float, ...]) -> agree.Cell:
    return agree.Cell("e", "c", "a", "p99_us", True, first, second)


def test_close_and_contains_zero() -> None:
    assert cell((100, 101, 99), (109, 108, 110)).close and not cell((100, 101, 99), (112, 111, 113)).close
    assert not cell((100, 101, 99), (109, 108, 110)).contains_zero, "a small difference, and surely one"
    assert cell((100, 140, 80), (120, 90, 150)).contains_zero
    assert cell((100,), (101,)).contains_zero is None, "one block says nothing"


@pytest.mark.parametrize(("noise", "count"), [(0.1, 3), (0.02, 8), (0.1, 8), (0.3, 8), (0.3, 80)])
def test_expected_agreement_is_that_of_runs_from_one_distribution(noise: float, count: int) -> None:
    chance = np.random.default_rng(2)

    def pair() -> agree.Cell:
        return cell(*(tuple(chance.lognormal(3, noise, count)) for _ in range(2)))

    seen = np.mean([pair().close for _ in range(2000)])
    expected = np.mean([pair().expected_close(chance) for _ in range(60)])
    assert abs(seen - expected) < 0.08, (seen, expected)
    assert math.isnan(cell((5.0,), (6.0,)).expected_close(chance)), "one sample does not scatter"


def test_same_host_runs_agree_and_the_command_says_so(house: House) -> None:
    house.servers("epoll_lt", "poll")
    path = house.experiment()
    for _ in range(2):
        assert house.bench("run", path, "--no-figures").returncode == 0
    first, second = records.runs(house.results)
    done = house.bench("agree", first.name, second.name)
    assert done.returncode == 0 and "medians within 10% in 100% of 4 cells" in done.stdout
    assert "of all 8 figures" in done.stdout and "alone would leave" in done.stdout
    assert "ratios to the reference" in done.stdout


def test_a_host_that_got_slower_leaves_the_ratios_alone() -> None:
    chance = np.random.default_rng(3)
    arm, reference = chance.lognormal(1, 0.02, (2, 12)), chance.lognormal(0, 0.02, (2, 12))
    slower = 1.3
    over = tuple(arm[0] / reference[0]), tuple(arm[1] * slower / (reference[1] * slower))
    one = agree.Cell("e", "c", "a", "p50_us", True, tuple(arm[0]), tuple(arm[1] * slower), over)
    assert not one.contains_zero and not one.close and one.ratios_agree
    assert cell((1.0, 2.0), (1.0, 2.0)).ratios_agree is None, "the reference itself has no ratio"


def test_disagreement_is_status_1_and_other_hosts_are_refused(house: House) -> None:
    house.servers("epoll_lt", "poll")
    path = house.experiment()
    for _ in range(2):
        house.bench("run", path, "--no-figures")
    first, second = records.runs(house.results)
    samples = [json.loads(line) for line in (second / "samples.jsonl").read_text().splitlines()]
    for sample in samples:
        sample["load"]["watch"][0]["cpu_ns"] *= 1.5
    (second / "samples.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    assert house.bench("agree", first.name, second.name).returncode == 1
    environment = json.loads((second / "env.json").read_text()) | {"fingerprint": "another"}
    (second / "env.json").write_text(json.dumps(environment))
    with pytest.raises(UsageError, match="different hosts"):
        agree.compare(first, Path(second))
