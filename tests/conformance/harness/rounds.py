"""The smallest exchange of each protocol, and what others see of the server while someone misbehaves."""
from __future__ import annotations

from .client import Client, body, get, reply
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
