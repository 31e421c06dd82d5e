"""`python3 -m bench check CONTENDER`: does it serve right?  The conformance scenarios, and in words what failed.

A contender runs the scenarios that need nothing but connections, in the protocols that it speaks.  A model of this
project, and any program with --contract, runs the whole list: options, counters, signals, memory and CPU as well.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import contenders, paths
from bench.arms import Arm
from bench.errors import BenchError, UsageError

SCENARIOS = paths.ROOT / "tests" / "conformance"
WITHIN_S = 1800
NOT_ABOUT_IT = "got empty parameter set"  # pytest's words for a scenario that was left no server


@dataclass(frozen=True)
class Outcome:
    """One scenario over one protocol; `why` is empty when it passed."""

    scenario: str
    result: str  # passed, failed or skipped
    why: str = ""


def described(arm: Arm) -> str:
    """An arm in the words of tests/conformance (harness/model.py)."""
    told = {
        "name": arm.name,
        "command": [str(paths.ROOT / arm.argv[0]) if is_program(arm) else arm.argv[0], *arm.argv[1:]],
        "protocols": arm.protocols,
        "options": arm.options,
        "clients_at_once": arm.clients_at_once,
        "ready_line": arm.contender.get("ready_line"),
    }
    return json.dumps(told)


def run_scenarios(arm: Arm, whole: bool, only: str | None, report: Path) -> None:
    """pytest over tests/conformance, in a process of its own, from the checkout that commands are relative to."""
    argv = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
    argv += ["-n", str(2 * len(os.sched_getaffinity(0)))] if has_xdist() else []
    argv += ["-k", only] if only else []
    program = paths.ROOT / arm.argv[0]
    chosen = {"SERVERS_DIR": str(program.parent), "SERVERS": program.name} if whole else {"CONTENDER": described(arm)}
    try:
        done = subprocess.run(
            [*argv, str(SCENARIOS)],
            cwd=paths.ROOT,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            env={**os.environ, **chosen},
        )
    except FileNotFoundError as error:
        raise BenchError(f"the scenarios could not be run: {error}") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"the scenarios did not end within {WITHIN_S} s") from None
    if not report.exists() or done.returncode not in (0, 1, 5):
        last = ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"])[-1]
        raise BenchError(f"the scenarios could not be run ({last}); is pytest here? bench/require.sh test")


def is_program(arm: Arm) -> bool:
    """One executable that follows the contract."""
    return len(arm.argv) == 1 and not arm.contender


def has_xdist() -> bool:
    return subprocess.run([sys.executable, "-c", "import xdist"], capture_output=True).returncode == 0


def outcomes(report: Path) -> list[Outcome]:
    """What pytest's report says of each scenario."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # one that fails, and again at its end, is there twice
        name = in_words(case.get("classname", ""), case.get("name", ""))
        wrong = [element for element in case if element.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if wrong:
            found.setdefault(name, Outcome(name, "failed", reason(wrong[0])))
        elif skipped is not None and skipped.get("message", "").startswith(NOT_ABOUT_IT):
            continue
        elif skipped is not None:
            found[name] = Outcome(name, "skipped", skipped.get("message", ""))
        else:
            found.setdefault(name, Outcome(name, "passed"))
    return sorted(found.values(), key=lambda o: o.scenario)


def in_words(module: str, name: str) -> str:
    """`echo: eof without a byte (mine-echo)` from test_echo and test_eof_without_a_byte[mine-echo]."""
    function, _, parameters = name.partition("[")
    words = function.removeprefix("test_").replace("_", " ")
    about = module.rsplit(".", 1)[-1].removeprefix("test_")
    return f"{about}: {words}" + (f" ({parameters.rstrip(']')})" if parameters else "")


def reason(element: ElementTree.Element) -> str:
    """The first line of what the scenario asserted, without Python's names around it."""
    message = (element.get("message") or element.text or "no reason given").strip()
    first = next((line for line in message.splitlines() if line.strip()), "")
    return re.sub(r'^(failed on \w+ with ")?(AssertionError: )?', "", first).removesuffix('"')[:300]


def summary_of(arm: Arm, found: list[Outcome]) -> str:
    counts = {result: sum(o.result == result for o in found) for result in ("passed", "failed", "skipped")}
    words = f"{arm.name} ({', '.join(arm.protocols)}): " + ", ".join(f"{n} {result}" for result, n in counts.items())
    return f"{words} scenario{'s' * (len(found) != 1)}"


def run(name: str, contract: bool, only: str | None, console: Console) -> int:
    """Checks one contender, says what failed and what was left out; 1 when anything failed."""
    arm = contenders.find(name)
    if contract and not is_program(arm):
        raise UsageError(f"{name}: --contract is for one program that follows it (./mine); see docs/adding-a-server.md")
    with tempfile.TemporaryDirectory(prefix="muxbench-check-") as folder:
        report = Path(folder) / "report.xml"
        run_scenarios(arm, contract or arm.kind == "model", only, report)
        found = [o for o in outcomes(report) if o.scenario != "present: there are servers to test"]
    if not found:
        raise BenchError(f"{arm.name}: no scenario fits" + (f" -k {only}" if only else f" {', '.join(arm.protocols)}"))
    for outcome in found:
        if outcome.result == "failed":
            console.print(Text.assemble(("failed  ", "red"), (outcome.scenario, "bold"), f"\n        {outcome.why}"))
    reasons = [o.why for o in found if o.result == "skipped"]
    for why in sorted(set(reasons)):
        console.print(Text(f"skipped {reasons.count(why)}: {why}", style="dim"))
    console.print(Text(summary_of(arm, found), style="bold"))
    return 1 if any(o.result == "failed" for o in found) else 0 if any(o.result == "passed" for o in found) else 77
