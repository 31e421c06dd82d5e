"""The four protocols of docs/protocols.md as the reference speaks them: bytes in, bytes out, a pause, an end.

Written from the document and independent of servers/core, so that the two check each other through the suite.
"""
from __future__ import annotations

import argparse
import mmap
import os
import re
import struct
import time

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


class Session:
    """One connection: a protocol and its buffers. step() makes progress until it can no more, or must pause."""

    __slots__ = ("protocol", "lie", "inp", "out", "eof", "finished", "pause_s", "owed", "owed_body", "body_at",
                 "body_end", "requests", "stale_fd", "then_finish",
                 "owed_from", "frame")  # an idle connection has to fit 512 bytes here, too

    def __init__(self, protocol, lie: str):
        self.protocol, self.lie = protocol, lie
        self.inp, self.out = bytearray(), bytearray()
        self.eof = self.finished = False
        self.pause_s: float | None = None
        self.owed, self.owed_body = b"", 0
        self.body_at = self.body_end = 0  # what /bytes/N still owes, made as it is sent
        self.requests = 0
        self.stale_fd: int | None = None
        self.owed_from = 0  # where in the pattern the body begins
        self.frame: tuple[int, ...] = ()  # the header whose payload is still to come

    def feed(self, data: bytes) -> None:
        if not self.finished:
            self.inp += data

    def end(self) -> None:
        self.eof = True

    def forget(self) -> None:
        self.finished, self.pause_s = True, None
        self.inp.clear()
        self.out.clear()

    def buffered(self) -> int:
        return 0 if self.finished else len(self.inp) + len(self.out)

    def step(self) -> bool:
        """Serve the request at the head, if it is whole; False when there is none."""
        if self.finished:
            self.inp.clear()
            return False
        return self.protocol.step(self)

    def refill(self) -> bool:
        """The next piece of a body into `out`; False when there is none."""
        n = min(32768, self.body_end - self.body_at)
        first = self.body_at % 64
        self.out += (ALPHABET * (n // 64 + 2))[first:first + n]
        self.body_at += n
        return n > 0

    def answer(self, data: bytes, pause_s: float | None = None, finish: bool = False, body_bytes: int = 0,
               body_from: int = 0) -> bool:
        self.requests += 1
        self.owed, self.owed_body, self.pause_s, self.then_finish = data, body_bytes, pause_s, finish
        self.owed_from = body_from
        if pause_s is None:
            self.waited()
        return True

    def waited(self) -> None:
        self.pause_s = None
        self.out += self.owed
        self.body_at, self.body_end = self.owed_from, self.owed_from + self.owed_body
        self.finished = self.then_finish

    def finish(self) -> bool:
        self.finished = True
        return True


class Echo:
    def __init__(self, options: argparse.Namespace):
        pass

    def step(self, s: Session) -> bool:
        if s.inp:
            if s.lie == "corrupts-the-echo" and len(s.inp) > 1000:
                s.inp[-1] ^= 1
            s.out += s.inp
            s.requests += 1
            s.inp.clear()
            return True
        return s.finish() if s.eof else False


class Greet:
    def __init__(self, options: argparse.Namespace):
        self.delay = options.delay or None

    def step(self, s: Session) -> bool:
        line, newline, _ = bytes(s.inp).partition(b"\n")
        if newline or (s.eof and line):
            name = line.removesuffix(b"\r") if newline and s.lie != "keeps-the-cr" else line
            if len(name) > 1024:
                return s.finish()
            return s.answer(b"Hello " + name + b"\n", self.delay, True)
        return s.finish() if s.eof or len(line) > 1025 else False


class Http:
    def __init__(self, options: argparse.Namespace):
        self.delay, self.loops = options.delay or None, options.loops_per_us
        self.file, self.blocks = options.file or (-1, 0)

    def step(self, s: Session) -> bool:
        if s.lie == "swaps-pipelined-replies" and s.inp.count(b"\r\n\r\n") > 1:
            first, second, rest = bytes(s.inp).split(b"\r\n\r\n", 2)
            s.inp = bytearray(b"\r\n\r\n".join([second, first, rest]))
        while s.inp.startswith((b"\r\n", b"\n")):
            del s.inp[:1 if s.inp.startswith(b"\n") else 2]
        end = re.search(rb"\n\r?\n", s.inp)
        if not end or end.end() > 8192:
            if len(s.inp) > 8192:
                return self.refuse(s, "431 Request Header Fields Too Large", b"head too large\n")
            return s.finish() if s.eof else False
        head = bytes(s.inp[:end.end()])
        del s.inp[:end.end()]
        return self.request(s, [line.removesuffix(b"\r") for line in head.split(b"\n")[:-2]])

    def refuse(self, s: Session, status: str, text: bytes) -> bool:
        return s.answer(response(status, text, "close"), None, True)

    def request(self, s: Session, lines: list[bytes]) -> bool:
        first = re.fullmatch(rb"(" + TOKEN + rb") ([!-~]+) HTTP/(\d)\.(\d)", lines[0])
        headers = [re.fullmatch(rb"(" + TOKEN + rb"):[ \t]*([\t -~\x80-\xff]*?)[ \t]*", line) for line in lines[1:]]
        if not first or not all(headers):
            return self.refuse(s, "400 Bad Request", b"bad request\n")
        fields = [(h[1].lower(), h[2].lower()) for h in headers if h]
        method, version = first[1].decode(), (int(first[3]), int(first[4]))
        target = re.fullmatch(rb"(?:http://[^/?]+)?(/[^?]*|)(\?.*)?", first[2])
        names = [name for name, _ in fields]
        if names.count(b"host") > 1 or (version == (1, 1) and b"host" not in names) or b"transfer-encoding" in names \
                or any(n == b"content-length" and v != b"0" for n, v in fields) \
                or (method in ("GET", "HEAD") and not target):
            return self.refuse(s, "400 Bad Request", b"bad request\n")
        if version not in ((1, 0), (1, 1)):
            return self.refuse(s, "505 HTTP Version Not Supported", b"version not supported\n")
        if method not in ("GET", "HEAD"):
            return self.refuse(s, "501 Not Implemented", b"not implemented\n")
        tokens = {t.strip() for n, v in fields if n == b"connection" for t in v.split(b",")}
        keep = b"close" not in tokens and (version == (1, 1) or b"keep-alive" in tokens)
        connection = "close" if not keep else "keep-alive" if version == (1, 0) else None
        if s.lie == "ignores-http-1.0" and version == (1, 0):
            keep, connection = True, None
        return self.serve(s, method, (target[1] or b"/").decode() if target else "", connection, not keep)

    def serve(self, s: Session, method: str, path: str, connection: str | None, finish: bool) -> bool:
        found = re.fullmatch(r"/(bytes|delay|work|file)/(\d+)", path)
        kind, number = (found[1], int(found[2])) if found else (path, 0)
        most = {"bytes": 1 << 30, "delay": 60000, "work": 1000000, "file": self.blocks - 1, "/": 0}
        status, text, pause = "200 OK", b"muxbench\n", self.delay if kind in ("/", "bytes") else None
        if number > most.get(kind, -1):
            status, text = "404 Not Found", b"not found\n"
        elif kind == "bytes":
            text = b""
        elif kind == "file":
            text = read_block(self.file, number if s.lie != "reads-the-first-block-only" else 0)
            if len(text) < 4096 and s.lie != "takes-half-a-block":
                status, text = "500 Internal Server Error", b"read failed\n"
        elif kind == "delay":
            pause = number / 1000
        elif kind == "work":
            work(s, number * self.loops)
        length = number if kind == "bytes" and status == "200 OK" else len(text)
        data = response(status, text, connection, length - (s.lie == "wrong-content-length"))
        if method == "HEAD" and s.lie != "head-with-a-body":
            data = data[:data.index(b"\r\n\r\n") + 4]
        return s.answer(data, pause, finish, number if method == "GET" and not text else 0)


class Frame:
    """A payload is taken out as soon as its header is read: both need not fit the room together."""

    def __init__(self, options: argparse.Namespace):
        self.loops = options.loops_per_us

    def step(self, s: Session) -> bool:
        if not s.frame:
            if len(s.inp) < 16:
                return s.finish() if s.eof else False
            s.frame = struct.unpack(">IHHII", s.inp[:16])
            del s.inp[:16]
            if s.frame[3] >> 25 or s.frame[0] > 1 << 24:
                return self.refuse(s)
        reply, size, work_us, flags_and_delay_us, number = s.frame
        if len(s.inp) < size and not (s.eof and s.lie == "answers-half-a-frame"):
            return s.finish() if s.eof else False
        del s.inp[:size]
        s.frame = ()
        work(s, work_us * self.loops)  # nobody outside can tell which of the two came first
        delay_us, close = flags_and_delay_us & 0xFFFFFF, flags_and_delay_us >> 24
        number += s.lie == "renumbers-frames"
        return s.answer(struct.pack(">IIII", reply, 0, 0, number), delay_us / 1e6 if delay_us else None,
                        close and s.lie != "ignores-the-flag-close", reply,
                        number % 64 if s.lie != "counts-every-frame-from-zero" else 0)

    def refuse(self, s: Session) -> bool:
        if s.lie == "answers-a-malformed-frame":
            return s.answer(bytes(16), None, True)
        s.requests += 1
        return s.finish()


def response(status: str, text: bytes, connection: str | None, length: int | None = None) -> bytes:
    n = len(text) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {n}\r\n"
    return (head + (f"Connection: {connection}\r\n" if connection else "") + "\r\n").encode() + text


def read_block(file: int, number: int) -> bytes:
    """Into a page of its own, which is aligned as O_DIRECT wants it."""
    page = mmap.mmap(-1, 4096)
    return page[:os.preadv(file, [page], number * 4096)]


def work(s: Session, loops: int) -> None:
    burn(loops if s.lie != "works-by-the-request" else 1_000_000)


def burn(loops: int) -> None:
    """Burn the CPU time of so many loops; the reference measures it out by its own CPU clock, one loop a nanosecond."""
    end = time.process_time_ns() + loops * 20
    while time.process_time_ns() < end:
        pass


PROTOCOLS = {"echo": Echo, "greet": Greet, "http": Http, "frame": Frame}
