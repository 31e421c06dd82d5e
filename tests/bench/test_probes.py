"""Every probe: it prints the JSON it promises, ends by itself, leaves no process; and what is true on every Linux.

Nothing here depends on speed: each probe is given ten times its time.
"""

import functools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench import claims_file, claims_parts, paths

FOLDER = paths.build_dir() / "probes"
NAMES = sorted(page.stem for page in paths.PROBES.glob("*.c") if page.stem != "probe")
LIMIT_S = 60  # a probe has five seconds, and here the time that a busy host needs
GAVE_UP = "gave up after 5 seconds"
HOST_BOUND = {  # facts that are told only where the host has what they need
    "abort_on_overflow.refused", "half_closes.wanted_cpu_share", "io_uring.completion_says",
    "nothing_read.wanted_cpu_share", "regular_file.slept", "servers.busy_poll.asleep_share",
    "ways.o_direct.in_cache_share",
}

STORY = [1024, 1, 500, 0, 524, 1024, 1, 1548, 1024, 524, 0]
EXACT = {  # by probe, facts that are true on every Linux
    "edge_trigger": {"edge.steps": STORY, "edge.read_without_notification": 524, "edge.told_after_mod": 1,
                     "level.told_of_the_rest": 1},
    "level_trigger": {"told_then_read": [1, 500, 1, 500, 1, 24, 0], "told_without_reading": 100},
    "event_contents": {"events_of_1_and_1000_bytes_differ": False, "fionread": [1, 1000]},
    "drain_or_stall": {"edge_drain.eight_times.requests": 20, "edge_short_read.eight_times.requests": 20,
                       "edge_single_read.once.stalls": False, "edge_single_read.twice.stalls": True,
                       "level_single_read.eight_times.requests": 20},
    "shared_offset": {"after_own_write": 3, "after_childs_write": 8, "after_duplicates_write": 10,
                      "nonblocking_through_child": True, "close_on_exec_is_shared": False},
    "own_offset": {"first": 10, "second": 0, "second_again": 7, "first_then": 35},
    "socket_offset": {"tcp.lseek": "ESPIPE", "tcp.pread": "ESPIPE", "pipe.lseek": "ESPIPE", "file.pread": 4},
    "close_on_exec": {"file.open_with_flag": False, "file.open_without": True, "usable_between_fork_and_exec": True,
                      "parent_still_reads": True, "after_server_closed_its_listener.connects_with_flag": False,
                      "after_server_closed_its_listener.connects_without": True},
    "descriptors": {"file_then_socket": [3, 4], "first_after_closing_the_file": 3,
                    "started.as_usual.finds_0_open": True, "started.with_0_closed.first_socket": 0},
    "setfl": {"flags.O_NONBLOCK.takes_effect": True, "flags.O_APPEND.takes_effect": True,
              "flags.O_SYNC.takes_effect": False, "size_after_append_set_late": 8},
    "read_blocks": {"waited": 10, "refused_when_nonblocking": 10, "exceptions.dev_null.waits": False},
    "ready_without_data": {"ready.peer_reset.error": "ECONNRESET", "ready.peer_closed.slept": 0,
                           "shared_listener.second_accept_waits": True},
    "task_life": {"data_there_before.slept": 0, "states.waiting": "S", "states.ended_100_ms_ago": "Z",
                  "states.reaped": "?", "states.exit_status": 7},
    "tasks": {"threads.with_own_state": 50, "threads.listed_as_our_tasks": 50, "children.with_own_state": 50,
              "children.listed_as_our_tasks": 0},
    "partial_io": {"write.16777216.first": "partial", "write.16777216.last": "EAGAIN",
                   "read.of_more_than_there_is.bytes": 1000, "read.of_less.result": "full"},
    "writable_again": {"tcp.full_is_not_writable": True, "tcp.writable_again": True, "pipe.writable_again": True},
    "nonblocking_calls": {"tcp_socket.read_empty.refused": 1000, "pipe.write_full.refused": 1000,
                          "regular_file.refused": 0},
    "backlog": {"queues.1.connected_at_once": 2, "queues.10.connected_at_once": 11, "queues.5.failed": 0},
    "blocking_calls": {"write.blocking.100.taken": 100, "write.blocking.67108864.waits": True},
    "user_cookie": {"wrong_or_missing": 0},
    "blog_epoll": {"keeps_open.first_client": "greeted", "keeps_open.waits": 3,
                   "half_closes_repaired.first_client": "greeted", "half_closes_repaired.waits": 3},
    "waiting_servers": {"line_of_state": 3, "servers.blocking.tasks": 1},
}


def eventually_gone(session: int) -> bool:
    """Children are killed with the probe, and a busy host takes its time over it."""
    for _ in range(300):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def finished(name: str) -> subprocess.CompletedProcess:
    """A probe's end, in a session of its own, of which nobody may be left."""
    patient = {**os.environ, "PROBE_LIMIT_S": str(LIMIT_S - 10)}
    with subprocess.Popen(
        [FOLDER / name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=patient
    ) as probe:
        try:
            told, said = probe.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(probe.pid, signal.SIGKILL)
            pytest.fail(f"{name} did not end within {LIMIT_S} s")
    assert eventually_gone(probe.pid), f"{name} left a process behind"
    return subprocess.CompletedProcess(name, probe.returncode, told, said)


def facts_of(name: str) -> dict:
    if not (FOLDER / name).is_file():
        pytest.skip(f"{name} is not built here")
    done = finished(name)
    if done.returncode == 77:
        assert done.stdout == "" and done.stderr.count("\n") == 1
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"probe", "facts"} and told["probe"] == name and told["facts"]
    return told["facts"]


@functools.cache
def claims_by_probe() -> dict[str, list[claims_file.Claim]]:
    found: dict[str, list[claims_file.Claim]] = {}
    for claim in claims_file.load_all(path for path in claims_file.files() if "\n[probe]" in path.read_text()):
        found.setdefault(claim.setup["name"], []).append(claim)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_probe_tells_what_claims_read_and_what_holds_everywhere(name: str) -> None:
    told = facts_of(name)
    for claim in claims_by_probe().get(name, []):
        for part in claim.parts:
            there = claims_parts.dig(told, part["field"]) is not None
            assert there or part["field"] in HOST_BOUND, f"{claim.file}: {part['name']}: {part['field']}"
    for field, wanted in EXACT.get(name, {}).items():
        assert claims_parts.dig(told, field) == wanted, field


def test_every_exact_fact_belongs_to_a_probe() -> None:
    assert set(EXACT) <= set(NAMES)


def test_every_probe_is_read_by_a_claim() -> None:
    unread = [name for name in NAMES if name not in claims_by_probe()]
    assert not unread, f"a probe that no claim reads decides nothing: {unread}"


@pytest.mark.parametrize("word", ["--help", "--what"])
def test_every_probe_explains_itself_and_refuses_what_it_does_not_know(word: str) -> None:
    for name in NAMES:
        if not (FOLDER / name).is_file():
            continue
        done = subprocess.run([FOLDER / name, word], capture_output=True, text=True, timeout=LIMIT_S)
        if word == "--help":
            assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"{name}: "), name
        else:
            assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1, name


PROGRAM = """
#include "probe.h"
#include <errno.h>
#include <math.h>
static int kill_nothing(void)
{
	errno = EPERM;
	return -1;
}
int main(int argc, char **argv)
{
	probe_begin(argc, argv, "WHAT", "A probe of a test.");
	char what = argv[1][0];
	if (what == 's')
		probe_skip("this host lacks %s", "it");
	if (what == 'b')
		must(kill_nothing());
	if (what == 'k')
		fact_int(NULL, 1);
	if (what == 'l')
		probe_sleep_ms(60000);
	fact_text("text", "a \\"quoted\\" \\\\ line\\nand \\x01");
	fact_real("third", 1.0 / 3);
	fact_real("nothing", NAN);
	fact_error("error", EAGAIN);
	facts_list("list");
	fact_int(NULL, -1);
	fact_bool(NULL, true);
	facts_open(NULL);
	facts_close();
	facts_close();
	return probe_end();
}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    page = folder / "small.c"
    page.write_text(PROGRAM)
    flags = ["-std=c11", "-D_GNU_SOURCE", "-pthread", f"-I{paths.PROBES}", f"-I{paths.ROOT}/servers/core"]
    command = ["cc", *flags, "-o", folder / "small", page, paths.PROBES / "probe.c"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder / "small"


def test_facts_are_json_whatever_is_in_them(small: Path) -> None:
    done = subprocess.run([small, "x"], capture_output=True, text=True, timeout=LIMIT_S)
    assert json.loads(done.stdout) == {
        "probe": "small",
        "facts": {
            "text": 'a "quoted" \\ line\nand \x01', "third": pytest.approx(1 / 3), "nothing": None, "error": "EAGAIN",
            "list": [-1, True, {}],
        },
    }


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("s", 77, "this host lacks it"), ("b", 1, "kill_nothing(): Operation not permitted"),
        ("k", 1, "has a key"), ("l", 1, GAVE_UP),
    ],
)
def test_a_probe_that_cannot_go_on_says_why_and_prints_no_half(small: Path, what: str, status: int, said: str) -> None:
    done = subprocess.run([small, what], capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
