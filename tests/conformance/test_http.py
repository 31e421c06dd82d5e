"""http: the exact bytes of every reply, keep-alive, pipelining, and how a connection ends."""
from __future__ import annotations

import time

import pytest

from harness.client import Client, body, difference, fill, get, pump, reply
from harness.model import Model
from http_cases import CLOSES, HOME, STAYS_OPEN

pytestmark = [pytest.mark.speaks("http"), pytest.mark.wire]


@pytest.mark.parametrize("case", STAYS_OPEN)
def test_reply_on_an_open_connection(model: Model, protocol: str, serve, case: str) -> None:
    """Twice over one connection: a reply of a wrong length would shift the second."""
    request, answer = STAYS_OPEN[case]
    client = serve(protocol).connect()
    for _ in range(2):
        client.send(request)
        client.expect(answer)
    client.expect_silence(0.01)
    client.half_close()
    client.expect_eof()


@pytest.mark.parametrize("case", CLOSES)
def test_reply_that_closes(model: Model, protocol: str, serve, case: str) -> None:
    """The FIN comes without the client's, and whatever the client still sends is read and dropped: never a reset."""
    request, answer = CLOSES[case]
    server = serve(protocol)
    client = server.connect()
    client.send(request)
    client.expect(answer)
    client.expect_eof()
    for _ in range(3):  # the second write after a reset would raise EPIPE or ECONNRESET
        client.send(get("/bytes/5"))
        time.sleep(0.005)
    client.expect_eof()
    client.half_close()
    client.expect_eof()
    client.close()
    assert server.stop()["errors"] == {}


@pytest.mark.parametrize("case", ["Connection: close", "no Host", "head far too large", "HTTP/1.0"])
def test_unread_input_does_not_turn_the_end_into_a_reset(model: Model, protocol: str, serve, case: str) -> None:
    """Half a megabyte lies behind the request in the server's socket when it closes."""
    request, answer = CLOSES[case]
    client = serve(protocol).connect()
    got = pump(client, request + b"z" * 500_000)
    assert got == answer, difference(got, answer)


def test_one_byte_at_a_time(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    for byte in get("/bytes/100", "X-Long: " + "v" * 100) + get("/"):
        client.send(bytes([byte]))
        time.sleep(0.0005)
    client.expect(reply(body(100)) + HOME)


def test_split_at_every_point(model: Model, protocol: str, serve) -> None:
    """Two requests in three pieces: at every cut of the first, the second is cut at the mirrored point."""
    client, request = serve(protocol).connect(), get("/bytes/10")
    for cut in range(1, len(request)):
        client.send(request[:cut])
        time.sleep(0.003)
        client.send(request[cut:] + request[:-cut])
        time.sleep(0.003)
        client.send(request[-cut:])
        client.expect(2 * reply(body(10)))


def test_100_requests_in_one_segment_are_answered_in_order(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    requests = b"".join(get(f"/bytes/{i}") for i in range(100))
    assert len(requests) < 16_000, "it would not travel as one segment over loopback"
    for _ in range(3):
        client.send(requests)
        client.expect(b"".join(reply(body(i)) for i in range(100)))


def test_pipelined_requests_of_every_kind_keep_their_order(model: Model, protocol: str, serve) -> None:
    """A paused request holds back the ones behind it; the last one closes, and what follows it is dropped."""
    client = serve(protocol).connect()
    cases = ["bytes 100000", "delay 0", "not found", "HEAD bytes", "work 0", "bytes 1", "home"]
    cases = [STAYS_OPEN.get(name, STAYS_OPEN["other path"]) for name in cases]
    start = time.monotonic()
    requests = [cases[0][0], get("/delay/120"), *(request for request, _ in cases[1:])]
    client.send(b"".join([*requests, get("/", "Connection: close"), get("/bytes/9")]))
    client.expect(cases[0][1])
    client.expect(HOME)
    assert time.monotonic() - start >= 0.120, "the delay ended early"
    client.expect(b"".join(answer for _, answer in cases[1:]))
    client.expect(reply(b"muxbench\n", connection="close"))
    client.expect_eof()


def test_pipelined_delays_begin_when_their_turn_comes(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    start = time.monotonic()
    client.send(get("/delay/60") * 5)
    for i in range(1, 6):
        client.expect(HOME)
        assert time.monotonic() - start >= i * 0.060, f"reply {i} came before {i} delays of 60 ms were over"


def test_half_close_after_pipelined_requests_keeps_every_reply(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    client.send(get("/bytes/70000") * 20 + get("/delay/50") + get("/bytes/70000") * 20)
    client.half_close()
    client.expect(reply(body(70_000)) * 20 + HOME + reply(body(70_000)) * 20)
    client.expect_eof()


def test_half_close_in_the_middle_of_a_head_gets_no_reply(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    client.send(get("/bytes/5") + get("/")[:-3])
    client.half_close()
    client.expect(reply(body(5)))
    client.expect_eof()  # an unfinished head is no request


def test_half_close_keeps_what_a_full_socket_still_owes(model: Model, protocol: str, serve) -> None:
    """Pipelined until the server is stuck on its full socket, then a FIN behind it all."""
    client, request = serve(protocol).connect(receive_buffer=4096), get("/bytes/1000", "X: " + "y" * 1000)
    taken = fill(client, request)
    client.half_close()
    # The last request may have been cut short: it is none, and gets no reply.
    got, expected = client.receive_all(), reply(body(1000)) * (taken // len(request))
    assert got == expected, difference(got, expected)


def test_half_close_keeps_a_large_reply(model: Model, protocol: str, serve) -> None:
    """The FIN arrives long before the reply has left: it does not fit the server's socket."""
    client = serve(protocol).connect(receive_buffer=4096)
    client.send(get("/bytes/8000000") + get("/bytes/5") * 10)
    client.half_close()
    time.sleep(0.1)
    client.expect(reply(body(8_000_000)) + reply(body(5)) * 10)
    client.expect_eof()


def test_many_requests_over_one_connection(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    client: Client = server.connect()
    for i in range(500):
        client.send(get(f"/bytes/{i % 130}"))
        client.expect(reply(body(i % 130)))
    client.close()
    assert server.stop()["requests"] == 500
