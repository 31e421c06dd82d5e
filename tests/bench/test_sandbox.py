"""Where much is missing (io_uring, descriptors, tools, namespaces), or the clock is set, a run ends with a table."""

import json
import resource
import subprocess
from pathlib import Path

import pytest
from conftest import EXPERIMENT, House

from bench import derive, measure, notes, records

REFUSED = """#!/bin/sh
[ "$1" = --describe ] && { echo '{"name": "io_uring", "thesis": "t", "protocols": ["echo"], "options": [],
  "clients_at_once": null, "needs": []}'; exit; }
echo 'io_uring_setup: Operation not permitted (kernel.io_uring_disabled is 2)' >&2
exit 77
"""


def test_a_restricted_sandbox_still_gives_a_table_and_says_what_is_missing(house: House) -> None:
    """Low descriptor limit, an io_uring that refuses with 77, and a PATH with neither perf nor ip nor gnuplot."""
    house.servers("epoll_lt", "poll")
    refused = house.build / "servers" / "io_uring"
    refused.write_text(REFUSED)
    refused.chmod(0o755)
    good = EXPERIMENT.format(blocks=1, duration="5ms", rates="[1000]")
    crowded = house.experiment(
        good.replace("grid.rate = [1000]", "grid.rate = [1000]\ngrid.idle = [0, 5000]"), name="crowded"
    )
    apart = house.experiment('topology = "netns"\n' + good.lstrip(), name="apart")
    needy = house.experiment(good + "\n[needs]\nfds = 100000\n", name="needy")
    tools = house.folder / "tools"
    tools.mkdir()
    for tool in ("sh", "cc", "git", "getconf", "env"):
        if Path(f"/usr/bin/{tool}").exists():
            (tools / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        house.command("run", crowded, apart, needy, "--no-figures"),
        cwd=house.folder,
        capture_output=True,
        text=True,
        timeout=180,
        env={**house.environment(), "PATH": str(tools)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crowded: server CPU per request" in done.stdout, "a table"
    for missing in (
        "needs 5002 descriptors, the limit is 512",
        "needs ip, which is not installed",
        "needs 100000 descriptors, this host has 512",
        "unavailable: io_uring, 1 sample, such as: io_uring_setup: Operation not permitted",
    ):
        assert missing in done.stdout, missing
    found = {(r["arm"], r["status"]) for r in records.read_samples(house.run_folder())}
    assert found == {("epoll_lt", "ok"), ("poll", "ok"), ("io_uring", "unavailable")}


def test_a_wall_clock_that_is_set_is_noted_and_changes_no_figure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.servers("epoll_lt")
    assert house.bench("run", house.experiment(rates="[1000]"), "--no-figures").returncode == 0
    folder = house.run_folder()
    honest = derive.derive(folder)
    assert honest["clock_step_ms"] == 0.0
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert all(abs(line["clock_step_ns"]) < 10e6 for line in lines)
    lines[1] |= {"clock_step_ns": -3_600_000_000_000, "started": "1999-12-31T23:59:59.000+00:00"}
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stepped = derive.derive(folder)
    assert stepped["experiments"] == honest["experiments"] and stepped["clock_step_ms"] == 3.6e6
    assert "the wall clock was set by 3.6M ms meanwhile" in notes.closing(stepped, 1.0)


def test_a_step_is_the_wall_clock_against_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = measure.wall_offset_ns()
    monkeypatch.setattr(measure.time, "time_ns", lambda real=measure.time.time_ns: real() + 7_000_000_000)
    assert 6.9e9 < measure.wall_offset_ns() - before < 7.1e9


def test_a_run_says_how_much_of_its_time_was_not_measured(house: House) -> None:
    house.servers("epoll_lt")
    done = house.bench("run", house.experiment(rates="[1000]", duration="300ms"), "--no-figures")
    [session] = records.read_samples(house.run_folder(), "sessions.jsonl")
    assert session["samples"] == 2 and session["windows_ns"] == 600_000_000
    assert session["overhead"] == pytest.approx(1 - session["windows_ns"] / session["wall_ns"], abs=1e-4)
    assert f"{session['overhead']:.0%} of the time outside measured windows" in done.stdout


def test_a_newer_run_is_refused_by_every_reader(house: House) -> None:
    house.servers("epoll_lt")
    house.bench("run", house.experiment(rates="[1000]"), "--no-figures")
    plan = house.run_folder() / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"schema": 99}))
    for command in ("show", "derive", "resume", "export"):
        done = house.bench(command, house.run_folder().name)
        assert done.returncode == 2 and "written by a newer muxbench" in done.stderr, command
