"""Crosscheck: what counts as agreement, wrk's correction redone, complete blocks, what is missing said by name, a real
short run that is interrupted, finished and shown again, and a sample that derives to what its run gives."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import pytest
from conftest import ROOT

from bench import crosscheck_calls, crosscheck_derive, crosscheck_scenes, crosscheck_text, docs, measure, paths
from bench import placement, records, witnesses
from bench.crosscheck_scenes import TOOLS, Scene
from bench.errors import BenchError
from plots import crosscheck as figure

BUILT = (paths.build_dir() / "servers" / "epoll_lt").exists() and (paths.build_dir() / "loadgen").exists()
built = pytest.mark.skipif(not BUILT, reason="servers or load generator are not built (make)")


@pytest.mark.parametrize(
    "low, high, said",
    [
        (0.96, 1.04, "within 5 %"),
        (1.01, 1.04, "within 5 %"),  # a difference may be shown, and still be none that matters
        (0.92, 1.04, "within 10 %"),
        (0.90, 1.01, "not shown"),
        (0.50, 2.00, "not shown"),
        (1.06, 1.20, "differs"),
        (0.70, 0.94, "differs"),
        (1.06, 1.09, "within 10 %"),
    ],
)
def test_agreement_and_difference_have_to_be_shown(low: float, high: float, said: str) -> None:
    assert crosscheck_derive.verdict(low, high) == said


def as_wrk_itself(latencies_us: list[int], pace_us: int) -> list[int]:
    """wrk's correction, one latency at a time."""
    every = list(latencies_us)
    for latency in latencies_us:
        if latency >= 2 * pace_us:
            made_up = latency - pace_us
            while made_up > pace_us:
                every.append(made_up)
                made_up -= pace_us
    return sorted(every)


@pytest.mark.parametrize("seed", range(5))
def test_correction_is_what_wrk_does_one_latency_at_a_time(seed: int) -> None:
    chance = random.Random(seed)
    latencies = [chance.randrange(50, 250) for _ in range(2000)] + [chance.randrange(1000, 200_000) for _ in range(30)]
    connections, window_us = 10, 400_000
    every = as_wrk_itself(latencies, window_us // (len(latencies) // connections))
    bins = sorted((us * 1000, latencies.count(us)) for us in set(latencies))
    load = {"latency_sent_ns": {"bins": bins}, "counts": {"completed": len(latencies)}, "window_ns": window_us * 1000}
    found = crosscheck_derive.corrected_as_wrk(load, connections)
    for name, rank in (("p50", 0.50), ("p99", 0.99)):
        assert found[name] / 1e3 == pytest.approx(every[round(rank * len(every))], rel=0.01, abs=1)
    assert found["made_up_share"] == pytest.approx(1 - len(latencies) / len(every), rel=1e-6)
    assert found["made_up_share"] > 0.1, "else there was nothing to correct, and the test said nothing"


def test_even_latencies_are_not_corrected() -> None:
    load = {"latency_sent_ns": {"bins": [[100_000, 1000]]}, "counts": {"completed": 1000}, "window_ns": 100_000_000}
    found = crosscheck_derive.corrected_as_wrk(load, 1)
    assert (found["p50"], found["p99"], found["made_up_share"]) == (100_000, 100_000, 0)


def test_every_block_has_every_scene_with_all_its_tools_back_to_back() -> None:
    played = crosscheck_scenes.scenes(["epoll_lt", "nginx"], [1, 50], evidence=True)
    samples = crosscheck_scenes.schedule(played, 3, seed=7)
    assert len({sample.id for sample in samples}) == len(samples)
    runs = [list(group) for _, group in groupby(samples, key=lambda s: (s.block, s.cell.partition(",")[0], s.arm))]
    traced = [scene for scene in played if scene.traced]
    assert (
        len(runs) == 3 * (len(played) - len(traced)) + len(traced) > 3
    ), "a scene that was split up would make more groups"
    orders = {tuple(s.cell for s in run) for run in runs if "agree-50" in run[0].cell}
    assert len(orders) > 1, "the order of tools is drawn anew for each block"
    assert samples == crosscheck_scenes.schedule(played, 3, seed=7) != crosscheck_scenes.schedule(played, 3, seed=8)


def test_no_scene_asks_a_tool_for_what_it_cannot_do() -> None:
    beyond = {"pause", "log", "closes", "own_warmup"}  # what the bench itself does, or a variant of the tool
    for scene in crosscheck_scenes.scenes(crosscheck_scenes.SERVERS, crosscheck_scenes.CONNECTIONS, evidence=True):
        for tool in scene.tools:
            options = {name: value for name, value in scene.options(tool).items() if name not in beyond}
            assert witnesses.why_not(options) is None, (scene.name, tool)


def test_what_is_not_installed_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crosscheck_scenes.arms, "model_names", lambda: ["epoll_lt"])
    monkeypatch.setattr(crosscheck_scenes, "nginx_path", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("ab", "h2load") else "/usr/bin/x")
    played, left_out = crosscheck_scenes.able(crosscheck_scenes.scenes(["epoll_lt", "nginx"], [50], evidence=True))
    assert {scene.server for scene in played} == {"epoll_lt"}
    assert {TOOLS[tool].witness for scene in played for tool in scene.tools} == {None, "wrk"}
    assert all(len(scene.tools) > 1 for scene in played), "a tool alone is compared with nothing"
    assert any("h2load is not installed (bench/require.sh test)" in line for line in left_out)
    assert any("everything of nginx: nginx is not installed (bench/require.sh extras)" in line for line in left_out)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BenchError, match="nothing to check against: wrk is not installed"):
        crosscheck_scenes.able(crosscheck_scenes.scenes(["epoll_lt"], [50], evidence=False))


def latency(p50: float, p99: float) -> dict:
    told = {"n": 1000, "unfinished": 0, "p50": p50, "p99": p99, "max": 2 * p99}
    return told | dict.fromkeys(("min", "mean", "stddev", "p75", "p90", "p95", "p999", "p9999"))


def made_up_run(folder: Path) -> Path:
    """A run whose figures are known: wrk has our throughput, and a p99 twice ours."""
    scene = Scene("agree-50", "epoll_lt", ("epoll", "wrk"), {"connections": 50})
    stalled = Scene("stall", "epoll_lt", ("epoll", "wrk"), {"pause": "900ms+200ms"}, "2s")
    tools = {"loadgen": {"path": "x", "sha256": "y"}, "wrk": {"path": "/usr/bin/wrk", "version": "wrk 4"}}
    about = {
        "schema": 1,
        "seed": 1,
        "blocks": 3,
        "tools": tools,
        "labels": {n: t.label for n, t in TOOLS.items()},
        "left_out": [],
    }
    records.write_json(folder / "crosscheck.json", about | {"scenes": [asdict(s) for s in (scene, stalled)]})
    records.write_json(folder / "env.json", json.loads((paths.SAMPLE_RUN / "env.json").read_text()))
    keep = records.Appender(folder)
    for sample in crosscheck_scenes.schedule([scene, stalled], 3, 1):
        is_wrk = "tool=wrk" in sample.cell
        load = {
            "valid": True,
            "reasons": [],
            "window_ns": 10**9,
            "achieved_rps": 10_000 + 100 * sample.block,
            "printed": {"50": "1.00ms"},
            "latency_sent_ns": latency(1e6, 4e6 if is_wrk else 2e6),
            "latency_intended_ns": None,
            "config": {"large": "x" * 1000},
            "counts": {"completed": 10_000, "received_bytes": 730_000},
            "client": {"cpu_ns": 10**8, "cpu_ns_per_req": 10_000},
            "watch": [{"pid": 7, "cpu_ns": 5 * 10**8}],
            "host": {"window_ns": 10**9, "cpus": []},
            "bound": None,
            "text": "x" * 1000,
        }
        record = {
            "schema": 1,
            "id": sample.id,
            "experiment": "crosscheck",
            "cell": sample.cell,
            "block": sample.block,
            "arm": sample.arm,
            "started": "",
            "status": "ok",
            "why": None,
            "options": sample.options,
            "placement": {"server": [1], "client": [0]},
            "server": {"pids": [7], "argv": ["x" * 500]},
            "load": load,
        }
        if not is_wrk:
            record["corrected"] = {"p50": 1e6, "p99": 4e6, "made_up_share": 0.25}
        keep.add(record)
    keep.close()
    return folder


def test_ratios_are_paired_and_say_what_they_show(tmp_path: Path) -> None:
    summary = crosscheck_derive.derive(made_up_run(tmp_path))
    wrk = summary["scenes"][0]["measured"]["wrk"]
    assert wrk["ratios"]["rps"] == {"ratio": 1.0, "low": 1.0, "high": 1.0, "blocks": 3, "verdict": "within 5 %"}
    assert wrk["ratios"]["p99_us"]["ratio"] == 2.0 and wrk["ratios"]["p99_us"]["verdict"] == "differs"
    assert (
        wrk["ratios"]["corrected_p99_us"]["ratio"] == 1.0
    ), "like with like: theirs over ours after the same correction"
    said = crosscheck_text.verdicts(summary)
    assert "**throughput**, 1 comparisons: 1 agree within 5 %." in said
    assert "**p99**, 1 comparisons: 1 by more than 5 % off (wrk on `epoll_lt` ×2.00)." in said


def test_every_block_of_the_document_is_made_and_shows_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CROSSCHECK_SAMPLE", made_up_run(tmp_path))
    text = (ROOT / "docs" / "crosscheck.md").read_text()
    assert {found[2] for found in docs.MARK.finditer(text)} == set(crosscheck_text.BLOCKS), "every block is shown, once"
    made = docs.filled(text, {}, ROOT / "docs" / "crosscheck.md")
    assert "| `epoll_lt` | wrk | 10.1k | 1000 | 4000 |" in made
    assert "| `epoll_lt` | wrk | ×1.00 [1.00, 1.00] within 5 % | ×1.00 [1.00, 1.00] within 5 % | ×2.00" in made
    assert "one in a hundred waits longer than 180 ms" in made
    assert crosscheck_text.NO_SAMPLE not in made


def test_a_page_without_a_sample_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CROSSCHECK_SAMPLE", tmp_path)
    assert {crosscheck_text.block(name) for name in crosscheck_text.BLOCKS} == {crosscheck_text.NO_SAMPLE}


def test_the_committed_sample_is_small_names_no_path_and_derives_to_the_same(tmp_path: Path) -> None:
    run = made_up_run(tmp_path)
    crosscheck_derive.take_sample(run, tmp_path / "sample")
    assert crosscheck_derive.derive(tmp_path / "sample") == crosscheck_derive.derive(run)
    kept = (tmp_path / "sample" / "samples.jsonl").read_text()
    assert len(kept) < (run / "samples.jsonl").stat().st_size / 2
    assert "xxxx" not in kept and "/usr/bin" not in (tmp_path / "sample" / "crosscheck.json").read_text()


def test_the_figure_has_a_row_for_each_tool_and_a_panel_for_each_metric(tmp_path: Path) -> None:
    summary = crosscheck_derive.derive(made_up_run(tmp_path))
    drawn = figure.draw(summary)
    assert [axis.get_title("center") for axis in drawn.axes] == [summary["metrics"][m]["label"] for m in figure.METRICS]
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["epoll_lt   wrk"]
    assert len(drawn.axes[0].lines) > 1


# --- real runs -------------------------------------------------------------------------------------------------------


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "bench", "crosscheck", *words, "--together", "--results", str(folder)]


def session_members(session: int) -> list[str]:
    """What still lives of the processes that a command started, zombies aside."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, found = rest.split()[:4]
        if int(found) == session and state != "Z":
            alive.append(name)
    return alive


# What a machine that is busy enough does to a window of a second: a failed sample, told as such, and exit code 1.
STARVED = "not one request of the window was answered"
SHORT = ("--servers", "epoll_lt", "--connections", "4", "--blocks", "2", "--no-evidence", "--seed", "1")


@built
def test_a_run_is_interrupted_finished_and_shown_again(tmp_path: Path) -> None:
    if len([name for name in witnesses.WITNESSES if not witnesses.missing(name)]) < 2:
        pytest.skip("fewer than two of wrk, h2load and ab are installed")
    begun = subprocess.Popen(
        command(tmp_path, *SHORT),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob("*/samples.jsonl")) and time.monotonic() < end:
            time.sleep(0.05)
        begun.send_signal(signal.SIGINT)
        _, said = begun.communicate(timeout=60)
    finally:
        begun.kill()
        begun.wait()
    (run,) = tmp_path.iterdir()
    assert begun.returncode == 130 and f"crosscheck --from {paths.shown(run)}" in said
    time.sleep(0.2)
    assert session_members(begun.pid) == []
    before, host_then = (run / "samples.jsonl").read_text(), (run / "env.json").read_text()
    (run / "env.json").write_text(host_then.replace('"fingerprint": "', '"fingerprint": "x'))
    done = subprocess.run(command(tmp_path, "--from", run.name), cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1 and "was begun on another host" in done.stderr
    (run / "env.json").write_text(host_then)
    done = subprocess.run(command(tmp_path, "--from", run.name), cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 or STARVED in done.stdout, done.stdout + done.stderr
    after = records.read_samples(run)
    assert (run / "samples.jsonl").read_text().startswith(before), "what was measured stays as it is"
    assert len({record["id"] for record in after}) == len(after)
    assert {record["cell"].rpartition("=")[2] for record in after} >= {"epoll", "io_uring", "wrk"}
    assert "4 connections, closed loop" in done.stdout and "loadgen, io_uring" in done.stdout
    assert (run / "figures" / "crosscheck.svg").exists() and (run / "derived" / "summary.json").exists()
    again = subprocess.run(
        command(tmp_path, "--from", str(run), "--no-figures"), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == done.returncode and len(records.read_samples(run)) == len(after)


@built
@pytest.mark.skipif(crosscheck_calls.missing() is not None, reason="strace is not installed (bench/require.sh test)")
def test_calls_are_counted_by_name_and_show_each_tools_way_of_working() -> None:
    (scene,) = (scene for scene in crosscheck_scenes.EVIDENCE if scene.traced)
    bed, found = measure.Bed(str(paths.build_dir() / "loadgen"), placement.place()), {}
    for sample in crosscheck_scenes.schedule([replace(scene, tools=("epoll", "wrk"))], 1, 1):
        record = crosscheck_calls.count(sample, crosscheck_scenes.arm_of("epoll_lt", ""), bed)
        if record["why"] and "ptrace" in record["why"]:
            pytest.skip(record["why"])
        found[sample.options["engine"]] = record["calls"]
    assert (
        0.9 < found["epoll"]["recvfrom"] < 1.2
        and 0.9 < found["epoll"]["sendto"] < 1.2
        and "epoll_ctl" not in found["epoll"]
    )
    assert 1.8 < found["wrk"]["epoll_ctl"] < 2.5, "it asks for writability and takes that back, for each request"


TOOLS_HERE = {name for name in witnesses.WITNESSES if not witnesses.missing(name)}


@built
@pytest.mark.skipif(not crosscheck_scenes.nginx_path(), reason="nginx is not installed (bench/require.sh extras)")
def test_nginx_is_driven_too_and_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ("--servers", "nginx", "--connections", "4", "--blocks", "1", "--no-evidence", "--no-figures")
    begun = subprocess.Popen(
        command(tmp_path, *words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said, _ = begun.communicate(timeout=120)
    assert begun.returncode == 0 or STARVED in said, said
    (run,) = tmp_path.iterdir()
    found = records.read_samples(run)
    assert {record["options"]["engine"] for record in found if record["status"] == "ok"} >= TOOLS_HERE, said
    assert session_members(begun.pid) == []


@pytest.mark.parametrize(
    "words, said",
    [
        (("--servers", "epol_lt"), "no server 'epol_lt'"),
        (("--connections", "many"), "--connections: expected whole numbers"),
        (("--blocks", "0"), "--blocks: expected 1 or more"),
        (("--from", "nowhere"), "no run of crosscheck 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        command(tmp_path, *words), cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
