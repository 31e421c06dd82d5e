"""Plans: blocks are complete, random, reproducible, and what cannot be run is left out with its reason."""

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from conftest import EXPERIMENT

from bench import experiment, plan
from bench.arms import Arm

ARMS = [
    Arm("epoll_lt", ("x",), "0", protocols=("echo",)),
    Arm("poll", ("x",), "0", protocols=("echo",)),
    Arm("blocking", ("x",), "0", protocols=("echo",), clients_at_once=1),
    Arm("greeter", ("x",), "0", protocols=("greet",)),
]


@pytest.fixture
def one(tmp_path: Path) -> experiment.Experiment:
    path = tmp_path / "one.toml"
    path.write_text(EXPERIMENT.format(blocks=5, duration="5ms", rates="[1000, 2000, 3000]"))
    return experiment.load(path)


def planned(one: experiment.Experiment, seed: int = 7, fd_limit: int = 1000, blocks: int | None = None) -> plan.Plan:
    return plan.make([one], {"one": ARMS}, {}, "quick", seed, fd_limit, blocks)


def test_every_block_holds_all_arms_of_one_cell_back_to_back(one: experiment.Experiment) -> None:
    samples = planned(one).samples
    blocks = [list(group) for _, group in groupby(samples, key=lambda s: (s.cell, s.block))]
    assert len(blocks) == 3 * 5, "a block that was split up would make more groups"
    assert all(sorted(s.arm for s in block) == ["epoll_lt", "poll"] for block in blocks)


def test_rounds_are_complete_before_the_next_begins(one: experiment.Experiment) -> None:
    rounds = [s.block for s in planned(one).samples]
    assert rounds == sorted(rounds)
    assert set(Counter(rounds).values()) == {3 * 2}


def test_same_seed_same_order_other_seed_other_order(one: experiment.Experiment) -> None:
    assert planned(one, seed=1).samples == planned(one, seed=1).samples
    assert planned(one, seed=1).samples != planned(one, seed=2).samples


def test_arms_lead_their_blocks_about_equally_often(one: experiment.Experiment) -> None:
    samples = planned(one, blocks=200).samples
    leaders = Counter(next(group).arm for _, group in groupby(samples, key=lambda s: (s.cell, s.block)))
    assert 250 < leaders["poll"] < 350, leaders  # 600 blocks, a fair coin; 4 standard deviations


def test_ids_are_unique_and_name_the_cell(one: experiment.Experiment) -> None:
    ids = [s.id for s in planned(one).samples]
    assert len(set(ids)) == len(ids)
    assert "one/rate=1000/0/poll" in ids


def test_what_cannot_run_is_left_out_with_its_reason(one: experiment.Experiment) -> None:
    left_out = planned(one).left_out
    assert {(entry["arm"], entry["why"]) for entry in left_out} == {
        ("blocking", "serves one client at a time"), ("greeter", "does not speak echo")
    }
    assert len(left_out) == 2 * 3, "one entry per cell"


def test_descriptor_limit_counts(one: experiment.Experiment) -> None:
    tight = planned(one, fd_limit=2 + 63)
    assert tight.samples == []
    assert any("needs 2 descriptors, the limit is 65" in entry["why"] for entry in tight.left_out)


def test_plan_survives_its_record(one: experiment.Experiment) -> None:
    made = planned(one)
    record = made.as_record(1)
    again = plan.Plan.from_record(record)
    assert again.samples == made.samples and again.left_out == made.left_out
    assert record["expected_s"] == pytest.approx(sum(plan.expected_s(s) for s in made.samples), abs=0.1)


def test_ceiling_is_measured_once_a_block(one: experiment.Experiment, tmp_path: Path) -> None:
    path = tmp_path / "roof.toml"
    path.write_text(EXPERIMENT.format(blocks=3, duration="5ms", rates="[1000]") + '[ceiling]\narm = "epoll_lt"\nload.connections = 9\n')
    roof = experiment.load(path)
    made = plan.make([roof], {"roof": ARMS}, {"roof": ARMS[0]}, "quick", 1, 1000)
    ceilings = [s for s in made.samples if s.role == "ceiling"]
    assert [s.block for s in ceilings] == [0, 1, 2]
    assert all(s.options["connections"] == 9 for s in ceilings)
