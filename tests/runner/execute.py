"""Run one suite: its output into a log, its reports into a directory, its time bounded."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from . import junit
from .suites import ROOT, Suite

PROGRESS_EVERY_S = 15
SANITIZER = re.compile(rb"^.*(?:ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:).*$", re.M)


def say(text: str) -> None:
    print(text, flush=True)


def last_percent(log: Path) -> str:
    found = re.findall(rb"\[ *(\d+%)\]", log.read_bytes())
    return found[-1].decode() if found else "running"


def wait(process: subprocess.Popen[bytes], suite: Suite, log: Path) -> str:
    """Wait for the end and show progress; returns what went wrong, or nothing."""
    start = shown = time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now = time.monotonic()
        if now - start > suite.limit_s:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"not finished after {suite.limit_s} s; killed"
        if now - shown >= PROGRESS_EVERY_S:
            shown = now
            say(f"  {suite.name}: {last_percent(log)} after {now - start:.0f} s")
    return ""


def start(suite: Suite, reports: Path, log: Path) -> subprocess.Popen[bytes]:
    is_pytest = "pytest" in suite.command
    command = [*suite.command, *([f"--junitxml={reports / 'report.xml'}"] if is_pytest else [])]
    env = {**os.environ, **suite.env, "CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": str(reports / "%g.xml")}
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env,
                                cwd=ROOT, start_new_session=True)


def verdict(suite: Suite, code: int, trouble: str, reports: Path, log: Path) -> junit.Outcome:
    """What the reports say; and a failure of its own where the suite crashed, hung or ran no test."""
    outcome = junit.read_all(reports)
    output = log.read_bytes()
    if suite.one_case and code == 0 and not trouble:
        outcome.passed += 1
    elif trouble:
        outcome.fail(suite.name, trouble)
    elif code != 0 and not outcome.failed:
        report = SANITIZER.search(output)
        last = (report[0] if report else output.strip().rpartition(b"\n")[2]).decode(errors="replace")
        outcome.fail(suite.name, f"exit {code} without a failed test; {last!r}")
    elif outcome.ran == 0:
        outcome.fail(suite.name, "ran no test")
    return outcome


def report_directory(suite: Suite, directory: Path) -> Path:
    return directory / re.sub(r"\W+", "-", suite.name)


def execute(suite: Suite, directory: Path) -> tuple[junit.Outcome, float]:
    """Run a suite in a directory of its own; returns its outcome and how long it took."""
    reports = report_directory(suite, directory)
    reports.mkdir(parents=True, exist_ok=True)
    for old in reports.glob("*"):  # cmocka does not overwrite a report, and an old one would be counted again
        old.unlink()
    log, begin, outcome = reports / "log", time.monotonic(), junit.Outcome()
    if suite.missing:
        outcome.fail(suite.name, suite.missing)
        return outcome, 0
    process = start(suite, reports, log)
    try:
        trouble = wait(process, suite, log)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return verdict(suite, process.returncode, trouble, reports, log), time.monotonic() - begin
