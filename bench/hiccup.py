"""What a CPU does to a process that only looks at the clock: its speed, and the moments at which it was not running;
and to one that sleeps: how late it wakes.

    python3 -m bench.hiccup spin CPU SECONDS   prints {"rounds_per_s": ..., "gaps_us": [...]}
    python3 -m bench.hiccup wake CPU SECONDS   prints {"late_us": [...]}
    python3 -m bench.hiccup hold CPU SECONDS   keeps the CPU out of its idle states, at the lowest priority
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

from bench import paths

GAP_NS = 100_000
NAP_S = 300e-6  # long enough for a CPU to go to sleep
PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29  # linux/prctl.h


def spin(cpu: int, seconds: float) -> tuple[float, list[float]]:
    """Rounds per second, and every gap over 100 µs between two looks at the clock, in µs."""
    os.sched_setaffinity(0, {cpu})
    rounds, gaps, clock = 0, [], time.perf_counter_ns
    now = begun = clock()
    end = begun + int(seconds * 1e9)
    while now < end:
        before, now = now, clock()
        rounds += 1
        if now - before > GAP_NS:
            gaps.append((now - before) / 1e3)
    return rounds / ((now - begun) / 1e9), gaps


def wake(cpu: int, seconds: float) -> list[float]:
    """By how many µs each of many short sleeps ended late, without timer slack."""
    os.sched_setaffinity(0, {cpu})
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    late, clock = [], time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    while (due := clock() + int(NAP_S * 1e9)) < end:
        time.sleep(NAP_S)
        late.append((clock() - due) / 1e3)
    return late


def hold(cpu: int, seconds: float) -> None:
    """A CPU that has something to do never sleeps; SCHED_IDLE gives way to everything else."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print("held", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def started(what: str, cpu: int, seconds: float) -> subprocess.Popen:
    words = [sys.executable, "-m", "bench.hiccup", what, str(cpu), str(seconds)]
    quiet = subprocess.DEVNULL if what == "hold" else None  # a refusal is told by its silence
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=quiet, cwd=paths.ROOT)


def told(process: subprocess.Popen, seconds: float) -> dict:
    return json.loads(process.communicate(timeout=seconds + 60)[0])


def spun(cpus: list[int], seconds: float) -> list[tuple[float, list[float]]]:
    """Spins on these CPUs at once, each in a process of its own."""
    running = [started("spin", cpu, seconds) for cpu in cpus]
    found = [told(process, seconds) for process in running]
    return [(one["rounds_per_s"], one["gaps_us"]) for one in found]


def woken(cpu: int, seconds: float, awake: bool) -> list[float] | None:
    """How late sleeps end on this CPU, in µs: left to itself, or kept awake; None where it cannot be kept so."""
    holder = started("hold", cpu, seconds + 60) if awake else None
    try:
        if holder and not holder.stdout.readline():
            return None
        return told(started("wake", cpu, seconds), seconds)["late_us"]
    finally:
        if holder:
            holder.kill()
            holder.communicate()


def main(what: str, cpu: int, seconds: float) -> None:
    if what == "spin":
        speed, seen = spin(cpu, seconds)
        print(json.dumps({"rounds_per_s": speed, "gaps_us": seen}))
    elif what == "wake":
        print(json.dumps({"late_us": wake(cpu, seconds)}))
    else:
        hold(cpu, seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
