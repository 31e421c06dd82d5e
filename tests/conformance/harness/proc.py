"""What the kernel says about a server: its CPU clock, memory, descriptors and threads, over all its processes."""
from __future__ import annotations

import os
import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterable, Iterator

QUIET_SHARE = 0.05  # of its time: what a server that has nothing to do may be busy at most


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, group, ...; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def family(pid: int) -> list[int]:
    """A process and all that descend from it, zombies too; it comes first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for member in found:  # grows while it is walked
        found += children.get(member, [])
    return found


def clock_s(pid: int) -> float:
    """CPU seconds of a process, exited threads included: the clock that clock_getcpuclockid(3) names."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def reaped_s(pid: int) -> float:
    """CPU seconds of the children that a process has waited for, in ticks (cutime and cstime of proc(5))."""
    fields = stat(pid)
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def cpu_s(pid: int) -> float:
    """CPU seconds of a server: its processes that live, and those that it has reaped."""
    return sum(clock_s(member) + reaped_s(member) for member in family(pid))


def runnable(pid: int) -> bool:
    """Is any thread running, or waiting for a CPU? A spinning server is, however little a busy machine lets it have."""
    return any(task_stat.rpartition(")")[2].split()[0] == "R" for task_stat in each_task(pid, "stat"))


def each_task(pid: int, name: str) -> Iterator[str]:
    """One /proc file of each thread of a server."""
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # the process ended meanwhile, or a thread
            for task in os.listdir(f"/proc/{member}/task"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    yield Path(f"/proc/{member}/task/{task}/{name}").read_text()


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
    """Resident memory, summed from the page tables: VmRSS in status may lag behind by a batch per CPU. Of its other
    processes only what they do not share with it."""
    grown = 0
    for child in family(pid)[1:]:
        try:
            grown += rollup_kib(child, "Pss_Anon") + rollup_kib(child, "Pss_Shmem")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return rollup_kib(pid, "Rss") + grown


def rollup_kib(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.M)
    assert found, f"/proc/{pid}/smaps_rollup has no {field}"
    return int(found[1])


def fds(pid: int) -> dict[tuple[int, int], str]:
    """Every descriptor of a server's processes, (process, number), and what it refers to."""
    found = {}
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # the process ended meanwhile, or a descriptor was closed
            for entry in os.listdir(f"/proc/{member}/fd"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    found[member, int(entry)] = os.readlink(f"/proc/{member}/fd/{entry}")
    return found


def sockets(pid: int) -> int:
    """How many different sockets a server's processes hold."""
    return len({link for link in fds(pid).values() if link.startswith("socket:")})


def most_fds(pid: int) -> int:
    """The most descriptors that any one of a server's processes holds: what a limit on them is about."""
    return max(Counter(member for member, _ in fds(pid)).values())


def user_threads(pid: int) -> int:
    """Threads of the program itself, without the kernel's io_uring workers that stand beside them."""
    return sum(not comm.startswith("iou-") for comm in each_task(pid, "comm"))


def mappings(pid: int) -> int:
    """Ranges of addresses that a server's processes have mapped."""
    return sum(task.count("\n") for task in each_process(pid, "maps"))


def each_process(pid: int, name: str) -> Iterator[str]:
    """One /proc file of each process of a server."""
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield Path(f"/proc/{member}/{name}").read_text()


def state(pid: int) -> str:
    """The state letter of a process, or "gone"."""
    fields = stat(pid)
    return fields[0] if fields else "gone"


def living(pids: Iterable[int]) -> list[int]:
    """Those that are there and no zombies."""
    return [pid for pid in pids if state(pid) not in ("gone", "Z", "X")]


def eventually(condition: Callable[[], object], what: str, patience_s: float = 15) -> object:
    """Poll until a condition holds; the deadline is generous because nothing but a defect ever reaches it."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not after {patience_s} s: {what}"
        time.sleep(0.01)
