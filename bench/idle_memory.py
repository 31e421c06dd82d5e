"""What a silent connection costs in memory: the server's own, and the kernel's beside it.

User memory is the difference of the server's proportional set size (Pss of /proc/PID/smaps_rollup, over all its
processes) between few and many idle connections, divided by how many more there are: whatever the allocator keeps for
itself is in it.  The kernel's share is the difference of what the whole host has in slabs, kernel stacks and page
tables (/proc/meminfo), and so rough where other programs run; it holds both ends of each connection, for the client
lives on the same host.  Each connection has had one reply, so that no buffer is counted as idle before its first use.
"""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import host, serve
from bench.arms import FDS_ASIDE, Arm
from bench.errors import BenchError
from bench.measure import Bed

FEW, MANY = 1000, 9000
MANY_PROCESSES = 1000  # a process for each connection: more would measure the host's patience
TELLING = 500  # more connections: with fewer, the whole host's memory says nothing about them
KERNEL = ("Slab", "KernelStack", "PageTables")
SETTLE_S = 0.3
PATIENCE_S = 30.0
REQUEST = b"x" * 64
BATCH = 100  # together, so that a model that looks at every connection in every wait does so once for all of them


def steps(arm: Arm, fd_limit: int) -> tuple[int, int] | None:
    """How many connections to compare; None for a model that serves too few at once to tell."""
    most = min(MANY, fd_limit - FDS_ASIDE, arm.clients_at_once or MANY)
    if most < 2:
        return None
    return (FEW, most) if most > 2 * FEW else (max(1, most // 10), most)


def measure(arm: Arm, bed: Bed) -> dict:
    """One model: memory and tasks at both counts, and bytes per connection."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    counts = steps(arm, limit[1])
    record = {"kind": "idle_memory", "model": arm.name}
    if not counts:
        return record | {"why": f"serves {arm.clients_at_once} client at a time"}
    try:
        with crowded(arm, serve.launch(arm, "echo", {}).argv, bed) as (server, target, crowd):
            found = []
            for count in forking(counts, crowd, target, server):
                join(crowd, target, count)
                found.append(look(server, count))
            return record | {"at": found} | per_connection(found)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@contextmanager
def crowded(arm: Arm, argv: list[str], bed: Bed) -> Iterator[tuple[int, str, list[socket.socket]]]:
    """A server, by its process, that is ready: where it listens, and a list to be filled with connections to it.

    All of them end with it.  What goes wrong is told with the arm's name, the crowd's size and the server's last words.
    """
    server = host.Child(argv, bed.placement.server, bed.undertaker)
    crowd: list[socket.socket] = []
    try:
        yield server.pid, serve.wait_ready(server), crowd
    except serve.Failed as why:
        raise BenchError(f"{arm.name}: {why}: {server.last_words()}") from None
    except OSError as error:
        raise BenchError(f"{arm.name} with {len(crowd)} idle connections: {error}: {server.last_words()}") from None
    finally:
        for client in crowd:
            client.close()
        server.close()


def forking(counts: tuple[int, int], crowd: list[socket.socket], target: str, server: int) -> tuple[int, int]:
    """The counts, or fewer for a server that starts a process for each connection: two tell."""
    before = len(serve.group_of(server))
    join(crowd, target, min(2, counts[0]))
    if len(serve.group_of(server)) < before + 2:
        return counts
    most = min(MANY_PROCESSES, counts[1])
    return most // 10, most


def join(crowd: list[socket.socket], target: str, count: int) -> None:
    """Connects until there are that many; each has had a reply."""
    address, _, port = target.rpartition(":")
    while len(crowd) < count:
        new = [
            socket.create_connection((address, int(port)), timeout=PATIENCE_S)
            for _ in range(min(BATCH, count - len(crowd)))
        ]
        crowd += new
        for client in new:
            client.sendall(REQUEST)
        for client in new:
            if len(client.recv(len(REQUEST), socket.MSG_WAITALL)) < len(REQUEST):
                raise ConnectionError("the server closed a connection")


def look(server: int, connections: int) -> dict:
    time.sleep(SETTLE_S)
    pids = serve.group_of(server)
    return {
        "connections": connections,
        "processes": len(pids),
        "tasks": sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
        "user_bytes": {field: sum(smaps(pid).get(field, 0) for pid in pids) for field in ("Pss", "Private_Dirty")},
        "kernel_bytes": {field: kib * 1024 for field, kib in fields("/proc/meminfo").items() if field in KERNEL},
        "slabs": slabs(),
    }


def fields(path: str) -> dict[str, int]:
    """`Name: 12 kB` lines."""
    rows = (line.split() for line in Path(path).read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) == 3 and row[2] == "kB"}


def smaps(pid: int) -> dict[str, int]:
    return {name: kib * 1024 for name, kib in fields(f"/proc/{pid}/smaps_rollup").items()}


def slabs() -> dict[str, int] | None:
    """Bytes in use in each slab cache; None where that is root's to read (slabinfo(5))."""
    try:
        rows = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    except OSError:
        return None
    return {row[0]: int(row[1]) * int(row[3]) for row in rows}


def per_connection(found: list[dict]) -> dict:
    few, many = found
    more = many["connections"] - few["connections"]
    if more <= 0:
        raise BenchError(f"{few['connections']} and {many['connections']} connections cannot be compared")
    kernel = sum(many["kernel_bytes"].values()) - sum(few["kernel_bytes"].values())
    caches = {}
    if few["slabs"] and many["slabs"] and more >= TELLING:
        caches = {name: round((many["slabs"][name] - few["slabs"].get(name, 0)) / more) for name in many["slabs"]}
    return {
        "user_bytes_per_idle_conn": round((many["user_bytes"]["Pss"] - few["user_bytes"]["Pss"]) / more),
        "kernel_bytes_per_idle_conn": round(kernel / more) if more >= TELLING else None,
        "tasks_per_idle_conn": round((many["tasks"] - few["tasks"]) / more, 2),
        "slab_bytes_per_idle_conn": {name: b for name, b in sorted(caches.items(), key=lambda c: -c[1]) if b >= 16},
    }
