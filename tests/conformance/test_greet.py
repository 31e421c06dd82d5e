"""greet: a name in, a greeting out, a clean close; never a reset."""
from __future__ import annotations

import time

import pytest

from harness.model import Model
from harness.proc import eventually, fds

pytestmark = [pytest.mark.speaks("greet"), pytest.mark.wire]

LONGEST = b"x" * 1024
REPLIES = {
    "a name": (b"Alice\n", b"Hello Alice\n"),
    "CR LF": (b"Alice\r\n", b"Hello Alice\n"),
    "only the last CR goes": (b"Al\rice\r\r\n", b"Hello Al\rice\r\n"),
    "empty line": (b"\n", b"Hello \n"),
    "empty line with CR": (b"\r\n", b"Hello \n"),
    "spaces stay": (b" a b \n", b"Hello  a b \n"),
    "8-bit and NUL are bytes like others": (b"\x00\xc3\xa9\xff\n", b"Hello \x00\xc3\xa9\xff\n"),
    "longest": (LONGEST + b"\n", b"Hello " + LONGEST + b"\n"),
    "longest with CR": (LONGEST + b"\r\n", b"Hello " + LONGEST + b"\n"),
}


@pytest.mark.parametrize("case", REPLIES)
def test_reply(model: Model, protocol: str, serve, case: str) -> None:
    """The server ends the connection by itself: the client has not closed when it reads the EOF."""
    request, answer = REPLIES[case]
    client = serve(protocol).connect()
    client.send(request)
    client.expect(answer)
    client.expect_eof()


@pytest.mark.parametrize("name", [b"Bob", LONGEST, b"\x00", b"Bob\r"],
                         ids=["short", "longest", "NUL", "a CR at the end belongs to it"])
def test_end_of_input_ends_a_name(model: Model, protocol: str, serve, name: bytes) -> None:
    client = serve(protocol).connect()
    client.send(name)
    client.half_close()
    client.expect(b"Hello " + name + b"\n")
    client.expect_eof()


@pytest.mark.parametrize("extra", [1, 2, 5000, 200_000])
def test_too_long_a_name_gets_a_fin_and_no_reply(model: Model, protocol: str, serve, extra: int) -> None:
    client = serve(protocol).connect()
    client.send(LONGEST + b"x" * extra + b"\n")
    client.expect_eof()


def test_eof_without_a_byte_gets_no_reply(model: Model, protocol: str, serve) -> None:
    server = serve(protocol, "--delay", "100ms")
    client = server.connect()
    client.half_close()
    client.expect_eof()
    client.close()
    stats = server.stop()
    assert (stats["accepted"], stats["requests"]) == (1, 0)


def test_one_byte_at_a_time(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    for byte in b"Bartholomew\r\n":
        client.send(bytes([byte]))
        time.sleep(0.002)
    client.expect(b"Hello Bartholomew\n")
    client.expect_eof()


def test_split_at_every_point(model: Model, protocol: str, serve) -> None:
    server, line = serve(protocol), b"Al\rice\r\n"
    for cut in range(1, len(line)):
        with server.connect() as client:
            client.send(line[:cut])
            time.sleep(0.01)
            client.send(line[cut:])
            client.expect(b"Hello Al\rice\n")
            client.expect_eof()


@pytest.mark.parametrize("delay", [None, "50ms"], ids=["at once", "after a delay"])
def test_unread_input_does_not_turn_the_end_into_a_reset(model: Model, protocol: str, serve, delay: str | None) -> None:
    """More follows the name than the server ever reads for it. Closing on it would reset, and could take the reply
    along."""
    server = serve(protocol, *(["--delay", delay] if delay else []))
    for surplus in (1, 1000, 100_000):
        client = server.connect()
        client.send(b"Alice\n" + b"y" * surplus)
        client.expect(b"Hello Alice\n")
        client.expect_eof()
        client.send(b"z" * surplus)  # the server reads on until our EOF: no EPIPE, no ECONNRESET
        time.sleep(0.02)
        client.send(b"z" * surplus)
        client.half_close()
        client.expect_eof()
        client.close()
    assert server.stop()["errors"] == {}


def test_half_close_during_the_delay_keeps_the_reply(model: Model, protocol: str, serve) -> None:
    client = serve(protocol, "--delay", "200ms").connect()
    client.send(b"Alice\n")
    client.half_close()
    client.expect(b"Hello Alice\n")
    client.expect_eof()


def test_the_descriptor_goes_when_the_client_does(model: Model, protocol: str, serve) -> None:
    """After its FIN the server waits for the client's, however long that takes; then it closes."""
    server = serve(protocol)
    before = set(fds(server.pid))
    client = server.connect()
    client.send(b"Alice\n")
    client.expect(b"Hello Alice\n")
    client.expect_eof()
    client.close()
    eventually(lambda: set(fds(server.pid)) == before, "the client's descriptor is closed")
