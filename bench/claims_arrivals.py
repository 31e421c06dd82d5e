"""Clients that come at once, each with one request; when is the k-th of them answered?

All are connected before the first request, so that a client's arrival costs one send, and a thousand of them arrive
within a few milliseconds.  Times count from the first request.  A reply's time is that of the look that found it, taken
before any of the replies found together is read: the last of many does not pay for the reading of the others.

Whether the server had received the last request before it sent the first reply is read off its receive queues: an
unread request lies in the queue of its socket, accepted or not (sock_diag(7)).  A server that serves one after the
other leaves all but one there until the first reply is out; no model needs to say anything for that.  It had, if a look
before the first reply found nothing unread; it had not, if the last look before that reply or the one right after it
found something.  Where the host gave the client no turn to look in time, nobody knows.  Where times only are
asked for, nobody looks: a reply that comes during a look is seen after it.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path

from bench.errors import BenchError

Ends = tuple[tuple[str, int], tuple[str, int]]  # of a connection: the server's address and port, and the client's
ESTABLISHED = 1  # include/net/tcp_states.h
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
    looks: bool = True  # whether anybody asks if the requests were received together

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
        return Run(wish, sockets[wish.silent :]).until(patience_s, check)
    finally:
        for one in sockets:
            one.close()


class Run:
    """The clients on their way: who has asked, who was answered, what lies unread."""

    def __init__(self, wish: Wish, clients: list[socket.socket]):
        self.wish, self.clients = wish, clients
        self.ends: list[Ends] = [(client.getpeername(), client.getsockname()) for client in clients]
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
        return step if self.wish.looks and self.all_read_ns is None and not self.answered_ns else 0.05

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
        if not self.wish.looks or self.all_read_ns is not None or self.looked_last:
            return
        if len(self.sent_ns) < self.wish.count:
            return
        self.looked_last = bool(self.answered_ns)
        left_s = self.wish.service_s - (time.monotonic_ns() - self.sent_ns[0]) / 1e9
        if not self.looked_last and left_s < max(CALM * self.wish.service_s, 2 * self.look_s):
            return
        begun = time.monotonic_ns()
        found, now = unread(self.waiting()), time.monotonic_ns()
        self.look_s = max(self.look_s, (now - begun) / 1e9)
        if found:
            self.unread_ns = now
        elif not self.looked_last:
            self.all_read_ns = now

    def waiting(self) -> list[Ends]:
        """The connections of those who were not answered yet, the last to ask first: it is the last to be read."""
        over = {*self.answered_ns, *self.lost}
        return [self.ends[number] for number in reversed(range(self.wish.count)) if number not in over]

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


def unread(connections: list[Ends]) -> bool:
    """Whether bytes lie at the server's end of any of these connections that it has not read."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG) as kernel:
            return any(queued(kernel, *ends) for ends in connections)
    except OSError:  # a sandbox without sock_diag
        return unread_in_proc(connections)


SOCK_DIAG, BY_FAMILY, REQUEST = 4, 20, 1  # linux/netlink.h, linux/sock_diag.h: one socket is asked for, not all
NLMSG_ERROR = 2
HEADER = struct.Struct("=IHHII")  # of a message: length, type, flags, sequence, port
ASKED = struct.Struct("=BBxxI")  # struct inet_diag_req_v2: family, protocol, states; the socket follows
SOCKET = struct.Struct("!HH4s12x4s12x4x8s")  # struct inet_diag_sockid: ports, addresses, interface, cookie
NO_COOKIE = b"\xff" * 8
STATE_AT = HEADER.size + 1  # of idiag_state in the answer, and of idiag_rqueue
QUEUE_AT = HEADER.size + 4 + SOCKET.size + 4


def queued(kernel: socket.socket, server: tuple[str, int], client: tuple[str, int]) -> int:
    """Bytes that lie unread at a connection's server end; none where the connection is over.

    Source: sock_diag(7).  The kernel finds one socket by its hash, in microseconds.  A list of all would take it many
    milliseconds, for it walks through its whole table, and /proc/net/tcp half a second after many connections, for it
    writes down those that are over, too.  Replies would come meanwhile, and be seen late.
    """
    addresses = [socket.inet_aton(address) for address, _ in (server, client)]
    body = ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << ESTABLISHED)
    body += SOCKET.pack(server[1], client[1], *addresses, NO_COOKIE)
    kernel.send(HEADER.pack(HEADER.size + len(body), BY_FAMILY, REQUEST, 1, 0) + body)
    told = kernel.recv(1 << 16)
    if struct.unpack_from("=IH", told)[1] == NLMSG_ERROR:
        number = -struct.unpack_from("=i", told, HEADER.size)[0]
        if number == ENOENT:
            return 0
        raise OSError(number, "sock_diag")
    return struct.unpack_from("=I", told, QUEUE_AT)[0] if told[STATE_AT] == ESTABLISHED else 0


def unread_in_proc(connections: list[Ends], proc: Path = Path("/proc")) -> bool:
    """The same from proc_pid_net(5)."""
    lines = (proc / "net" / "tcp").read_text().splitlines()[1:]
    wanted = {tuple(f"{hexadecimal(address)}:{port:04X}" for address, port in ends) for ends in connections}
    return any(
        (words[1], words[2]) in wanted and words[3] == f"{ESTABLISHED:02X}" and not words[4].endswith(":00000000")
        for words in map(str.split, lines)
    )


def hexadecimal(address: str) -> str:
    """As the kernel writes it there: the address's bytes read as a number of this host."""
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"
