"""A client with a deadline on everything, which tells a clean end from a reset."""
from __future__ import annotations

import os
import select
import socket
import struct
import time

PATIENCE_S = float(os.environ.get("CONFORMANCE_PATIENCE", "20"))
MOST_BYTES_IN_FLIGHT = 64 << 20  # far beyond what the kernel's own socket buffers take
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def body(n: int) -> bytes:
    """The body of /bytes/N."""
    return (ALPHABET * (n // 64 + 1))[:n]


def reply(content: bytes, status: str = "200 OK", connection: str | None = None, length: int | None = None) -> bytes:
    """The exact bytes of a reply (docs/protocols.md)."""
    n = len(content) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {n}\r\n"
    return (head + (f"Connection: {connection}\r\n" if connection else "") + "\r\n").encode() + content


def get(path: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: x", *headers, "", ""]).encode()


class Client:
    """One connection. Every wait ends after PATIENCE_S with an AssertionError that says what was missing."""

    def __init__(self, address: tuple | str, receive_buffer: int | None = None):
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:  # before connect: the window is agreed there
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(address)

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self, n: int) -> bytes:
        """Exactly n bytes, or fewer if the server ends the stream."""
        parts, left, deadline = [], n, time.monotonic() + 3 * PATIENCE_S
        while left > 0:
            part = self.receive_some(min(left, 1 << 20), deadline, n - left)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def receive_some(self, n: int, deadline: float, so_far: int) -> bytes:
        assert time.monotonic() < deadline, f"no end of the reply after {3 * PATIENCE_S} s ({so_far} bytes so far)"
        try:
            return self.sock.recv(n)
        except TimeoutError:
            raise AssertionError(f"nothing for {PATIENCE_S} s (after {so_far} bytes)") from None
        except ConnectionResetError:
            raise AssertionError(f"reset by the server after {so_far} bytes, expected a clean end") from None

    def expect(self, data: bytes) -> None:
        got = self.receive(len(data))
        assert got == data, difference(got, data)

    def expect_eof(self) -> None:
        """A FIN and nothing before it; a reset fails."""
        got = self.receive(1 << 16)
        assert got == b"", f"expected the end of the stream, got {got[:200]!r}"

    def receive_all(self) -> bytes:
        return self.receive(1 << 40)

    def expect_silence(self, duration_s: float) -> None:
        if self.readable(duration_s):
            raise AssertionError(f"expected silence, got {self.receive_some(4096, time.monotonic() + 1, 0)!r}")

    def readable(self, duration_s: float) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(duration_s * 1000))

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Leave with an RST: what a crashed or impatient peer looks like."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def difference(got: bytes, expected: bytes) -> str:
    """Where two byte strings part, short enough to read when they are megabytes long."""
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
    low = max(0, at - 40)
    return (f"{len(got)} bytes received, {len(expected)} expected, they differ at byte {at}:\n"
            f"  received ...{got[low:at + 80]!r}\n  expected ...{expected[low:at + 80]!r}")


def pump(client: Client, data: bytes, pause_s: float = 0, chunk: int = 1 << 18, half_close: bool = True) -> bytes:
    """Send data and read the answer at the same time, as a full-duplex peer does; `pause_s` after each read makes
    a slow reader.

    Reads until EOF when it half-closes, else until as many bytes came back as were sent. No data: it only reads.
    """
    sent, got, deadline = 0, bytearray(), time.monotonic() + 3 * PATIENCE_S
    poll = select.poll()
    client.sock.setblocking(False)
    poll.register(client.sock, select.POLLIN | (select.POLLOUT if data else 0))
    while half_close or len(got) < len(data):
        assert time.monotonic() < deadline, f"stuck: {sent} of {len(data)} bytes sent, {len(got)} received"
        events = dict(poll.poll(1000)).get(client.fileno(), 0)
        if events & select.POLLOUT:
            try:
                sent += client.sock.send(data[sent:sent + chunk])
            except BlockingIOError:
                pass
            if sent == len(data):
                poll.modify(client.sock, select.POLLIN)
                if half_close:
                    client.half_close()
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            part = client.sock.recv(chunk)
            if not part:
                break
            got += part
            if pause_s:
                time.sleep(pause_s)
    client.sock.settimeout(PATIENCE_S)
    return bytes(got)


def fill(client: Client, data: bytes, quiet_s: float = 0.3) -> int:
    """Send data round and round without ever reading, until the peer has taken nothing for a while; returns the
    bytes taken."""
    taken, quiet_since = 0, time.monotonic()
    deadline = time.monotonic() + 2 * PATIENCE_S
    client.sock.setblocking(False)
    while time.monotonic() - quiet_since < quiet_s:
        assert time.monotonic() < deadline and taken < MOST_BYTES_IN_FLIGHT, \
            f"the server has no bound: it took {taken} bytes from a client that never reads"
        try:
            taken += client.sock.send(data[taken % len(data):])
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    client.sock.settimeout(PATIENCE_S)
    return taken
