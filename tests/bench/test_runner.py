"""Runs from end to end against fakes: what goes right, what goes wrong, and how a run ends."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT, House

from bench import placement, records


def outcomes(folder: Path) -> dict[str, dict]:
    return {record["id"]: record for record in records.read_samples(folder)}


def plan_ids(folder: Path) -> list[str]:
    return [sample["id"] for sample in json.loads((folder / "plan.json").read_text())["samples"]]


def processes_of(house: House) -> list[str]:
    """Command lines of living processes that were started from this house's build folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if str(house.build).encode() + b"/" in line and state != "Z":
            found.append(line.decode())
    return found


def wait_until(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def without_required(rules: object) -> object:
    if isinstance(rules, dict):
        return {key: without_required(value) for key, value in rules.items() if key != "required"}
    return [without_required(value) for value in rules] if isinstance(rules, list) else rules


def test_the_fake_load_generator_says_what_the_real_one_might(house: House) -> None:
    """All that the fake says, the real one's schema knows, by name and type; the fake may say less."""
    house.servers("epoll_lt")
    house.bench("run", house.experiment(), "--no-figures")
    rules = json.loads((ROOT / "loadgen" / "schema.json").read_text())
    result = {"$ref": rules["oneOf"][0]["$ref"]} if "$ref" in rules["oneOf"][0] else rules["oneOf"][0]
    for record in outcomes(house.run_folder()).values():
        jsonschema.validate(record["load"], without_required({**result, "$defs": rules["$defs"]}))


def test_good_run_ends_in_records_tables_and_paths(house: House) -> None:
    house.servers("epoll_lt", "poll", "blocking")
    done = house.bench("run", house.experiment(), "--no-figures")
    assert done.returncode == 0, done.stderr
    folder = house.run_folder()
    assert sorted(outcomes(folder)) == sorted(plan_ids(folder))
    assert json.loads((folder / "env.json").read_text())["fingerprint"]
    assert all(record["status"] == "ok" for record in outcomes(folder).values())
    assert "×1.20" in done.stdout, "poll costs 6 µs in the fake, epoll_lt 5"
    assert "blocking serves one client at a time" in done.stdout
    assert folder.name in done.stdout
    assert "[8/8]" in done.stdout, "a plain line per sample where there is no terminal"


def test_every_sample_has_a_fresh_server_on_the_servers_cpus(house: House) -> None:
    house.servers("epoll_lt")
    house.bench("run", house.experiment(blocks=3), "--no-figures")
    found = list(outcomes(house.run_folder()).values())
    assert len({record["server"]["pids"][0] for record in found}) == len(found) == 6
    for record in found:
        assert record["placement"]["server"] and record["server"]["exit"] == 0
        assert record["server"]["report"]["requests"] == 7, "the counters of the server's last line"


FAILURES = {
    "dies_early": ("ended with status 1 before it was ready", "a fake reason"),
    "dies_under_load": ("killed by SIGABRT under load", "assertion failed: owed > 0"),
    "odd_ready": ("not what the contract asks for: 'READY who knows'", None),
    "garbles": ("ended with status 0 without JSON", None),
    "refuses": ("ended with status 1: connection refused", None),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_dies_is_a_failed_sample_with_its_last_words_and_the_run_goes_on(house: House, name: str) -> None:
    house.servers("epoll_lt", name)
    done = house.bench("run", house.experiment(rates="[1000]"), "--no-figures")
    assert done.returncode == 1
    found = outcomes(house.run_folder())
    assert len(found) == 4
    why, words = FAILURES[name]
    for record in found.values():
        assert record["status"] == ("failed" if record["arm"] == name else "ok")
        if record["arm"] == name:
            assert why in record["why"]
            assert words is None or words in record["last_words"]
    assert why in done.stdout


def test_server_that_ignores_sigterm_is_killed_and_said_so(house: House) -> None:
    house.servers("epoll_lt", "deaf")
    done = house.bench("run", house.experiment(rates="[1000]", blocks=1), "--no-figures")
    record = outcomes(house.run_folder())["test/rate=1000/0/deaf"]
    assert done.returncode == 1 and "did not end within 5 s of SIGTERM" in record["why"]
    assert processes_of(house) == []


def test_invalid_samples_are_counted_and_never_averaged(house: House) -> None:
    house.servers("epoll_lt", "invalidates")
    done = house.bench("run", house.experiment(rates="[1000]"), "--no-figures")
    assert done.returncode == 3, "a cell was left without a valid sample"
    assert "2 invalid" in done.stdout and "the schedule lagged" in done.stdout
    assert outcomes(house.run_folder())[
        "test/rate=1000/0/invalidates"
    ]["discarded"] == ["the schedule lagged"], "measured once more, and said so"


def test_what_this_host_cannot_run_is_said_and_is_no_failure(house: House) -> None:
    house.servers("epoll_lt", "not_here")
    done = house.bench("run", house.experiment(rates="[1000]"), "--no-figures")
    assert done.returncode == 0
    assert "2 unavailable" in done.stdout and "io_uring_setup: refused by seccomp" in done.stdout


def test_chatty_server_neither_blocks_nor_confuses(house: House) -> None:
    house.servers("epoll_lt", "chatty")
    assert house.bench("run", house.experiment(rates="[1000]"), "--no-figures").returncode == 0


def test_grandchildren_end_with_their_sample(house: House) -> None:
    house.servers("epoll_lt", "forker")
    assert house.bench("run", house.experiment(rates="[1000]"), "--no-figures").returncode == 0
    assert processes_of(house) == []


def test_what_a_server_forked_before_it_died_by_itself_is_gone_too(house: House) -> None:
    house.servers("epoll_lt", "dying_forker")
    assert house.bench("run", house.experiment(rates="[1000]", blocks=1), "--no-figures").returncode == 1
    assert processes_of(house) == []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_run_goes_on_where_it_began(house: House) -> None:
    house.servers("epoll_lt")
    usual = placement.place()
    turned = ["--server-cpus", str(usual.client[0]), "--client-cpus", str(usual.server[0])]
    house.bench("run", house.experiment(), "--no-figures", *turned)
    folder = house.run_folder()
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(lines[:-1]))
    words = ["--server-cpus", str(usual.server[0]), "--client-cpus", str(usual.client[0])]
    refused = house.bench("resume", *words)
    assert refused.returncode == 2 and "begun on other CPUs" in refused.stderr
    assert house.bench("resume", "--no-figures").returncode == 0
    assert {tuple(r["placement"]["server"]) for r in records.read_samples(folder)} == {usual.client}


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_run_cleanly_and_tells_how_to_go_on(house: House, number: int, code: int) -> None:
    house.servers("epoll_lt", "forker")
    running = house.start("run", house.experiment(duration="100ms", blocks=20), "--no-figures")
    assert running.stdout and wait_until(lambda: house.results.is_dir() and outcomes(house.run_folder()))
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == code
    assert f"bench resume {house.run_folder()}" in said.replace(
        "results/", f"{house.results}/"
    ) and said.count("\n") == 1
    assert processes_of(house) == []


def test_kill_9_leaves_no_process_and_resume_completes_exactly_the_plan(house: House) -> None:
    house.servers("epoll_lt", "forker", "poll")
    running = house.start("run", house.experiment(duration="40ms", blocks=3), "--no-figures")
    assert wait_until(lambda: house.results.is_dir() and len(outcomes(house.run_folder())) >= 3)
    running.kill()
    running.communicate()
    assert wait_until(lambda: processes_of(house) == []), processes_of(house)
    folder = house.run_folder()
    before = (folder / "samples.jsonl").read_bytes()
    assert 3 <= len(outcomes(folder)) < len(plan_ids(folder))

    done = house.bench("resume", "--no-figures")
    assert done.returncode == 0, done.stderr
    found = records.read_samples(folder)
    assert sorted(r["id"] for r in found) == sorted(plan_ids(folder)), "each id exactly once"
    assert (folder / "samples.jsonl").read_bytes().startswith(before), "raw records are never rewritten"
    again = house.bench("resume")
    assert again.returncode == 2 and "no unfinished run" in again.stderr


def test_resume_refuses_binaries_that_changed(house: House) -> None:
    house.servers("epoll_lt")
    house.bench("run", house.experiment(), "--no-figures")
    folder = house.run_folder()
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(lines[:-1]))
    with open(house.build / "servers" / "epoll_lt", "a") as script:
        script.write("# another build\n")
    refused = house.bench("resume")
    assert refused.returncode == 1 and "epoll_lt" in refused.stderr and "is not what" in refused.stderr
    assert len(records.read_samples(folder)) == len(lines) - 1


def test_unwritable_results_are_one_line_and_nothing_is_half_written(house: House) -> None:
    house.servers("epoll_lt")
    house.results.write_text("a file where a folder should be")
    done = house.bench("run", house.experiment())
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "is not a folder" in done.stderr and "--results" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_named(house: House) -> None:
    house.servers("epoll_lt")
    house.results.mkdir(mode=0o500)
    done = house.bench("run", house.experiment())
    assert done.returncode == 2 and "Permission denied" in done.stderr


def test_disk_that_fills_keeps_whole_records_and_says_how_to_go_on(house: House) -> None:
    """A limit on file size stands in for the full disk: write(2) stops in the middle of a line."""
    house.servers("epoll_lt")
    command = house.command("run", house.experiment(blocks=20), "--no-figures")
    limited = ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh", *command]
    done = subprocess.run(
        limited, capture_output=True, text=True, cwd=house.folder, env=house.environment(), timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "samples.jsonl" in done.stderr and "bench resume" in done.stderr and "Traceback" not in done.stderr
    assert 1 <= len(outcomes(house.run_folder())) < 40
    assert (house.run_folder() / "samples.jsonl").read_bytes().endswith(b"}\n")
    assert processes_of(house) == []


def test_missing_tools_are_named(house: House) -> None:
    nothing = house.bench("run", house.experiment())
    assert nothing.returncode == 1 and "no servers in" in nothing.stderr and "run: make" in nothing.stderr
    house.servers("epoll_lt")
    (house.build / "loadgen").unlink()
    no_client = house.bench("run", house.experiment())
    assert no_client.returncode == 1 and "loadgen is missing; run: make" in no_client.stderr
    assert not house.results.exists(), "nothing half-written"


USAGE = [
    (["run", "rats"], "no experiment 'rats' (did you mean rates?)"),
    (["run", "{e}", "--models", "epol_lt"], "(did you mean epoll_lt?)"),
    (["run", "{e}", "--profile", "full"], "has no profile full"),
    (["run", "quick", "full"], "one profile at a time"),
    (["run", "{e}", "--blocks", "0"], "--blocks: expected 1 or more"),
    (["run", "{e}", "--server-cpus", "4096"], "--server-cpus: CPU 4096 is not in the allowed set"),
    (["show", "nowhere"], "no run 'nowhere'"),
    (["show"], "no runs in"),
    (["resume"], "no unfinished run"),
]


@pytest.mark.parametrize("words, message", USAGE, ids=[" ".join(w) for w, _ in USAGE])
def test_bad_usage_is_one_line_and_status_2(house: House, words: list[str], message: str) -> None:
    house.servers("epoll_lt")
    path = house.experiment()
    done = house.bench(*[word.format(e=path) for word in words])
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not house.results.exists()


def test_server_that_cannot_describe_itself_is_named(house: House) -> None:
    house.servers("epoll_lt", "mute")
    done = house.bench("run", house.experiment())
    assert done.returncode == 1 and "mute --describe is not what the contract asks for" in done.stderr


def test_dry_run_tells_the_time_and_writes_nothing(house: House) -> None:
    house.servers("epoll_lt", "poll")
    done = house.bench("run", house.experiment(), "--dry-run")
    assert done.returncode == 0 and "8 samples, about" in done.stdout
    assert not house.results.exists()


def test_show_goes_back_from_a_point_to_its_samples(house: House) -> None:
    house.servers("epoll_lt", "poll")
    house.bench("run", house.experiment(), "--no-figures")
    done = house.bench("show", "test/rate=1000")
    for block in (0, 1):
        assert f"test/rate=1000/{block}/poll" in done.stdout
    assert "rate=2000" not in done.stdout
    unknown = house.bench("show", house.run_folder().name, "test/rate=1001")
    assert unknown.returncode == 2 and "did you mean test/rate=1000?" in unknown.stderr


def test_two_benches_at_once_are_refused_unless_told(house: House) -> None:
    house.servers("epoll_lt")
    words = ("run", house.experiment(rates="[1000]", blocks=1), "--no-figures")
    with socket.socket(socket.AF_UNIX) as lock:
        lock.bind("\0" + house.environment()["MUXBENCH_LOCK"])
        refused = house.bench(*words)
        assert refused.returncode == 1 and "another bench runs on this host" in refused.stderr and "--together" in refused.stderr
        assert not house.results.exists(), "nothing half-written"
        assert house.bench(*words, "--together").returncode == 0
    assert house.bench(*words).returncode == 0
