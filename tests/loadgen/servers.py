"""Small servers in Python for what tests/loadgen/peer.c does not speak: HTTP, greetings, anything with a handler."""
from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET6
from typing import Callable


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # a client that has gone is what many tests are about


class _Tcp6(_Tcp):
    address_family = AF_INET6


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass


def _handler(serve: Callable) -> type:
    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def setup(self):
            if isinstance(self.server, _Unix):
                self.disable_nagle_algorithm = False
            super().setup()

        def handle(self):
            serve(self)

    return Handler


@contextmanager
def served(serve: Callable, unix: Path | None = None, ipv6: bool = False):
    """Calls serve(handler) in a thread for each connection; yields the target."""
    if unix:
        server, target = _Unix(str(unix), _handler(serve)), f"unix:{unix}"
    elif ipv6:
        server = _Tcp6(("::1", 0), _handler(serve))
        target = f"[::1]:{server.server_address[1]}"
    else:
        server = _Tcp(("127.0.0.1", 0), _handler(serve))
        target = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield target
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def http(reply: Callable[[int, str], bytes | None]) -> Callable:
    """A handler for served(): answers the n-th request (of all connections, from 0) for a path with reply(n, path);
    None closes."""
    counter, lock = [0], threading.Lock()

    def serve(handler):
        while line := handler.rfile.readline():
            while handler.rfile.readline() not in (b"\r\n", b""):
                pass
            with lock:
                number = counter[0]
                counter[0] += 1
            answer = reply(number, line.split()[1].decode())
            if answer is None:
                return
            handler.wfile.write(answer)
            if b"Connection: close" in answer:
                return

    return serve


def page(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}", "", ""]
    return "\r\n".join(lines).encode() + body


def echo(handler) -> None:
    while data := handler.request.recv(65536):
        handler.request.sendall(data)


def greet(handler) -> None:
    name = handler.rfile.readline().rstrip(b"\n")
    handler.wfile.write(b"Hello " + name + b"\n")
