"""However a run ends, it ends on time, with one JSON document and the right exit status."""
import signal
import socket
import time

import pytest
from conftest import ENGINES, loadgen, peer, running
from servers import served

ECHO = ("--protocol", "echo", "--connections", 4)


def unused_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_refused(engine):
    run = loadgen(f"127.0.0.1:{unused_port()}", *ECHO, "--engine", engine)
    assert run.bad
    assert run.doc["counts"]["scheduled"] == 0
    assert "Connection refused" in run.doc["reasons"][0]


def test_refused_where_each_request_connects():
    run = loadgen(f"127.0.0.1:{unused_port()}", "--protocol", "greet", "--connections", 2)
    assert run.bad
    assert set(run.failures) == {"connect_refused"}
    assert run.doc["connects"]["failed"]["connect_refused"] == run.doc["connects"]["attempts"]


@pytest.mark.parametrize("engine", ENGINES)
def test_black_hole_closed(engine):
    begun = time.monotonic()
    with peer(lie="silent") as server:
        run = loadgen(
            server.target, *ECHO, "--duration", "500ms", "--timeout", "100ms", "--drain", "300ms", "--engine", engine
        )
    assert time.monotonic() - begun < 5
    assert run.bad
    assert run.doc["counts"]["ok"] == 0 and run.doc["counts"]["scheduled"] >= 4
    assert set(run.failures) == {"timeout"}
    assert run.doc["latency_sent_ns"] is None


def test_black_hole_open():
    with peer(lie="silent") as server:
        run = loadgen(
            server.target, *ECHO, "--rate", "200", "--duration", "500ms", "--timeout", "10s", "--drain", "100ms"
        )
    counts = run.doc["counts"]
    assert run.bad
    assert counts["scheduled"] == 100
    assert counts["inflight_end"] == 4 and counts["never_sent"] == 96
    latency = run.doc["latency_intended_ns"]
    assert latency["n"] == 0 and latency["unfinished"] == 100 and latency["p50"] is None and latency["max"] is None


def test_unfinished_requests_rank_above_all_others():
    with peer(lie="silent", every=4) as server:
        run = loadgen(server.target, "--protocol", "echo", "--connections", 60, "--rate", "100", "--duration", "500ms",
                      "--timeout", "10s", "--drain", "300ms")
    latency = run.doc["latency_intended_ns"]
    assert latency["unfinished"] == 12 and latency["n"] == 38
    assert latency["p50"] is not None and latency["p75"] is not None
    assert latency["p90"] is None and latency["p99"] is None and latency["p9999"] is None
    assert run.doc["latency_sent_ns"]["p99"] is not None
    assert "p99 >" in run.err


@pytest.mark.parametrize("engine", ENGINES)
def test_server_killed_in_mid_run(engine):
    with peer() as server, running(
        server.target, *ECHO, "--warmup", "0", "--duration", "800ms", "--engine", engine
    ) as load:
        time.sleep(0.4)
        server.process.kill()
        begun = time.monotonic()
        run = load.finish()
    assert time.monotonic() - begun < 5
    assert run.bad
    assert run.doc["counts"]["ok"] > 0
    # Four were in flight; while the process dies its listener may have taken each replacement once more.
    assert set(run.failures) <= {"reset", "early_eof"} and 1 <= sum(run.failures.values()) <= 8
    assert run.doc["connects"]["failed"]["connect_refused"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("engine", ENGINES)
def test_interrupted_in_the_window(number, engine):
    with peer(delay=1_000_000) as server, running(
        server.target, *ECHO, "--warmup", "0", "--duration", "60s", "--engine", engine
    ) as load:
        time.sleep(0.6)
        load.send_signal(number)
        run = load.finish()
    assert run.status == 3
    assert run.doc["interrupted"] and not run.doc["valid"]
    assert run.doc["reasons"][0].startswith("interrupted")
    assert 0 < run.doc["window_ns"] < 10e9
    assert run.doc["counts"]["ok"] > 0 and run.doc["errors"] == {}


def test_interrupted_in_the_warm_up():
    with peer() as server, running(server.target, *ECHO, "--warmup", "60s") as load:
        time.sleep(0.5)
        load.send_signal(signal.SIGINT)
        run = load.finish()
    assert run.status == 3
    assert run.doc["window_ns"] == 0 and run.doc["counts"]["scheduled"] == 0


def test_interrupted_in_the_rehearsal():
    def silent(handler):
        handler.rfile.read()

    words = ("--protocol", "http", "--connections", 1, "--timeout", "60s")
    with served(silent) as target, running(target, *words) as load:
        time.sleep(0.5)
        load.send_signal(signal.SIGINT)
        begun = time.monotonic()
        run = load.finish()
    assert time.monotonic() - begun < 10
    assert run.status == 1 and "interrupted" in run.doc["error"]


def test_interrupted_while_connecting():
    with socket.socket() as full:
        # A listener whose queue is full: the kernel drops further connects and the client waits.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        target = f"127.0.0.1:{full.getsockname()[1]}"
        with running(target, "--protocol", "echo", "--connections", 50, "--connect-timeout", "30s") as load:
            time.sleep(0.5)
            load.send_signal(signal.SIGINT)
            run = load.finish()
    assert run.status == 3 and run.doc["interrupted"]
