"""Bars: what counts as met, what is left out and said so, raw samples that the answer can be redone from; and the
floor clients, against a server that counts for itself."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from bench import host, paths, reach, reach_loads, records, serve
from bench.errors import BenchError, UsageError
from bench.reach import Bar

ARMS = paths.build_dir() / "arms"
SERVER = paths.build_dir() / "servers" / "epoll_lt"


def samples(**values: list[float]) -> list[dict]:
    return [
        {
            "schema": 1,
            "block": block,
            "load": "echo-100",
            "arm": arm,
            "status": "ok",
            "why": None,
            "values": {"server_cpu_us": value},
        }
        for arm, column in values.items()
        for block, value in enumerate(column)
    ]


@pytest.mark.parametrize(
    "limit, answer",
    [
        ({"at_most": 1.00}, "met"),
        ({"at_most": 0.90}, "within the noise"),
        ({"at_most": 0.80}, "missed"),
        ({"at_least": 0.80}, "met"),
        ({"at_least": 0.90}, "within the noise"),
        ({"at_least": 1.00}, "missed"),
        ({}, ""),
    ],
)
def test_a_bar_is_met_or_missed_only_by_its_whole_interval(limit: dict, answer: str) -> None:
    measured = samples(a=[8.9, 9.0, 9.1, 9.0], b=[10.0, 10.0, 10.0, 10.0])
    found = reach.judge(Bar("g", "a", "b", "echo-100", **limit), measured)
    assert found["ratio"] == pytest.approx(0.9, rel=1e-3) and 0.85 < found["low"] < 0.9 < found["high"] < 0.95
    assert found["answer"] == answer


def test_pairs_are_blocks_and_a_block_without_its_pair_is_left_out() -> None:
    measured = samples(a=[1.0, 2.0, 4.0], b=[2.0, 4.0])  # the third block of b failed
    found = reach.judge(Bar("g", "a", "b", "echo-100", at_most=0.6), measured)
    assert (found["blocks"], found["ratio"], found["answer"]) == (2, pytest.approx(0.5), "met")


def test_a_constant_may_be_the_reference_and_nothing_measured_is_no_answer() -> None:
    bar = Bar("g", "a", 50.0, "echo-100", at_most=1.0)
    assert reach.judge(bar, samples(a=[5.0, 5.1]))["ratio"] == pytest.approx(0.101, rel=1e-2)
    assert reach.judge(bar, samples(b=[5.0])) is None
    assert bar.ratio_name == "a / 50 µs"


def test_every_bar_names_a_load_and_a_figure_that_there_are() -> None:
    for bar in reach.BARS:
        assert bar.load in reach_loads.LOADS and bar.metric in reach.UNITS, bar
        assert bar.at_most is None or bar.at_least is None or bar.at_least < bar.at_most, bar


def test_what_this_host_lacks_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    able, left_out = reach.divided([Bar("g", "epoll_lt", "nginx", "http-wrk"), Bar("g", "nosuch", 1.0, "echo-100")])
    assert able == []
    assert "epoll_lt / nginx" in left_out[0] and "nginx is not installed (bench/require.sh extras)" in left_out[0]
    assert "nosuch is not built" in left_out[1]


def test_an_unknown_group_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no group of bars 'loadgn' .did you mean loadgen"):
        reach.chosen(["loadgn"])


def test_the_table_is_redone_from_kept_samples(tmp_path: Path) -> None:
    bar = Bar("servers", "a", "b", "echo-100", at_most=0.95)
    about = {"schema": 1, "bars": [reach.asdict(bar)], "left_out": ["left out: c / d: not here"]}
    records.write_json(tmp_path / "reach.json", about)
    keep = records.Appender(tmp_path)
    for sample in samples(a=[9.0, 9.0, 9.0], b=[10.0, 10.0, 10.0]):
        keep.add(sample)
    keep.close()
    console = Console(record=True, width=160)
    assert reach.show(console, tmp_path) == 0
    said = " ".join(console.export_text().split())
    assert "0.900 [0.900, 0.900] met" in said and "left out: c / d" in said
    assert json.loads((tmp_path / "bars.json").read_text())["bars"][0]["answer"] == "met"


def test_a_failed_sample_is_kept_and_told_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(name: str, site: object) -> dict:
        raise reach_loads.Disturbed("the host was away") if name == "a" else BenchError("it died")

    monkeypatch.setitem(reach_loads.LOADS, "echo-100", reach_loads.Load("x", failing, lambda name: None))
    assert reach_loads.sample("echo-100", "a", None)["status"] == "invalid"
    found = reach_loads.sample("echo-100", "b", None)
    assert (found["status"], found["why"], found["values"]) == ("failed", "it died", {})


@pytest.mark.parametrize("path", ["/", "/bytes/20000"])
@pytest.mark.parametrize("name", ["floor_client_epoll", "floor_client_uring"])
def test_a_floor_client_counts_what_the_server_counts(name: str, path: str) -> None:
    if not (SERVER.exists() and (ARMS / name).exists()):
        pytest.skip("servers or arms are not built (make test builds both)")
    server = host.Child([str(SERVER), "--protocol", "http"], [0, 1])
    try:
        argv = [str(ARMS / name), serve.wait_ready(server), path, "8", "0.3"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        if done.returncode == 77:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        server.stop()
        told, served = json.loads(done.stdout), serve.counters(server)
        assert 0 < told["requests"] < served["requests"], "the warm-up is not in the window"
        assert 0 < told["cpu_ns"] <= told["window_ns"] and told["window_ns"] >= 0.3e9
        assert served["accepted"] == 8 + 1, "one connection to learn the length of a reply"
    finally:
        server.close()


def test_a_floor_client_says_what_it_wants() -> None:
    path = ARMS / "floor_client_epoll"
    if not path.exists():
        pytest.skip("arms are not built (make test builds them)")
    done = subprocess.run([path, "localhost"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "HOST:PORT PATH CONNECTIONS SECONDS" in done.stderr
    done = subprocess.run([path, "127.0.0.1:1", "/", "1", "1"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "refused" in done.stderr


def test_the_cost_of_recording_is_told_and_more_records_cost_more() -> None:
    path = ARMS / "record_cost"
    if not path.exists():
        pytest.skip("arms are not built (make test builds them)")
    told = json.loads(subprocess.run([path], capture_output=True, text=True, timeout=60, check=True).stdout)
    assert (
        0 < told["closed_ns"] < told["full_ns"] and 0 < told["open_ns"]
    ), "it fails when not every request was recorded"
