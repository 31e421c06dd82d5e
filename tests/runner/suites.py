"""Every suite of the project: what is run, in which environment, and how long it may take.

Suites are found by directory: a new unit test, protocol fuzzer or pytest file is one new file, and nothing here
changes.
"""
from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FUZZ_SECONDS = 10  # a smoke test; `make fuzz` looks for longer
CPUS = len(os.sched_getaffinity(0))
MOSTLY_WAITING = max(4, 3 * CPUS)  # jobs at a time, for what most tests of a server or of the bench do
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


@dataclass(frozen=True)
class Suite:
    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    limit_s: int = 600
    missing: str = ""  # why it cannot run: it then fails, because a suite that ran nothing proves nothing
    one_case: bool = False  # writes no report: its exit code is its one result
    single: bool = False  # one process that keeps one CPU busy: others of its kind may run beside it

    def matches(self, words: list[str]) -> bool:
        return not words or any(self.name == word or self.name.startswith(word + " ") for word in words)


def executables(directory: Path) -> list[Path]:
    return sorted(p for p in directory.glob("*") if p.is_file() and os.access(p, os.X_OK)) if directory.is_dir() else []


def pytest(name: str, directory: str, *args: str, jobs: int = MOSTLY_WAITING, **kwargs) -> Suite:
    workers = ("-n", str(jobs)) if jobs > 1 else ("-p", "no:xdist")
    command = (sys.executable, "-m", "pytest", "-q", "-rs", "--tb=short", *workers, *args, str(ROOT / directory))
    return Suite(name, command, **kwargs)


def not_built(name: str, directory: Path) -> Suite:
    return Suite(name, (), missing=f"there are sources, but no program in {directory}: `make test` builds them")


def unit(build: Path) -> list[Suite]:
    """cmocka programs, plain and under AddressSanitizer."""
    found = []
    for title, base in (("", build), (" asan", build / "asan")):
        for folder in ("unit", "loadgen"):
            programs = executables(base / "tests" / folder)
            found += [Suite(f"unit{title} {folder}/{program.name}", (str(program),), SANITIZER_ENV, limit_s=120,
                            single=True) for program in programs]
            if not programs and list((ROOT / "tests" / folder).glob("test_*.c")):
                found.append(not_built(f"unit{title} {folder}", base / "tests" / folder))
    return found


def fuzz(build: Path) -> list[Suite]:
    """A bounded run of each fuzzer over its committed seeds."""
    found = []
    for program in executables(build / "fuzz"):
        corpus = sorted(p for p in (ROOT / "tests" / "fuzz").glob("**/") if p.name in ("corpus", program.name))
        scratch = build / "fuzz.corpus" / program.name  # first: what is found new goes there, not into the seeds
        scratch.mkdir(parents=True, exist_ok=True)
        words = [f"-dict={path}" for path in sorted((ROOT / "tests" / "fuzz").glob("*.dict"))[:1]]
        args = (f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", f"-artifact_prefix={scratch}/", *words,
                str(scratch), *map(str, corpus))
        found.append(Suite(f"fuzz {program.name}", (str(program), *args), SANITIZER_ENV, limit_s=120, one_case=True, single=True))
    if not found and list((ROOT / "tests" / "fuzz").glob("*.c")):
        found.append(not_built("fuzz", build / "fuzz"))
    return found


def threaded() -> str:
    """The pages with threads, and `blocking`, whose signal handler does its work. ThreadSanitizer has nothing to
    say about the other ones, and holds back a signal that arrives in the waits it does not know (epoll_pwait2,
    pselect)."""
    pages = [page.stem for page in sorted((ROOT / "servers").glob("*.c")) if "pthread_create" in page.read_text()]
    return ",".join(["blocking", *pages])


def conformance(build: Path) -> list[Suite]:
    suites = [pytest("conformance liars", "tests/conformance/selftest", env={"CONFORMANCE_SCALE": "0.25"})]
    for title, base, scale, servers in (("plain", build, "1", ""), ("asan", build / "asan", "0.1", ""),
                                        ("tsan", build / "tsan", "0.05", threaded())):
        target = "make" if title == "plain" else f"make {title}"
        missing = "" if executables(base / "servers") else f"no servers in {base / 'servers'}: run {target}"
        env = {"SERVERS_DIR": str(base / "servers"), "CONFORMANCE_SCALE": scale,
               "CONFORMANCE_TURNS": os.environ.get("CONFORMANCE_TURNS", "below" if title == "plain" else "pages"),
               "SERVERS": os.environ.get("SERVERS") or servers}
        suites.append(pytest(f"conformance {title}", "tests/conformance", env=env, missing=missing, limit_s=1200))
    return [*suites, lab(build / "asan" / "lab")]


def lab(directory: Path) -> Suite:
    """The lab's pages share their core with the models': what is left to show is that no step loses, leaks or spins, and
    that sigio loses nobody where signals are lost."""
    files = [str(ROOT / "tests" / "conformance" / f"test_{name}.py") for name in ("pressure", "crowds", "ending", "signals")]
    missing = "" if executables(directory) else f"no servers in {directory}: run make asan"
    env = {"LAB_DIR": str(directory), "CONFORMANCE_SCALE": "0.05", "SERVERS": os.environ.get("SERVERS", ""),
           "CONFORMANCE_TURNS": os.environ.get("CONFORMANCE_TURNS", "pages")}
    # A slow reader and one that never reads fill sockets, too; no page but sigio depends on signals.
    left = ("-k", "not full_socket_still_owes and (sigio or not test_signals)")
    return pytest("conformance lab", "tests/conformance/test_echo.py", *files, *left, env=env, missing=missing,
                  limit_s=1200)


def loadgen(build: Path) -> list[Suite]:
    if not list((ROOT / "tests" / "loadgen").glob("test_*.py")):
        return []
    if os.environ.get("LONG"):  # make validate: what takes minutes and is not to be disturbed
        env = {"LOADGEN": str(build / "loadgen"), "SHORT": ""}
        return [pytest("loadgen plain", "tests/loadgen", jobs=1, env=env)]
    env = {"SHORT": "1", **SANITIZER_ENV}
    return [pytest(f"loadgen {title}", "tests/loadgen",
                   env={"LOADGEN": str(base / "loadgen"), "BUILD": str(base), **env})
            for title, base in (("plain", build), ("asan", build / "asan"))]


def every(build: Path) -> list[Suite]:
    return [
        pytest("runner", "tests/runner", jobs=1),
        *unit(build),
        *fuzz(build),
        pytest("bench", "tests/bench"),
        *loadgen(build),
        *conformance(build),
        pytest("interop", "tests/interop", jobs=CPUS, env={"SERVERS_DIR": str(build / "servers")}),
    ]
