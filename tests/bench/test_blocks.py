"""The file of a disk experiment: its blocks, its room given back however a run ends, and the servers that read it."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from bench import arms, blocks, paths, records
from bench.errors import BenchError
from bench.plan import Sample

LOADGEN = paths.build_dir() / "loadgen"
pytestmark = pytest.mark.skipif(not LOADGEN.exists() or len(arms.model_names()) < 2, reason="nothing is built (make)")

DISK = """
title = "Disk"
question = "?"
x = "connections"
metrics = ["throughput_rps", "p99_us"]
arms.models = ["thread_per_conn", "epoll_lt", "io_uring"]
server.file = 512
load = {protocol = "http", path = "/file/{0..511}", mode = "closed"}
profiles.quick = {blocks = %d, warmup = "10ms", duration = "%s", grid.connections = [4]}
"""


def sample(**server: int) -> Sample:
    return Sample("a", "e", "c", 0, "x", "arm", {}, server)


def start(folder: Path, count: int) -> subprocess.Popen:
    (folder / "disk.toml").write_text(DISK % (count, "2s" if count == 1 else "100ms"))
    command = [sys.executable, "-m", "bench", "run", str(folder / "disk.toml"), "--no-figures", "--together"]
    command += ["--results", str(folder / "results")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_each_size_is_made_once_and_every_block_says_its_number(tmp_path: Path) -> None:
    asked = [sample(file=8), sample(file=8), sample(file=3), sample()]
    with blocks.made(asked, tmp_path, str(LOADGEN)) as files:
        assert set(files) == {8, 3} and list(tmp_path.iterdir()) == [], "it has no name"
        data = Path(files[8]).read_bytes()
        assert [struct.unpack_from(">Q", data, n * 4096)[0] for n in range(8)] == list(range(8)) and len(
            data
        ) == 8 * 4096
        assert blocks.resolved(asked[2], files).server == {"file": files[3]}
        assert blocks.resolved(asked[3], files) == asked[3]
        path = files[8]
    assert not os.path.exists(path), "its room is given back"


def test_a_folder_without_room_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="the file of 0 MiB for this run could not be made in .*nowhere"):
        with blocks.made([sample(file=8)], tmp_path / "nowhere", str(LOADGEN)):
            pass


def test_servers_reply_with_the_files_blocks_and_nothing_is_left(tmp_path: Path) -> None:
    done = start(tmp_path, 1)
    out, err = done.communicate(timeout=120)
    run = next((tmp_path / "results").iterdir())
    found = records.read_samples(run)
    assert {r["arm"]: r["why"] for r in found if r["status"] not in ("ok", "invalid", "unavailable")} == {}, out + err
    assert all(r["load"]["counts"]["ok"] > 0 for r in found if r["status"] == "ok")
    assert not list(run.glob("blocks-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_file_outlives_a_run_that_is_ended(tmp_path: Path, number: int) -> None:
    bench = start(tmp_path, 100)
    end = time.monotonic() + 60
    while not list((tmp_path / "results").glob("*/samples.jsonl")) and time.monotonic() < end:
        time.sleep(0.05)
    while (
        not any(folder.stat().st_size for folder in (tmp_path / "results").glob("*/samples.jsonl"))
        and time.monotonic() < end
    ):
        time.sleep(0.05)
    bench.send_signal(number)
    bench.communicate(timeout=60)
    assert list((tmp_path / "results").glob("*/samples.jsonl")) and not list((tmp_path / "results").glob("*/blocks-*"))
