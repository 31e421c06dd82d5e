"""POSIX AIO in glibc makes 20 threads unless it is told otherwise, and an idle connection keeps one of them waiting.

The page servers/posix_aio.c says otherwise; lab/posix_aio is the same page, which says 20 unless it is given another
number. What starves there is served here, or the page's call of aio_init() would have no effect.
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import proc
from harness import server as servers
from harness.model import ROOT, Model
from harness.rounds import ROUND, round_trip
from harness.server import Server

THREADS = 20  # glibc's default
BUILD = ROOT / os.environ.get("BUILD", "build")


@pytest.fixture
def serve() -> Iterator[Callable[[str, str], Server]]:
    started: list[Server] = []

    def start(place: str, protocol: str) -> Server:
        path: Path = BUILD / place
        if not path.exists():
            pytest.skip(f"{path} is not built: make {path}")
        started.append(servers.start(Model(path), protocol))
        return started[-1]

    yield start
    for server in started:
        server.leave()
        server.stop()


def keep_idle(server: Server, protocol: str, count: int) -> None:
    """Connections that were served, and wait for their next request: the server has asked for it and is at rest."""
    for _ in range(count):
        round_trip(server.connect(), protocol)
    proc.eventually(lambda: at_rest(server), "the server has armed its reads and sleeps")


def at_rest(server: Server) -> bool:
    """No thread of it is runnable, and none ran for a while."""
    before = proc.cpu_s(server.pid)
    time.sleep(0.1)
    return not proc.runnable(server.pid) and proc.cpu_s(server.pid) == before


@pytest.mark.parametrize("protocol", ["echo", "http", "frame"])
def test_20_idle_connections_starve_the_21st(serve, protocol: str) -> None:
    server = serve("lab/posix_aio", protocol)
    request, answer = ROUND[protocol]
    keep_idle(server, protocol, THREADS)
    waiting = server.connect()
    waiting.send(request)
    waiting.expect_silence(0.5)
    assert proc.user_threads(server.pid) == 1 + THREADS
    server.clients[3].close()  # its thread is free, and takes what has waited longest
    waiting.expect(answer)


@pytest.mark.parametrize("protocol", ["echo", "http", "frame"])
def test_with_19_idle_connections_the_20th_is_served(serve, protocol: str) -> None:
    """So that it is the threads that starve the 21st, and not something else about the page."""
    server = serve("lab/posix_aio", protocol)
    keep_idle(server, protocol, THREADS - 1)
    for _ in range(5):
        round_trip(server.connect(), protocol)
        server.clients.pop().close()


@pytest.mark.parametrize("protocol", ["echo", "http", "frame"])
def test_the_page_has_a_thread_for_each_and_one_more(serve, protocol: str) -> None:
    server = serve("servers/posix_aio", protocol)
    keep_idle(server, protocol, 10 * THREADS)
    round_trip(server.connect(), protocol)
    assert proc.user_threads(server.pid) >= 1 + 10 * THREADS
