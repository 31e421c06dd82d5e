"""wrk, h2load and ab as engines: what they print is read right, a real run of each agrees with the server's own count,
and what they cannot do is refused with file and reason."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, House

from bench import experiment, host, metrics, netns, paths, records, serve, witness_tools, witnesses
from bench.errors import BenchError, UsageError

SERVER = paths.build_dir() / "servers" / "epoll_lt"
built = pytest.mark.skipif(not SERVER.exists(), reason="servers are not built (make)")

WRK = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.77ms   17.15ms 104.33ms   93.18%
    Req/Sec    38.92k    15.01k   53.27k    90.00%
  Latency Distribution
     50%  660.00us
     75%    1.02s 
     90%   11.23ms
     99%    1.50m 
  38787 requests in 2.01s, 2.70MB read
Requests/sec:  19297.02
Transfer/sec:      2.68MB
"""


def test_what_wrk_prints_is_read(tmp_path: Path) -> None:
    told = witness_tools.wrk_read(WRK, tmp_path)
    assert (told.requests, told.rps, told.errors) == (38787, 19297.02, None)
    assert told.duration_ns == pytest.approx(2.01e9)
    assert told.received_bytes == pytest.approx(2.70 * 1024 * 1024)
    assert told.latency_ns["p50"] == 660e3 and told.latency_ns["p75"] == 1.02e9 and told.latency_ns["p99"] == 90e9
    assert told.latency_ns["mean"] == 5.77e6 and told.latency_ns["max"] == 104.33e6
    assert told.printed == {"50": "660.00us", "99": "1.50m"}


def test_trouble_that_wrk_prints_is_no_result(tmp_path: Path) -> None:
    for line in ("Socket errors: connect 0, read 1, write 0, timeout 2", "Non-2xx or 3xx responses: 7"):
        text = WRK.replace("Requests/sec", f"  {line}\nRequests/sec")
        assert witness_tools.wrk_read(text, tmp_path).errors == line


def test_output_without_the_figures_fails_the_sample(tmp_path: Path) -> None:
    with pytest.raises(serve.Failed, match="requests in"):
        witness_tools.wrk_read("unable to connect to 127.0.0.1:1 Connection refused", tmp_path)


def test_percentiles_of_a_log_are_ranks() -> None:
    found = witness_tools.percentiles(1e3 * np.arange(1, 1001))
    assert found == {
        "p50": 500e3,
        "p75": 750e3,
        "p90": 900e3,
        "p95": 950e3,
        "p99": 990e3,
        "p999": 999e3,
        "p9999": 1000e3,
    }


@pytest.fixture
def scene() -> Iterator[witnesses.Scene]:
    server = host.Child([str(SERVER), "--protocol", "http"], [0, 1])
    try:
        yield witnesses.Scene(server, [server.pid], serve.wait_ready(server), [0, 1], [0, 1])
    finally:
        server.close()


LOAD = {"protocol": "http", "connections": 8, "warmup": "0s", "duration": "1s"}


@built
@pytest.mark.parametrize("name", witnesses.WITNESSES)
def test_a_real_run_agrees_with_the_servers_own_count(name: str, scene: witnesses.Scene) -> None:
    if why := witnesses.missing(name):
        pytest.skip(why)
    told = witnesses.drive({**LOAD, "engine": name, "reply": 300}, scene)
    scene.server.stop()
    served = serve.counters(scene.server)
    completed = told["counts"]["completed"]
    # What was on its way when the witness stopped was served too; ab closes with a request on each connection.
    assert completed > 100 and completed <= served["requests"] <= completed + 2 * LOAD["connections"] + 1
    assert completed / 1.3 < told["achieved_rps"] * told["duration_ns"] / 1e9 < completed * 1.3
    assert told["counts"]["received_bytes"] > 300 * completed * 0.98  # wrk rounds to three digits
    assert told["watch"][0]["cpu_ns"] > 0 and told["client"]["cpu_ns"] > 0
    record = {
        "server": {"pids": scene.pids},
        "load": told,
        "options": LOAD,
        "placement": {"server": [0], "client": [1]},
    }
    for metric in ("server_cpu_us_per_req", "throughput_rps", "server_busy", "client_busy"):
        assert metrics.METRICS[metric].read(record) > 0, metric
    if name == "h2load":
        assert told["latency_sent_ns"]["p50"] is None and metrics.METRICS["p50_us"].read(record) is None
    else:
        assert 0 < metrics.METRICS["p50_us"].read(record) <= metrics.METRICS["p99_us"].read(record)
    assert metrics.METRICS["p999_us"].read(record) is None, "none of them says it"


@built
def test_h2loads_log_gives_percentiles_of_the_run_and_not_of_its_warm_up(scene: witnesses.Scene) -> None:
    if why := witnesses.missing("h2load"):
        pytest.skip(why)
    told = witnesses.drive({**LOAD, "engine": "h2load", "log": True, "warmup": "1s", "delay": "20ms"}, scene)
    latency = told["latency_sent_ns"]
    assert 20e6 <= latency["p50"] <= latency["p99"] <= 1.01 * latency["max"]  # printed with three digits
    assert told["counts"]["completed"] <= 8 * 1.1 / 0.020


@built
def test_a_stall_shows_in_the_longest_latency_and_the_server_runs_again(scene: witnesses.Scene) -> None:
    if why := witnesses.missing("wrk"):
        pytest.skip(why)
    told = witnesses.drive({**LOAD, "engine": "wrk", "pause": "300ms+250ms"}, scene)
    assert told["latency_sent_ns"]["max"] >= 240e6 and told["events"][0]["stopped_ns"] >= 240e6
    assert scene.server.stop(), "it obeys SIGTERM, so it is not stopped any more"


@built
def test_refused_replies_fail_the_sample(scene: witnesses.Scene) -> None:
    for name in witnesses.WITNESSES:
        if not witnesses.missing(name):
            with pytest.raises(serve.Failed, match=f"{name} saw errors: .*[1-9]"):
                witnesses.drive({**LOAD, "engine": name, "path": "/nothing-here"}, scene)


EXPERIMENT = """
title = "As the blog did it"
question = "What does wrk say?"
x = "connections"
metrics = ["throughput_rps", "p99_us", "p999_us"]
arms = {models = ["epoll_lt"]}
load = {protocol = "http", engine = "wrk"}
profiles.quick = {blocks = 1, warmup = "0s", duration = "1s", grid.connections = [4]}
"""
REFUSED = {
    "protocol": ('protocol = "http"', 'protocol = "echo"', "wrk speaks http only, not echo"),
    "open loop": ('engine = "wrk"', 'engine = "wrk", mode = "open", rate = 5', "wrk has a closed loop only"),
    "spin": ('engine = "wrk"', 'engine = "wrk", wait = "spin"', "wrk sleeps while it waits"),
    "idle": ('engine = "wrk"', 'engine = "wrk", idle = 5', "wrk has nothing like the load option 'idle'"),
    "depth": ('engine = "wrk"', 'engine = "ab", depth = 2', "ab has nothing like the load option 'depth'"),
    "half a second": ('duration = "1s"', 'duration = "1500ms"', "wrk counts in whole seconds"),
    "in the grid": (
        "grid.connections = [4]",
        "grid = {connections = [4], threads = [8]}",
        "wrk needs a connection for each",
    ),
}


@pytest.mark.parametrize("old, new, words", REFUSED.values(), ids=REFUSED.keys())
def test_a_load_that_a_witness_cannot_produce_is_refused_with_the_files_name(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "blog.toml"
    assert old in EXPERIMENT
    path.write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(UsageError, match=f"blog.toml: load.engine: {words}"):
        experiment.load(path)


def test_a_witness_that_is_not_installed_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BenchError, match=r"h2load is not installed \(bench/require.sh test\); ab is not"):
        witnesses.needed(name for name in ("ab", "h2load", "epoll", None))


@built
def test_an_experiment_with_wrk_for_its_engine_is_measured_with_real_wrk(tmp_path: Path) -> None:
    if why := witnesses.missing("wrk"):
        pytest.skip(why)
    (tmp_path / "blog.toml").write_text(EXPERIMENT)
    words = ["run", str(tmp_path / "blog.toml"), "--together", "--no-figures", "--results", str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (tmp_path / "results").iterdir()
    (record,) = records.read_samples(run)
    assert record["status"] == "ok" and record["loadgen"]["argv"][0] == "wrk"
    assert record["server"]["report"]["requests"] >= record["load"]["counts"]["completed"] > 100
    assert json.loads((run / "plan.json").read_text())["tools"]["wrk"]["version"].startswith("wrk ")
    assert metrics.METRICS["p99_us"].read(record) > 0 and metrics.METRICS["p999_us"].read(record) is None


@built
@pytest.mark.skipif(netns.why_not() is not None, reason=f"topology netns {netns.why_not()}")
def test_wrk_drives_a_server_in_another_namespace(tmp_path: Path) -> None:
    if why := witnesses.missing("wrk"):
        pytest.skip(why)
    (tmp_path / "blog.toml").write_text(EXPERIMENT.replace("load =", 'topology = "netns"\nload ='))
    words = ["run", str(tmp_path / "blog.toml"), "--together", "--no-figures", "--results", str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = records.read_samples(next((tmp_path / "results").iterdir()))
    assert record["status"] == "ok" and netns.SERVER in record["loadgen"]["argv"][-1]
    assert record["load"]["counts"]["completed"] > 100


@pytest.mark.parametrize("name", witnesses.WITNESSES)
def test_its_version_is_kept(name: str) -> None:
    if why := witnesses.missing(name):
        pytest.skip(why)
    assert re.fullmatch(rf"{name} \S*\d\.\d\S*", witnesses.describe(name)["version"])


def test_a_mistyped_engine_is_answered_with_what_there_is(house: House) -> None:
    path = house.folder / "blog.toml"
    path.write_text(EXPERIMENT.replace('"wrk"', '"werk"'))
    done = house.bench("run", str(path))
    assert done.returncode == 2 and "expected epoll or io_uring, or wrk, h2load or ab" in done.stderr
