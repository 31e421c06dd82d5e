"""The suite is itself under test: the honest reference passes every scenario, and each liar is caught by the scenario
that is about its lie. A test that cannot fail is a defect.

    python3 -m pytest tests/conformance/selftest -n 4
"""
from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUITE = HERE.parent
sys.path.insert(0, str(HERE))

from protocols import PROTOCOLS  # noqa: E402

# The lie, and the scenarios that must each fail over it, as a pytest -k expression.
LIARS = {
    "resets-after-reply": "test_greet and unread_input",
    "closes-with-input-unread": "test_http and unread_input",
    "forgets-the-fin": "test_reply_that_closes and BREW or test_reply_that_closes and unknown",
    "takes-a-fin-for-the-end": "half_close_keeps or half_close_after",
    "drops-what-it-owes-at-eof": "end_of_input or (half_close_keeps and large)",
    "early-delay": "a_delay_is_never_early and (greet-100 or http-100 or frame-100000)",
    "delays-in-order-of-arrival": "order_of_their_deadlines or mixed_delays",
    "delay-blocks-does-not": "delay_blocks_lets",
    "answers-the-wrong-client": "reused_descriptor",
    "unbounded-buffer": "a_client_that_never_reads and echo and not leaves",
    "spins-on-a-stuck-client": "a_client_that_never_reads and echo and not leaves",
    "spins-on-emfile": "out_of_descriptors",
    "never-resumes-accepting": "out_of_descriptors_and_back",
    "waits-for-a-close-that-never-comes": "out_of_descriptors_without",
    "leaks-fds": "no_leak and greet",
    "leaks-memory": "no_leak and greet",
    "keeps-the-soft-limit": "test_1100 and echo",
    "corrupts-the-echo": "every_size and 4096",
    "keeps-the-cr": "test_greet and test_reply and CR",
    "swaps-pipelined-replies": "test_100_requests",
    "wrong-content-length": "open_connection and home",
    "head-with-a-body": "open_connection and HEAD and (home or found)",
    "ignores-http-1.0": "test_reply_that_closes and 1.0 and not two",
    "counts-every-frame-from-zero": "test_frame and the_reply and id",
    "renumbers-frames": "test_frame and (test_the_reply and nothing or 100_frames)",
    "answers-half-a-frame": "half_a_frame and (16 or 25)",
    "answers-a-malformed-frame": "malformed_header",
    "ignores-the-flag-close": "test_the_flag_close",
    "reads-the-first-block-only": "several_blocks",
    "takes-half-a-block": "cut_off",
    "works-by-the-request": "work_burns_cpu",
    "forgets-to-count": "counters_of_a_quiet_run",
    "reports-a-leak": "before_anybody_came",
    "exits-1": "before_anybody_came",
    "ignores-sigint": "with_idle_clients and SIGINT",
    "outlives-its-parent": "dies_with_its_parent",
    "small-backlog": "default_backlog",
    "ignores-backlog": "test_backlog",
    "listens-to-the-world": "loopback_unless",
    "usage-errors-exit-1": "bad_usage and unknown",
    "usage-errors-print-pages": "bad_usage and unknown",
}
PARTS = 4  # of the list, each a test of its own
# Lies told by a server that says it serves one client at a time.
ALONE_LIARS = {"not-alone": "side_by_side and greet or slow_reader and echo or a_short_request"}

# What a server may say that it does by what it is, and the lie that makes it true of the reference.
EXCEPTIONS = {"spins": "spins-on-a-stuck-client", "unbounded": "unbounded-buffer"}


def make_server(directory: Path, name: str, **env: str) -> None:
    words = " ".join(f"{key}={value}" for key, value in env.items())
    file = directory / name
    file.write_text(f'#!/bin/sh\nexec env NAME={name} {words} "{sys.executable}" "{HERE / "reference.py"}" "$@"\n')
    file.chmod(0o755)


def run_cases(directory: Path, *args: str) -> list[ElementTree.Element]:
    """Run the suite over the servers of a directory; the test cases of its report."""
    report = directory.parent / "report.xml"
    env = {**os.environ, "SERVERS_DIR": str(directory), "SERVERS": "", "CONFORMANCE_PATIENCE": "4"}
    env.pop("PYTEST_XDIST_WORKER", None)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junitxml={report}",
                    "--ignore", str(HERE), *args, str(SUITE)], env=env, cwd=SUITE,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return list(ElementTree.parse(report).getroot().iter("testcase"))


def run_suite(directory: Path, *args: str) -> dict[str, bool]:
    """Test case -> passed. Skipped cases are left out."""
    return {c.get("name", ""): c.find("failure") is None and c.find("error") is None
            for c in run_cases(directory, *args) if c.find("skipped") is None}


@pytest.mark.parametrize("lie", [*LIARS, *ALONE_LIARS])
def test_the_liar_is_caught(tmp_path: Path, lie: str) -> None:
    scenarios = LIARS.get(lie) or ALONE_LIARS[lie]
    servers = tmp_path / "servers"
    servers.mkdir()
    make_server(servers, "liar", LIE=lie, **({"ALONE": "1"} if lie in ALONE_LIARS else {}))
    results = run_suite(servers, "-k", scenarios)
    assert results, f"no scenario is called {scenarios!r}"
    blind = sorted(name for name, passed in results.items() if passed)
    assert not blind, f"a server that {lie} passes {blind}"


@pytest.mark.parametrize("true", [True, False])
@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_an_exception_is_held_against_the_server(tmp_path: Path, exception: str, true: bool) -> None:
    """One that spins, or has no bound, passes if it said so; one that only says so does not."""
    servers = tmp_path / "servers"
    servers.mkdir()
    make_server(servers, "odd", EXCEPTIONS=exception, LIE=EXCEPTIONS[exception] if true else "none")
    results = run_suite(servers, "-k", "a_client_that_never_reads and echo and not leaves")
    assert list(results.values()) == [true], results


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("alone", [False, True], ids=["serves many", "serves one at a time"])
def test_the_honest_reference_passes_what_catches_the_liars(tmp_path: Path, alone: bool, part: int) -> None:
    """The same scenarios, so that catching is the lie's doing. The whole suite is too long to run twice here."""
    servers = tmp_path / "servers"
    servers.mkdir()
    make_server(servers, "honest", **({"ALONE": "1"} if alone else {}))
    wanted = " or ".join(f"({s})" for s in [*LIARS.values(), *ALONE_LIARS.values()][part::PARTS])
    results = run_suite(servers, "-k", wanted)
    failed = sorted(name for name, passed in results.items() if not passed)
    assert len(results) > 10 and not failed, f"the honest server fails {failed} of {len(results)}"


def test_a_server_that_cannot_run_here_is_skipped_with_its_reason(tmp_path: Path) -> None:
    servers = tmp_path / "servers"
    servers.mkdir()
    make_server(servers, "barred", LIE="cannot-run-here")
    skipped = [case.find("skipped") for case in run_cases(servers, "-k", "before_anybody_came")]
    assert len(skipped) == 2 * len(PROTOCOLS) and None not in skipped
    reasons = {skip.get("message") for skip in skipped}
    assert reasons == {"barred cannot run here: barred: io_uring_setup: Operation not permitted"}
