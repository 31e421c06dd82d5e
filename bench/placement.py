"""Which CPUs the server and the client get: disjoint physical cores, chosen from the allowed set.

The server gets one logical CPU of one core: a model is compared on what its
waiting costs, and a threaded one on more CPUs than an event loop can use would
be compared on something else.  Siblings of a used core stay idle, for they
would share its execution units.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.units import format_cpus, parse_cpus


@dataclass(frozen=True)
class Placement:
    server: tuple[int, ...]
    client: tuple[int, ...]
    bench: tuple[int, ...]  # where the runner itself may be, between the windows
    shared: str | None = None  # why the two sides are not apart, where they cannot be

    def as_record(self) -> dict:
        return {"server": list(self.server), "client": list(self.client), "shared": self.shared}


def siblings_of(cpu: int) -> tuple[int, ...]:
    """The logical CPUs of this CPU's physical core, as the kernel tells it."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        return parse_cpus(text.strip())
    except (OSError, ValueError):
        return (cpu,)


def cores(allowed: Iterable[int], siblings: Callable[[int], tuple[int, ...]] = siblings_of) -> list[tuple[int, ...]]:
    """The allowed CPUs, grouped by physical core, lowest first."""
    usable = set(allowed)
    return sorted({tuple(sorted(set(siblings(cpu)) & usable)) for cpu in usable})


def place(
    allowed: Iterable[int] | None = None,
    siblings: Callable[[int], tuple[int, ...]] = siblings_of,
    server: str | None = None,
    client: str | None = None,
) -> Placement:
    """Two cores of the allowed set, or what --server-cpus and --client-cpus say.

    The server gets the last core: interrupts tend to land on the first.
    """
    usable = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    found = cores(usable, siblings)
    last, before = found[-1], found[-2] if len(found) > 1 else found[-1]
    server_cpus = chosen(server, usable, "--server-cpus") or last[:1]
    client_cpus = chosen(client, usable, "--client-cpus") or (before[:1] if len(found) > 1 else last[-1:])
    if server and not client:
        rest = [core for core in found if not set(core) & set(server_cpus)]
        client_cpus = rest[-1][:1] if rest else client_cpus
    apart = [cpu for cpu in usable if cpu not in server_cpus]
    return Placement(
        tuple(server_cpus), tuple(client_cpus), tuple(apart or usable), why_shared(server_cpus, client_cpus, siblings)
    )


def chosen(text: str | None, usable: list[int], option: str) -> tuple[int, ...]:
    if not text:
        return ()
    try:
        cpus = parse_cpus(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    outside = [cpu for cpu in cpus if cpu not in usable]
    if outside:
        raise UsageError(f"{option}: CPU {format_cpus(outside)} is not in the allowed set {format_cpus(usable)}")
    return cpus


def why_shared(server: Iterable[int], client: Iterable[int], siblings: Callable[[int], tuple[int, ...]]) -> str | None:
    if set(server) & set(client):
        return "server and client share a CPU: each figure contains both"
    if any(set(siblings(cpu)) & set(client) for cpu in server):
        return "server and client share a physical core: each slows the other"
    return None
