"""echo: the bytes come back, whatever the pieces, whatever the peer does."""
from __future__ import annotations

import random
import signal

import pytest

from harness.client import pump
from harness.model import Model
from harness.proc import eventually, state
from harness.rounds import fill_up

pytestmark = [pytest.mark.speaks("echo"), pytest.mark.wire]
NOISE = random.Random(1).randbytes(1 << 20)


def test_one_byte_at_a_time(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    for i in range(300):
        client.send(NOISE[i:i + 1])
        client.expect(NOISE[i:i + 1])
    client.half_close()
    client.expect_eof()


@pytest.mark.parametrize("size", [1, 2, 4095, 4096, 4097, 16384, 65535, 65536, 65537, 300001])
def test_every_size_comes_back(model: Model, protocol: str, serve, size: int) -> None:
    client = serve(protocol).connect()
    got = pump(client, NOISE[:size], half_close=False)
    assert got == NOISE[:size]
    got = pump(client, NOISE[:size][::-1])
    assert got == NOISE[:size][::-1]


def test_random_pieces(model: Model, protocol: str, serve) -> None:
    """Pieces of any size, several on their way at once."""
    client, dice, sent, got = serve(protocol).connect(), random.Random(2), 0, 0
    while got < 200_000:
        while sent - got < 40_000:
            piece = dice.choice([1, 2, 7, 100, 1000, 5000, 20_000])
            client.send(NOISE[sent:sent + piece])
            sent += piece
        piece = dice.randrange(1, sent - got)
        client.expect(NOISE[got:got + piece])
        got += piece
    client.half_close()
    client.expect(NOISE[got:sent])
    client.expect_eof()


def test_half_close_keeps_what_is_owed(model: Model, protocol: str, serve) -> None:
    """The peer has said all it will say, and reads only later: every byte, then a FIN."""
    client = serve(protocol).connect()
    client.send(NOISE[:200_000])
    client.half_close()
    client.expect(NOISE[:200_000])
    client.expect_eof()


def test_half_close_keeps_what_a_full_socket_still_owes(model: Model, protocol: str, serve) -> None:
    """The same where the server is stuck in the middle: its socket is full when the FIN arrives behind unread input."""
    server = serve(protocol)
    client = server.connect(receive_buffer=4096)
    taken = fill_up(server, client, NOISE)
    client.half_close()
    # Read slowly, so that the server's last bytes do not fit its socket when it comes to the FIN.
    got = pump(client, b"", pause_s=0.001, chunk=8192)
    assert len(got) == taken
    assert got == (NOISE * (taken // len(NOISE) + 1))[:taken]


@pytest.mark.parametrize("size", [5, 10_000])
def test_half_close_before_it_is_let_in(model: Model, protocol: str, serve, size: int) -> None:
    """All is said, and the FIN sent, before the server accepts."""
    server = serve(protocol)
    if server.model.given_port:
        pytest.skip("whose processes are to be stopped is not known")
    server.send_signal(signal.SIGSTOP)
    eventually(lambda: state(server.pid) == "T", "the server is stopped")
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.send(NOISE[:size])
        client.half_close()
    server.send_signal(signal.SIGCONT)
    for client in clients:
        client.expect(NOISE[:size])
        client.expect_eof()
        client.close()


def test_eof_without_a_byte(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    client.half_close()
    client.expect_eof()
