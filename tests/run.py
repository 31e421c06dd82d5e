#!/usr/bin/env python3
"""Run the tests and end with one line: N passed, N failed, N skipped.

    tests/run.py                     every suite (`make test`)
    tests/run.py conformance bench   only those whose name begins so
    tests/run.py --list              the suites there are

Reports and logs stay in BUILD/test-reports (BUILD defaults to build). Exit 0: nothing failed. 1: something failed, a
suite crashed, or it ran no test. 2: usage.
"""
from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

NEEDED = ("pytest", "xdist")
PROBE = f"import sys; from importlib.util import find_spec as f; sys.exit(any(f(n) is None for n in {NEEDED!r}))"


def use_a_python_that_can() -> None:
    """The first python3 of some systems lacks the distribution's packages: continue in one that has them, and say
    which."""
    from bench.interpreter import candidates

    def can(python: str) -> bool:
        return subprocess.call([python, "-c", PROBE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    if can(sys.executable):
        return
    for python in candidates():
        if can(python):
            print(f"tests: using {python} ({sys.executable} lacks {' or '.join(NEEDED)})", flush=True)
            os.execv(python, [python, *sys.argv])
    sys.exit(f"tests: no python3 here has {' and '.join(NEEDED)}; run: bench/require.sh test")


def chosen(words: list[str], build: Path) -> list:
    from runner.suites import every
    suites = every(build)
    unknown = [word for word in words if not any(suite.matches([word]) for suite in suites)]
    if unknown:
        names = sorted({suite.name.split()[0] for suite in suites})
        print(f"tests: no suite is called {unknown[0]!r}; there are {', '.join(names)} (--list shows all)",
              file=sys.stderr)
        sys.exit(2)
    return [suite for suite in suites if suite.matches(words)]


def show_failures(outcome, log: Path) -> None:
    for name, message in outcome.failures[:20]:
        print(f"    FAILED {name}: {' '.join(message.split())[:300]}")
    if outcome.failed > 20:
        print(f"    ... and {outcome.failed - 20} more")
    print(f"    log: {log}", flush=True)


def run_all(suites: list, reports: Path):
    """Suites of one process beside each other, each of the others alone."""
    from runner.execute import execute, report_directory, say
    from runner.junit import Outcome
    from runner.suites import CPUS
    total = Outcome()

    def carry_out(suite) -> None:
        outcome, took_s = execute(suite, reports)
        with telling:
            say(f"{suite.name}: {outcome} in {took_s:.0f} s")
            if outcome.failed:
                show_failures(outcome, report_directory(suite, reports) / "log")
            total.add(outcome)

    telling = threading.Lock()
    with ThreadPoolExecutor(CPUS) as together:
        list(together.map(carry_out, [suite for suite in suites if suite.single]))
    for suite in suites:
        if not suite.single:
            carry_out(suite)
    return total


def main() -> int:
    use_a_python_that_can()
    words = sys.argv[1:]
    build = (ROOT / os.environ.get("BUILD", "build")).resolve()
    if any(word in ("-h", "--help") for word in words):
        print((__doc__ or "").strip())
        return 0
    if "--list" in words:
        print("\n".join(suite.name for suite in chosen([], build)))
        return 0
    total = run_all(chosen(words, build), build / "test-reports")
    if total.skips:
        print("skipped:")
        for reason, count in sorted(total.skips.items(), key=lambda item: -item[1]):
            print(f"  {count} x {reason}")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
