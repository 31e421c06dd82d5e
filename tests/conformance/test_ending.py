"""How a server ends, and what it says at the end: signals at any time, and the counters."""
from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from harness import proc
from harness.client import get, pump
from harness.model import Model
from harness.rounds import ROUND, fill_up
from harness.server import Server



class Load:
    """Clients that ask over and over until the server has gone, each in its own thread; counts the full replies."""

    def __init__(self, server: Server, protocol: str, threads: int):
        self.server, self.protocol = server, protocol
        self.asked = self.answered = self.wrong = 0
        self.lock, self.over = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        request, answer = ROUND[self.protocol]
        while not self.over.is_set():
            try:
                with socket.create_connection(self.server.address, timeout=20) as sock:
                    for _ in range(1 if self.protocol == "greet" else 20):
                        self.count(asked=1)
                        sock.sendall(request)
                        got = b""
                        while len(got) < len(answer) and (part := sock.recv(4096)):
                            got += part
                        self.count(answered=got == answer, wrong=not answer.startswith(got))
            except (ConnectionError, TimeoutError):
                time.sleep(0.001)  # the server is going, or has gone

    def count(self, asked: int = 0, answered: int = 0, wrong: int = 0) -> None:
        with self.lock:
            self.asked, self.answered, self.wrong = self.asked + asked, self.answered + answered, self.wrong + wrong

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_under_load(model: Model, protocol: str, serve, number: int) -> None:
    server = serve(protocol)
    load = Load(server, protocol, 8)
    try:
        proc.eventually(lambda: load.answered > 300, "300 replies under load")
        stats = server.stop(number)
    finally:
        load.end()
    assert load.wrong == 0, f"{load.wrong} replies were wrong"
    if protocol != "echo":  # an echo has no requests of its own; the page says what it counts
        assert load.answered <= stats["requests"] <= load.asked, (load.answered, stats["requests"], load.asked)
    if model.alone:
        assert stats["peak_connections"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_before_anybody_came(model: Model, protocol: str, serve, number: int) -> None:
    stats = serve(protocol).stop(number)
    counts = [stats[name] for name in ("accepted", "closed", "requests", "peak_connections", "errors")]
    assert counts == [0, 0, 0, 0, {}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_with_idle_clients(model: Model, protocol: str, serve, number: int) -> None:
    """Clients see a clean end: nothing of theirs is unread."""
    server = serve(protocol)
    before = proc.sockets(server.pid)
    clients = [server.connect() for _ in range(5)]
    if protocol != "greet":
        clients[0].send(ROUND[protocol][0])
        clients[0].expect(ROUND[protocol][1])
    proc.eventually(lambda: proc.sockets(server.pid) == before + model.at_once(5), "the clients are accepted")
    stats = server.stop(number)
    clients[0].expect_eof()
    assert stats["accepted"] <= 5


@pytest.mark.speaks("echo", "http")
def test_while_a_client_is_stuck(model: Model, protocol: str, serve) -> None:
    """A client that never reads does not hold up the end."""
    server = serve(protocol)
    fill_up(server, server.connect(receive_buffer=4096), b"x" * 65536 if protocol == "echo" else get("/bytes/100000"))
    assert server.stop()["accepted"] == 1


@pytest.mark.speaks("greet", "http")
def test_during_a_delay(model: Model, protocol: str, serve) -> None:
    server = serve(protocol, "--delay", "60s")
    for _ in range(1 if model.alone else 5):
        server.connect().send(ROUND[protocol][0])
    time.sleep(0.1)
    server.stop()


@pytest.mark.speaks("http")
def test_during_work(model: Model, protocol: str, serve) -> None:
    """The signal comes while the CPU burns; the server ends when that request is done, at the latest."""
    server = serve(protocol)
    before = proc.cpu_s(server.pid)
    server.connect().send(get("/work/1000000"))
    proc.eventually(lambda: proc.cpu_s(server.pid) - before > 0.005, "the work has begun")
    server.stop()


@pytest.mark.speaks("greet", "http")
@pytest.mark.having("delay-blocks")
def test_during_a_delay_that_blocks(model: Model, protocol: str, serve) -> None:
    """A loop that sleeps in its handler hears of the signal when it wakes: that is part of the mistake. It ends
    then."""
    server = serve(protocol, "--delay", "1s", "--delay-blocks")
    server.connect().send(ROUND[protocol][0])
    time.sleep(0.1)
    server.stop()


def test_counters_of_a_quiet_run_are_exact(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    for _ in range(7):
        with server.connect() as client:
            for _ in range(1 if protocol == "greet" else 3):
                client.send(ROUND[protocol][0])
                client.expect(ROUND[protocol][1])
            client.half_close()
            client.expect_eof()
    stats = server.stop()
    assert (stats["accepted"], stats["closed"], stats["errors"]) == (7, 7, {}), stats
    assert 1 <= stats["peak_connections"] <= 7, stats
    if protocol != "echo":
        assert stats["requests"] == (7 if protocol == "greet" else 21), stats
    assert stats["wakeups"] >= 1 and stats["events"] >= 1, stats


@pytest.mark.speaks("echo", "http")
def test_a_reset_is_counted_by_its_name(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    before = len(proc.fds(server.pid))
    for _ in range(3):
        client = server.connect()
        client.send(ROUND[protocol][0])
        client.expect(ROUND[protocol][1])
        client.reset()
    proc.eventually(lambda: len(proc.fds(server.pid)) == before, "the clients that left are closed")
    assert server.stop()["errors"] == {"ECONNRESET": 3}


@pytest.mark.speaks("echo", "http")
def test_stopped_and_continued(model: Model, protocol: str, serve) -> None:
    """SIGSTOP in the middle of a large transfer: nothing is lost, and who connected meanwhile is served."""
    server = serve(protocol)
    data = bytes(range(256)) * 20_000 if protocol == "echo" else get("/bytes/5000000")
    busy, result = server.connect(receive_buffer=32768), []
    reader = threading.Thread(target=lambda: result.append(pump(busy, data, pause_s=0.001, chunk=65536)))
    reader.start()
    for _ in range(3):
        time.sleep(0.02)
        server.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        patient = server.connect()
        patient.send(ROUND[protocol][0])
        patient.expect_silence(0.05)
        server.send_signal(signal.SIGCONT)
    reader.join()
    assert result and len(result[0]) > 5_000_000 and (protocol == "http" or result[0] == data)
    for client in server.clients[1:]:
        client.expect(ROUND[protocol][1])
        client.close()


@pytest.mark.speaks("greet", "http")
def test_stopped_during_a_delay(model: Model, protocol: str, serve) -> None:
    server = serve(protocol, "--delay", "100ms")
    client = server.connect()
    start = time.monotonic()
    client.send(ROUND[protocol][0])
    time.sleep(0.02)
    server.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    server.send_signal(signal.SIGCONT)
    client.expect(ROUND[protocol][1])
    assert time.monotonic() - start >= 0.1
