"""The runner tells the truth: a crash, a hang, a suite that ran nothing and a torn report all count as failures."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from runner.execute import execute  # noqa: E402
from runner.junit import Outcome, read  # noqa: E402
from runner.suites import Suite, every  # noqa: E402

PYTEST_REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest">
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure message="assert 1 == 2">long text</failure></testcase>
<testcase classname="a" name="bad"><error message="teardown too">text</error></testcase>
<testcase classname="a" name="skipped"><skipped message="no IPv6 here"/></testcase>
</testsuite></testsuites>"""

CMOCKA_REPORT = """<?xml version="1.0"?><testsuites><testsuite name="group" tests="3">
<testcase name="one" time="0.1"/>
<testcase name="two" time="0.1"><failure><![CDATA[0x1 != 0x2]]></failure></testcase>
<testcase name="three" time="0.1"><skipped/></testcase>
</testsuite></testsuites>"""


def shell(script: str, **kwargs) -> Suite:
    return Suite("a suite", ("sh", "-c", script), **kwargs)


def write_report(text: str) -> str:
    """A shell line that writes a report where a cmocka program would."""
    return f"cat > $(dirname \"$CMOCKA_XML_FILE\")/r.xml <<'X'\n{text}\nX\n"


def test_a_pytest_report(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(PYTEST_REPORT)
    outcome = read(tmp_path / "r.xml")
    assert (outcome.passed, outcome.failed, outcome.skipped) == (1, 1, 1)
    assert outcome.failures == [("bad", "assert 1 == 2")]
    assert outcome.skips == {"no IPv6 here": 1}


def test_a_cmocka_report(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(CMOCKA_REPORT)
    outcome = read(tmp_path / "r.xml")
    assert str(outcome) == "1 passed, 1 failed, 1 skipped"
    assert outcome.failures == [("two", "0x1 != 0x2")]


ONE_GOOD = '<testsuite><testcase name="t"/></testsuite>'
FAILING = {
    "exit 1 without a report": ("exit 1", "exit 1 without a failed test"),
    "crash": ("kill -SEGV $$", "exit -11"),
    "crash after its tests passed": (write_report(ONE_GOOD) + "kill -ABRT $$", "exit -6"),
    "leak after its tests passed": (write_report(ONE_GOOD) + "echo '==7==ERROR: LeakSanitizer: leaks'; exit 23",
                                    "LeakSanitizer"),
    "no test": ("exit 0", "ran no test"),
    "empty report": (write_report("<testsuites/>"), "ran no test"),
    "torn report": (write_report("<testsuite><testcase"), "no XML"),
    "hang": ("sleep 100", "not finished after 1 s"),
}


@pytest.mark.parametrize("case", FAILING)
def test_it_is_a_failure(tmp_path: Path, case: str) -> None:
    script, message = FAILING[case]
    outcome, took_s = execute(shell(script, limit_s=1), tmp_path)
    assert outcome.failed == 1, outcome
    assert message in outcome.failures[0][1]
    assert took_s < 30


def test_an_old_report_is_not_counted_again(tmp_path: Path) -> None:
    suite = shell(write_report(CMOCKA_REPORT))
    execute(suite, tmp_path)
    outcome, _ = execute(shell("exit 0"), tmp_path)
    assert outcome.failures == [("a suite", "ran no test")]


def test_a_suite_that_could_not_be_built_fails(tmp_path: Path) -> None:
    outcome, _ = execute(shell("exit 0", missing="no servers: run make"), tmp_path)
    assert outcome.failures == [("a suite", "no servers: run make")]


def test_a_program_without_a_report_counts_by_its_exit(tmp_path: Path) -> None:
    assert execute(shell("exit 0", one_case=True), tmp_path)[0].passed == 1
    assert execute(shell("exit 77", one_case=True), tmp_path)[0].failed == 1


def test_sums() -> None:
    total = Outcome()
    for n in (1, 2):
        part = Outcome(passed=n)
        part.fail("x", "y")
        part.skips["why"] += n
        total.add(part)
    assert str(total) == "3 passed, 2 failed, 3 skipped"


def test_programs_are_found_by_directory(tmp_path: Path) -> None:
    for place in ("tests/unit", "asan/tests/unit", "fuzz", "servers"):
        program = tmp_path / place / "thing"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    names = [suite.name for suite in every(tmp_path)]
    assert {"unit unit/thing", "unit asan unit/thing", "fuzz thing"} <= set(names)
    missing = {suite.name: suite.missing for suite in every(tmp_path)}
    assert not missing["conformance plain"] and "make asan" in missing["conformance asan"]


def run_py(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "tests" / "run.py", *args], capture_output=True, text=True)


def test_an_unknown_suite_is_one_line_and_exit_2() -> None:
    done = run_py("no-such-suite")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert "no-such-suite" in done.stderr and "conformance" in done.stderr


def test_an_unknown_option_is_one_line_and_exit_2() -> None:
    done = run_py("--no-such-option")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
