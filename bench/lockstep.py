"""System calls per request, exact: one connection, one request after the other, every call counted by strace.

The same server is run twice, with N requests and with 2N; the difference divided by N is a request's share, from
which set-up and end have cancelled.  The next request is sent only when the server is quiet: every thread asleep, and
none woken meanwhile.  So nothing depends on who is faster, and the figures are whole numbers that any host repeats.
"""

import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import host, serve
from bench.arms import Arm
from bench.errors import BenchError

STRACE = ("strace", "-f", "-c", "-U", "name,calls", "-S", "name")
PATIENCE_S = 20.0
NEVER_QUIET_S = 1.0  # a server that polls is never asleep; from then on it is not waited for
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
    totals, restless = [], False
    for n in (requests, 2 * requests):
        with traced(arm, case, cpus, undertaker) as run:
            restless = converse(run.target, run.pids, case, n) or restless
        totals.append(run.calls)
    once, twice = totals
    share = {name: (twice[name] - once.get(name, 0)) / requests for name in twice}
    return {
        "kind": "lockstep", "model": arm.name, "case": case.name, "requests": requests, "restless": restless,
        "calls": {name: value for name, value in sorted(share.items()) if value},
        "totals": totals,
    }


@dataclass
class Run:
    """A traced server: where it listens, its processes, and, when it has ended, its calls."""

    target: str
    pids: Callable[[], list[int]]
    calls: dict[str, int] = field(default_factory=dict)


@contextmanager
def traced(arm: Arm, case: Case, cpus: Sequence[int], undertaker: host.Undertaker | None):
    """The server under strace; on leaving it is asked to end, and its calls are read."""
    with TemporaryDirectory(prefix="muxbench-") as folder:
        told = Path(folder, "calls")
        launch = serve.launch(arm, case.protocol, case.options)
        tracer = host.Child([*STRACE, "-o", str(told), *launch.argv], cpus, undertaker)
        try:
            try:
                target = serve.wait_ready(tracer)
            except serve.Failed as why:
                raise BenchError(f"{arm.name} under strace: {why}: {tracer.last_words()}") from None
            run = Run(target, lambda: serve.group_of(tracer.pid)[1:])
            server = host.child_of(tracer.pid)
            yield run
            host.terminate(server)
            if not tracer.wait(PATIENCE_S) or tracer.status != 0:
                raise BenchError(f"{arm.name} under strace did not end well: {tracer.last_words()}")
            run.calls = totals_of(told.read_text())
        finally:
            tracer.close()


def totals_of(text: str) -> dict[str, int]:
    """strace's summary, `name calls` on each line between two rules."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total"}


def converse(target: str, pids: Callable[[], list[int]], case: Case, requests: int) -> bool:
    """Sends that many requests, each when the server is quiet; whether it never was."""
    watch = Quiet(pids)
    connection = None if case.fresh else Connection(target)
    try:
        for _ in range(requests):
            if connection:
                watch.wait()
                connection.ask(case)
            else:
                with_end = Connection(target)
                watch.wait()
                with_end.ask(case)
                watch.wait()
                with_end.end()
            watch.wait()
    finally:
        if connection:
            connection.socket.close()
    watch.wait()
    return watch.restless


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
    length = next((line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b"0")
    return bool(end) and len(body) >= int(length)


class Quiet:
    """Waits until every thread of the server sleeps, and none has been switched to between two looks."""

    def __init__(self, pids: Callable[[], list[int]]):
        self.pids = pids
        self.restless = False

    def wait(self) -> None:
        if self.restless:
            return
        end = time.monotonic() + NEVER_QUIET_S
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
