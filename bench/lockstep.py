"""System calls per request, exact: one connection, one request after the other, every call written down by strace.

Calls are counted after N requests and after 2N; the difference divided by N is a request's share, from which set-up and
end have cancelled.  The next request is sent, and calls are counted, only when the server is quiet: every thread
asleep, and none woken meanwhile.  So nothing depends on who is faster, and the figures are whole numbers that any
host repeats.
"""

import os
import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from bench import host, serve
from bench.arms import Arm
from bench.errors import BenchError

STRACE = ("strace", "-f", "-e", "signal=none", "-e", "raw=all")
ENTERED = re.compile(rb"^\d+ +(\w+)\(", re.MULTILINE)  # the line on which a call begins; it may end on another
PATIENCE_S = 20.0
NEVER_QUIET_S = 3.0  # a server that polls is never asleep; from then on it is not waited for
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """What one request is."""

    name: str
    protocol: str
    says: str  # for the reader of a table
    request: bytes
    options: dict = field(default_factory=dict)
    fresh: bool = False  # each on a connection of its own


GET = b"GET / HTTP/1.1\r\nHost: lockstep\r\n\r\n"
CASES = (
    Case("echo", "echo", "64 bytes and back", b"x" * 64),
    Case("http", "http", "GET / on a connection that stays", GET),
    Case("delay", "http", "the same with --delay 20ms: what a timer adds", GET, {"delay": "20ms"}),
    Case("connection", "echo", "connect, 64 bytes and back, close", b"x" * 64, fresh=True),
)


def why_impossible() -> str | None:
    return None if shutil.which("strace") else "strace is not here (bench/require.sh test)"


def count(arm: Arm, case: Case, requests: int, cpus: Sequence[int], undertaker: host.Undertaker | None = None) -> dict:
    """One model, one case: the record with both totals and the calls per request."""
    with traced(arm, case, cpus, undertaker) as (target, pids, so_far):
        with Client(target, pids, case) as client:
            found = counted(client, requests, so_far)
    return {"kind": "lockstep", "model": arm.name, "case": case.name, **found}


def counted(client: "Client", requests: int, so_far: Callable[[], Counter[str]]) -> dict:
    """Both totals, and the calls per request that their difference is."""
    client.converse(requests)
    once = so_far()
    client.converse(requests)
    twice = so_far()
    share = {name: (n - once[name]) / requests for name, n in sorted(twice.items()) if n != once[name]}
    return {"requests": requests, "restless": client.quiet.restless, "calls": share, "totals": [once, twice]}


@contextmanager
def traced(
    arm: Arm,
    case: Case,
    cpus: Sequence[int],
    undertaker: host.Undertaker | None,
    environment: Mapping[str, str] = MappingProxyType({}),
):
    """The server under strace: where it listens, a way to list its processes, and one to count its calls so far.

    `environment` is the server's and not strace's own.
    """
    with TemporaryDirectory(prefix="muxbench-") as folder:
        told = Path(folder, "calls")
        launch = serve.launch(arm, case.protocol, case.options)
        given = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
        tracer = host.Child([*STRACE, *given, "-o", str(told), *launch.argv], cpus, undertaker)
        try:
            try:
                target = serve.wait_for(tracer, launch, arm)
            except serve.Failed as why:
                raise BenchError(f"{arm.name} under strace: {why}: {tracer.last_words()}") from None
            server = host.child_of(tracer.pid)
            yield target, lambda: serve.group_of(tracer.pid)[1:], lambda: entered(told.read_bytes())
            host.terminate(server)
            if not tracer.wait(PATIENCE_S) or (tracer.status != 0 and not arm.contender):
                raise BenchError(f"{arm.name} under strace did not end well: {tracer.last_words()}")
        finally:
            tracer.close()


def entered(trace: bytes) -> Counter[str]:
    """How often each call was entered; a call that another thread's line interrupts is written twice, and once here."""
    return Counter(name.decode() for name in ENTERED.findall(trace))


class Client:
    """Sends requests in lock-step with a server, over one connection or each over its own."""

    def __init__(self, target: str, pids: Callable[[], list[int]], case: Case):
        self.target, self.case = target, case
        self.quiet = Quiet(pids)
        self.connection: Connection | None = None

    def __enter__(self) -> "Client":
        if not self.case.fresh:
            self.connection = Connection(self.target)
        self.quiet.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection:
            self.connection.socket.close()

    def converse(self, requests: int) -> None:
        for _ in range(requests):
            if self.connection:
                self.connection.ask(self.case)
            else:
                self.alone()
            self.quiet.wait()

    def alone(self) -> None:
        connection = Connection(self.target)
        self.quiet.wait()
        connection.ask(self.case)
        self.quiet.wait()
        connection.end()


class Connection:
    """One client, blocking."""

    def __init__(self, target: str):
        address, _, port = target.rpartition(":")
        self.socket = socket.create_connection((address, int(port)), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, case: Case) -> None:
        self.socket.sendall(case.request)
        got = b""
        while not is_whole(got, case):
            part = self.socket.recv(65536)
            if not part:
                raise BenchError(f"the server closed after {got!r}")
            got += part

    def end(self) -> None:
        """Says that nothing follows, and waits for the server's own end."""
        self.socket.shutdown(socket.SHUT_WR)
        while self.socket.recv(65536):
            pass
        self.socket.close()


def is_whole(got: bytes, case: Case) -> bool:
    if case.protocol == "echo":
        return len(got) >= len(case.request)
    head, end, body = got.partition(HEAD_END)
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = next(
        (line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b"0"
    )
    return bool(end) and len(body) >= int(length)


def crowding() -> float:
    """How much longer a server may need to come to rest because others are at work, 1 to 5: tasks for each CPU."""
    return min(5.0, max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0))))


class Quiet:
    """Waits until every thread of the server sleeps, and none has been switched to between two looks."""

    def __init__(self, pids: Callable[[], list[int]]):
        self.pids = pids
        self.restless = False

    def wait(self) -> None:
        if self.restless:
            return
        end = time.monotonic() + NEVER_QUIET_S * crowding()
        before = None
        while (now := self.look()) is None or now != before:
            if time.monotonic() > end:
                self.restless = True
                return
            before = now
            time.sleep(0.0003)

    def look(self) -> dict[int, tuple[str, ...]] | None:
        """Each thread's context switches; None while one of them is not asleep."""
        found = {}
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").glob("*/status"):
                try:
                    told = dict(line.split(":\t", 1) for line in task.read_text().splitlines() if ":\t" in line)
                except OSError:  # it has ended meanwhile
                    return None
                if told["State"][0] not in "SZ":
                    return None
                found[int(told["Pid"])] = (told.get("voluntary_ctxt_switches"), told.get("nonvoluntary_ctxt_switches"))
        return found
