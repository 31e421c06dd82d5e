"""The smallest exchange of each protocol, and what others see of the server while someone misbehaves."""
from __future__ import annotations

from . import proc
from .client import Client, body, fill, get, reply
from .frames import Frame
from .server import Server

FRAME = Frame(reply=4, payload=b"ask", id=1000)
ROUND = {"echo": (b"ping", b"ping"), "greet": (b"Bob\n", b"Hello Bob\n"), "http": (get("/bytes/4"), reply(b"ABCD")),
         "frame": (FRAME.request, FRAME.answer)}


def asking_for(n: int, protocol: str) -> tuple[bytes, bytes]:
    """A request for a reply with a body of n bytes, and that reply."""
    frame = Frame(reply=n, id=n)
    return (frame.request, frame.answer) if protocol == "frame" else (get(f"/bytes/{n}"), reply(body(n)))


def round_trip(client: Client, protocol: str) -> None:
    request, answer = ROUND[protocol]
    client.send(request)
    client.expect(answer)


def expect_quiet(server: Server, when: str) -> None:
    """A server that has nothing to do sleeps. Of one that says it spins the opposite is expected, in every moment:
    what `busy_poll` teaches."""
    if server.model.spins:
        share = proc.busy_share(server.pid, windows=1)
        assert share > 0.9, f"the server says that it never sleeps, and does for {1 - share:.0%} of the time {when}"
        return
    share = proc.busy_share(server.pid)
    assert share < proc.QUIET_SHARE, f"the server is busy {share:.0%} of the time {when}"


MORE_THAN_FITS = 24 << 20  # more than two sockets and a bounded server can hold


def fill_up(server: Server, client: Client, data: bytes, quiet_s: float = 0.3) -> int:
    """Send without ever reading until nothing more is taken. One that says it is unbounded takes anything, which is
    what `sockmap` teaches; so it is not filled, but given more than would fit any other."""
    if not server.model.unbounded:
        return fill(client, data, quiet_s)
    client.send((data * (MORE_THAN_FITS // len(data) + 1))[:MORE_THAN_FITS])
    return MORE_THAN_FITS


def others_make_progress(server: Server, protocol: str, rounds: int = 20) -> None:
    """Someone else is served while a scenario keeps a client in a bad state; greet takes a connection per round."""
    other = server.connect()
    for _ in range(rounds):
        round_trip(other, protocol)
        if protocol == "greet":
            other.expect_eof()
            other.close()
            other = server.connect()
    other.close()


def others_must_wait(server: Server, protocol: str) -> Client:
    """One client at a time: another one is not served, however long it asks. What `blocking` teaches."""
    other = server.connect()
    other.send(ROUND[protocol][0])
    other.expect_silence(0.3)
    return other
