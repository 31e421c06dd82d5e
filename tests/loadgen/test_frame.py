"""Protocol frame: the workload is in the request, and each lie about it has its class and its exact count."""
import pytest
from conftest import ENGINES, loadgen, peer

FRAME = ("--protocol", "frame", "--connections", 3)

# lie -> (class, does the connection survive it?, options); a delay that no host keeps a hasty reply waiting for
LIES = {
    "wrong": ("mismatch", True, ()),
    "head": ("mismatch", True, ()),
    "promise": ("long", False, ()),
    "extra": ("long", False, ()),
    "short": ("short", False, ()),
    "duplicate": ("duplicate", False, ()),
    "reorder": ("order", True, ("--depth", 4)),
    "foreign": ("foreign", True, ()),
    "reset": ("reset", False, ()),
    "early": ("early_eof", False, ()),
    "silent": ("timeout", False, ("--timeout", "1s", "--drain", "3s")),
    "hasty": ("too_soon", True, ("--delay", "10s", "--timeout", "20s")),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lie", LIES)
def test_each_lie_has_its_class_and_count(lie, engine):
    name, survives, options = LIES[lie]
    with peer(protocol="frame", lie=lie, every=1 if lie == "hasty" else 40) as server:
        run = loadgen(server.target, *FRAME, "--engine", engine, "--warmup", "50ms", *options)
        counts = server.stop()
    assert counts["lies"] > 0
    assert run.failures == {name: counts["lies"]}
    assert run.doc["connects"]["replaced"] == (0 if survives else counts["lies"])
    assert run.bad


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "size, reply, depth", [(0, 0, 1), (0, 1, 5), (64, 64, 100), (65535, 100_000, 3), (1, 1_000_000, 2)]
)
def test_sizes_are_those_asked_for(size, reply, depth, engine):
    with peer(protocol="frame") as server:
        run = loadgen(
            server.target, *FRAME, "--size", size, "--reply", reply, "--depth", depth, "--engine", engine, "--drain",
            "20s"
        )
        counts = server.stop()
    done = run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"]
    assert run.good, run.err
    assert counts["messages"] == done
    assert run.doc["counts"]["sent_bytes"] == (16 + size) * done
    assert run.doc["counts"]["received_bytes"] == (16 + reply) * done


@pytest.mark.parametrize("engine", ENGINES)
def test_delay_and_work_take_their_time(engine):
    with peer(protocol="frame") as server:
        delayed = loadgen(server.target, *FRAME, "--delay", "7ms", "--engine", engine)
        worked = loadgen(server.target, *FRAME, "--work", "3ms", "--engine", engine)
    assert delayed.good and delayed.doc["latency_sent_ns"]["min"] >= 7_000_000
    assert worked.good and worked.doc["latency_sent_ns"]["min"] >= 3_000_000


def test_requests_that_connect():
    with peer(protocol="frame") as server:
        run = loadgen(server.target, *FRAME, "--per-connection", "1")
    assert run.good, run.err
    assert run.doc["connects"]["established"] == run.doc["connects"]["recycled"] == run.doc["counts"]["ok"]
