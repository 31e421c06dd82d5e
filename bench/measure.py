"""One sample: a fresh server, one measured window, one record.

measure() never raises for what a server or the load generator does wrong: it
returns a failed record with their last words, and the run goes on.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from subprocess import SubprocessError

from bench import host, netns, plan, records, serve, telemetry, witnesses
from bench.arms import Arm
from bench.placement import Placement
from bench.plan import Sample
from bench.serve import Failed, Unavailable, how_ended
from bench.units import format_cpus, parse_time_ns

LOOKS = 4  # at the server's threads in the time of a window
SLACK_S = 20.0  # what the load generator may take beyond its windows: connecting thousands, draining


@dataclass(frozen=True)
class Bed:
    """What all samples of a run share."""

    loadgen: str
    placement: Placement
    undertaker: host.Undertaker | None = None
    stop: host.Stop | None = None
    loops_per_us: int | None = None
    seed: int = 1
    files: dict[int, str] = field(default_factory=dict)  # blocks -> path of a file for /file/N
    apart: netns.Topology | None = None  # for the samples whose topology is netns
    count_threads: bool = False  # under load, for who asks for it: a few looks at /proc

    def entering(self, sample: Sample, side: str) -> Callable[[], None] | None:
        """How a process of this side gets into its network namespace; None over loopback."""
        if sample.topology != "netns":
            return None
        fd = self.apart.server_fd if side == "server" else self.apart.client_fd
        return lambda: netns.enter(fd)


def measure(sample: Sample, arm: Arm, bed: Bed) -> dict:
    """Runs one sample and returns its record."""
    begun, offset = time.monotonic_ns(), wall_offset_ns()
    record = blank(sample, bed)
    if isinstance(sample.options.get("rate"), str):
        why = "its rate is a share of a capacity that no good sample showed"
        return record | {"status": "invalid", "why": why, "elapsed_ns": 0}
    bind = netns.SERVER if sample.topology == "netns" else None
    launch = serve.launch(arm, sample.options["protocol"], sample.server, bed.loops_per_us, bind)
    record["server"]["argv"] = launch.argv
    try:
        server = host.Child(launch.argv, bed.placement.server, bed.undertaker, bed.entering(sample, "server"))
    except (OSError, SubprocessError) as error:
        return record | {"why": f"the server could not be started: {error}", "elapsed_ns": time.monotonic_ns() - begun}
    try:
        run_window(record, server, launch, arm, sample, bed)
        record["status"] = "ok" if record["load"].get("valid", True) else "invalid"
        record["why"] = None if record["status"] == "ok" else "; ".join(map(str, record["load"].get("reasons", [])))
    except Unavailable as reason:
        record["status"], record["why"] = "unavailable", str(reason)
    except Failed as failure:
        record["why"] = str(failure)
        record["last_words"] = server.last_words() or None
    finally:
        server.close()
    record["server"] |= usage_of(server)
    record["clock_step_ns"] = wall_offset_ns() - offset
    record["elapsed_ns"] = time.monotonic_ns() - begun
    return record


def blank(sample: Sample, bed: Bed) -> dict:
    """The record of a sample of which nothing is known yet: failed, and nobody knows why."""
    return {
        "schema": records.SCHEMA,
        "id": sample.id,
        "experiment": sample.experiment,
        "cell": sample.cell,
        "block": sample.block,
        "arm": sample.arm,
        "role": sample.role,
        "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "status": "failed",
        "why": None,
        "last_words": None,
        "options": sample.options,
        "placement": bed.placement.as_record(),
        "topology": bed.apart.as_record() if sample.topology == "netns" else {"kind": "loopback"},
        "server": {},
        "load": None,
        "clock_step_ns": None,
    }


def wall_offset_ns() -> int:
    """The wall clock over the monotonic one, by which everything is measured: what changes when somebody sets the clock."""
    return time.time_ns() - time.monotonic_ns()


def run_window(record: dict, server: host.Child, launch: serve.Launch, arm: Arm, sample: Sample, bed: Bed) -> None:
    """Ready, load, stop; fills the record as it goes."""
    begun = time.monotonic_ns()
    target = serve.wait_for(server, launch, arm, bed.stop)
    pids = serve.group_of(server.pid)
    record["server"] |= {
        "pids": pids, "ready_ns": time.monotonic_ns() - begun, "rss_fresh_kib": host.memory_kib(server.pid)
    }
    faults = host.reaped_faults(server.pid)
    network = Path(f"/proc/{server.pid}")  # its namespace's counters
    before = telemetry.snapshot(network=network)
    if witnesses.is_one(sample.options):
        cpus, enter = bed.placement.client, bed.entering(sample, "client")
        where = target.replace("127.0.0.1", netns.SERVER) if enter else target
        both = (*bed.placement.server, *cpus)
        scene = witnesses.Scene(server, pids, where, cpus, both, bed.undertaker, bed.stop, enter)
        record["load"] = witnesses.drive(sample.options, scene)
        record["loadgen"] = {"argv": record["load"].pop("argv")}
        record["server"] |= memory_of(server)
    else:
        argv = loadgen_argv(sample, target, pids, bed)
        record["loadgen"] = {"argv": argv}
        try:
            loadgen = host.Child(argv, bed.placement.client, bed.undertaker, bed.entering(sample, "client"))
        except (OSError, SubprocessError) as error:
            raise Failed(f"the load generator could not be started: {error}") from None
        try:
            if bed.count_threads:
                record["server"]["threads_loaded"] = most_threads(loadgen, server, pids, sample, bed)
            record["load"] = drive(loadgen, server, sample, bed.stop)
            record["server"] |= memory_of(server)
        finally:
            loadgen.close()
    record["telemetry"] = telemetry.between(before, telemetry.snapshot(network=network))
    record["server"]["forked"] = serve.forked(server.pid, pids, faults)
    stopped = server.stop()
    record["server"]["report"] = serve.counters(server)
    if not stopped:
        raise Failed("the server did not end within 5 s of SIGTERM and was killed")
    if server.status != 0 and not arm.contender:  # what others return on SIGTERM is their affair
        raise Failed(f"after SIGTERM the server {how_ended(server.status)}")


def memory_of(server: host.Child) -> dict:
    return {"rss_loaded_kib": host.memory_kib(server.pid), "peak_rss_kib": host.memory_kib(server.pid, "VmHWM")}


def most_threads(loadgen: host.Child, server: host.Child, pids: list[int], sample: Sample, bed: Bed) -> int | None:
    """The most threads that these processes had at any of a few looks while the load lasted; None if one was gone.

    Several looks, for nobody knows when on a busy host all connections stand.
    """
    duration_s = parse_time_ns(sample.options["duration"]) / 1e9
    end = time.monotonic() + plan.expected_s(sample) + SLACK_S
    most = 0
    while time.monotonic() < end and not host.wait_any([loadgen, server], duration_s / LOOKS, bed.stop):
        found = [host.memory_kib(pid, "Threads") for pid in pids]
        if None in found:
            return None
        most = max(most, sum(found))
    return most or None


def drive(loadgen: host.Child, server: host.Child, sample: Sample, stop: host.Stop | None) -> dict:
    """Waits for the load generator, but not beyond the server's life; its JSON document."""
    windows = (parse_time_ns(sample.options["warmup"]) + parse_time_ns(sample.options["duration"])) / 1e9
    ended = host.wait_any([loadgen, server], windows + SLACK_S, stop)
    if server.ended():
        raise Failed(f"the server {how_ended(server.status)} under load")
    if loadgen not in ended:
        raise Failed(f"the load generator did not end within {windows + SLACK_S:.0f} s")
    loadgen.ended()
    try:
        told = json.loads(loadgen.stdout(), parse_constant=lambda name: None)
        if not isinstance(told, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise Failed(
            f"the load generator {how_ended(loadgen.status)} without JSON ({error}): {loadgen.last_words()}"
        ) from None
    if loadgen.status not in (0, 3):
        reasons = "; ".join(map(str, told.get("reasons", []))) or loadgen.last_words()
        raise Failed(f"the load generator {how_ended(loadgen.status)}: {reasons}")
    return told


def usage_of(server: host.Child) -> dict:
    """What the kernel charged the whole process, from start to end; wait4(2)."""
    usage = server.usage
    return {
        "exit": server.status,
        "life": {
            "user_s": usage.ru_utime,
            "system_s": usage.ru_stime,
            "minor_faults": usage.ru_minflt,
            "major_faults": usage.ru_majflt,
            "voluntary_switches": usage.ru_nvcsw,
            "involuntary_switches": usage.ru_nivcsw,
        },
    }


def loadgen_argv(sample: Sample, target: str, pids: list[int], bed: Bed) -> list[str]:
    if sample.topology == "netns":
        target = target.replace("127.0.0.1", netns.SERVER)
    argv = [bed.loadgen, "--target", target]
    for name, value in sample.options.items():
        if name == "sources" and sample.topology == "netns":
            continue  # one address, with all ports there are
        argv += as_words(name, value, pids)
    argv += ["--cpus", format_cpus(bed.placement.client), "--seed", str(bed.seed + sample.block)]
    for pid in pids:
        argv += ["--watch", str(pid)]
    return argv + ["--json", "-"]


def as_words(name: str, value: object, pids: list[int]) -> list[str]:
    """One load option of an experiment as build/loadgen takes it."""
    if name == "pause":
        return [word for pid in pids for word in ("--pause", f"{pid}@{value}")]
    if name == "classes":
        return [word for one in value for word in ("--class", one)]
    if name == "populations":
        return [
            word
            for population, options in value.items()
            for word in ("--population", f"{population}: " + " ".join(w for o in options.items() for w in as_words(*o, pids)))
        ]
    return ["--" + name.replace("_", "-"), str(value)]
