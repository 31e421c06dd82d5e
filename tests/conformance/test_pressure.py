"""Slow readers, readers that never read, resets, crowds, and running out of descriptors."""
from __future__ import annotations

import random
import resource
import threading
import time
from typing import Callable

import pytest

from harness import proc
from harness.client import Client, body, difference, fill, get, pump, reply
from harness.model import DEFAULT_WORKERS, Model
from harness.server import Server

NOISE = random.Random(4).randbytes(10 << 20)
ROUND = {"echo": (b"ping", b"ping"), "greet": (b"Bob\n", b"Hello Bob\n"), "http": (get("/bytes/4"), reply(b"ABCD"))}
RING_KIB = 2048  # servers/io_uring.c: 64 buffers of 32 KiB
QUIET_SHARE = 0.05  # of its time: what a server that has nothing to do may be busy at most


def round_trip(client: Client, protocol: str) -> None:
    request, answer = ROUND[protocol]
    client.send(request)
    client.expect(answer)


def memory_bound_kib(server: Server) -> int:
    """What one connection may add: 64 KiB where the model asks for the bytes, and slack for what the first heavy use touches
    (stack, allocator). Where workers take turns, each has a receive buffer and spare blocks of its own, which the connection
    touches in passing. A completion model lends the kernel a ring of buffers and learns afterwards how much came: it may add
    the ring, and once more its size, which the kernel can deliver before the model stops it. Sanitizers add red zones and
    shadow. Never may it be the 10 MB themselves."""
    kernel_chooses = "anon_inode:[io_uring]" in proc.fds(server.pid).values()
    ring = 2 * RING_KIB if kernel_chooses else 0
    workers = 128 * DEFAULT_WORKERS if server.model.has("workers") else 0
    return min((64 + 512 + ring + workers) * (8 if server.model.sanitizer else 1), 9 << 10)


def others_make_progress(server: Server, protocol: str, rounds: int = 20) -> None:
    """Someone else is served while a scenario keeps a client in a bad state; greet takes a connection per round."""
    other = server.connect()
    for _ in range(rounds):
        round_trip(other, protocol)
        if protocol == "greet":
            other.expect_eof()
            other.close()
            other = server.connect()
    other.close()


def others_must_wait(server: Server, protocol: str) -> Client:
    """One client at a time: another one is not served, however long it asks. What `blocking` teaches."""
    other = server.connect()
    other.send(ROUND[protocol][0])
    other.expect_silence(0.3)
    return other


@pytest.mark.speaks("echo", "http")
def test_10_mb_to_a_slow_reader(model: Model, protocol: str, serve) -> None:
    """The server holds 64 KiB of it, not 10 MB, and others are served meanwhile."""
    server = serve(protocol)
    with server.connect() as warm:
        pump(warm, NOISE[:1 << 20] if protocol == "echo" else get("/bytes/1000000"))
    before = proc.rss_kib(server.pid)
    slow, result = server.connect(receive_buffer=65536), []
    request = NOISE if protocol == "echo" else get("/bytes/10485760")
    reader = threading.Thread(target=lambda: result.append(pump(slow, request, pause_s=0.004, chunk=32768)))
    reader.start()
    peak, others = watch_memory(model, server, protocol, reader)
    reader.join()
    expected = NOISE if protocol == "echo" else reply(body(10 << 20))
    assert result and result[0] == expected, difference(result[0] if result else b"", expected)
    if others:
        others.expect(ROUND[protocol][1])
    bound = memory_bound_kib(server)
    assert peak - before <= bound, f"the server grew by {peak - before} KiB over one slow reader, its bound is {bound} KiB"


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


@pytest.mark.speaks("echo", "http")
def test_a_hog_does_not_starve_others(model: Model, protocol: str, serve) -> None:
    """A client that keeps its connection full in both directions, as fast as it can, is one among others."""
    server, over = serve(protocol), threading.Event()
    data = NOISE[:1 << 18] if protocol == "echo" else get("/bytes/2000") * 100
    answer = len(data) if protocol == "echo" else 100 * len(reply(body(2000)))
    hog = server.connect()

    def eat() -> None:
        while not over.is_set():
            hog.send(data)
            assert len(hog.receive(answer)) == answer

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


@pytest.mark.speaks("echo", "http")
def test_what_an_idle_connection_costs(model: Model, protocol: str, serve) -> None:
    """Each has had its reply and waits for its next request. Where connections share the threads there are, one costs at most
    512 bytes; where each has a thread, it costs that thread's stack, which is what `thread_per_conn` teaches."""
    count = 1000
    need_descriptors(count)
    server = serve(protocol)
    warm = [server.connect() for _ in range(50 if not model.alone else 1)]
    for client in warm * 10:  # touches every buffer of a ring once
        round_trip(client, protocol)
    if model.alone:
        return others_must_wait(server, protocol).close()  # there is never a second one
    memory, threads = proc.rss_kib(server.pid), proc.user_threads(server.pid)
    for _ in range(count):
        round_trip(server.connect(), protocol)
    grown = proc.rss_kib(server.pid) - memory
    own_thread = proc.user_threads(server.pid) - threads >= count
    each = 64 if own_thread else 0.5
    bound = (count * each + 256) * (32 if model.sanitizer else 1)  # ThreadSanitizer alone keeps a megabyte for a thread
    assert grown <= bound, f"{count} idle connections took {grown} KiB, the bound is {bound:.0f} KiB"


@pytest.mark.speaks("echo", "http")
def test_a_client_that_never_reads(model: Model, protocol: str, serve) -> None:
    """The server stops taking its bytes, does not spin over it, and goes on with the others; and with it, when it reads."""
    server = serve(protocol)
    stuck = [server.connect(receive_buffer=4096) for _ in range(1 if model.alone else 4)]
    data = NOISE[:1 << 20] if protocol == "echo" else get("/bytes/2000")
    taken = [fill(client, data) for client in stuck]
    share = proc.busy_share(server.pid)
    assert share < QUIET_SHARE, f"the server is busy {share:.0%} of the time over clients that never read"
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


@pytest.mark.speaks("echo", "http")
def test_a_client_that_never_reads_and_leaves(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    before = proc.fds(server.pid)
    for leave in (Client.reset, Client.close, Client.reset):
        client = server.connect(receive_buffer=4096)
        fill(client, NOISE[:65536] if protocol == "echo" else get("/bytes/100000"), quiet_s=0.15)
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
    share = proc.busy_share(server.pid)
    assert share < QUIET_SHARE, f"the server is busy {share:.0%} of the time over paused clients"


@pytest.mark.speaks("greet", "http")
def test_finished_clients_that_linger_cost_no_cpu(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    client = server.connect()
    client.send(b"Bob\n" if protocol == "greet" else get("/", "Connection: close"))
    client.receive_all()
    share = proc.busy_share(server.pid)
    assert share < QUIET_SHARE, f"the server is busy {share:.0%} of the time over a client that has not closed yet"


@pytest.mark.speaks("greet", "http")
def test_a_reset_during_a_delay_and_the_reused_descriptor(model: Model, protocol: str, serve) -> None:
    """Clients leave with a reset while the server waits for them; their descriptors go to new clients, who must never get
    the old replies, neither at the old deadline nor later."""
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


def test_connect_and_leave(model: Model, protocol: str, serve, scale) -> None:
    """By FIN, by reset, in the middle of a request: the server serves on, and has closed all it accepted."""
    server = serve(protocol)
    before = proc.fds(server.pid)
    for i in range(scale(300)):
        client = server.connect()
        if i % 3 == 2:
            client.send(b"G")
        Client.reset(client) if i % 2 else client.close()
    round_trip(server.connect(), protocol)
    server.leave()
    proc.eventually(lambda: len(proc.fds(server.pid)) == len(before), "the descriptors of clients that left are closed")
    assert server.stop()["closed"] >= scale(300)


def need_descriptors(count: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < count + 200:
        pytest.skip(f"needs {count + 200} descriptors, this host's hard limit is {limit} (ulimit -Hn)")


def test_1100_connections_at_once(model: Model, protocol: str, serve) -> None:
    """More than FD_SETSIZE: descriptors beyond 1,023 work, each client gets its own reply, in any order of asking.
    One client at a time: they wait in the backlog, and are served one by one as those before them leave."""
    count = 1100
    need_descriptors(count)
    server = serve(protocol)
    clients = [server.connect() for _ in range(count)]
    if not model.alone:
        proc.eventually(lambda: max(proc.fds(server.pid)) > 1024, "a descriptor beyond 1,024 in the server", patience_s=30)
        random.Random(5).shuffle(clients)
    for turn in range(1 if model.alone else 2):
        for i, client in enumerate(clients):
            client.send(numbered(protocol, i, turn)[0])
            if model.alone:
                client.expect(numbered(protocol, i, turn)[1])
                client.close()
        for i, client in enumerate(clients if not model.alone else []):
            client.expect(numbered(protocol, i, turn)[1])
        if protocol == "greet":
            break  # a connection greets once
    stats = server.stop()  # with all of them still there
    assert stats["accepted"] == count
    assert stats["peak_connections"] >= (1 if model.alone else count)


def numbered(protocol: str, i: int, turn: int) -> tuple[bytes, bytes]:
    """A request that nobody else makes, and its reply."""
    name = f"client {i}, turn {turn}".encode()
    if protocol == "echo":
        return name, name
    if protocol == "greet":
        return name + b"\n", b"Hello " + name + b"\n"
    return get(f"/bytes/{i + turn}"), reply(body(i + turn))


def test_out_of_descriptors_and_back(model: Model, protocol: str, serve) -> None:
    """A limit of 64 files and 120 clients: those inside are served, the server does not spin over those outside, and
    every one of them is served as soon as others close. One client at a time never comes near the limit: all are served."""
    count = 120
    server = serve(protocol, nofile=64)
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.send(ROUND[protocol][0])
    first, waiting = clients[0], clients[1:]
    first.expect(ROUND[protocol][1])
    share = proc.busy_share(server.pid)
    assert share < QUIET_SHARE, f"the server is busy {share:.0%} of the time with clients waiting for a descriptor"
    if not model.alone:
        inside = [c for c in clients[1:] if c.readable(0)]
        assert 20 <= len(inside) + 1 < 64, f"{len(inside) + 1} clients inside a limit of 64 files"
        waiting = inside + [c for c in clients[1:] if c not in inside]
    first.close()
    for client in waiting:  # each that is done makes room for another
        client.expect(ROUND[protocol][1])
        client.close()
    errors = server.stop()["errors"]
    assert set(errors) <= {"EMFILE"}, errors
    if not model.alone:
        assert errors.get("EMFILE", 0) >= 1, f"running out of descriptors was not counted: {errors}"


def test_out_of_descriptors_without_a_client_to_wait_for(model: Model, protocol: str, serve) -> None:
    """The limit is used up by something else than clients, so no close will ever end the wait. The server does not spin, and
    serves when there is room again. One that blocks in accept(2) has its descriptor already: the kernel reserves it before it
    waits, and the client is served under the old limit."""
    server = serve(protocol)
    used = 1 + max(proc.fds(server.pid))
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    client = server.connect()
    client.send(ROUND[protocol][0])
    reserved = client.readable(0.3)
    share = proc.busy_share(server.pid)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    assert share < QUIET_SHARE, f"the server is busy {share:.0%} of the time with no descriptor left"
    client.expect(ROUND[protocol][1])
    client.close()
    assert reserved or server.stop()["errors"].get("EMFILE", 0) >= 1


def churn(server: Server, protocol: str, count: int) -> None:
    """Connections that end in every way: after a reply, before one, by reset, half-way through a request."""
    request, answer = ROUND[protocol]
    for i in range(count):
        client = Client(server.address)
        kind = i % 8 if i < count - 1 else 0  # the last is served: so all before it were accepted
        if kind < 5:
            client.send(request)
            client.expect(answer)
        elif kind == 5:
            client.send(request[:2])
        elif kind == 6:
            client.send(request)
        client.reset() if i % 2 else client.close()


def settled(server: Server, before: dict[int, str]) -> Callable[[], bool]:
    return lambda: len(proc.fds(server.pid)) == len(before)


def test_no_leak_over_20000_connections(model: Model, protocol: str, serve, scale) -> None:
    """Descriptors: exactly as many as before. Memory: what 2,000 connections touch may not grow by more than 256 KiB over
    18,000 more, which is 15 bytes a connection; each thread beyond the first has an allocator's cache of its own to fill."""
    server = serve(protocol)
    before = proc.fds(server.pid)
    churn(server, protocol, scale(2000))
    proc.eventually(settled(server, before), "as many descriptors as at the start")
    memory = proc.rss_kib(server.pid)
    churn(server, protocol, scale(18_000))
    proc.eventually(settled(server, before), "as many descriptors as at the start")
    growth = proc.rss_kib(server.pid) - memory
    # A sanitizer keeps freed blocks (ASan, whose leak check at exit is exact instead) or a history of every access (TSan).
    allowed = {None: 256, "asan": 4096, "tsan": 1 << 20}[model.sanitizer] + 32 * (proc.user_threads(server.pid) - 1)
    assert growth <= allowed, f"{growth} KiB more after {scale(18_000)} connections"
    assert server.stop()["accepted"] == scale(2000) + scale(18_000)
