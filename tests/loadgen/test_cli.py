"""The command line: what is wrong is said in one line before the run, and every result is where it was asked for."""
import contextlib
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import LOADGEN, ROOT, SCHEMA, check_document, loadgen, peer
from servers import greet, served

GOOD = ("--target", "127.0.0.1:9", "--protocol", "echo", "--connections", "2")

WRONG = {
    "no target": ("--protocol", "echo", "--connections", "1"),
    "no protocol": ("--target", "127.0.0.1:9", "--connections", "1"),
    "no connections": ("--target", "127.0.0.1:9", "--protocol", "echo"),
    "no such option": (*GOOD, "--conections", "3"),
    "no value": (*GOOD, "--depth"),
    "no number": (*GOOD, "--depth", "many"),
    "out of range": (*GOOD, "--depth", "0"),
    "no time": (*GOOD, "--duration", "5 s"),
    "negative": (*GOOD, "--warmup", "-1"),
    "no protocol of ours": ("--target", "127.0.0.1:9", "--protocol", "gopher", "--connections", "1"),
    "no port": ("--target", "127.0.0.1", "--protocol", "echo", "--connections", "1"),
    "no port number": ("--target", "127.0.0.1:99999", "--protocol", "echo", "--connections", "1"),
    "no host": ("--target", "no.such.host.invalid:80", "--protocol", "echo", "--connections", "1"),
    "long path": ("--target", "unix:" + "x" * 200, "--protocol", "echo", "--connections", "1"),
    "rate in closed loop": (*GOOD, "--mode", "closed", "--rate", "5"),
    "open loop without rate": (*GOOD, "--mode", "open"),
    "no rate": (*GOOD, "--rate", "fast"),
    "rate of nothing": (*GOOD, "--rate", "0.1", "--duration", "1s"),
    "rate and duration": (*GOOD, "--rate", "5:2s", "--duration", "1s"),
    "think in open loop": (*GOOD, "--rate", "5", "--think", "1s"),
    "shed in closed loop": (*GOOD, "--shed", "1s"),
    "more threads than connections": (*GOOD, "--threads", "3"),
    "path for echo": (*GOOD, "--path", "/"),
    "depth beyond the life": (*GOOD, "--per-connection", "2", "--depth", "3"),
    "two paths": ("--target", "127.0.0.1:9", "--protocol", "http", "--connections", "1", "--path", "/", "--reply", "5"),
    "raw without request": ("--target", "127.0.0.1:9", "--protocol", "raw", "--connections", "1"),
    "raw without reply": ("--target", "127.0.0.1:9", "--protocol", "raw", "--connections", "1", "--send", "x"),
    "raw with two replies": (
        "--target", "127.0.0.1:9", "--protocol", "raw", "--connections", "1", "--send", "x", "--reply", "1", "--until",
        "x",
    ),
    "no such file": (
        "--target", "127.0.0.1:9", "--protocol", "raw", "--connections", "1", "--send", "@/no/such/file", "--reply",
        "1",
    ),
    "no such CPU": (*GOOD, "--cpus", "1000"),
    "no CPU list": (*GOOD, "--cpus", "0,"),
    "no such process": (*GOOD, "--watch", "4194304"),
    "no objective": (*GOOD, "--find-rate", "p98=1ms"),
    "objective and rate": (*GOOD, "--find-rate", "p99=1ms", "--rate", "5"),
    "pause without parts": (*GOOD, "--send-every", "1ms"),
    "parts without pause": (*GOOD, "--read-part", "10"),
    "no pause": (*GOOD, "--pause", "1@2"),
    "too many connections": ("--target", "127.0.0.1:9", "--protocol", "echo", "--connections", "900000"),
    "many sources elsewhere": ("--target", "192.0.2.1:9", "--protocol", "echo", "--connections", "1", "--sources", "5"),
    "no timeline": (*GOOD, "--timeline", "/no/such/folder/t"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_usage(case):
    done = subprocess.run([LOADGEN, *WRONG[case], "--json", "-"], capture_output=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr.startswith(b"loadgen: ") and done.stderr.count(b"\n") == 1
    doc = json.loads(done.stdout)
    check_document(doc)
    assert doc["exit"] == 2 and doc["error"] in done.stderr.decode()
    quiet = subprocess.run([LOADGEN, *WRONG[case]], capture_output=True, timeout=20)
    assert quiet.returncode == 2 and quiet.stdout == b""


def test_too_few_descriptors_names_the_number_that_works():
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    def run(connections):
        return subprocess.run(
            [LOADGEN, *GOOD[:-1], str(connections)], capture_output=True, preexec_fn=lower, timeout=20
        )

    told = run(200)
    assert told.returncode == 2
    works = int(told.stderr.decode().split("at most ")[1].split()[0])
    assert 0 < works < 100
    assert run(works).returncode == 1  # refused: it has tried
    assert run(works + 1).returncode == 2


@pytest.mark.parametrize(
    "load, works",
    [
        ("--protocol frame --connections 3 --delay 10ms --rate 400", ("--connections", "4")),
        ("--protocol frame --connections 3 --depth 2 --delay 10ms --rate 700", ("--connections", "4")),
        (
            "--protocol echo --connections 1 --size 100 --send-part 10 --send-every 1ms --rate 200",
            ("--connections", "2"),
        ),
        (
            "--protocol frame --connections 1 --rate 100 --class 'a: --weight 3' --class 'b: --delay 80ms'",
            ("--connections", "2"),
        ),
    ],
)
def test_a_rate_that_cannot_be_met_names_the_connections_that_carry_it(load, works):
    words = [LOADGEN, "--target", "127.0.0.1:9", *shlex.split(load)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert told.returncode == 2 and told.stderr.count("\n") == 1 and told.stderr.strip().endswith(" ".join(works))
    assert subprocess.run([*words, *works], capture_output=True, timeout=20).returncode == 1  # refused: it has tried


def test_too_few_ports_name_the_numbers_that_work():
    """In a network namespace of its own with a hundred ports, of which 80 are used."""
    def run(*words):
        inside = [
            "unshare", "-n", "sh", "-c", 'echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range; exec "$@"', "sh",
        ]
        return subprocess.run(
            [*inside, LOADGEN, "--target", "192.0.2.1:9", "--probe", "0", *words], capture_output=True, text=True,
            timeout=20,
        )

    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("may not make a network namespace here (unshare -n)")
    told = run("--protocol", "echo", "--connections", "81")
    assert told.returncode == 2 and "at most --connections and --idle 80 together" in told.stderr
    assert run("--protocol", "echo", "--connections", "80").returncode == 1  # no route: it has tried
    churn = (
        "--protocol", "echo", "--connections", "2", "--per-connection", "1", "--warmup", "0", "--duration", "10s",
        "--rate",
    )
    told = run(*churn, "20")
    assert told.returncode == 2 and "at most --rate 10 " in told.stderr


def test_help_and_version():
    shown = subprocess.run([LOADGEN, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stderr == ""
    for option in ("--target", "--rate", "--watch", "--engine"):
        assert f"  {option} " in shown.stdout
    assert subprocess.run([LOADGEN, "--version"], capture_output=True).returncode == 0


def test_the_manual_has_every_option():
    shown = subprocess.run([LOADGEN, "--help"], capture_output=True, text=True).stdout
    options = {line.split()[0][2:] for line in shown.splitlines() if line.startswith("  --")}
    words = (ROOT / "loadgen" / "loadgen.1").read_text().replace(",", " ").split()
    manual = {after for word, after in zip(words, words[1:]) if word == "Fl" and after != "Fl"}
    assert len(options) > 30 and manual == options | {"help", "version"}


def test_the_page_names_every_class_and_rule():
    page = (ROOT / "docs" / "loadgen.md").read_text()
    for name in (
        *SCHEMA["$defs"]["errors"]["properties"],
        *SCHEMA["$defs"]["report"]["properties"]["checks"]["items"]["properties"]["name"]["enum"],
    ):
        assert f"`{name}`" in page, name


def test_results_go_where_they_belong(tmp_path):
    with peer() as server:
        args = [LOADGEN, "--target", server.target, *GOOD[2:], "--warmup", "0", "--duration", "100ms", "--probe", "0"]
        plain = subprocess.run(args, capture_output=True, timeout=20, text=True)
        both = subprocess.run([*args, "--json", tmp_path / "j"], capture_output=True, timeout=20, text=True)
        silent = subprocess.run(
            [*args, "--json", tmp_path / "k", "--quiet"], capture_output=True, timeout=20, text=True
        )
        lost = subprocess.run([*args, "--json", tmp_path / "no" / "j"], capture_output=True, timeout=20, text=True)
    assert plain.returncode in (0, 3) and "replies/s" in plain.stdout and plain.stderr == ""
    assert "replies/s" in both.stdout and both.stderr == ""
    check_document(json.loads((tmp_path / "j").read_text()))
    assert silent.stdout == silent.stderr == "" and (tmp_path / "k").exists()
    assert lost.returncode == 2 and "cannot write" in lost.stderr and lost.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j", "k"]


@pytest.mark.parametrize("option", ["--json", "--hgrm"])
def test_a_result_that_cannot_be_written_whole_is_an_error(tmp_path, option):
    (tmp_path / "folder").mkdir()
    with peer() as server:
        args = [LOADGEN, "--target", server.target, *GOOD[2:], "--warmup", "0", "--duration", "50ms", "--probe", "0"]
        full, folder = (
            subprocess.run([*args, option, place], capture_output=True, timeout=20, text=True)
            for place in ("/dev/full", tmp_path / "folder")
        )
    assert full.returncode == 1 and "/dev/full" in full.stderr and "No space left" in full.stderr
    assert folder.returncode == 1 and "Is a directory" in folder.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_watched_processes_and_the_host():
    with peer() as server:
        run = loadgen(server.target, *GOOD[2:], "--watch", server.process.pid, "--watch", os.getpid())
    served, idle = run.doc["watch"]
    assert served["pid"] == server.process.pid and served["cpu_ns"] > 0
    assert idle["cpu_ns"] < served["cpu_ns"] and idle["voluntary_ctxt_switches"] >= 0
    assert [c["cpu"] for c in run.doc["host"]["cpus"]] == sorted(c["cpu"] for c in run.doc["host"]["cpus"])
    assert run.doc["client"]["cpu_ns"] > 0 and run.doc["client"]["threads"][0]["cpu"] is None


def test_pinned_threads():
    cpus = sorted(os.sched_getaffinity(0))
    with peer() as server:
        run = loadgen(server.target, *GOOD[2:], "--cpus", cpus[-1], "--threads", 2)
    assert [t["cpu"] for t in run.doc["client"]["threads"]] == [cpus[-1]] * 2


def test_timeline(tmp_path):
    with peer() as server:
        run = loadgen(
            server.target, *GOOD[2:], "--timeline", tmp_path / "t", "--warmup", "1s", "--duration", "1200ms",
            "--threads", 2
        )
    lines = [json.loads(line) for line in (tmp_path / "t").read_text().splitlines()]
    assert [line["phase"] for line in lines][:2] == ["warmup", "measure"]
    assert all(a["to_ns"] == b["from_ns"] for a, b in zip(lines, lines[1:]))
    assert sum(line["ok"] for line in lines) == run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"]


def test_percentiles_for_the_plotter(tmp_path):
    with peer(delay=1_000_000) as server:
        run = loadgen(server.target, *GOOD[2:], "--hgrm", tmp_path / "h")
    rows = [
        list(map(float, line.split()))
        for line in (tmp_path / "h").read_text().splitlines()
        if line[:1] == " " and "Value" not in line
    ]
    latency = run.doc["latency_sent_ns"]
    assert rows == sorted(rows, key=lambda row: (row[1], row[0]))
    assert rows[-1][1] == 1 and rows[-1][2] == latency["n"] and abs(rows[-1][0] - latency["max"] / 1e6) < 1e-6
    assert next(row[0] for row in rows if row[1] == 0.5) == pytest.approx(latency["p50"] / 1e6, abs=1e-6)


def test_a_paused_server_stands_still_for_so_long():
    with peer() as server:
        run = loadgen(
            server.target, *GOOD[2:], "--rate", "500", "--duration", "800ms", "--pause",
            f"{server.process.pid}@200ms+300ms",
        )
    event, = run.doc["events"]
    assert event["error"] is None and event["planned_ns"] == 200_000_000
    assert event["until_ns"] - event["from_ns"] >= 300_000_000
    assert run.doc["latency_intended_ns"]["max"] >= 250e6


def test_nothing_stays_stopped_after_an_interrupt():
    with peer() as server:
        args = [LOADGEN, "--target", server.target, *GOOD[2:], "--duration", "30s", "--warmup", "0", "--probe", "0",
                "--pause", f"{server.process.pid}@100ms+20s"]
        process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.6)
        process.terminate()
        assert process.wait(timeout=20) == 3
        assert server.stop()["messages"] > 0  # it would not answer SIGTERM if it were stopped


def test_progress_on_a_terminal(tmp_path):
    ours, theirs = os.openpty()
    with peer() as server:
        args = [LOADGEN, "--target", server.target, *GOOD[2:], "--warmup", "0", "--duration", "1300ms", "--probe", "0"]
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=theirs, timeout=20)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # EIO: all has been read, and nobody holds the other side
        while piece := os.read(ours, 10000).decode():
            shown += piece
    os.close(ours)
    assert "measure" in shown and "replies/s" in shown and "left" in shown
    assert shown.endswith("\r\033[K")  # the line is gone when the summary comes
    assert b"\r" not in done.stdout


def test_connections_per_request_rotate_over_sources():
    seen = set()

    def note(handler):
        seen.add(handler.client_address[0])
        greet(handler)

    # 80 requests, each on a connection of its own: one of the four places has had 20, and so has used every source.
    load = "--protocol greet --connections 4 --rate 200 --duration 400ms --drain 60s --timeout 60s".split()
    with served(note) as target:
        assert loadgen(target, *load).good
        rotated = set(seen)
        seen.clear()
        assert loadgen(target, *load, "--sources", 3).good
    assert rotated == {f"127.0.1.{n}" for n in range(1, 17)}
    assert seen == {"127.0.1.1", "127.0.1.2", "127.0.1.3"}


def test_children_of_a_watched_process_are_counted_with_it_or_by_themselves():
    """A parent that sleeps, its child that burns CPU: as of a server that forks for each connection."""
    burning = "import os, sys, time\nchild = os.fork()\nprint(child, flush=True) if child else None\nwhile not child: pass\ntime.sleep(60)"
    with peer() as server, subprocess.Popen([sys.executable, "-c", burning], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        try:
            run = loadgen(server.target, *GOOD[2:], "--watch", parent.pid)
            both = loadgen(server.target, *GOOD[2:], "--watch", parent.pid, "--watch", child)
        finally:
            os.kill(child, signal.SIGKILL)
            parent.kill()
    alone, = run.doc["watch"]
    assert alone["children_cpu_ns"] > 20 * alone["cpu_ns"] and alone["children_cpu_ns"] > 0
    with_child, by_itself = both.doc["watch"]
    assert by_itself["cpu_ns"] > 20 * with_child["cpu_ns"] and with_child["children_cpu_ns"] == 0


def test_children_that_are_reaped_in_the_window_are_counted():
    """A parent that forks children which burn 50 ms each, one after the other, and waits for them."""
    forking = ("import os, time\nprint(flush=True)\nend = time.monotonic() + 30\nwhile time.monotonic() < end:\n"
               "    if not os.fork():\n        while time.process_time() < 0.05: pass\n        os._exit(0)\n    os.wait()")
    with peer() as server, subprocess.Popen([sys.executable, "-c", forking], stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        try:
            run = loadgen(server.target, *GOOD[2:], "--watch", parent.pid, "--duration", "1s")
        finally:
            parent.kill()
    parent_alone, = run.doc["watch"]
    assert parent_alone["children_cpu_ns"] > 50_000_000
    assert parent_alone["children_cpu_ns"] > 2 * parent_alone["cpu_ns"]
