"""What the kernel says about a process: its CPU clock, memory, descriptors and threads."""
from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Callable

QUIET_SHARE = 0.05  # of its time: what a server that has nothing to do may be busy at most


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, exited threads included: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def runnable(pid: int) -> bool:
    """Is any thread running, or waiting for a CPU? A spinning server is, however little a busy machine lets it have."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            if Path(f"/proc/{pid}/task/{task}/stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def busy_share(pid: int, window_s: float = 0.5, windows: int = 4, enough: float = 0.02) -> float:
    """The share of a CPU that a process takes, by its CPU clock; or 1 if it was runnable at nearly every moment,
    got it or not.

    The quietest of a few windows: one that spins is busy in each of them, one that was finishing its work has a
    quiet one."""
    least = 1.0
    for _ in range(windows):
        cpu, start, moments = cpu_s(pid), time.monotonic(), []
        while time.monotonic() - start < window_s:
            time.sleep(0.02)
            moments.append(runnable(pid))
        share = (cpu_s(pid) - cpu) / (time.monotonic() - start)
        least = min(least, 1.0 if sum(moments) > 0.8 * len(moments) else share)
        if least <= enough:
            break
    return least


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
