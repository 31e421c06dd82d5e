"""User-mode instructions per request, counted by valgrind's callgrind: what a request costs before any cache or clock.

Two processes of the same server answer LOW and HIGH requests in lock-step; the difference of all instructions that they
executed, divided by the difference of requests, is a request's share.  The kernel's part is not in it: the system calls
by name say what was asked of the kernel.

A valgrind that does not know epoll_pwait2 gets it from bench/tools/preload/old_epoll.c.  Source: Valgrind User Manual,
"Callgrind: a call-graph generating cache and branch prediction profiler".
"""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import host, lockstep, paths, serve
from bench.arms import Arm
from bench.errors import BenchError
from bench.measure import Bed

LOW, HIGH = 8, 136  # two lives of a process differ by some hundred instructions: less than one of a request
END_WITHIN_S = 20.0
SUMMARY = re.compile(r"^summary: (\d+)", re.MULTILINE)


def why_impossible() -> str | None:
    if not shutil.which("valgrind"):
        return "valgrind is not here (bench/require.sh test)"
    if not library().is_file():
        return f"{paths.shown(library())} is missing; run: make"
    return None


def library() -> Path:
    return paths.build_dir() / "preload" / "old_epoll.so"


def per_request(arm: Arm, case: lockstep.Case, bed: Bed) -> float | None:
    """Instructions of one request, to a tenth; None for a server that never sleeps."""
    low = instructions(arm, case, LOW, bed)
    high = instructions(arm, case, HIGH, bed) if low is not None else None
    return None if low is None or high is None else round((high - low) / (HIGH - LOW), 1)


def instructions(arm: Arm, case: lockstep.Case, requests: int, bed: Bed) -> int | None:
    """All that a server executed from start to end, its children included, over that many requests."""
    with TemporaryDirectory(prefix="muxbench-") as folder:
        server = host.Child(command(arm, case, folder), bed.placement.server, bed.undertaker)
        try:
            target = serve.wait_ready(server)
            with lockstep.Client(target, lambda: serve.group_of(server.pid), case) as client:
                client.converse(requests)
            if not server.stop(END_WITHIN_S) or server.status != 0:
                raise BenchError(f"{arm.name} under valgrind did not end well: {server.last_words()}")
        except serve.Failed as why:
            raise BenchError(f"{arm.name} under valgrind: {why}: {server.last_words()}") from None
        finally:
            server.close()
        return None if client.quiet.restless else total(Path(folder), arm.name)


def command(arm: Arm, case: lockstep.Case, folder: str) -> list[str]:
    """env(1) first: valgrind hands LD_PRELOAD on to the program that it runs."""
    tool = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/%p"]
    return ["env", f"LD_PRELOAD={library()}", *tool, *serve.launch(arm, case.protocol, case.options).argv]


def total(folder: Path, name: str) -> int:
    """Over the files of all its processes."""
    found = [int(told[1]) for path in folder.iterdir() if (told := SUMMARY.search(path.read_text(errors="replace")))]
    if not found:
        raise BenchError(f"{name} under valgrind: callgrind left no count")
    return sum(found)
