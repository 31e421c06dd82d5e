"""http: the exact bytes of every reply, keep-alive, pipelining, and how a connection ends."""
from __future__ import annotations

import time

import pytest

from harness.client import Client, body, difference, fill, get, pump, reply
from harness.model import Model

pytestmark = pytest.mark.speaks("http")

HOME = reply(b"muxbench\n")
NOT_FOUND = reply(b"not found\n", "404 Not Found")
BAD = reply(b"bad request\n", "400 Bad Request", "close")
TOO_LARGE = reply(b"head too large\n", "431 Request Header Fields Too Large", "close")
NOT_IMPLEMENTED = reply(b"not implemented\n", "501 Not Implemented", "close")
BAD_VERSION = reply(b"version not supported\n", "505 HTTP Version Not Supported", "close")


def head_of(n: int) -> bytes:
    """A good request whose head, through its empty line, is n bytes long."""
    empty = get("/", "X: ")
    return get("/", "X: " + "y" * (n - len(empty)))


# Requests that leave the connection open, with the reply to each.
STAYS_OPEN = {
    "home": (get("/"), HOME),
    "bytes 0": (get("/bytes/0"), reply(b"")),
    "bytes 1": (get("/bytes/1"), reply(b"A")),
    "bytes 65 wraps": (get("/bytes/65"), reply(body(65))),
    "bytes 100000": (get("/bytes/100000"), reply(body(100_000))),
    "bytes 10 MB": (get("/bytes/10485760"), reply(body(10_485_760))),
    "delay 0": (get("/delay/0"), HOME),
    "work 0": (get("/work/0"), HOME),
    "query is cut off": (get("/bytes/3?x=/bytes/9"), reply(b"ABC")),
    "empty query": (get("/?"), HOME),
    "HEAD home": (get("/", method="HEAD"), reply(b"", length=9)),
    "HEAD bytes": (get("/bytes/100000", method="HEAD"), reply(b"", length=100_000)),
    "HEAD the largest": (get("/bytes/1073741824", method="HEAD"), reply(b"", length=1 << 30)),
    "HEAD not found": (get("/nothing", method="HEAD"), reply(b"", "404 Not Found", length=10)),
    "lone LF": (b"GET / HTTP/1.1\nHost: x\n\n", HOME),
    "empty lines first": (b"\r\n\r\n\n" + get("/"), HOME),
    "names in any case": (b"GET / HTTP/1.1\r\nhOST: x\r\ncONNECTION: Keep-Alive\r\n\r\n", HOME),
    "Content-Length 0": (get("/", "Content-Length: 0"), HOME),
    "8-bit bytes in a value": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Name: \xc3\xa9\xff\r\n\r\n", HOME),
    "no blank after the colon": (b"GET / HTTP/1.1\r\nHost:x\r\nX:\r\n\r\n", HOME),
    "a whole URI": (get("http://example.org:8080/bytes/3?q"), reply(b"ABC")),
    "a whole URI without a path": (get("http://example.org"), HOME),
    "leading zeros": (get("/bytes/0003"), reply(b"ABC")),
    "tabs around and in a value": (b"GET / HTTP/1.1\r\nHost:\t x\t \r\nX: a\tb\r\n\r\n", HOME),
    "other path": (get("/nothing"), NOT_FOUND),
    "path that begins with a good one": (get("/bytes/3/"), NOT_FOUND),
    "path in another case": (get("/Bytes/3"), NOT_FOUND),
    "bytes too many": (get("/bytes/1073741825"), NOT_FOUND),
    "bytes beyond 64 bits": (get("/bytes/18446744073709551617"), NOT_FOUND),
    "bytes negative": (get("/bytes/-1"), NOT_FOUND),
    "bytes without a number": (get("/bytes/"), NOT_FOUND),
    "bytes with a tail": (get("/bytes/5x"), NOT_FOUND),
    "bytes signed": (get("/bytes/+5"), NOT_FOUND),
    "delay too long": (get("/delay/60001"), NOT_FOUND),
    "work too much": (get("/work/1000001"), NOT_FOUND),
    "bare bytes": (get("/bytes"), NOT_FOUND),
    "the largest head": (head_of(8192), HOME),
    "HTTP/1.0 keep-alive": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", reply(b"muxbench\n", connection="keep-alive")),
    "HTTP/1.0 keep-alive HEAD": (b"HEAD /bytes/7 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
                                 reply(b"", connection="keep-alive", length=7)),
}

# Requests that end the connection: the reply, then a FIN.
CLOSES = {
    "Connection: close": (get("/", "Connection: close"), reply(b"muxbench\n", connection="close")),
    "close in a list": (get("/bytes/2", "Connection: x-thing , Close"), reply(b"AB", connection="close")),
    "close on not found": (get("/nothing", "Connection: close"), reply(b"not found\n", "404 Not Found", "close")),
    "HEAD and close": (get("/bytes/2", "Connection: close", method="HEAD"), reply(b"", connection="close", length=2)),
    "large and close": (get("/bytes/3000000", "Connection: close"), reply(body(3_000_000), connection="close")),
    "close in the second of two fields": (get("/", "Connection: keep-alive", "Connection: close"), reply(b"muxbench\n", connection="close")),
    "HTTP/1.0 keep-alive and close": (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
                                      reply(b"muxbench\n", connection="close")),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", reply(b"muxbench\n", connection="close")),
    "HTTP/1.0 with Host": (b"GET /bytes/4 HTTP/1.0\r\nHost: x\r\n\r\n", reply(b"ABCD", connection="close")),
    "HTTP/1.0 not found": (b"GET /nothing HTTP/1.0\r\n\r\n", reply(b"not found\n", "404 Not Found", "close")),
    "POST": (get("/", method="POST"), NOT_IMPLEMENTED),
    "DELETE": (get("/", method="DELETE"), NOT_IMPLEMENTED),
    "OPTIONS *": (get("*", method="OPTIONS"), NOT_IMPLEMENTED),
    "POST with a body": (get("/", "Content-Length: 4", method="POST") + b"body", BAD),
    "method in lower case": (get("/", method="get"), NOT_IMPLEMENTED),
    "an unknown method": (get("/", method="BREW"), NOT_IMPLEMENTED),
    "HTTP/2.0": (get("/", version="HTTP/2.0"), BAD_VERSION),
    "HTTP/1.2": (get("/", version="HTTP/1.2"), BAD_VERSION),
    "HTTP/0.9": (get("/", version="HTTP/0.9"), BAD_VERSION),
    "no version": (b"GET /\r\nHost: x\r\n\r\n", BAD),
    "version of three parts": (get("/", version="HTTP/1.1.1"), BAD),
    "another protocol": (get("/", version="GOPHER/1.1"), BAD),
    "version in lower case": (get("/", version="http/1.1"), BAD),
    "one word": (b"GET\r\nHost: x\r\n\r\n", BAD),
    "a blank too many": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
    "path without a slash": (get("bytes/3"), BAD),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", BAD),
    "two Hosts": (get("/", "Host: y"), BAD),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", BAD),
    "a folded line": (get("/", "X: a", " b"), BAD),
    "a CR within a line": (get("/", "X: a\rb"), BAD),
    "a control character in a value": (get("/", "X: a\x01b"), BAD),
    "a tab in the request line": (get("/\t"), BAD),
    "another scheme": (get("ftp://x/"), BAD),
    "NUL in the path": (get("/\x00"), BAD),
    "NUL in the method": (get("/", method="G\x00T"), BAD),
    "NUL in a value": (get("/", "X: a\x00b"), BAD),
    "NUL in a name": (get("/", "X\x00: a"), BAD),
    "8-bit byte in the path": (b"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
    "8-bit byte in a name": (b"GET / HTTP/1.1\r\nHost: x\r\nX\xe9: a\r\n\r\n", BAD),
    "header without a colon": (get("/", "Surprise"), BAD),
    "header without a name": (get("/", ": value"), BAD),
    "blank before the colon": (get("/", "X : value"), BAD),
    "Content-Length 5": (get("/", "Content-Length: 5"), BAD),
    "Content-Length a word": (get("/", "Content-Length: none"), BAD),
    "Transfer-Encoding": (get("/", "Transfer-Encoding: chunked"), BAD),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", BAD),
    "head one byte too large": (head_of(8193), TOO_LARGE),
    "head far too large": (head_of(300_000), TOO_LARGE),
    "line without an end": (b"GET /" + b"x" * 20_000, TOO_LARGE),
}


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
    client.send(b"".join([cases[0][0], get("/delay/120"), *(r for r, _ in cases[1:]), get("/", "Connection: close"), get("/bytes/9")]))
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
    got, expected = client.receive_all(), reply(body(1000)) * (taken // len(request))  # the last may be cut short: it is none
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
