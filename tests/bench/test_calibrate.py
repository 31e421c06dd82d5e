"""The gate judged by what is known: replays, bounds, and the documents made of them."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulated
from conftest import ROOT
from scipy import stats as scipy_stats

from bench import calibrate_derive, calibrate_replay, compare_plan, docs_gate, paths, records
from bench.arms import Arm
from bench.calibrate_replay import at_most, bound, measured_ratio, replay
from bench.compare_judge import PASS, REGRESSED
from bench.errors import UsageError
from bench.plan import Sample


def recording(noise: simulated.Noise, quads: int, slower: float, seed: int = 1) -> list[list]:
    """Quads as calibrate keeps them."""
    contest, plan = compare_plan.Contest("x", "rate=20000", {}, {}, {}), compare_plan.Plan(seed, {}, [], {})
    host = simulated.Host(simulated.costs(5, 5 * slower), noise)
    found = []
    for index in range(quads):
        taken = [(s, host(s, Arm("x", ("x",), ""))) for s in compare_plan.quad(plan, contest, 1, index)]
        found.append(
            [
                [s.arm, r["load"]["watch"][0]["cpu_ns"] / 1e6, r["load"]["latency_intended_ns"]["p50"] / 1e3]
                for s, r in taken
            ]
        )
    return found


def test_a_replay_of_alike_servers_seldom_errs_and_of_a_slowed_one_finds_it() -> None:
    for noise in (simulated.independent, simulated.rough):
        alike = recording(noise(1), 120, 1.0)
        words = [replay(alike, True, seed, 24, 12, {}).verdict for seed in range(15)]
        assert words.count(REGRESSED) <= 1 and words.count(PASS) >= 3, words
    slowed = recording(simulated.independent(2), 120, 1.1)
    words = [replay(slowed, False, seed, 40, 20, {}).verdict for seed in range(10)]
    assert words.count(REGRESSED) >= 7, words


def test_a_replay_is_the_same_again_and_another_window_is_another() -> None:
    quads = recording(simulated.independent(3), 60, 1.0)
    assert replay(quads, True, 5, 24, 12, {}) == replay(quads, True, 5, 24, 12, {})
    assert len({replay(quads, True, seed, 24, 12, {}).found[0].ratio for seed in range(5)}) == 5


def test_new_coins_give_a_recorded_difference_to_either_side() -> None:
    """A recording of different servers, replayed as if alike, shows no difference on average: coins are tossed anew."""
    quads = recording(simulated.independent(4, 0.02), 60, 1.5)
    ratios = [math.log(replay(quads, True, seed, 24, 12, {}).found[0].ratio) for seed in range(8)]
    assert abs(np.mean(ratios)) < 0.2 < np.log(1.5)
    kept = replay(quads, False, 1, 24, 12, {}).found[0]
    assert kept.ratio == pytest.approx(1.5, rel=0.03)


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    for found, of in ((0, 59), (3, 40), (40, 40), (27, 30)):
        theirs = scipy_stats.binomtest(found, of).proportion_ci(0.95, method="exact")
        assert bound(found, of) == pytest.approx((theirs.low, theirs.high))
    assert at_most(0, 59) < 0.05 < at_most(0, 58), "why 59 comparisons without an alarm are asked for"
    assert bound(0, 0) == (0.0, 1.0)


def test_a_record_is_read_as_it_was_made() -> None:
    sample = Sample("a/1/0/0-A", "", "a", 0, "A", "arm", {"mode": "open"}, {})
    from bench.metrics import METRICS

    record = calibrate_replay.as_record(sample, 5.25, 17.5)
    assert METRICS["server_cpu_us_per_req"].read(record) == pytest.approx(5.25)
    assert METRICS["p50_us"].read(record) == pytest.approx(17.5)
    assert METRICS["server_cpu_us_per_req"].read(calibrate_replay.as_record(sample, None, None)) is None


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration's folder, of simulated recordings."""
    folder = tmp_path_factory.mktemp("results") / "20260101-000000-calibrate"
    folder.mkdir()
    told = {
        "schema": 1,
        "seed": 1,
        "cell": "rate=20000",
        "quads": 24,
        "confirm_quads": 12,
        "pilot": {"cpu_us": 5.0, "quad_s": 0.5},
        "loops_per_us": 900,
    }
    told["conditions"] = [vars(one) for one in calibrate_derive.CONDITIONS]
    records.write_json(folder / calibrate_derive.PLAN, told)
    records.write_json(folder / "env.json", records.read_json(paths.SAMPLE_RUN / "env.json"))
    lines = []
    for number, one in enumerate(calibrate_derive.CONDITIONS):
        slower = 1 + (one.percent or 0) / 100 + 0.05 * one.calls
        for index, quad in enumerate(recording(simulated.independent(number, 0.06), 40, slower)):
            lines.append({"schema": 1, "condition": one.name, "index": index, "samples": quad})
    (folder / calibrate_derive.QUADS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    live = [
        {"schema": 1, "condition": name, "verdict": word, "found": [{"quads": 20}], "took_s": 21.5}
        for name, word in (("same", PASS), ("slow10", REGRESSED))
    ]
    (folder / calibrate_derive.LIVE).write_text("".join(json.dumps(line) + "\n" for line in live))
    records.write_json(folder / calibrate_derive.SUMMARY, calibrate_derive.derive(folder, 2))
    return folder


def test_a_summary_says_what_was_found_of_each_condition(calibrated: Path) -> None:
    told = records.read_json(calibrated / calibrate_derive.SUMMARY)
    rows = {row["name"]: row for row in told["conditions"]}
    assert told["alike"]["replays"] == {
        "comparisons": 6,
        "regressed": 0,
        "interval": list(bound(0, 6)),
        "at_most": at_most(0, 6),
    }
    assert told["alike"]["live"]["comparisons"] == 1 and rows["slow10"]["live"]["regressed"] == 1
    assert rows["slow20"]["replays"]["regressed"] == 2
    assert math.exp(rows["slow10"]["log_ratio"][0]) == pytest.approx(1.1, abs=0.04)


def test_calibrate_from_a_recording(calibrated: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench",
        "calibrate",
        "--from",
        calibrated.name,
        "--results",
        str(calibrated.parent),
        "--replays",
        "1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert "0 of 3 replayed (at most" in done.stdout and "one more system call per request" in done.stdout
    with pytest.raises(UsageError, match="no calibration 'nosuch'"):
        calibrate_derive.found(calibrated.parent, "nosuch")


def test_documents_show_a_committed_calibration_and_nothing_before(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_gate, "GATE", tmp_path / "gate")
    monkeypatch.setattr(docs_gate, "COMPARISON", tmp_path / "compare")
    assert {block({}) for block in docs_gate.BLOCKS.values()} == {""} and docs_gate.draw() == []
    docs_gate.take(calibrated.name, calibrated.parent, tmp_path / "gate")
    table = docs_gate.verdicts({})
    assert table.count("\n") == 2 + len(calibrate_derive.CONDITIONS) and "| 1 of 1 |" in table
    assert "0 said REGRESSED: the rate is at most 95.0%" in docs_gate.false_alarms({})
    monkeypatch.setattr(docs_gate, "FIGURES", tmp_path)
    assert [path.name for path in docs_gate.draw()] == ["gate.svg"] and (tmp_path / "gate.svg").stat().st_size > 5000


def test_a_committed_summary_is_what_its_recording_says() -> None:
    """Of one condition, for the whole takes minutes: the replays are seeded, so their counts must come out the same."""
    told = docs_gate.summary()
    if told is None:
        pytest.skip("no calibration is committed yet (make docs GATE=RUN)")
    lines = [
        line for line in records.read_samples(docs_gate.GATE, calibrate_derive.QUADS) if line["condition"] == "slow10"
    ]
    quads = [
        line["samples"]
        for line in sorted(lines, key=lambda line: line["index"])
        if all(None not in taken for taken in line["samples"])
    ]
    row = next(row for row in told["conditions"] if row["name"] == "slow10")
    assert (
        list(measured_ratio(quads)) == pytest.approx(row["log_ratio"], abs=1e-6) and len(quads) == row["recorded_quads"]
    )
