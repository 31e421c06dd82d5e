"""What a CPU does to a process that only looks at the clock: its speed, and the moments at which it was not running.

    python3 -m bench.hiccup CPU SECONDS        prints {"rounds_per_s": ..., "gaps_us": [...]}
"""

import json
import os
import subprocess
import sys
import time

from bench import paths

GAP_NS = 100_000


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


def spun(cpus: list[int], seconds: float) -> list[tuple[float, list[float]]]:
    """Spins on these CPUs at once, each in a process of its own."""
    words = [[sys.executable, "-m", "bench.hiccup", str(cpu), str(seconds)] for cpu in cpus]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=paths.ROOT) for command in words]
    told = [json.loads(process.communicate(timeout=seconds + 60)[0]) for process in running]
    return [(one["rounds_per_s"], one["gaps_us"]) for one in told]


if __name__ == "__main__":
    speed, seen = spin(int(sys.argv[1]), float(sys.argv[2]))
    print(json.dumps({"rounds_per_s": speed, "gaps_us": seen}))
