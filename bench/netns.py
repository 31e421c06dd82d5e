"""Topology netns: server and client in two network namespaces of their own, joined by a veth pair.

Over loopback the sender's CPU does the receiver's work too.  Here receive packet steering (RPS) hands each side's
packets to that side's CPUs, so that each pays for its own.

The namespaces have no name.  They live as long as somebody holds them: the bench by a descriptor, the processes of a
sample by being inside.  When the bench ends, however it ends, the kernel takes them away with the veth pair; there is
nothing that a next start could find.
"""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from bench.errors import BenchError
from bench.host import LIBC, PR_SET_PDEATHSIG

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"  # TEST-NET-1 (RFC 5737): routed nowhere, and here in a world of its own
DEVICE = "mux0"
SYSCTLS = {  # a churning client must not run out of ports: it has one address here, not loopback's many
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.tcp_tw_reuse": "1",
}


@dataclass(frozen=True)
class Topology:
    """Both namespaces, as descriptors for setns(2)."""

    server_fd: int
    client_fd: int
    rps: dict[str, str]

    def as_record(self) -> dict:
        return {"kind": "netns", "server": SERVER, "client": CLIENT, "rps_cpus": self.rps}


def enter(fd: int | None) -> None:
    """Moves the calling process into a namespace; between fork and exec."""
    if fd is not None and LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Holder:
    """A process in a new network namespace with a /sys of its own, which it needs for RPS; gone when let go."""

    def __init__(self) -> None:
        parent, (ready_in, ready_out) = os.getpid(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            hold(ready_out, parent)
        os.close(ready_out)
        self.error = os.read(ready_in, 200).decode()
        os.close(ready_in)

    def run(self, *argv: str) -> None:
        inside = ["nsenter", f"--target={self.pid}", "--net", "--mount", *argv]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise BenchError(f"topology netns: {' '.join(argv)}: {done.stderr.strip() or f'status {done.returncode}'}")

    def namespace(self) -> int:
        return os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def let_go(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def hold(ready: int, parent: int) -> None:
    """The holder's life: separate, close the pipe or say what went wrong, wait to be killed or orphaned."""
    try:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if LIBC.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
            os.write(ready, f"unshare: {os.strerror(ctypes.get_errno())}".encode())
            os._exit(1)
        LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        if LIBC.mount(b"sysfs", b"/sys", b"sysfs", 0, None) != 0:
            os.write(ready, f"mount /sys: {os.strerror(ctypes.get_errno())}".encode())
            os._exit(1)
        os.close(ready)
        while True:
            signal.pause()
    finally:
        os._exit(0)


@cache
def why_not() -> str | None:
    """Why this host or user cannot have it, in words; None when it can."""
    for tool in ("ip", "nsenter"):
        if not shutil.which(tool):
            return f"needs {tool}, which is not installed (bench/require.sh bench)"
    holder = Holder()
    holder.let_go()
    return (
        f"needs network namespaces, which are not allowed here ({holder.error}); run as root" if holder.error else None
    )


def mask(cpus: Iterable[int]) -> str:
    """CPUs as sysfs takes them: hexadecimal, in groups of 32 bits."""
    bits = sum(1 << cpu for cpu in set(cpus))
    groups = []
    while True:
        groups.append(f"{bits & 0xFFFFFFFF:x}" if bits < 1 << 32 else f"{bits & 0xFFFFFFFF:08x}")
        bits >>= 32
        if not bits:
            return ",".join(reversed(groups))


@contextmanager
def topology(server_cpus: Iterable[int], client_cpus: Iterable[int]) -> Iterator[Topology]:
    """Both namespaces, joined and steered, for as long as the block lasts."""
    holders: list[Holder] = []
    fds: list[int] = []
    try:
        for _ in range(2):
            holders.append(Holder())
            if holders[-1].error:
                raise BenchError(f"topology netns: {holders[-1].error}")
        server, client = holders
        server.run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", str(client.pid))
        rps = {"server": mask(server_cpus), "client": mask(client_cpus)}
        for holder, address, cpus in ((server, SERVER, rps["server"]), (client, CLIENT, rps["client"])):
            holder.run("sysctl", "-q", "-w", f"net.ipv6.conf.{DEVICE}.disable_ipv6=1")
            holder.run("ip", "address", "add", f"{address}/30", "dev", DEVICE)
            for device in ("lo", DEVICE):
                holder.run("ip", "link", "set", device, "up")
            holder.run("sh", "-c", f"echo {cpus} > /sys/class/net/{DEVICE}/queues/rx-0/rps_cpus")
        for name, value in SYSCTLS.items():
            client.run("sysctl", "-q", "-w", f"{name}={value}")
        fds += [holder.namespace() for holder in holders]
    finally:
        for holder in holders:
            holder.let_go()
    try:
        yield Topology(*fds, rps)
    finally:
        for fd in fds:
            os.close(fd)
