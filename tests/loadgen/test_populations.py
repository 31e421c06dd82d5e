"""Populations mixed in one run: what each kind does, that its figures are its own, and how many connections one process
holds."""
import resource
import subprocess

import pytest
from conftest import ENGINES, PEER, argv, finished, loadgen, peer, program

MIXTURE = {
    "idle": "--connections 1 --idle 40 --think 50ms",
    "reader": "--connections 4 --reply 500 --read-part 100 --read-every 1ms",
    "sender": "--connections 4 --send-part 16 --send-every 2ms",
    "churner": "--connections 4 --per-connection 1 --rate 200",
    "hog": "--connections 1 --depth 64 --reply 60000",
}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_at_once(engine):
    """Active, idle, slow reader, slow sender, churner and hog, each with its own figures; a fault in one is counted
    there alone."""
    words = [word for name, text in MIXTURE.items() for word in ("--population", f"{name}: {text}")]
    with peer(protocol="frame") as server:
        run = loadgen(
            server.target, *"--protocol frame --connections 5 --duration 500ms --drain 30s --timeout 30s".split(),
            *words, "--engine", engine
        )
        messages = server.stop()["messages"]
    kinds = {one["name"]: one for one in run.doc["populations"]}
    assert run.good, run.err
    assert list(kinds) == list(MIXTURE) and len(run.doc["client"]["threads"]) == 6
    everybody = (run.doc, *kinds.values())
    assert messages == sum(load["counts"]["ok"] + load["counts"]["warmup_ok"] for load in everybody)
    assert kinds["idle"]["idle_connects"]["established"] == 40
    assert (
        kinds["reader"]["latency_sent_ns"]["min"] >= 5 * 1_000_000 and kinds["reader"]["errors"] == {}
    )  # 516 bytes in six reads
    assert kinds["sender"]["latency_sent_ns"]["min"] >= 4 * 2_000_000  # 80 bytes in five parts
    assert kinds["hog"]["counts"]["received_bytes"] == 60_016 * kinds["hog"]["counts"]["ok"]
    assert kinds["hog"]["fairness"] == {"connections": 1, "starved": 0, "jain": 1, **dict.fromkeys(
        ("min", "p50", "max"), kinds["hog"]["counts"]["ok"])}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_churners_latency_is_its_full_cycle(engine):
    """Connect, request, reply: the latency of a request that opens its connection begins with the connect, which has a
    figure of its own."""
    with peer(delay=2_000_000) as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 5 --per-connection 1 --rate 200".split(), "--engine", engine
        )
    connect, cycle = run.doc["connect_ns"], run.doc["latency_sent_ns"]
    assert run.good, run.err
    assert connect["n"] == cycle["n"] == run.doc["connects"]["recycled"] == 60
    assert cycle["sum"] >= connect["sum"] + cycle["n"] * 2_000_000
    assert cycle["max"] > connect["max"] and cycle["min"] >= connect["min"] + 2_000_000


def test_a_fault_belongs_to_its_population():
    with peer(protocol="frame", lie="hasty", every=1) as server:
        run = loadgen(
            server.target, *"--protocol frame --connections 2".split(), "--population",
            "late: --connections 2 --delay 10s --timeout 20s"
        )
    assert run.bad and run.doc["errors"] == {}
    assert set(run.doc["populations"][0]["errors"]) == {"too_soon"}


def test_fairness_tells_who_was_starved():
    """A connection per client, of which some are answered slowly: p50 and Jain's index by their definitions."""
    with peer(protocol="frame") as server:
        run = loadgen(server.target, *"--protocol frame --connections 4 --rate 100 --duration 1s --drain 20s".split())
    fair = run.doc["fairness"]
    assert run.good and fair["starved"] == 0 and fair["connections"] == 4
    assert 0 < fair["min"] <= fair["p50"] <= fair["max"] < 100 and 0.25 <= fair["jain"] <= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_nineteen_thousand_idle_connections(engine):
    """And 50 active ones beside them, in one process, under a limit of 20,000 descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 20_000:
        pytest.skip(f"the hard limit on descriptors is {hard}: raise it to 20000 (ulimit -Hn)")
    with program(PEER.with_name("peer_many")) as server:
        words = "--protocol echo --connections 50 --idle 19000 --warmup 0 --duration 1s --drain 20s".split()
        words += "--timeout 20s --connect-timeout 60s".split()
        done = subprocess.run(argv(server.target, *words, "--engine", engine), capture_output=True, timeout=300,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000)))
        run = finished(done.stdout, done.stderr, done.returncode)
        counts = server.stop()
    assert run.good, run.err
    assert run.doc["env"]["fd_limit"] == 20_000
    assert run.doc["idle_connects"] == {
        "attempts": 19_000, "established": 19_000, "replaced": 0, "recycled": 0, "failed": {},
    }
    assert counts["accepted"] == 19_050 and counts["messages"] == run.doc["counts"]["ok"] > 0
    assert run.doc["fairness"]["starved"] == 0
