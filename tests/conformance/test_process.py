"""The server as a process: the death of its parent, and the backlog it asks the kernel for."""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import proc
from harness.model import Model, environment
from harness.server import Server

PARENT = """
import json, subprocess, sys
child = subprocess.Popen(json.loads(sys.argv[1]), stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()  # until the test is over, or was itself killed
"""


def test_a_server_dies_with_its_parent(model: Model) -> None:
    """A bench that is killed leaves no server behind (PR_SET_PDEATHSIG)."""
    command = [*model.argv, "--port", "0", "--protocol", model.protocols[0]]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(command)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, env=environment(model.sanitizer))
    pid, ready = parent.stdout.readline().split(maxsplit=1)
    watch = os.pidfd_open(int(pid))
    try:
        assert ready.startswith("READY port="), ready
        parent.kill()
        parent.communicate()
        proc.eventually(lambda: proc.state(int(pid)) in ("gone", "Z", "X"), "the server has died with its parent")
    finally:
        if proc.state(int(pid)) not in ("gone", "Z", "X"):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)


def test_no_process_outlives_its_server(model: Model, protocol: str, serve) -> None:
    """Killed with clients inside, a server leaves no process behind that goes on serving them or holds the port."""
    server = serve(protocol)
    count, before = model.at_once(3), proc.sockets(server.pid)
    for _ in range(count):
        server.connect()
    proc.eventually(lambda: proc.sockets(server.pid) == before + count, "the clients are accepted")
    members = proc.family(server.pid)
    server.popen.kill()
    proc.eventually(lambda: not proc.living(members), "all processes of the killed server are gone")
    server.kill()
    server.stats = {}  # killed: there is nothing to judge


def test_backlog(model: Model, serve) -> None:
    """The kernel completes backlog + 1 handshakes for a server that accepts none, and drops the next."""
    server = serve(model.protocols[0], "--backlog", "5")
    assert established_while_stopped(server, 20) in range(5, 8)


def test_the_default_backlog_takes_a_crowd(model: Model, serve) -> None:
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if most < 600:
        pytest.skip(f"net.core.somaxconn is {most}, this needs 600")
    assert established_while_stopped(serve(model.protocols[0]), 600) == 600


def established_while_stopped(server: Server, count: int) -> int:
    """How many of `count` connections the kernel completes while the server is stopped."""
    server.send_signal(signal.SIGSTOP)
    proc.eventually(lambda: {proc.state(member) for member in proc.family(server.pid)} == {"T"}, "the server is stopped")
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.setblocking(False)
        sock.connect_ex(server.address)
    time.sleep(0.3)
    done = sum(connected(sock) for sock in socks)
    for sock in socks:
        sock.close()
    server.send_signal(signal.SIGCONT)
    return done


def connected(sock: socket.socket) -> bool:
    """The peer's name is known only once the handshake is over on this side."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"  # TCP_ESTABLISHED
