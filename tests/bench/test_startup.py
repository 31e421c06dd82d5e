"""Whole commands under hyperfine: every model is timed, what it keeps is the raw record, and nothing stays behind."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, House

pytestmark = pytest.mark.skipif(not shutil.which("hyperfine"), reason="hyperfine is not installed")
BUILT = ROOT / os.environ.get("BUILD", "build") / "servers"


def test_every_model_is_timed_to_ready_and_who_cannot_is_left_out(house: House) -> None:
    house.servers("epoll_lt", "poll", "not_here", "dies_early")
    done = house.bench("startup", "--runs", "2")
    assert done.returncode == 0, done.stderr
    assert (
        "left out: not_here (io_uring_setup: refused by seccomp)" in done.stdout
        and "left out: dies_early" in done.stdout
    )
    kept = json.loads((house.run_folder() / "startup.json").read_text())["results"]
    assert {r["command"] for r in kept} == {"bash alone", "epoll_lt", "poll"}
    assert all(len(r["times"]) == 2 and min(r["times"]) > 0 for r in kept)
    assert (house.run_folder() / "env.json").exists()


@pytest.mark.skipif(not (BUILT / "blocking").exists(), reason="the servers are not built: make")
def test_greetings_add_up_where_one_client_is_served_at_a_time(house: House) -> None:
    for name in ("blocking", "epoll_lt"):
        (house.build / "servers" / name).symlink_to(BUILT / name)
    done = house.bench("startup", "--runs", "2", "--clients", "4", "--delay", "50ms")
    assert done.returncode == 0, done.stderr
    spans = {
        name: json.loads((house.run_folder() / f"makespan-{name}.json").read_text())["results"][0]["times"]
        for name in ("blocking", "epoll_lt")
    }
    assert min(spans["blocking"]) >= 0.2, "four clients of 50 ms, one after the other"
    assert min(spans["epoll_lt"]) >= 0.05, "a delay is never early"
    assert min(spans["epoll_lt"]) < min(spans["blocking"])


def test_a_greeting_that_is_wrong_ends_the_measurement_with_a_line(house: House) -> None:
    liar = house.build / "servers" / "liar"
    liar.write_text(
        "#!/bin/sh\n"
        """[ "$1" = --describe ] && { echo '{"name": "liar", "thesis": "t", "protocols": ["greet"], "options": ["--delay"], "clients_at_once": null}'; exit; }\n"""
        "exec python3 -SE -c 'import socket\n"
        's = socket.create_server(("127.0.0.1", 0)); print(f"READY port={s.getsockname()[1]}", flush=True)\n'
        'while True: c = s.accept()[0]; c.sendall(b"Goodbye\\n"); c.close()\'\n'
    )
    liar.chmod(0o755)
    done = house.bench("startup", "--runs", "2")
    assert done.returncode == 1 and "hyperfine ended with status" in done.stderr


def test_what_is_missing_or_wrong_is_one_line(house: House) -> None:
    house.servers("epoll_lt")
    empty = house.folder / "empty"
    empty.mkdir()
    without = subprocess.run(
        house.command("startup"),
        env={**house.environment(), "PATH": str(empty)},
        cwd=house.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert without.returncode == 1 and "hyperfine is not installed; run: bench/require.sh bench" in without.stderr
    for words, said in (
        (("--delay", "soon"), "--delay: expected a time"),
        (("--runs", "1"), "--runs of 2 or more"),
        (("--models", "epol"), "did you mean"),
    ):
        done = house.bench("startup", *words)
        assert done.returncode == 2 and said in done.stderr and not list(Path(house.folder).glob("results/*"))
