"""The exact tier: an extra system call is found every time and by name, noise is not, and the ratchet only falls."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, Inside

from bench import arms, callgrind, env, exact, gate_tier, lockstep, paths, placement, ratchet, revisions
from bench.errors import BenchError
from bench.measure import Bed

COLLECT, COMPILER = cache(env.collect), cache(env.compiler)
BED = Bed("none", placement.place())
PLANTED = """
#include "net.h"
#include <fcntl.h>
#include <stdlib.h>
static void *volatile kept;
static int extra(int fd) { kept = malloc(100); free(kept); return fcntl(fd, F_GETFL); }
#define net_recv(fd, buffer, size) (extra(fd), net_recv(fd, buffer, size))
#include "%s/servers/epoll_lt.c"
"""


def built(name: str = "epoll_lt") -> arms.Arm:
    if name not in arms.model_names():
        pytest.skip(f"{name} is not built (make)")
    return arms.models([name])[0]


def can_trace() -> None:
    if why := lockstep.why_impossible():
        pytest.skip(why)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder whose epoll_lt makes one fcntl, one malloc and one free more for each read."""
    built()
    folder = tmp_path_factory.mktemp("planted")
    source = folder / "epoll_lt.c"
    source.write_text(PLANTED % ROOT)
    (folder / "servers").mkdir()
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread", "-I", f"{ROOT}/servers/core"]
    command = [
        os.environ.get("CC", "cc"),
        *flags,
        "-o",
        folder / "servers" / "epoll_lt",
        source,
        paths.build_dir() / "core.a",
    ]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "preload").symlink_to(paths.build_dir() / "preload")
    return folder


@pytest.fixture
def gate(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess]:
    """`python3 -m bench gate` over a build folder, by itself on this host."""

    monkeypatch.setattr(env, "collect", COLLECT)  # the same host and build all along, and it takes a second to ask
    monkeypatch.setattr(env, "compiler", COMPILER)

    def run(build: Path, *words: str) -> subprocess.CompletedProcess:
        monkeypatch.setenv("BUILD", str(build))
        return inside("gate", *words)

    return run


# --- counted on a real server -----------------------------------------------------------------------------------------


def test_a_planted_call_is_found_by_name_against_a_ratchet_and_accepted_only_for_a_reason(
    planted: Path, tmp_path: Path, gate: Callable
) -> None:
    can_trace()
    words = ("epoll_lt", "--only", "calls,allocations", "--cases", "echo", "--ratchet", str(tmp_path / "ratchet"))
    build = paths.build_dir()
    first = gate(build, *words)
    assert first.returncode == 0 and "no baseline for this toolchain" in first.stdout, first.stdout + first.stderr
    assert gate(build, *words, "--update").returncode == 0
    same = gate(build, *words)
    assert same.returncode == 0 and "0 rose, 0 fell, 0 missing" in same.stdout, same.stdout
    worse = gate(planted, *words)
    assert worse.returncode == 10, worse.stdout + worse.stderr
    assert "epoll_lt echo: +1 fcntl per request (0 → 1)" in worse.stdout
    assert "epoll_lt echo: +1 malloc per request (0 → 1)" in worse.stdout
    refused = gate(planted, *words, "--update")
    assert refused.returncode == 10 and "--allow-worse" in refused.stderr
    allowed = gate(planted, *words, "--update", "--allow-worse", "a test plants it")
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    kept = json.loads(next((tmp_path / "ratchet").glob("*.json")).read_text())
    assert [entry["why"] for entry in kept["allowed"]] == ["a test plants it"]
    better = gate(build, *words)
    assert better.returncode == 0 and "better  epoll_lt echo: -1 fcntl per request (1 → 0)" in better.stdout


def test_against_another_revision_no_baseline_is_needed(
    planted: Path, gate: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision's build is stood in for: bench/revisions.py has tests of its own."""
    can_trace()
    build = paths.build_dir()
    words = ("epoll_lt", "--only", "calls", "--cases", "echo", "--against", "HEAD")
    monkeypatch.setattr(revisions, "built", lambda *_: build)
    found = gate(planted, *words)
    assert found.returncode == 10 and "+1 fcntl per request" in found.stdout, found.stdout + found.stderr
    monkeypatch.setattr(revisions, "built", lambda *_: planted)
    fixed = gate(build, *words)
    assert fixed.returncode == 0 and "-1 fcntl per request (1 → 0)" in fixed.stdout, fixed.stdout + fixed.stderr
    assert "against revision HEAD" in fixed.stdout


def test_it_is_found_every_time(planted: Path) -> None:
    """Ten fresh processes of each: never missed, never imagined."""
    can_trace()
    plain, slow = built(), arms.from_executable(planted / "servers" / "epoll_lt")
    case = exact.CASES["echo"]
    before = {"calls": {"echo": exact.per_request(plain, case, BED)[0]}}
    for _ in range(5):
        same = {"calls": {"echo": exact.per_request(plain, case, BED)[0]}}
        assert ratchet.judge("epoll_lt", before, same) == []
        more = {"calls": {"echo": exact.per_request(slow, case, BED)[0]}}
        assert [(c.name, c.after, c.verdict) for c in ratchet.judge("epoll_lt", before, more)] == [
            ("fcntl", 1.0, "worse")
        ]


def test_instructions_of_a_request_are_repeated_and_a_longer_path_is_seen(planted: Path) -> None:
    if why := callgrind.why_impossible():
        pytest.skip(why)
    plain, slow = built(), arms.from_executable(planted / "servers" / "epoll_lt")
    case = exact.CASES["echo"]
    one, again, more = (callgrind.per_request(arm, case, BED) for arm in (plain, plain, slow))
    assert ratchet.compare("instructions", "user", one, again) == "same"
    assert ratchet.compare("instructions", "user", one, more) == "worse"
    assert 100 < one < 10_000


def test_memory_of_an_idle_connection_is_exact_to_the_byte() -> None:
    arm = built()
    one, again = (exact.per_connection(arm, BED) for _ in range(2))
    assert one["allocated"] == again["allocated"] and 0 < one["allocated"] <= 512
    assert ratchet.compare("memory", "private dirty", one["private dirty"], again["private dirty"]) == "same"


def test_a_program_without_a_malloc_to_replace_is_reported_and_not_guessed(tmp_path: Path) -> None:
    """The file stays without its mark."""
    with exact.counted(built()) as (environment, read):
        assert environment and read() is None
        subprocess.run(["/bin/true"], env={**environment}, check=True)
        assert read() is not None, "a dynamic program takes it up"


def test_a_contender_in_another_language_is_counted_too(tmp_path: Path, gate: Callable) -> None:
    can_trace()
    build = paths.build_dir()
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "examples" / "asyncio_echo.py", project)
    (project / ".muxbench.toml").write_text(
        f'[server]\ncommand = ["{sys.executable}", "-SE", "asyncio_echo.py", "{{port}}"]\nready_line = "listening"\n'
        f'protocols = ["echo"]\nversion = ["{sys.executable}", "--version"]\n[gate]\ncases = ["echo"]\n'
    )
    words = ("--project", str(project))
    first = gate(build, *words)
    assert first.returncode == 0 and "no baseline for this toolchain (Python 3" in first.stdout, (
        first.stdout + first.stderr
    )
    assert gate(build, *words, "--update").returncode == 0
    assert list((project / ".muxbench").glob("Python-3*.json"))
    source = (project / "asyncio_echo.py").read_text()
    (project / "asyncio_echo.py").write_text(
        source.replace("self.transport.write(data)", "__import__('os').getppid(); self.transport.write(data)")
    )
    done = gate(build, *words)
    assert done.returncode == 10 and "project echo: +1 getppid per request (0 → 1)" in done.stdout, done.stdout


# --- judging, simulated -----------------------------------------------------------------------------------------------

ECHO = {"epoll_pwait2": 1.0, "recvfrom": 1.0, "sendto": 1.0}


def changes(before: dict, after: dict, kind: str = "calls") -> list[tuple[str, str]]:
    found = ratchet.judge("m", {kind: {"echo": before}}, {kind: {"echo": after}})
    return [(change.name, change.verdict) for change in found]


def test_the_same_is_the_same_and_every_name_is_looked_at() -> None:
    assert changes(ECHO, ECHO) == []
    assert changes(ECHO, ECHO | {"fcntl": 1.0}) == [("fcntl", "worse")]
    assert changes(ECHO, {"epoll_pwait2": 1.0, "recvfrom": 2.0, "sendto": 1.0}) == [("recvfrom", "worse")]


def test_one_call_for_two_others_is_better_and_one_for_one_is_asked_about() -> None:
    assert changes(ECHO, {"io_uring_enter": 2.0}) == [(name, "better") for name in sorted({*ECHO, "io_uring_enter"})]
    assert changes(ECHO, {"epoll_wait": 1.0, "recvfrom": 1.0, "sendto": 1.0}) == [
        ("epoll_pwait2", "better"),
        ("epoll_wait", "worse"),
    ]


def test_what_time_decides_is_never_judged() -> None:
    loose = ECHO | {"futex": [2.0, 3.5]}
    assert changes(loose, ECHO | {"futex": 3.0}) == []
    assert changes(loose, ECHO | {"futex": 9.0}) == [("futex", "moved")]
    assert changes(ECHO | {"futex": 2.0}, ECHO | {"futex": [2.0, 5.0]}) == [("futex", "moved")]
    assert changes(ECHO | {"futex": 2.0}, ECHO | {"futex": [4.0, 5.0]}) == [("futex", "worse")], "more in every window"


def test_what_time_decides_pays_for_no_call_that_is_new() -> None:
    before, after = ECHO | {"futex": [2.0, 3.5]}, ECHO | {"futex": [0.5, 1.0], "fcntl": 1.0}
    assert ("fcntl", "worse") in changes(before, after)


def test_tolerances_are_for_instructions_and_pages_alone() -> None:
    assert changes({"user": 1000.0}, {"user": 1009.0}, "instructions") == []
    assert changes({"user": 1000.0}, {"user": 1011.0}, "instructions") == [("user", "worse")]
    assert changes({"user": 1000.0}, {"user": 985.0}, "instructions") == [("user", "better")]
    assert changes({"malloc": 0.0}, {"malloc": 0.0625}, "allocations") == [("malloc", "worse")]
    assert changes({"allocated": 304.0}, {"allocated": 304.5}, "memory") == [("allocated", "worse")]


def test_two_measurements_are_kept_as_what_they_agree_on() -> None:
    one, other = {"calls": {"echo": ECHO | {"futex": 2.0}}}, {"calls": {"echo": ECHO | {"futex": [1.5, 3.0]}}}
    assert ratchet.merge(one, other) == {"calls": {"echo": ECHO | {"futex": [1.5, 3.0]}}}
    assert ratchet.merge(one, {"calls": {"echo": ECHO}})["calls"]["echo"]["futex"] == [0.0, 2.0]
    assert (
        ratchet.merge({"calls": {}}, one) == one == ratchet.merge(one, {"calls": {}})
    ), "what one lacks, the other has"


class Once(gate_tier.Tier):
    """A tier whose second look at a model shows what is given here."""

    def __init__(self, second: dict):
        super().__init__(BED, ("calls",), None, gate_tier.Outcome(), lambda line: None)
        self.second = second

    def of_arm(self, arm: object, rounds: int) -> exact.Found:
        return exact.Found({"calls": {"echo": self.second}})


def verdict(now: dict, second: dict, before: dict = ECHO) -> gate_tier.Outcome:
    tier = Once(second)
    tier.outcome.figures["m"] = {"figures": {"calls": {"echo": now}}, "libraries": {}}
    tier.judge(
        {"m": {"figures": {"calls": {"echo": before}}, "libraries": {}}}, {"m": None}, chosen=False, strict=False
    )
    return tier.outcome


def test_what_rose_once_and_not_again_has_not_risen() -> None:
    more = ECHO | {"fcntl": 1.0}
    assert verdict(more, more).code() == 10
    assert verdict(more, ECHO).code() == 0
    assert [c.verdict for c in verdict(more, ECHO).changes] == ["moved"]


def test_what_could_not_be_counted_once_is_counted_again() -> None:
    tier = Once(ECHO)
    tier.outcome.figures["m"] = {"figures": {"calls": {}}, "libraries": {}}
    tier.judge({"m": {"figures": {"calls": {"echo": ECHO}}, "libraries": {}}}, {"m": None}, False, False)
    assert tier.outcome.code() == 0 and tier.outcome.figures["m"]["figures"] == {"calls": {"echo": ECHO}}


def test_a_second_look_that_fails_is_a_missing_cell_and_not_the_end() -> None:
    def fails(*_: object) -> exact.Found:
        raise BenchError("it did not start")

    tier = Once(ECHO)
    tier.of_arm = fails
    tier.outcome.figures["m"] = {"figures": {"calls": {}}, "libraries": {}}
    tier.judge({"m": {"figures": {"calls": {"echo": ECHO}}, "libraries": {}}}, {"m": None}, False, False)
    assert tier.outcome.code() == 13 and any("did not start" in line for line in tier.outcome.missing)


def test_missing_cells_have_a_code_of_their_own() -> None:
    tier = Once({})
    tier.cases = None
    tier.of_arm = lambda arm, rounds: exact.Found({"calls": {}})
    before = {name: {"figures": {"calls": {"echo": ECHO}}, "libraries": {}} for name in ("gone_model", "kept")}
    tier.outcome.figures["kept"] = {"figures": {"calls": {}}, "libraries": {}}
    tier.judge(before, {"kept": None}, chosen=False, strict=False)
    assert tier.outcome.code() == 13
    assert [line.split(":")[0] for line in tier.outcome.missing] == ["gone_model", "kept echo"]


@pytest.mark.parametrize("strict, code", [(False, 0), (True, 13)])
def test_what_this_host_cannot_run_is_said_and_missing_only_when_strict(strict: bool, code: int) -> None:
    tier = Once(ECHO)
    tier.away["m"] = "this host cannot run it: io_uring is forbidden here"
    tier.judge({"m": {"figures": {"calls": {"echo": ECHO}}, "libraries": {}}}, {}, chosen=False, strict=strict)
    assert tier.outcome.code() == code
    assert any("io_uring is forbidden" in line for line in tier.outcome.notes + tier.outcome.missing)


def test_another_version_of_a_library_has_no_baseline() -> None:
    tier = Once(ECHO | {"fcntl": 1.0})
    tier.outcome.figures["m"] = {"figures": {"calls": {"echo": ECHO | {"fcntl": 1.0}}}, "libraries": {"libuv": "1.48"}}
    tier.judge({"m": {"figures": {"calls": {"echo": ECHO}}, "libraries": {"libuv": "1.44"}}}, {"m": None}, False, False)
    assert tier.outcome.code() == 0 and "libuv 1.44; not judged" in tier.outcome.notes[0]


# --- the file ---------------------------------------------------------------------------------------------------------

CHAIN = {
    "compiler": "cc (Debian 12.2.0-14) 12.2.0",
    "flags": "-O2",
    "libc": "glibc 2.36",
    "architecture": "x86_64",
    "isa": "v3",
}


def test_a_toolchain_has_a_file_and_another_has_another() -> None:
    assert ratchet.key(CHAIN).startswith("cc-Debian-12.2.0-14-12.2.0_glibc-2.36_x86-64_v3_")
    others = [CHAIN | {name: "other"} for name in CHAIN]
    assert len({ratchet.key(chain) for chain in [CHAIN, *others]}) == 6


def test_an_update_keeps_what_was_not_measured_and_lists_every_allowance() -> None:
    one = {"figures": {"calls": {"echo": ECHO, "http": ECHO}}, "libraries": {}}
    old = ratchet.updated(None, CHAIN, {"a": one, "b": one}, [], None)
    fewer = {"figures": {"calls": {"echo": {"recvfrom": 1.0}}}, "libraries": {}}
    new = ratchet.updated(old, CHAIN, {"a": fewer}, [], None)
    assert new["models"]["a"]["figures"]["calls"] == {"echo": {"recvfrom": 1.0}, "http": ECHO}
    assert new["models"]["b"] == one and new["allowed"] == []
    worse = [ratchet.Change("a", "calls", "echo", "fcntl", None, 1.0, "worse")]
    with pytest.raises(BenchError) as refused:
        ratchet.updated(new, CHAIN, {"a": one}, worse, None)
    assert refused.value.exit_code == 10
    assert ratchet.updated(new, CHAIN, {"a": one}, worse, "why")["allowed"][0]["what"] == [
        "a echo: +1 fcntl per request (0 → 1)"
    ]


def test_an_update_neither_creeps_nor_gives_up_what_was_exact() -> None:
    def kept(before: dict, after: dict, reason: str | None = None) -> dict:
        old = ratchet.updated(None, CHAIN, {"a": {"figures": before, "libraries": {}}}, [], None)
        new = ratchet.updated(old, CHAIN, {"a": {"figures": after, "libraries": {}}}, [], reason)
        return new["models"]["a"]["figures"]

    def instructions(count: float) -> dict:
        return {"instructions": {"echo": {"user": count}}}

    assert kept(instructions(1000.0), instructions(1009.0)) == instructions(1000.0)
    assert kept(instructions(1000.0), instructions(995.0)) == instructions(995.0), "less is always kept"
    assert kept(instructions(1000.0), instructions(1009.0), "why") == instructions(1009.0)
    exact, loose = ({"calls": {"echo": ECHO | {"futex": value}}} for value in (2.0, [2.0, 5.0]))
    assert kept(exact, loose) == exact and kept(loose, exact) == exact


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("--only", "cals"), "--only: no kind 'cals' (did you mean calls?)"),
        (("--cases", "eco"), "--cases: no case 'eco' (did you mean echo?)"),
        (("--allow-worse", "why"), "--allow-worse needs a reason, and --update beside it"),
        (("--update", "--against", "HEAD"), "one at a time"),
        (("--project", "/nowhere"), "/nowhere is no folder"),
        (("epoll_lt", "--only", "calls", "--against", "no-such-revision"), "names no commit"),
        (("--mode", "timed"), "--mode is for --project"),
    ],
)
def test_wrong_words_are_refused(gate: Callable, words: tuple[str, ...], complaint: str) -> None:
    done = gate(paths.build_dir(), *words)
    assert done.returncode == 2 and complaint in done.stderr, done.stderr


def test_valgrind_is_asked_for_with_the_other_tools_of_the_tests() -> None:
    tier = (ROOT / "bench" / "require.sh").read_text().partition("\ttest)")[2].partition(";;")[0]
    assert "need valgrind command valgrind" in tier


def test_the_committed_ratchet_is_readable_and_names_pages() -> None:
    files = sorted(paths.RATCHET.glob("*.json"))
    assert files, "no baseline is committed"
    for path in files:
        kept = json.loads(path.read_text())
        assert path.stem == ratchet.key(kept["toolchain"])
        assert set(kept["models"]) <= {page.stem for page in (ROOT / "servers").glob("*.c")}
        assert kept["models"]["epoll_lt"]["figures"]["calls"]["echo"] == ECHO


def test_the_document_has_the_numbers_of_the_code() -> None:
    text = (ROOT / "docs" / "gate.md").read_text().partition("## The exact tier")[2]
    (share, amount), (page_share, page_amount) = (
        ratchet.TOLERANCE[key] for key in (("instructions", "user"), ("memory", "private dirty"))
    )
    assert f"two processes of {callgrind.LOW} and {callgrind.HIGH} requests" in text
    assert f"beyond {share:.0%} and {amount:.0f} instructions".replace("%", " %") in text
    assert f"beyond {page_share:.0%} and {page_amount:.0f} bytes".replace("%", " %") in text
    assert f"at {exact.FEW} and {exact.MANY} connections" in text
    assert {kind for kind in exact.KINDS if f"| {kind} |" in text} == set(exact.KINDS)
