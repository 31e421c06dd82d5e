"""Clients that come at once, each with one request; when is the k-th of them answered?

All are connected before the first request, so that a client's arrival costs one send, and a thousand of them arrive
within a few milliseconds.  Times count from the first request.  A reply's time is that of the look that found it, taken
before any of the replies found together is read: the last of many does not pay for the reading of the others.

Whether the server had received the last request before it sent the first reply is read off its receive queues: an
unread request lies in the queue of its socket, accepted or not (sock_diag(7)).  A server that serves one after the
other leaves all but one there until the first reply is out; no model needs to say anything for that.  It had, if a look
before the first reply found nothing unread; it had not, if the last look before that reply or the one right after it
found something.  Where the host gave the client no turn to look in time, nobody knows.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

ESTABLISHED = "01"
SETTLE_S = 0.02  # for silent clients to be accepted
LOOKS = 25  # at the server's queues, in the time of one service
CALM = 0.1  # of the service's time, or twice what a look takes, before the first reply is due: no look in its way ...
RECENT = 0.2  # ... and a look within this much of it before the reply is the last one


@dataclass(frozen=True)
class Wish:
    """Who comes, when, and what for."""

    count: int
    spread_s: float
    service_s: float
    protocol: str  # "greet": the delay is the server's; "http": `path` says what it shall do
    path: str = "/"
    silent: int = 0

    def request(self, number: int) -> bytes:
        if self.protocol == "greet":
            return f"client{number}\n".encode()
        return f"GET {self.path} HTTP/1.1\r\nHost: arrivals\r\nX-Client: {number}\r\n\r\n".encode()

    def is_answer(self, number: int, got: bytes) -> bool:
        if self.protocol == "greet":
            return got == f"Hello client{number}\n".encode()
        head, end, _ = got.partition(b"\r\n\r\n")
        return bool(end) and head.startswith(b"HTTP/1.1 200")


def play(target: str, wish: Wish, patience_s: float, check: Callable[[], None]) -> dict:
    """One run: the part of its record; `check` is called now and then and may raise to end it."""
    address, _, port = target.rpartition(":")
    sockets = [socket.create_connection((address, int(port)), patience_s) for _ in range(wish.silent + wish.count)]
    try:
        if wish.silent:
            time.sleep(SETTLE_S)
        return Run(wish, sockets[wish.silent :], int(port)).until(patience_s, check)
    finally:
        for one in sockets:
            one.close()


class Run:
    """The clients on their way: who has asked, who was answered, what lies unread."""

    def __init__(self, wish: Wish, clients: list[socket.socket], port: int):
        self.wish, self.clients, self.port = wish, clients, port
        self.got = [b""] * wish.count
        self.sent_ns: list[int] = []
        self.answered_ns: dict[int, int] = {}
        self.lost: dict[int, str] = {}
        self.all_read_ns: int | None = None
        self.unread_ns: int | None = None  # the last look that found something
        self.looked_last = False
        self.look_s = 0.0  # what a look takes
        self.poll = selectors.DefaultSelector()
        for number, client in enumerate(clients):
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.poll.register(client, selectors.EVENT_READ, number)

    def until(self, patience_s: float, check: Callable[[], None]) -> dict:
        begun = time.monotonic_ns()
        end = begun + round(patience_s * 1e9)
        step = self.wish.service_s / LOOKS
        with self.poll:
            while len(self.answered_ns) + len(self.lost) < self.wish.count and time.monotonic_ns() < end:
                self.send_due(begun)
                self.take(self.poll.select(self.pause_s(begun, step)))
                self.look()
                check()
        return self.as_record()

    def due_ns(self, number: int) -> int:
        gaps = max(self.wish.count - 1, 1)
        return round(self.wish.spread_s * 1e9 * number / gaps)

    def send_due(self, begun: int) -> None:
        """The requests of those whose time has come."""
        while len(self.sent_ns) < self.wish.count and time.monotonic_ns() - begun >= self.due_ns(len(self.sent_ns)):
            number = len(self.sent_ns)
            self.sent_ns.append(time.monotonic_ns())
            try:
                self.clients[number].send(self.wish.request(number))
            except OSError as error:
                self.lose(number, error.strerror or "send failed")

    def pause_s(self, begun: int, step: float) -> float:
        """How long to wait for replies: to the next request, or to the next look at the queues."""
        if len(self.sent_ns) < self.wish.count:
            due = (begun + self.due_ns(len(self.sent_ns)) - time.monotonic_ns()) / 1e9
            return max(0.0, min(due, step))
        return step if self.all_read_ns is None and not self.answered_ns else 0.05

    def take(self, ready: list) -> None:
        now = time.monotonic_ns()
        for key, _ in ready:
            number = key.data
            try:
                part = self.clients[number].recv(65536)
            except OSError as error:
                self.lose(number, error.strerror or "receive failed")
                continue
            self.got[number] += part
            if self.wish.is_answer(number, self.got[number]):
                self.answered_ns[number] = now
                self.poll.unregister(self.clients[number])
                self.clients[number].close()  # who serves one client at a time waits until it leaves
            elif not part:
                self.lose(number, f"closed after {self.got[number][:60]!r}")

    def lose(self, number: int, why: str) -> None:
        self.lost[number] = why
        self.poll.unregister(self.clients[number])

    def look(self) -> None:
        """Once all have asked and until the first is answered, and once then: does any request still lie unread?"""
        if self.all_read_ns is not None or self.looked_last or len(self.sent_ns) < self.wish.count:
            return
        self.looked_last = bool(self.answered_ns)
        left_s = self.wish.service_s - (time.monotonic_ns() - self.sent_ns[0]) / 1e9
        if not self.looked_last and left_s < max(CALM * self.wish.service_s, 2 * self.look_s):
            return
        begun = time.monotonic_ns()
        found, now = unread(self.port), time.monotonic_ns()
        self.look_s = max(self.look_s, (now - begun) / 1e9)
        if found:
            self.unread_ns = now
        elif not self.looked_last:
            self.all_read_ns = now

    def as_record(self) -> dict:
        if not self.answered_ns and self.lost:
            raise BenchError(f"no client was answered: {next(iter(self.lost.values()))}")
        first = self.sent_ns[0]
        completions = sorted(ns - first for ns in self.answered_ns.values())
        return {
            "service_ns": round(self.wish.service_s * 1e9),
            "clients": self.wish.count,
            "sent_ns": [ns - first for ns in self.sent_ns],
            "completions_ns": completions,
            "order": sorted(self.answered_ns, key=lambda number: (self.answered_ns[number], number)),
            "lost": {str(number): why for number, why in self.lost.items()},
            "all_read_ns": None if self.all_read_ns is None else self.all_read_ns - first,
            "interleaved": self.interleaved(),
        }

    def interleaved(self) -> bool | None:
        """None for one client, of whom it cannot be asked, and where no look came in time."""
        if self.wish.count < 2 or not self.answered_ns:
            return None
        first = min(self.answered_ns.values())
        if self.all_read_ns is not None:
            return self.all_read_ns < first
        if len(self.sent_ns) < self.wish.count or first < self.sent_ns[-1]:
            return False
        recent = first - RECENT * self.wish.service_s * 1e9
        return False if self.unread_ns is not None and self.unread_ns >= recent else None


def unread(port: int) -> int:
    """How many sockets of the server at this port hold bytes that it has not read."""
    try:
        return sum(waiting > 0 for waiting in queues(port))
    except OSError:  # a sandbox without sock_diag
        return unread_in_proc(port)


SOCK_DIAG, BY_FAMILY, DUMP = 4, 20, 0x301  # linux/netlink.h, linux/sock_diag.h: a request for all that match
NLMSG_ERROR, NLMSG_DONE = 2, 3
HEADER = struct.Struct("=IHHII")  # of a message: length, type, flags, sequence, port
ASKED = struct.Struct("=BBxxI")  # struct inet_diag_req_v2: family, protocol, states; the socket follows
SOCKET = struct.Struct("!HH44x")  # struct inet_diag_sockid: ports; addresses and more
QUEUE_AT = HEADER.size + 4 + SOCKET.size + 4  # of idiag_rqueue in the answer


def queues(port: int) -> Iterator[int]:
    """Bytes that lie unread in each established socket of IPv4 at this port.

    Source: sock_diag(7).  /proc/net/tcp says the same, but after many connections it takes half a second to write down
    those that are over.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG) as kernel:
        body = ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << int(ESTABLISHED)) + SOCKET.pack(port, 0)
        kernel.send(HEADER.pack(HEADER.size + len(body), BY_FAMILY, DUMP, 1, 0) + body)
        while True:
            told = kernel.recv(1 << 16)
            while told:
                length, kind = struct.unpack_from("=IH", told)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", told, HEADER.size)[0], "sock_diag")
                yield struct.unpack_from("=I", told, QUEUE_AT)[0]
                told = told[(length + 3) & ~3 :]


def unread_in_proc(port: int, proc: Path = Path("/proc")) -> int:
    """The same from proc_pid_net(5)."""
    lines = (proc / "net" / "tcp").read_text().splitlines()[1:]
    suffix = f":{port:04X}"
    return sum(
        words[1].endswith(suffix) and words[3] == ESTABLISHED and not words[4].endswith(":00000000")
        for words in map(str.split, lines)
    )
