"""The bench with the real servers and the real load generator: short windows, no figure is judged.

Skipped with its reason where the servers are not built.
"""

import ctypes
import json
import os
import platform
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXPERIMENT, ROOT

from bench import arms, metrics, paths, records

BUILT = arms.model_names()
pytestmark = pytest.mark.skipif(
    len(BUILT) < 2 or not (paths.build_dir() / "loadgen").exists(),
    reason="servers or load generator are not built (make)",
)

CLOSED = """
title = "Closed"
question = "?"
x = "connections"
metrics = ["throughput_rps", "p99_us", "server_cpu_us_per_req", "host_cpu_us_per_req"]
arms.reference = "epoll_lt"
load = {protocol = "echo", mode = "closed"}
ceiling = {arm = "epoll_lt", load.connections = 8}
profiles.quick = {blocks = 1, warmup = "10ms", duration = "400ms", grid.connections = [1, 8]}
"""


def bench(folder: Path, *words: str, **options) -> tuple[subprocess.CompletedProcess, Path]:
    command = [
        sys.executable, "-m", "bench", *words, "--together", "--no-figures", "--results", str(folder / "results")
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, **options)
    made = sorted((folder / "results").iterdir()) if (folder / "results").exists() else []
    return done, made[-1] if made else folder


def test_every_model_is_measured_in_a_closed_loop(tmp_path: Path) -> None:
    (tmp_path / "closed.toml").write_text(CLOSED)
    done, run = bench(tmp_path, "run", str(tmp_path / "closed.toml"))
    found = records.read_samples(run)
    assert [r["id"] + ": " + r["why"] for r in found if r["status"] == "failed"] == [], done.stdout + done.stderr
    assert {r["arm"] for r in found if r["cell"] == "connections=1"} == set(BUILT)
    for record in (r for r in found if r["status"] == "ok"):
        for name in (
            "throughput_rps",
            "p99_us",
            "server_cpu_us_per_req",
            "host_cpu_us_per_req",
            "server_busy",
            "client_busy",
            "client_ceiling_rps",
        ):
            assert metrics.METRICS[name].read(
                record
            ) is not None, f"{record['id']}: {name} cannot be read off the load generator's document"
        assert record["server"]["report"]["requests"] > 0
        assert record["server"]["report"]["accepted"] == record["options"]["connections"]


def test_open_loop_and_http_with_work(tmp_path: Path) -> None:
    text = EXPERIMENT.format(blocks=1, duration="100ms", rates="[500]").replace('"echo"', '"http"\npath = "/work/50"')
    (tmp_path / "open.toml").write_text(text)
    done, run = bench(tmp_path, "run", str(tmp_path / "open.toml"), "--models", "epoll_lt,poll")
    found = records.read_samples(run)
    assert {r["status"] for r in found} <= {"ok", "invalid"}, done.stdout + done.stderr
    for record in (r for r in found if r["status"] == "ok"):
        assert metrics.METRICS[
            "server_cpu_us_per_req"
        ].read(record) > 25, "a request burns 50 µs; half of it bounds a miscalibration"
        assert "--loops-per-us" in record["server"]["argv"]


def refuse_io_uring() -> None:
    """A seccomp filter as container engines have it: io_uring_setup (425) is not permitted.  seccomp(2)."""
    load, jump_equal, back = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 1
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in ((load, 0, 0, 0), (jump_equal, 0, 1, 425), (back, 0, 0, refuse), (back, 0, 0, allow))
    )
    buffer = ctypes.create_string_buffer(program)
    pointer = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(pointer), 0, 0):
        os._exit(99)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is written for x86_64's system call numbers")
@pytest.mark.skipif("io_uring" not in BUILT, reason="io_uring is not built")
def test_a_restricted_sandbox_still_ends_with_a_table_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "closed.toml").write_text(CLOSED.replace("[1, 8]", "[8, 1000]"))
    done, run = bench(
        tmp_path, "run", str(tmp_path / "closed.toml"), "--models", "epoll_lt,io_uring", preexec_fn=refuse_io_uring
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: a window on a busy machine was invalid
    statuses = {r["arm"]: r["status"] for r in records.read_samples(run) if r["role"] == "arm"}
    assert statuses["io_uring"] == "unavailable" and statuses["epoll_lt"] in ("ok", "invalid")
    assert "unavailable: io_uring" in done.stdout
    left_out = json.loads((run / "plan.json").read_text())["left_out"]
    assert {entry["cell"] for entry in left_out} == {"connections=1000"} and "the limit is 256" in left_out[0]["why"]
