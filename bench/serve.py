"""How an arm is started, known to be ready, and asked what it counted.

Our servers, and any that follow the contract, print READY and their counters.
A contender that does not is described by its file: the command with {port},
how to know that it is ready, and whether it ends well on SIGTERM.
"""

import itertools
import json
import os
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench import host
from bench.arms import Arm

READY_WITHIN_S = 10.0
CANNOT_RUN_HERE = 77  # the contract's status for a host that lacks what a model needs
SOCKET_NUMBERS = itertools.count()


class Failed(Exception):
    """This sample failed; the words say how."""


class Unavailable(Exception):
    """The server says that this host cannot run it; its line says why."""


@dataclass(frozen=True)
class Launch:
    """A command line, and the port that it was given where it could not choose its own."""

    argv: list[str]
    port: int | None = None


def launch(
    arm: Arm, protocol: str, options: dict, loops_per_us: int | None = None, bind: str | None = None
) -> Launch:
    """How to start an arm; a contender without the contract gets a free port."""
    if arm.contender:
        port = free_port()
        return Launch([word.format(port=port, protocol=protocol) for word in arm.argv], port)
    argv = [*arm.argv, "--port", "0", "--protocol", protocol]
    argv += ["--bind", bind] if bind else []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        argv += [option] if value is True else [] if value is False else [option, str(value)]
    if loops_per_us and protocol in ("http", "frame") and "loops-per-us" in arm.options:
        argv += ["--loops-per-us", str(loops_per_us)]
    return Launch([word.replace("{socket}", own_socket()) if "{socket}" in word else word for word in argv])


def own_socket() -> str:
    """A path for a Unix socket that nobody has yet: what {socket} stands for in a variant's options."""
    return f"{sockets().name}/{next(SOCKET_NUMBERS)}"


@cache
def sockets() -> tempfile.TemporaryDirectory:
    """Where servers make their Unix sockets; it goes when this process does, with what killed servers left there."""
    return tempfile.TemporaryDirectory(prefix="muxbench-")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(server: host.Child, launched: Launch, arm: Arm, stop: host.Stop | None = None) -> str:
    """An arm's address once it is ready, however it says so."""
    if launched.port is None:
        return wait_ready(server, stop)
    return wait_listening(server, launched.port, arm.contender.get("ready_line"), stop)


def wait_ready(server: host.Child, stop: host.Stop | None = None) -> str:
    """The address in the server's READY line, as the load generator's --target."""
    line = host.wait_for_line(server, "READY ", READY_WITHIN_S, stop)
    if line is None:
        raise not_ready(server, f"printed no READY line within {READY_WITHIN_S:.0f} s")
    key, _, value = line.removeprefix("READY ").partition("=")
    if key == "port" and value.isdigit():
        return f"127.0.0.1:{value}"
    if key == "unix" and value:
        return f"unix:{value}"
    raise Failed(f"the server's first line is not what the contract asks for: {line!r}")


def wait_listening(server: host.Child, port: int, ready_line: str | None, stop: host.Stop | None) -> str:
    """A contender's address, once it has printed its line, if it has one, and its port answers."""
    if ready_line and host.wait_for_line(server, ready_line, READY_WITHIN_S, stop) is None:
        raise not_ready(server, f"printed no line that begins with {ready_line!r} within {READY_WITHIN_S:.0f} s")
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end and not server.ended():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"127.0.0.1:{port}"
        host.wait_any([server], 0.005, stop)
    raise not_ready(server, f"did not listen on port {port} within {READY_WITHIN_S:.0f} s")


def not_ready(server: host.Child, otherwise: str) -> Exception:
    if server.status == CANNOT_RUN_HERE:
        return Unavailable(server.last_words() or "cannot run here, and does not say why")
    if server.status is not None:
        return Failed(f"the server {how_ended(server.status)} before it was ready")
    return Failed(f"the server {otherwise}")


def how_ended(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def group_of(leader: int) -> list[int]:
    """The processes of a server's group, itself first: workers burn CPU for it too."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            try:
                if os.getpgid(int(entry.name)) == leader:
                    members.append(int(entry.name))
            except ProcessLookupError:
                pass
    return [leader, *sorted(members)]


def forked(leader: int, known: list[int], faults: int) -> bool:
    """Has a server more processes than those that were known, or has it reaped one since it had `faults`?"""
    return host.reaped_faults(leader) > faults or not set(group_of(leader)) <= set(known)


def counters(server: host.Child) -> dict | None:
    """The JSON line that a contract server prints on SIGTERM."""
    lines = [line for line in server.stdout().splitlines() if line.startswith("{")]
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
