"""Queued signals: their number is limited, for each user (RLIMIT_SIGPENDING), and what depends on them must not be.

Most models queue none, and pass without noticing. One that is told of its clients by signals loses some here, and
must find those clients by itself.
"""
from __future__ import annotations

import random
import resource
import signal
from pathlib import Path

import pytest

from harness import proc
from harness.client import Client, pump
from harness.model import Model
from harness.rounds import ROUND
from harness.server import Server

CLIENTS = 300
ROUNDS = 3


def asked_while_stopped(server: Server, clients: list[Client], request: bytes) -> None:
    """All ask while the server stands still, so that more is queued than any small limit allows."""
    server.send_signal(signal.SIGSTOP)
    proc.eventually(lambda: proc.state(server.pid) == "T", "the server is stopped")
    for client in clients:
        client.send(request)
    server.send_signal(signal.SIGCONT)


def limit_signals(server: Server, limit: int) -> None:
    """For a server that is running. One over libkqueue ends a thread of the emulation's by pthread_cancel(), a signal
    that is queued as well: without any queue it would never end."""
    if limit == 0 and "libkqueue" in Path(f"/proc/{server.pid}/maps").read_text():
        pytest.skip("libkqueue cannot end without a queue of signals")
    resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING, (limit, limit))


@pytest.mark.parametrize("limit", [0, 16])
def test_a_queue_of_signals_that_overflows(model: Model, protocol: str, serve, limit: int) -> None:
    """No request is lost, no connection forgotten: those that wait at the door, those that ask, those that leave."""
    server, dice = serve(protocol), random.Random(6)
    request, answer = ROUND[protocol]
    before = len(proc.fds(server.pid))
    limit_signals(server, limit)
    in_turn = model.at_once(CLIENTS) < CLIENTS
    rounds = 1 if in_turn or protocol == "greet" else ROUNDS
    clients = [server.connect() for _ in range(CLIENTS)]
    for turn in range(rounds):
        asked_while_stopped(server, clients, request)
        if not in_turn:
            dice.shuffle(clients)
        for client in clients:
            client.expect(answer)
            if turn == rounds - 1:
                client.close()
    proc.eventually(lambda: len(proc.fds(server.pid)) == before, "the clients that left are closed")
    stats = server.stop()
    assert stats["accepted"] == CLIENTS
    assert set(stats["errors"]) <= {"EOVERFLOW"}, stats["errors"]


@pytest.mark.speaks("echo")
def test_a_reader_of_much_while_signals_overflow(model: Model, protocol: str, serve) -> None:
    """The signal that a full socket has room again may be the one that is lost."""
    server = serve(protocol)
    limit_signals(server, 0)
    data = random.Random(7).randbytes(4 << 20)
    assert pump(server.connect(receive_buffer=16384), data, pause_s=0.001) == data
