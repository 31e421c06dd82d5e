"""Figures of a server that a quiet and a noisy host repeat exactly: what `python3 -m bench gate` judges a change by.

Four kinds, all as slopes over request or connection counts, so that start-up and end cancel:

- calls: system calls per request by name, in lock-step under strace (bench/lockstep.py);
- allocations: what a request asks of the allocator, counted in the same process (bench/tools/preload/count_alloc.c);
- memory: bytes per idle connection: the allocator's own, and pages that only the server has written;
- instructions: user-mode instructions per request, by valgrind's callgrind (bench/callgrind.py).

The first two are read after N, 2 N and 3 N requests.  Where the two differences agree, the figure is that number; where
they do not, time decides it (which of two threads took a lock first), and it is kept as a pair: shown, never judged.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import callgrind, idle_memory, lockstep, paths, serve
from bench.arms import Arm
from bench.errors import BenchError
from bench.measure import Bed

KINDS = ("calls", "allocations", "memory", "instructions")
REQUESTS = 16  # in a window
SLOW_REQUESTS = 6  # where each waits for a timer
CASES = {case.name: case for case in lockstep.CASES}
SLOW = ("delay",)
INSTRUCTION_CASES = ("echo", "http")
FEW, MANY = 100, 500  # idle connections
MARK = 0x636F756E74616C31
LAYOUT = struct.Struct("=8Q")  # struct counts of count_alloc.c
NAMES = ("malloc", "calloc", "realloc", "memalign", "free")

Value = float | list[float]  # a pair: the least and the most of what was seen
Figures = dict[str, dict[str, dict[str, Value]]]  # kind, case, name


@dataclass(frozen=True)
class Found:
    """One model's figures, and in words what could not be counted."""

    figures: Figures
    notes: tuple[str, ...] = ()


def cases_of(arm: Arm) -> list[lockstep.Case]:
    return [c for c in lockstep.CASES if c.protocol in arm.protocols and set(c.options) <= set(arm.options)]


def measure(arm: Arm, kinds: tuple[str, ...], bed: Bed, cases: tuple[str, ...] | None = None) -> Found:
    """Every kind of figure over every case that the arm can serve; raises serve.Unavailable where it cannot run."""
    figures: Figures = {kind: {} for kind in kinds}
    notes: list[str] = []
    wanted = [case for case in cases_of(arm) if cases is None or case.name in cases]
    restless = False
    if {"calls", "allocations"} & set(kinds):
        for case in wanted:
            calls, allocations, never_slept = per_request(arm, case, bed, restless)
            restless = restless or never_slept
            for kind, found in (("calls", calls), ("allocations", allocations)):
                if kind in kinds and found is not None:
                    figures[kind][case.name] = found
    if "memory" in kinds and any(case.name == "echo" for case in wanted):
        memory = per_connection(arm, bed, restless)
        if memory:
            figures["memory"]["echo"] = memory
    if "instructions" in kinds:
        asked = [case for case in wanted if case.name in INSTRUCTION_CASES]
        figures["instructions"], said = instructions(arm, asked, restless, bed)
        notes += said
    return Found(figures, tuple(notes))


# --- per request ------------------------------------------------------------------------------------------------------


def per_request(
    arm: Arm, case: lockstep.Case, bed: Bed, restless: bool = False
) -> tuple[dict[str, Value], dict[str, Value] | None, bool]:
    """Calls by name, allocations by name (None where no allocator could be watched), and whether it never sleeps.

    A server that is known never to sleep is not waited for.
    """
    requests = SLOW_REQUESTS if case.name in SLOW else REQUESTS
    with counted(arm) as (environment, allocations):
        traced = lockstep.traced(arm, case, bed.placement.server, bed.undertaker, environment)
        with traced as (target, pids, so_far):
            client = lockstep.Client(target, pids, case)
            client.quiet.restless = restless
            looks = []
            with client:
                for _ in range(3):
                    client.converse(requests)
                    looks.append((so_far(), allocations()))
    calls = windows([look[0] for look in looks], requests)
    if looks[0][1] is None:
        return calls, None, client.quiet.restless
    return calls, windows([look[1] for look in looks], requests, keep=True), client.quiet.restless


def windows(totals: list[dict[str, int]], requests: int, keep: bool = False) -> dict[str, Value]:
    """Name -> its share of a request, or the least and the most of the windows' shares; zeros stay with `keep`."""
    found: dict[str, Value] = {}
    for name in sorted(totals[-1]):
        shares = [(after[name] - before[name]) / requests for before, after in zip(totals, totals[1:])]
        if any(shares) or keep:
            found[name] = shares[0] if len(set(shares)) == 1 else [min(shares), max(shares)]
    return found


@contextmanager
def counted(arm: Arm) -> Iterator[tuple[dict[str, str], "AllocationReader"]]:
    """The environment in which a program's allocations are counted, and how to read them; no contender is touched."""
    library = paths.build_dir() / "preload" / "count_alloc.so"
    if arm.contender or not library.is_file():
        yield {}, lambda: None
        return
    with TemporaryDirectory(prefix="muxbench-") as folder:
        path = Path(folder, "allocations")
        path.write_bytes(bytes(LAYOUT.size))
        reader = AllocationReader(path)
        try:
            yield {"LD_PRELOAD": str(library), "MUXBENCH_ALLOCATIONS": str(path)}, reader
        finally:
            reader.close()


class AllocationReader:
    """Reads the counts that a running program shares; None from a program that has not taken the file up."""

    def __init__(self, path: Path):
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), LAYOUT.size)

    def __call__(self) -> dict[str, int] | None:
        mark, *counts, got, given_back = LAYOUT.unpack(self.map[:])
        return dict(zip(NAMES, counts)) | {"bytes kept": got - given_back} if mark == MARK else None

    def close(self) -> None:
        self.map.close()


def instructions(
    arm: Arm, cases: list[lockstep.Case], restless: bool, bed: Bed
) -> tuple[dict[str, dict[str, Value]], list[str]]:
    """By case; and in words why there are none: valgrind does not know every call, and nothing can outwait a poll."""
    found: dict[str, dict[str, Value]] = {}
    for case in cases:
        try:
            value = None if restless else callgrind.per_request(arm, case, bed)
        except (serve.Unavailable, BenchError) as why:
            return found, [f"{arm.name}: its instructions are not counted: under valgrind it says: {why}"]
        if value is None:
            return found, [
                f"{arm.name}: never sleeps: its instructions are as many as time allows, and are not counted"
            ]
        found[case.name] = {"user": value}
    return found, []


# --- per idle connection ----------------------------------------------------------------------------------------------


def per_connection(arm: Arm, bed: Bed, restless: bool = False) -> dict[str, Value] | None:
    """Bytes of user memory for each further idle connection; None for a model that serves too few at once.

    `allocated` is the allocator's own count, exact to the byte.  `private dirty` is what /proc/PID/smaps_rollup says of
    pages that only the server has written: stacks and mapped rings are in it, and it moves by whole pages, so it is
    judged with PAGE_TOLERANCE (bench/ratchet.py).
    """
    if arm.clients_at_once is not None and arm.clients_at_once < MANY:
        return None
    with counted(arm) as (environment, allocations):
        argv = [*with_environment(environment), *serve.launch(arm, "echo", {}).argv]
        with idle_memory.crowded(arm, argv, bed) as (server, target, crowd):
            quiet = lockstep.Quiet(lambda: serve.group_of(server))
            quiet.restless = restless
            seen = []
            for count in (FEW, MANY):
                while len(crowd) < count:  # one by one: what many at once would need depends on who was how fast
                    idle_memory.join(crowd, target, len(crowd) + 1)
                quiet.wait()
                dirty = sum(idle_memory.smaps(pid).get("Private_Dirty", 0) for pid in serve.group_of(server))
                seen.append({"private dirty": dirty} | allocated(allocations()))
    return {name: round((seen[1][name] - seen[0][name]) / (MANY - FEW), 2) for name in seen[0]}


def allocated(counts: dict[str, int] | None) -> dict[str, int]:
    return {} if counts is None else {"allocated": counts["bytes kept"]}


def with_environment(environment: dict[str, str]) -> list[str]:
    """A command's first words: env(1) becomes the program that it starts, and so keeps the process id."""
    return ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
