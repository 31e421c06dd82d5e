"""The first source document's experiment: what its models must show, at a tenth of its length."""

import asyncio
from contextlib import ExitStack

import pytest

from bench import arms, demo, host, runner

DELAY_S = 0.3


@pytest.fixture
def shows(monkeypatch):
    monkeypatch.setattr(demo, "DELAY_S", DELAY_S)
    if not arms.model_names():
        pytest.skip("no servers are built")
    cast = [arm for arm in arms.models("all") if "greet" in arm.protocols]
    with runner.buried() as undertaker, ExitStack() as stack:
        played = [demo.start(arm, stack, undertaker, [0]) for arm in cast]
        asyncio.run(demo.play(played, lambda: None))
    return played


def test_a_model_that_serves_many_greets_all_at_once_and_one_that_blocks_one_after_another(shows):
    for show in shows:
        one_at_a_time = show.arm.clients_at_once == 1
        greeted = sorted(show.greeted.values())
        assert len(greeted) == len(demo.CLIENTS), show
        for place, at_s in enumerate(greeted, start=1):
            assert at_s >= DELAY_S * (place if one_at_a_time else 1), (show.arm.name, show.log)
        asked = [index for index, (_, _, what) in enumerate(show.log) if what == "asks"]
        assert asked == [0, 1, 2], (show.arm.name, show.log)


def test_a_silent_server_is_named_and_everything_ends(monkeypatch):
    monkeypatch.setattr(demo, "PATIENCE_S", 0.3)
    arm = arms.Arm(name="mute", argv=("sh", "-c", "echo READY port=1; sleep 5 #"), sha256="", protocols=("greet",))
    with runner.buried() as undertaker, ExitStack() as stack:
        with pytest.raises((demo.BenchError, OSError)):
            asyncio.run(demo.play([demo.start(arm, stack, undertaker, [0])], lambda: None))
