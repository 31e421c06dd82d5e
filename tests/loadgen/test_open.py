"""Open loop: the schedule is kept, whatever the server does, and latency counts from the moment a request was due."""
import math

import pytest
from conftest import ENGINES, attempts, loadgen, peer
from servers import greet, served


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wait", ["block", "spin"])
@pytest.mark.parametrize("threads", [1, 3])
def test_constant_rate_is_exact(engine, wait, threads):
    with peer() as server:
        run = loadgen(
            server.target, "--protocol", "echo", "--connections", 9, "--rate", "2k", "--threads", threads, "--wait",
            wait, "--warmup", "100ms", "--duration", "500ms", "--engine", engine,
        )
    assert run.good, run.err
    assert abs(run.doc["counts"]["scheduled"] - 1000) <= threads
    assert run.doc["target_rps"] == 2000
    assert run.doc["latency_intended_ns"]["n"] == run.doc["schedule_lag_ns"]["n"] == run.doc["counts"]["ok"]
    assert run.doc["latency_intended_ns"]["min"] >= run.doc["latency_sent_ns"]["min"]
    assert (
        run.doc["latency_intended_ns"]["sum"] == run.doc["latency_sent_ns"]["sum"] + run.doc["schedule_lag_ns"]["sum"]
    )


def test_poisson_arrivals_are_seeded():
    with peer() as server:
        runs = [
            loadgen(
                server.target, "--protocol", "echo", "--connections", 9, "--rate", "2k", "--arrival", "poisson",
                "--seed", seed, "--duration", "500ms",
            ).doc["counts"]["scheduled"]
            for seed in (1, 1, 2)
        ]
    assert runs[0] == runs[1] != runs[2]
    assert all(abs(n - 1000) < 5 * math.sqrt(1000) for n in runs)


def test_ramps_and_steps():
    with peer() as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 9 --rate 1k:3k:200ms,500:200ms".split(), "--duration",
            "400ms"
        )
    assert run.good, run.err
    assert abs(run.doc["counts"]["scheduled"] - 500) <= 1


def test_queued_requests_keep_their_time():
    """One connection, 20 ms per reply, one request every 10 ms: each waits 10 ms longer than the one before."""
    with peer(delay=20_000_000) as server:
        run = loadgen(server.target, *"--protocol echo --connections 1 --rate 100 --duration 200ms --drain 5s".split())
    assert run.doc["counts"]["ok"] == 20
    assert run.doc["latency_intended_ns"]["max"] >= 20e6 + 19 * 10e6
    assert run.doc["latency_sent_ns"]["min"] >= 20e6
    assert run.doc["bound"] != "neither"
    # The queue is the server's doing, not the generator's.
    assert run.doc["generator_lag_ns"]["p50"] < run.doc["schedule_lag_ns"]["p50"]


def test_shedding_bounds_the_queue():
    with peer(delay=20_000_000) as server:
        run = loadgen(server.target, *"--protocol echo --connections 1 --rate 200 --duration 400ms --shed 30ms".split())
    counts = run.doc["counts"]
    assert counts["scheduled"] == 80
    assert counts["shed"] > 40 and counts["never_sent"] == 0
    assert run.doc["schedule_lag_ns"]["p50"] < 60e6
    assert run.doc["latency_intended_ns"]["unfinished"] == counts["shed"]


def test_requests_that_connect_follow_the_schedule():
    with served(greet) as target:
        run = loadgen(target, *"--protocol greet --connections 20 --rate 200 --duration 500ms".split())
    assert run.good, run.err
    assert run.doc["counts"]["ok"] == 100
    assert run.doc["connect_ns"]["n"] == 100 and run.doc["connects"]["recycled"] == 100


def test_a_stall_shows_from_the_intended_time_only():
    """A server that stands still for 0.3 s in every 3 s, one whole period: 10 % of the requests of a constant schedule
    wait, on average half a stall; a closed loop of one connection sees a single slow request."""
    def attempt():
        with peer(stall="0.3/3") as server:
            run = loadgen(server.target, *"--protocol echo --connections 20 --rate 500 --duration 3s".split())
        return run.doc["latency_intended_ns"]

    # A crowded host can only add: what is too short is an error, what is too long is tried again.
    told = attempts(3, attempt, lambda latency: latency["p95"] < 0.20e9 and latency["p99"] < 0.32e9)
    assert all(latency["p95"] > 0.12e9 and latency["p99"] > 0.24e9 for latency in told)


def test_a_closed_loop_hardly_sees_a_stall():
    def attempt():
        with peer(stall="0.3/1.5") as server:
            run = loadgen(server.target, *"--protocol echo --connections 1 --duration 1500ms".split())
        assert run.doc["latency_sent_ns"]["max"] >= 0.25e9
        return run.doc["latency_sent_ns"]

    attempts(3, attempt, lambda latency: latency["p99"] < 0.01e9)


@pytest.mark.long
def test_a_long_stall():
    with peer(stall="1/10") as server:
        run = loadgen(server.target, *"--protocol echo --connections 50 --rate 500 --duration 30s".split())
    intended = run.doc["latency_intended_ns"]
    assert 0.45e9 < intended["p95"] < 0.55e9
    assert 0.85e9 < intended["p99"] < 0.95e9
