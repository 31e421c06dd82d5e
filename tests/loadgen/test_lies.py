"""A server that lies about every so often: each lie is caught, in its own class, and none is invented."""
import pytest
from conftest import ENGINES, loadgen, peer

# lie -> (class, does the connection survive it?, options)
LIES = {
    "wrong": ("mismatch", True, ()),
    "extra": ("long", False, ()),
    "short": ("short", False, ()),
    "duplicate": ("duplicate", False, ()),
    "reorder": ("order", True, ("--depth", 4)),
    "foreign": ("foreign", True, ()),
    "reset": ("reset", False, ()),
    "early": ("early_eof", False, ()),
    "silent": (
        "timeout", False, ("--timeout", "1s", "--drain", "3s"),
    ),  # longer than a crowded host keeps the truth waiting
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lie", LIES)
def test_each_lie_has_its_class_and_count(lie, engine):
    name, survives, options = LIES[lie]
    with peer(lie=lie, every=40) as server:
        run = loadgen(
            server.target, "--protocol", "echo", "--connections", 3, "--engine", engine, "--warmup", "50ms", *options
        )
        counts = server.stop()
    assert counts["lies"] > 0
    assert run.failures == {name: counts["lies"]}
    assert run.doc["connects"]["replaced"] == (0 if survives else counts["lies"])
    assert run.bad
    assert any(name in reason for reason in run.doc["reasons"])
    assert name in run.err


@pytest.mark.parametrize("engine", ENGINES)
def test_the_truth_is_believed(engine):
    with peer() as server:
        run = loadgen(server.target, "--protocol", "echo", "--connections", 7, "--depth", 3, "--engine", engine)
        counts = server.stop()
    assert run.good, run.err
    assert run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"] == counts["messages"]


@pytest.mark.parametrize("engine", ENGINES)
def test_many_sizes_come_back(engine):
    for size in (1, 15, 16, 17, 1500, 65536):
        with peer(size=size) as server:
            run = loadgen(server.target, "--protocol", "echo", "--connections", 2, "--size", size, "--engine", engine)
        assert run.good, run.err
        assert run.doc["counts"]["received_bytes"] == size * (run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trickle_is_slow_but_right(engine):
    with peer(trickle=100_000, size=20) as server:
        run = loadgen(server.target, "--protocol", "echo", "--connections", 2, "--size", 20, "--engine", engine)
    assert run.good
    assert run.doc["latency_sent_ns"]["min"] >= 19 * 100_000
