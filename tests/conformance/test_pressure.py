"""Slow readers, readers that never read, hogs, paused and lingering clients, resets: each is one among others."""
from __future__ import annotations

import random
import threading
import time

import pytest

from harness import proc
from harness.client import Client, difference, get, pump
from harness.model import DEFAULT_WORKERS, Model
from harness.rounds import ROUND, asking_for, expect_quiet, fill_up, others_make_progress, others_must_wait, round_trip
from harness.server import Server

NOISE = random.Random(4).randbytes(10 << 20)
RING_KIB = 2048  # servers/io_uring.c: 64 buffers of 32 KiB


def memory_bound_kib(server: Server) -> int:
    """What one connection may add: 64 KiB where the model asks for the bytes, and slack for the allocator, a stack of
    its own, or a process. A completion model lends the kernel a ring of buffers and learns afterwards how much came: it
    may add as much as they hold. Sanitizers add red zones and shadow. Never may it be the 10 MB themselves."""
    kernel_chooses = "anon_inode:[io_uring]" in proc.fds(server.pid).values()
    return min((64 + 256 + RING_KIB * kernel_chooses) * (8 if server.model.sanitizer else 1), 9 << 10)


def warm_up(server: Server, protocol: str) -> None:
    """One client before the one that is looked at, with more bytes than a ring of buffers has; where workers take turns,
    so many at once that each worker has its receive buffer and its spare blocks. What grows from here on grows with the
    connection."""
    request = NOISE[:2 * RING_KIB << 10] if protocol == "echo" else asking_for(1_000_000, protocol)[0]
    before = len(proc.fds(server.pid))
    clients = [server.connect() for _ in range(2 * DEFAULT_WORKERS if server.model.has("workers") else 1)]
    pumps = [threading.Thread(target=pump, args=(client, request)) for client in clients]
    for step in (threading.Thread.start, threading.Thread.join):
        for each in pumps:
            step(each)
    for client in clients:
        client.close()
    proc.eventually(lambda: len(proc.fds(server.pid)) <= before, "those who warmed it up have left")


@pytest.mark.speaks("echo", "http", "frame")
def test_10_mb_to_a_slow_reader(model: Model, protocol: str, serve) -> None:
    """The server holds 64 KiB of it, not 10 MB, and others are served meanwhile."""
    server = serve(protocol)
    warm_up(server, protocol)
    before = proc.rss_kib(server.pid)
    slow, result = server.connect(receive_buffer=65536), []
    request, expected = (NOISE, NOISE) if protocol == "echo" else asking_for(10 << 20, protocol)
    reader = threading.Thread(target=lambda: result.append(pump(slow, request, pause_s=0.004, chunk=32768)))
    reader.start()
    peak, others = watch_memory(model, server, protocol, reader)
    reader.join()
    assert result and result[0] == expected, difference(result[0] if result else b"", expected)
    if others:
        others.expect(ROUND[protocol][1])
    bound, grown = memory_bound_kib(server), peak - before
    print(f"grown by {grown} KiB, bound {bound} KiB")
    assert grown <= bound, f"the server grew by {grown} KiB over one slow reader, its bound is {bound} KiB"


def watch_memory(model: Model, server: Server, protocol: str, reader: threading.Thread) -> tuple[int, Client | None]:
    """The most memory until the reader is done, while others try to be served; with whoever had to wait."""
    peak, waiting = 0, None
    while reader.is_alive():
        peak = max(peak, proc.rss_kib(server.pid))
        if not model.alone:
            others_make_progress(server, protocol, 5)
        elif not waiting:
            waiting = others_must_wait(server, protocol)
        time.sleep(0.01)
    return peak, waiting


@pytest.mark.speaks("echo", "http", "frame")
@pytest.mark.wire
def test_a_hog_does_not_starve_others(model: Model, protocol: str, serve) -> None:
    """A client that keeps its connection full in both directions, as fast as it can, is one among others."""
    server, over = serve(protocol), threading.Event()
    data = answer = NOISE[:1 << 18]
    if protocol != "echo":
        data, answer = (100 * part for part in asking_for(2000, protocol))
    hog = server.connect()

    def eat() -> None:
        while not over.is_set():
            hog.send(data)
            assert len(hog.receive(len(answer))) == len(answer)

    eater = threading.Thread(target=eat)
    eater.start()
    try:
        if model.alone:
            waiting = others_must_wait(server, protocol)
        else:
            others_make_progress(server, protocol, 50)
    finally:
        over.set()
        eater.join()
    if model.alone:
        hog.close()
        waiting.expect(ROUND[protocol][1])


@pytest.mark.speaks("echo", "http", "frame")
@pytest.mark.wire
def test_a_client_that_never_reads(model: Model, protocol: str, serve) -> None:
    """The server stops taking its bytes, does not spin over it, and goes on with the others; and with it, when it
    reads."""
    server = serve(protocol)
    stuck = [server.connect(receive_buffer=4096) for _ in range(1 if model.alone else 4)]
    data = NOISE[:1 << 20] if protocol == "echo" else asking_for(2000, protocol)[0]
    taken = [fill_up(server, client, data) for client in stuck]
    expect_quiet(server, "over clients that never read")
    if model.alone:
        waiting = others_must_wait(server, protocol)
        stuck[0].reset()
        waiting.expect(ROUND[protocol][1])
        return
    others_make_progress(server, protocol)
    if protocol == "echo":
        stuck[0].half_close()
        got = stuck[0].receive_all()
        expected = (data * (taken[0] // len(data) + 1))[:taken[0]]
        assert got == expected, difference(got, expected)


@pytest.mark.below
@pytest.mark.speaks("echo", "http", "frame")
@pytest.mark.wire
def test_a_client_that_never_reads_and_leaves(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    before = proc.fds(server.pid)
    for leave in (Client.reset, Client.close, Client.reset):
        client = server.connect(receive_buffer=4096)
        request = NOISE[:65536] if protocol == "echo" else asking_for(100_000, protocol)[0]
        fill_up(server, client, request, quiet_s=0.15)
        leave(client)
    proc.eventually(lambda: len(proc.fds(server.pid)) == len(before), "the descriptors of clients that left are closed")
    round_trip(server.connect(), protocol)


@pytest.mark.speaks("greet", "http")
def test_idle_and_paused_clients_cost_no_cpu(model: Model, protocol: str, serve) -> None:
    """Idle, half-closed during a delay, and finished but not gone: none of these states may spin (EPOLLHUP does)."""
    server = serve(protocol, "--delay", "30s")
    paused = [server.connect() for _ in range(3)]
    for client in paused:
        client.send(ROUND[protocol][0])
    paused[1].half_close()
    paused[2].send(b"more input")
    server.connect()
    expect_quiet(server, "over paused clients")


@pytest.mark.speaks("greet", "http")
def test_finished_clients_that_linger_cost_no_cpu(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    client = server.connect()
    client.send(b"Bob\n" if protocol == "greet" else get("/", "Connection: close"))
    client.receive_all()
    expect_quiet(server, "over a client that has not closed yet")


@pytest.mark.speaks("greet", "http")
def test_a_reset_during_a_delay_and_the_reused_descriptor(model: Model, protocol: str, serve) -> None:
    """Clients leave with a reset while the server waits for them; their descriptors go to new clients, who must
    never get the old replies, neither at the old deadline nor later."""
    server = serve(protocol, "--delay", "250ms")
    count = 1 if model.alone else 10
    for _ in range(3):
        gone = [server.connect() for _ in range(count)]
        for client in gone:
            client.send(b"Ghost\n" if protocol == "greet" else get("/bytes/7"))
        time.sleep(0.05)
        start = time.monotonic()
        for client in gone:
            client.reset()
        heirs = [server.connect() for _ in range(count)]
        while time.monotonic() - start < 0.35:
            for client in heirs:
                client.expect_silence(0.01)
        for client in heirs:
            client.send(ROUND[protocol][0])
        for client in heirs:
            client.expect(ROUND[protocol][1])
            client.close()
