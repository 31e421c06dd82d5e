"""Requests and the exact replies to them, from docs/protocols.md; test_http.py says what is done with them."""
from __future__ import annotations

from harness.client import body, get, reply

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
    "HTTP/1.0 keep-alive": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                            reply(b"muxbench\n", connection="keep-alive")),
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
    "close in the second of two fields": (get("/", "Connection: keep-alive", "Connection: close"),
                                          reply(b"muxbench\n", connection="close")),
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
