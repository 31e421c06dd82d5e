"""Many connections: a thousand at once, twenty thousand in a row, and more than there are descriptors."""
from __future__ import annotations

import random
import resource
from typing import Callable

import pytest

from harness import proc
from harness.client import Client, body, get, reply
from harness.frames import Frame
from harness.model import Model
from harness.rounds import ROUND, expect_quiet, others_must_wait, round_trip
from harness.server import Server


def need_descriptors(count: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < count + 200:
        pytest.skip(f"needs {count + 200} descriptors, this host's hard limit is {limit} (ulimit -Hn)")


OWN_KIB = (128, 64, 16)  # what an idle connection may cost that has a process, a thread, or only a stack of its own


def of_their_own(server: Server) -> tuple[int, int, int]:
    """Processes, threads and mapped ranges of a server: what each connection may have one of."""
    return len(proc.family(server.pid)), proc.user_threads(server.pid), proc.mappings(server.pid)


@pytest.mark.below
@pytest.mark.speaks("echo", "http", "frame")
def test_what_an_idle_connection_costs(model: Model, protocol: str, serve) -> None:
    """Each has had its reply and waits for its next request. Where connections share the threads there are, one
    costs at most 512 bytes; where each has a stack, a thread or a process of its own, as /proc shows, it costs that,
    which is what `coroutine`, `thread_per_conn` and `fork_per_conn` teach."""
    count = 1000
    need_descriptors(count)
    server = serve(protocol)
    warm = [server.connect() for _ in range(model.at_once(50))]
    for client in warm * 10:  # touches every buffer of a ring once
        round_trip(client, protocol)
    if model.at_once(count) < count:
        return others_must_wait(server, protocol).close()  # there is never one more
    memory, parts = proc.rss_kib(server.pid), of_their_own(server)
    for _ in range(count):
        round_trip(server.connect(), protocol)
    grown = proc.rss_kib(server.pid) - memory
    each = next((kib for kib, before, now in zip(OWN_KIB, parts, of_their_own(server)) if now - before >= count), 0.5)
    bound = (count * each + 256) * (32 if model.sanitizer else 1)  # ThreadSanitizer alone keeps a megabyte for a thread
    assert grown <= bound, f"{count} idle connections took {grown} KiB, the bound is {bound:.0f} KiB"


@pytest.mark.wire
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


@pytest.mark.below
@pytest.mark.wire
def test_1100_connections_at_once(model: Model, protocol: str, serve) -> None:
    """More than FD_SETSIZE: each client gets its own reply, in any order of asking, though (where one process holds
    them all) its descriptor is beyond 1,023. Fewer at once: the others wait in the backlog, and are served one by one as
    those before them leave."""
    count = 1100
    need_descriptors(count)
    server = serve(protocol)
    clients = [server.connect() for _ in range(count)]
    in_turn = model.at_once(count) < count
    if not in_turn:
        if not model.foreign:  # whose connections may be another process's
            proc.eventually(lambda: proc.sockets(server.pid) > count, "all are accepted", 30)
        random.Random(5).shuffle(clients)
    for turn in range(1 if in_turn else 2):
        for i, client in enumerate(clients):
            client.send(numbered(protocol, i, turn)[0])
            if in_turn:
                client.expect(numbered(protocol, i, turn)[1])
                client.close()
        for i, client in enumerate(clients if not in_turn else []):
            client.expect(numbered(protocol, i, turn)[1])
        if protocol == "greet":
            break  # a connection greets once
    stats = server.stop()  # with all of them still there
    assert stats["accepted"] == count
    assert stats["peak_connections"] in range(1 if in_turn else count, count + 1)


def numbered(protocol: str, i: int, turn: int) -> tuple[bytes, bytes]:
    """A request that nobody else makes, and its reply."""
    name = f"client {i}, turn {turn}".encode()
    if protocol == "echo":
        return name, name
    if protocol == "greet":
        return name + b"\n", b"Hello " + name + b"\n"
    if protocol == "frame":
        frame = Frame(reply=len(name), payload=name, id=i << 8 | turn)
        return frame.request, frame.answer
    return get(f"/bytes/{i + turn}"), reply(body(i + turn))


@pytest.mark.below
def test_out_of_descriptors_and_back(model: Model, protocol: str, serve) -> None:
    """A limit of 64 files and 120 clients: those inside are served, the server does not spin over those outside,
    and every one of them is served as soon as others close. A server none of whose processes comes near the limit, as
    it serves few at once or has a process for each, serves as many as it ever does."""
    count, limit = 120, 64
    server = serve(protocol, nofile=limit)
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.send(ROUND[protocol][0])
    first, waiting = clients[0], clients[1:]
    first.expect(ROUND[protocol][1])
    expect_quiet(server, "with clients waiting for a descriptor")
    ran_out = proc.most_fds(server.pid) >= limit - 1
    inside = [c for c in clients[1:] if c.readable(0)]
    if ran_out:
        assert 20 <= len(inside) + 1 < limit, f"{len(inside) + 1} clients inside a limit of {limit} files"
    else:
        assert len(inside) + 1 >= model.at_once(count), f"{len(inside) + 1} clients served, and descriptors left"
    waiting = inside + [c for c in clients[1:] if c not in inside]
    first.close()
    for client in waiting:  # each that is done makes room for another
        client.expect(ROUND[protocol][1])
        client.close()
    errors = server.stop()["errors"]
    assert set(errors) <= {"EMFILE"}, errors
    assert not ran_out or errors.get("EMFILE", 0) >= 1, f"running out of descriptors was not counted: {errors}"


@pytest.mark.below
def test_out_of_descriptors_without_a_client_to_wait_for(model: Model, protocol: str, serve) -> None:
    """The limit is used up by something else than clients, so no close will ever end the wait. The server does not
    spin, and serves when there is room again. One that blocks in accept(2) has its descriptor already: the kernel
    reserves it before it waits, and the client is served under the old limit."""
    server = serve(protocol)
    members = proc.family(server.pid)
    used = 1 + max(fd for _, fd in proc.fds(server.pid))
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    for member in members:
        resource.prlimit(member, resource.RLIMIT_NOFILE, (used, before[1]))
    client = server.connect()
    client.send(ROUND[protocol][0])
    reserved = client.readable(2)
    expect_quiet(server, "with no descriptor left")
    for member in members:
        resource.prlimit(member, resource.RLIMIT_NOFILE, before)
    client.expect(ROUND[protocol][1])
    client.close()
    assert reserved or server.stop()["errors"].get("EMFILE", 0) >= 1


def churn(server: Server, protocol: str, count: int) -> None:
    """Connections that end in every way: after a reply, before one, by reset, half-way through a request. Every now
    and then until the server has closed them all: how many it has yet to close is memory, but no leak."""
    request, answer = ROUND[protocol]
    before = len(proc.fds(server.pid))
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
        if i % 50 == 0:
            proc.eventually(lambda: len(proc.fds(server.pid)) == before, "those that left are closed")


def settled(server: Server, before: dict[tuple[int, int], str]) -> Callable[[], bool]:
    return lambda: len(proc.fds(server.pid)) == len(before)


@pytest.mark.below
def test_no_leak_over_20000_connections(model: Model, protocol: str, serve, scale) -> None:
    """Descriptors: exactly as many as before. Memory: what 2,000 connections touch may not grow by more than 256
    KiB over 18,000 more, which is 15 bytes a connection; each thread beyond the first has an allocator's cache of
    its own to fill."""
    server = serve(protocol)
    before = proc.fds(server.pid)
    churn(server, protocol, scale(2000))
    proc.eventually(settled(server, before), "as many descriptors as at the start")
    memory = proc.rss_kib(server.pid)
    churn(server, protocol, scale(18_000))
    proc.eventually(settled(server, before), "as many descriptors as at the start")
    growth = proc.rss_kib(server.pid) - memory
    # A sanitizer keeps freed blocks (ASan, whose leak check at exit is exact instead) or a history (TSan).
    allowed = {None: 256, "asan": 4096, "tsan": 1 << 20}[model.sanitizer] + 32 * (proc.user_threads(server.pid) - 1)
    assert growth <= allowed, f"{growth} KiB more after {scale(18_000)} connections"
    assert server.stop()["accepted"] == scale(2000) + scale(18_000)
