"""Carries out a plan: sample after sample into samples.jsonl, and leaves nothing running."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from bench import aside, blocks, host, netns, paths, relative
from bench.arms import Arm
from bench.errors import BenchError
from bench.measure import Bed, measure
from bench.placement import Placement
from bench.plan import Plan, Sample
from bench.progress import Progress
from bench.records import SCHEMA, Appender, append_line, read_samples

CHANCES = 2


def pending(plan: Plan, folder: Path) -> list[Sample]:
    """The samples of the plan that have no record yet."""
    done = {record["id"] for record in read_samples(folder)}
    return [sample for sample in plan.samples if sample.id not in done]


def carry_out(plan: Plan, folder: Path, bed: Bed, progress: Progress) -> None:
    """Measures what is pending; raises Interrupted when a signal ends it, BenchError when records cannot be kept."""
    session = Session()
    arms = {name: Arm(**told) for name, told in plan.arms.items()}
    appender = Appender(folder)  # before all else: a folder that cannot be written fails before the first server
    try:
        due = pending(plan, folder)
        resume = f"go on with: python3 -m bench resume {paths.shown(folder)}"
        with out_of_the_way(bed.placement.bench), host.Stop(
            resume
        ) as stop, buried() as undertaker, ExitStack() as joined:
            bed = replace(bed, undertaker=undertaker, stop=stop, apart=joined.enter_context(apart(due, bed.placement)))
            files = joined.enter_context(blocks.made(due, folder, bed.loadgen, undertaker, stop))
            bed = replace(bed, files=files)
            progress.start(plan, len(plan.samples) - len(due))
            capacity = [record for record in read_samples(folder) if record["role"] == "capacity"]
            for sample in due:
                stop.check()
                progress.begin(sample)
                arm = arms.get(f"{sample.experiment}:{sample.arm}") or arms[sample.arm]
                record = measure_well(sample, arm, bed, plan.experiments.get(sample.experiment, {}), capacity)
                appender.add(record)
                session.add(record)
                progress.end(record)
                capacity += [record] * (sample.role == "capacity")
    finally:
        progress.close()
        appender.close()
        if session.samples:
            append_line(folder / "sessions.jsonl", session.as_record())


class Session:
    """One sitting at a run: how long it took, and how much of that was spent in measured windows."""

    def __init__(self) -> None:
        self.started, self.begun = datetime.now(timezone.utc), time.monotonic_ns()
        self.samples = self.windows_ns = 0

    def add(self, record: dict) -> None:
        self.samples += 1
        self.windows_ns += (record["load"] or {}).get("window_ns") or 0

    def as_record(self) -> dict:
        wall_ns = time.monotonic_ns() - self.begun
        return {
            "schema": SCHEMA,
            "started": self.started.isoformat(timespec="milliseconds"),
            "samples": self.samples,
            "wall_ns": wall_ns,
            "windows_ns": self.windows_ns,
            "overhead": round(1 - self.windows_ns / wall_ns, 4),
        }


def measure_well(sample: Sample, arm: Arm, bed: Bed, experiment: dict, capacity: list[dict]) -> dict:
    """A sample at its rate, once more where the instrument broke its own rules, as it does when the host is taken away.

    That says nothing about the server, so no figure is chosen by it; the record keeps what was discarded and why.
    """
    discarded: list[str] = []
    sample, told = relative.resolve(sample, experiment, capacity)
    sample = blocks.resolved(sample, bed.files)
    while True:
        record = (aside.measure if sample.role in aside.ROLES else measure)(sample, arm, bed) | {"relative_rate": told}
        if record["status"] != "invalid" or len(discarded) == CHANCES - 1:
            return record | {"discarded": discarded}
        discarded.append(record["why"])
        if bed.stop:
            bed.stop.check()


def apart(due: list[Sample], placement: Placement) -> AbstractContextManager:
    """The namespaces of a run that has samples for them."""
    wanted = any(sample.topology == "netns" for sample in due)
    return netns.topology(placement.server, placement.client) if wanted else nullcontext()


@contextmanager
def buried() -> Iterator[host.Undertaker]:
    undertaker = host.Undertaker()
    try:
        yield undertaker
    finally:
        undertaker.close()


@contextmanager
def out_of_the_way(cpus: tuple[int, ...]) -> Iterator[None]:
    """Keeps the runner itself off the server's CPUs for the length of a run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def alone(together: bool) -> Iterator[bool]:
    """Holds this host's bench for itself; whether that succeeded.

    An abstract Unix socket is the lock: the kernel drops it with its holder, even on kill -9.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with lock:
        try:
            lock.bind(
                "\0" + os.environ.get("MUXBENCH_LOCK", "muxbench")
            )  # the variable is for tests, which run side by side
            held = True
        except OSError:
            held = False
        if not held and not together:
            raise BenchError(
                "another bench runs on this host, and two would disturb each other; wait for it, or add --together"
            )
        yield held
