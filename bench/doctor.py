"""`python3 -m bench doctor`: is this host fit to measure on, what would it do to a result, and how is it mended?

Each check is a small function from what it found to a finding, so that a test
can hold any host before it.
"""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import env, experiment, hiccup, listing, records, resolution, stats
from bench.arms import model_names
from bench.placement import Placement, place
from bench.units import format_cpus

GOOD, MIND, BAD = "good", "mind", "bad"
WANTED_FDS = 8000 + 64 + 64  # the idle experiment, on either side


@dataclass(frozen=True)
class Finding:
    """What was found, what it does to a result, how to mend it."""

    what: str
    level: str
    found: str
    effect: str = ""
    mend: str = ""


def descriptors(hard: int) -> Finding:
    if hard >= WANTED_FDS:
        return Finding("descriptors", GOOD, f"hard limit {hard}")
    mend = f"raise the hard limit: ulimit -Hn {WANTED_FDS} as root, or LimitNOFILE="
    return Finding(
        "descriptors", MIND, f"hard limit {hard}", f"cells with more than {hard - 64} connections are left out", mend
    )


def ports(text: str | None) -> Finding:
    low, high = (int(word) for word in text.split()) if text else (0, 0)
    count = high - low + 1 if text else 0
    if count > 20_000:
        return Finding("ports", GOOD, f"{count} ephemeral ports")
    return Finding(
        "ports",
        MIND,
        f"{count} ephemeral ports",
        "connects fail or wait when they run out",
        "sysctl net.ipv4.ip_local_port_range='10000 65000'",
    )


def backlog(text: str | None) -> Finding:
    if text and int(text) >= 1024:
        return Finding("backlog", GOOD, f"net.core.somaxconn {text}")
    return Finding(
        "backlog",
        MIND,
        f"net.core.somaxconn {text}",
        "thousands of connects at once are dropped and retried after a second",
        "sysctl net.core.somaxconn=4096",
    )


def governor(text: str | None) -> Finding:
    if text in (None, "performance"):
        return Finding("governor", GOOD, text or "not visible here (a virtual machine, mostly)")
    return Finding(
        "governor",
        MIND,
        text,
        "the clock changes with load, and with it the CPU time of a request",
        "cpupower frequency-set -g performance",
    )


def placement(found: Placement) -> Finding:
    where = f"server on CPU {format_cpus(found.server)}, client on CPU {format_cpus(found.client)}"
    if found.shared:
        return Finding(
            "placement",
            BAD,
            where,
            found.shared,
            "use a host with two cores, or widen the allowed set (taskset, cpuset)",
        )
    return Finding("placement", GOOD, where)


def parallel(alone: float, together: float) -> Finding:
    """Whether the two CPUs slow each other: work per second of the server's CPU, alone and with the client's busy."""
    ratio = together / alone
    found = f"the server's CPU does {ratio:.0%} of its lone work while the client's is busy"
    if ratio >= 0.95:
        return Finding("parallel", GOOD, found)
    return Finding(
        "parallel",
        BAD if ratio < 0.8 else MIND,
        found,
        "the two CPUs share execution units or host time: figures depend on the client",
        "use other CPUs: --server-cpus, --client-cpus",
    )


def stolen(share: float) -> Finding:
    found = f"{share:.1%} of the time went to other guests of this host"
    if share < 0.005:
        return Finding("steal", GOOD, found)
    return Finding(
        "steal",
        BAD if share > 0.05 else MIND,
        found,
        "windows lose time at random: intervals widen, tails lie",
        "wait, or use a host with CPUs of its own",
    )


def hiccups(gaps_us: list[float], seconds: float) -> Finding:
    """Moments at which a spinning process was not running."""
    worst, lost = max(gaps_us, default=0.0), sum(gaps_us) / 1e6 / seconds
    found = f"{len(gaps_us)} gaps over 100 µs in {seconds:.1f} s, the longest {worst:.0f} µs, {lost:.2%} of the time"
    if worst < 2000 and lost < 0.005:
        return Finding("hiccups", GOOD, found)
    return Finding(
        "hiccups",
        MIND,
        found,
        f"latency percentiles near {worst:.0f} µs are the host's, not the server's",
        "stop other programs; see steal",
    )


def waking(asleep: list[float], awake: list[float] | None) -> Finding:
    """What a CPU's idle states, or a hypervisor that takes a halted CPU away, do to whoever sleeps for a moment."""
    if awake is None:
        return Finding("waking", GOOD, "not looked at: no CPU can be kept awake here (SCHED_IDLE is refused)")
    (usual, tail), (usual_awake, tail_awake) = (np.percentile(late, (50, 99)) for late in (asleep, awake))
    found = (
        f"sleeps end {usual:.0f} µs late, 1 in 100 by {tail:.0f} µs; "
        f"{usual_awake:.0f} and {tail_awake:.0f} µs where the CPU is kept awake"
    )
    if tail < 200 or tail < 2 * tail_awake:
        return Finding("waking", GOOD, found)
    return Finding(
        "waking",
        MIND,
        found,
        "tail latencies contain the CPU's waking wherever a server sleeps, and not where one polls",
        "on hardware of your own, limit the idle states (cpupower idle-set, idle=poll); in a virtual machine, read medians",
    )


def other_load(running: int, average: float) -> Finding:
    found = f"{running} other runnable threads, load average {average:.2f}"
    if running <= 1 and average < 0.3:
        return Finding("other load", GOOD, found)
    return Finding(
        "other load",
        MIND if average < 1 else BAD,
        found,
        "whatever else runs takes CPU from the server or the client",
        "stop it, or wait until the load average is below 0.3",
    )


def io_uring(disabled: str | None) -> Finding:
    if disabled in (None, "0"):
        return Finding("io_uring", GOOD, "allowed by sysctl")
    return Finding(
        "io_uring",
        MIND,
        f"kernel.io_uring_disabled {disabled}",
        "io_uring is reported as unavailable",
        "sysctl kernel.io_uring_disabled=0",
    )


def confinement(container: str | None, seccomp: str | None, quota: str | None) -> Finding:
    filters = "filters" if seccomp == "2" else "none"
    found = f"container {container or 'none'}, seccomp {filters}, CPU quota {quota or 'none'}"
    if quota and not quota.startswith("max"):
        return Finding(
            "confinement",
            BAD,
            found,
            "a CPU quota stops every process of the group together, for tens of milliseconds",
            "run without a quota (docker run without --cpus)",
        )
    if seccomp == "2":
        return Finding(
            "confinement",
            MIND,
            found,
            "each system call pays for the filter, and some models may be refused",
            "docker run --security-opt seccomp=unconfined",
        )
    return Finding("confinement", GOOD, found)


def built(names: list[str]) -> Finding:
    if names:
        return Finding("servers", GOOD, f"{len(names)} built")
    return Finding("servers", BAD, "none built", "there is nothing to measure", "make")


def quick_blocks() -> int:
    """The fewest of an experiment that is part of quick."""
    loaded = map(experiment.load, listing.experiment_files())
    return min(one.profiles["quick"].blocks for one in loaded if "quick" in one.part_of)


def effect(results: Path) -> Finding:
    """What this host can detect, from the newest run measured on it."""
    here = env.collect()["fingerprint"]
    for run in reversed(records.runs(results)):
        if (run / "env.json").exists() and records.read_json(run / "env.json")["fingerprint"] == here:
            spreads = resolution.spreads_of(run)
            if len(spreads) >= 3:
                quick, full = (resolution.detectable(spreads, k) for k in (quick_blocks(), stats.FULL_BLOCKS))
                return Finding(
                    "resolution",
                    GOOD,
                    f"server CPU per request, one comparison: differences from {quick:.1%} in quick, {full:.1%} in "
                    f"full (from {run.name})",
                )
    return Finding("resolution", MIND, "unknown: no run of this host yet", mend="make bench, then doctor again")


def examine(results: Path, seconds: float = 1.0) -> list[Finding]:
    """Looks at this host; takes about four times `seconds`."""
    where = place()
    loads = (env.read("/proc/loadavg") or "0 0 0 1/1 0").split()
    steal_before, begun = env.steal(), time.monotonic()
    server, client = where.server[0], where.client[0]
    alone = hiccup.spun([server], seconds)[0]
    together = hiccup.spun([server, client], seconds)[0]
    late = [hiccup.woken(server, seconds / 2, awake) for awake in (False, True)]
    ticks = ((env.steal() or 0) - (steal_before or 0)) / os.sysconf("SC_CLK_TCK")
    about = env.virtual()
    return [
        built(model_names()),
        placement(where),
        parallel(alone[0], together[0]),
        stolen(ticks / (time.monotonic() - begun) / (os.cpu_count() or 1)),
        hiccups(alone[1], seconds),
        waking(*late),
        other_load(int(loads[3].split("/")[0]) - 1, float(loads[0])),
        descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        ports(env.read("/proc/sys/net/ipv4/ip_local_port_range")),
        backlog(env.read("/proc/sys/net/core/somaxconn")),
        governor(env.cpu()["governor"]),
        io_uring(env.read("/proc/sys/kernel/io_uring_disabled")),
        confinement(about["container"], about["seccomp"], about["cgroup_cpu_max"]),
        effect(results),
    ]
