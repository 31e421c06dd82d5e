"""What the kernel says about a process: its CPU clock, memory, descriptors and threads."""
from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Callable


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, exited threads included: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def least_cpu_share(pid: int, window_s: float = 0.5, windows: int = 4, enough: float = 0.02) -> float:
    """The smallest share of a CPU over a few windows. A server that spins burns in every one of them; one that
    was only finishing its work, or was hit by noise, has a quiet one."""
    least = 1.0
    for _ in range(windows):
        cpu, wall = cpu_s(pid), time.monotonic()
        time.sleep(window_s)
        least = min(least, (cpu_s(pid) - cpu) / (time.monotonic() - wall))
        if least <= enough:
            break
    return least


def status_kib(pid: int, key: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.M)
    assert found, f"/proc/{pid}/status has no {key}"
    return int(found[1])


def rss_kib(pid: int) -> int:
    """Resident memory, summed from the page tables: VmRSS in status may lag behind by a batch per CPU."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Rss:\s+(\d+) kB", text, re.M)
    assert found, f"/proc/{pid}/smaps_rollup has no Rss"
    return int(found[1])


def fds(pid: int) -> dict[int, str]:
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:  # closed between the listing and the look
            continue
    return found


def user_threads(pid: int) -> int:
    """Threads of the program itself, without the kernel's io_uring workers that stand beside them."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            count += not Path(f"/proc/{pid}/task/{task}/comm").read_text().startswith("iou-")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


def state(pid: int) -> str:
    """The state letter of a process, or "gone"."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def eventually(condition: Callable[[], object], what: str, patience_s: float = 15) -> object:
    """Poll until a condition holds; the deadline is generous because nothing but a defect ever reaches it."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not after {patience_s} s: {what}"
        time.sleep(0.01)
