"""Topology netns: both sides reach each other and nobody else, each in its namespace, and nothing stays behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import House

from bench import netns

needs_netns = pytest.mark.skipif(netns.why_not() is not None, reason=f"topology netns {netns.why_not()}")
SERVE = f"""
import socket
s = socket.create_server(("{netns.SERVER}", 7)); print("up", flush=True)
c, peer = s.accept(); print(peer[0], flush=True)
"""
REACH = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], 7), timeout=5)
    print("reached")
except OSError as error:
    print(errno.errorcode.get(error.errno, str(error)))
"""


def inside(fd: int, program: str, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True, preexec_fn=lambda: netns.enter(fd)
    )


@needs_netns
def test_the_two_sides_reach_each_other_and_nobody_else() -> None:
    with netns.topology([0], [0]) as both:
        server = inside(both.server_fd, SERVE)
        assert server.stdout.readline() == "up\n"
        assert inside(both.client_fd, REACH, netns.SERVER).communicate(timeout=30)[0] == "reached\n"
        assert server.communicate(timeout=30)[0] == f"{netns.CLIENT}\n"
        assert inside(both.client_fd, REACH, "198.51.100.1").communicate(timeout=30)[0] == "ENETUNREACH\n"
        with socket.socket() as here:
            here.settimeout(1)
            assert here.connect_ex((netns.SERVER, 7)) != 0, "from outside there is no way in"


@needs_netns
def test_packets_are_steered_to_each_sides_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    real = netns.Holder.run
    monkeypatch.setattr(netns.Holder, "run", lambda self, *argv: (commands.append(argv), real(self, *argv))[1])
    with netns.topology([1], [0]) as both:
        assert both.rps == {"server": "2", "client": "1"}
    assert [c[2].split(" >")[0] for c in commands if c[0] == "sh"] == ["echo 2", "echo 1"]


@pytest.mark.parametrize(
    "cpus, text", [([0], "1"), ([0, 3], "9"), ([32], "1,00000000"), ([31, 64], "1,00000000,80000000")]
)
def test_cpu_masks_are_written_as_sysfs_reads_them(cpus: list[int], text: str) -> None:
    assert netns.mask(cpus) == text


def members(inodes: set[str]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += [entry.name] * (os.readlink(entry / "ns" / "net") in inodes)
            except OSError:
                pass
    return found


def eventually(condition, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


@needs_netns
def test_records_say_the_topology_and_servers_bind_to_it(house: House) -> None:
    house.servers("epoll_lt")
    done = house.bench("run", house.experiment(rates="[1000]", blocks=1), "--topology", "netns", "--no-figures")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((house.run_folder() / "samples.jsonl").read_text())
    assert record["topology"]["kind"] == "netns" and record["server"]["argv"][-2:] == ["--bind", netns.SERVER]
    assert record["loadgen"]["argv"][2].startswith(netns.SERVER + ":")


@needs_netns
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_the_bench_ends_no_namespace_stays(house: House, number: int) -> None:
    house.servers("epoll_lt", "forker")
    running = house.start("run", house.experiment(duration="500ms", blocks=20), "--topology", "netns", "--no-figures")
    own = os.readlink("/proc/self/ns/net")

    def apart() -> set[str]:
        """Namespaces of servers of this house."""
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if str(house.build / "servers").encode() in (entry / "cmdline").read_bytes():
                    found.add(os.readlink(entry / "ns" / "net"))
            except OSError:
                pass
        return found - {own}

    inodes = eventually(apart)
    assert inodes, "a server in a namespace of its own"
    running.send_signal(number)
    running.communicate(timeout=60)
    assert eventually(lambda: not members(inodes)), members(inodes)


def test_where_it_is_not_allowed_the_run_says_so(house: House) -> None:
    """A user who is not root; or PATH without ip, where everybody is."""
    house.servers("epoll_lt")
    tools = house.folder / "tools"
    tools.mkdir()
    command = house.command("run", house.experiment(), "--topology", "netns", "--no-figures")
    done = subprocess.run(
        command,
        env={**house.environment(), "PATH": str(tools)},
        cwd=house.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "needs ip, which is not installed" in done.stderr, done.stderr


def test_a_server_that_cannot_be_told_where_to_listen_is_left_out(house: House) -> None:
    if netns.why_not():
        pytest.skip(netns.why_not())
    house.servers("epoll_lt")
    done = house.bench("run", house.experiment(), "--topology", "netns", "--models", "epoll_lt,asyncio", "--dry-run")
    assert done.returncode == 0 and "4 samples" in done.stdout, "asyncio's file gives no --bind"
