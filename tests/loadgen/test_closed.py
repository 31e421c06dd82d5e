"""Closed loop, connections that are idle or short-lived, and time that is known."""
import threading

import pytest
from conftest import ENGINES, attempts, loadgen, peer
from servers import echo, greet, http, page, served


@pytest.mark.parametrize("delay_ns", [100_000, 1_000_000, 10_000_000])
def test_known_delays(delay_ns):
    def attempt():
        with peer(delay=delay_ns) as server:
            run = loadgen(server.target, "--protocol", "echo", "--connections", 2)
        latency = run.doc["latency_sent_ns"]
        if latency is None:
            return 0  # this host gave no CPU for a whole window
        assert run.good and latency["min"] >= delay_ns
        return run.doc["achieved_rps"] * latency["mean"] / 1e9

    # Little's law ties the clock of the latencies to the clock of the window: 2 = throughput x mean latency.
    attempts(5, attempt, lambda in_flight: 1.7 < in_flight < 2.3)


def test_think_time_is_outside_latency():
    with peer() as server:
        run = loadgen(server.target, *"--protocol echo --connections 5 --think 20ms --duration 400ms".split())
    assert run.good
    assert 5 * 8 <= run.doc["counts"]["scheduled"] <= 5 * 21
    assert run.doc["latency_sent_ns"]["p50"] < 20e6


@pytest.mark.parametrize("engine", ENGINES)
def test_idle_connections_stay_silent(engine):
    with peer() as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 5 --idle 300 --threads 2".split(), "--engine", engine
        )
        counts = server.stop()
    assert run.good
    assert run.doc["idle_connects"]["established"] == 300 and run.doc["connects"]["established"] == 5
    assert counts["messages"] == run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"]


def test_a_lost_idle_connection_is_told_and_replaced():
    accepted = [0]
    lock = threading.Lock()

    def closes_one(handler):
        with lock:
            accepted[0] += 1
            number = accepted[0]
        if number == 3:  # whichever it is, it has not been used for long
            handler.request.settimeout(0.1)
            try:
                handler.request.recv(1)
            except TimeoutError:
                return
        echo(handler)

    with served(closes_one) as target:
        run = loadgen(target, *"--protocol echo --connections 1 --idle 9 --duration 500ms".split())
    assert run.bad
    assert run.doc["idle_connects"]["replaced"] == 1 and run.doc["idle_connects"]["established"] == 10
    assert any("idle" in reason for reason in run.doc["reasons"])


@pytest.mark.parametrize("engine", ENGINES)
def test_connections_of_so_many_requests(engine):
    with peer() as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 4 --per-connection 5 --depth 2".split(), "--engine", engine
        )
    done = run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"]
    assert run.good, run.err
    assert done // 5 <= run.doc["connects"]["established"] <= done // 5 + 4
    assert run.doc["connects"]["replaced"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_greetings(engine):
    with served(greet) as target:
        run = loadgen(target, "--protocol", "greet", "--connections", 3, "--engine", engine)
    assert run.good, run.err
    assert run.doc["connects"]["established"] == run.doc["connects"]["recycled"] == run.doc["counts"]["ok"]


@pytest.mark.parametrize("answer, name", [(b"Hullo", "mismatch"), (b"Hello", "short"), (None, "early_eof")])
def test_wrong_greetings(answer, name):
    def wrong(handler):
        line = handler.rfile.readline()
        if answer:
            handler.wfile.write(answer + b" " + (line if name != "short" else line[:-3]))

    with served(wrong) as target:
        run = loadgen(target, "--protocol", "greet", "--connections", 2)
    assert run.bad
    assert set(run.failures) == {name} and run.doc["counts"]["ok"] == 0


def test_large_messages_in_pieces():
    """A server that reads slowly: sends are cut short and go on where they stopped."""
    def slow(handler):
        handler.request.settimeout(5)
        while data := handler.request.recv(1000):
            handler.request.sendall(data)

    with served(slow) as target:
        run = loadgen(
            target, *"--protocol echo --connections 2 --size 8MiB --duration 100ms --drain 30s --timeout 30s".split()
        )
    assert run.good, run.err
    assert run.doc["client"]["send_blocked"] > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_requests_written_in_parts(engine):
    with peer() as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 5 --send-part 10 --send-every 2ms".split(), "--engine",
            engine
        )
        at_once = loadgen(
            server.target, *"--protocol echo --connections 5 --depth 3 --send-part 7".split(), "--engine", engine
        )
    assert run.good and at_once.good, run.err
    assert run.doc["latency_sent_ns"]["min"] >= 6 * 2_000_000  # seven parts of at most 10 bytes
    assert run.doc["client"]["sends"] == 7 * run.doc["counts"]["ok"]
    assert at_once.doc["client"]["sends"] > at_once.doc["counts"]["ok"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("protocol", ["echo", "http"])
def test_a_request_that_waits_for_the_pause_before_it_has_not_been_sent(protocol, engine):
    """Three in flight, one leaves every 500 ms: each is answered at once, counted from its own first byte."""
    load = "--connections 1 --depth 3 --duration 2s --send-part 4096 --send-every 500ms".split()
    with peer(size=4096) if protocol == "echo" else served(http(lambda n, path: page(b"x"))) as server:
        target = getattr(server, "target", server)
        size = ("--size", 4096) if protocol == "echo" else ("--header", "X: " + "x" * (4096 - 31 - len(target)))
        run = loadgen(target, "--protocol", protocol, *load, *size, "--engine", engine)
    assert run.good, run.err
    sent, latency = run.doc["counts"]["sent_bytes"], run.doc["latency_sent_ns"]
    assert sent % 4096 == 0
    assert latency["n"] >= 3 and latency["p75"] < 400e6


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slow_reader_takes_its_time(engine):
    with peer(size=1000) as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 5 --size 1000 --read-part 100 --read-every 2ms".split(),
            "--engine", engine
        )
    assert run.good, run.err
    assert run.doc["latency_sent_ns"]["min"] >= 9 * 2_000_000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slow_reader_of_a_server_that_closes(engine):
    with served(greet) as target:
        run = loadgen(
            target, *"--protocol greet --connections 5 --read-part 10 --read-every 1ms".split(), "--engine", engine
        )
    assert run.good, run.err
    assert run.doc["latency_sent_ns"]["min"] >= 6 * 1_000_000  # 70 bytes
