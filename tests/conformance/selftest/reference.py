"""A small server that keeps the contract, and liars that each break one rule of it.

The suite is checked against these: the honest server must pass every scenario, and every liar must be caught.
It is slow and plain on purpose; nothing here is a model or a contender. `LIE` names the rule to break,
`ALONE=1` serves one client at a time, as the blocking model does.
"""
from __future__ import annotations

import argparse
import ctypes
import errno
import heapq
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

from options import ALONE, LIE, NAME, describe, listen, parser
from protocols import PROTOCOLS, Session

ROOM = 65536
RDHUP = select.EPOLLRDHUP if LIE == "takes-a-fin-for-the-end" else 0


@dataclass(slots=True)
class Client:
    sock: socket.socket
    session: Session
    interest: int = select.EPOLLIN
    due: float | None = None
    shut: bool = False


@dataclass
class Loop:
    listener: socket.socket
    options: argparse.Namespace
    epoll: select.epoll = field(default_factory=select.epoll)
    clients: dict[int, Client] = field(default_factory=dict)
    deadlines: list[tuple[float, int, Client]] = field(default_factory=list)
    accepting: bool = True
    stopping: bool = False
    wakes: socket.socket | None = None
    hoard: list = field(default_factory=list)
    stats: dict = field(default_factory=lambda: dict(accepted=0, closed=0, requests=0, wakeups=0, events=0, eagain=0,
                                                     errors={}, peak_connections=0))

    def accept_more(self, yes: bool) -> None:
        if yes != self.accepting and LIE != "spins-on-emfile":
            self.accepting = yes
            self.epoll.modify(self.listener, select.EPOLLIN if yes else 0)

    def error(self, number: int) -> None:
        name = errno.errorcode[number]
        self.stats["errors"][name] = self.stats["errors"].get(name, 0) + 1

    def accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.wait_for_room()
            if error.errno != errno.EAGAIN:
                self.error(error.errno)
            return
        sock.setblocking(False)
        client = Client(sock, Session(PROTOCOLS[self.options.protocol](self.options), LIE))
        self.clients[sock.fileno()] = client
        self.epoll.register(sock, select.EPOLLIN | RDHUP)
        self.stats["accepted"] += 1
        self.stats["peak_connections"] = max(self.stats["peak_connections"], len(self.clients))
        if ALONE and LIE != "not-alone":
            self.accept_more(False)

    def wait_for_room(self) -> None:
        if self.clients or LIE == "waits-for-a-close-that-never-comes":
            self.accept_more(False)
        elif LIE != "spins-on-emfile":
            time.sleep(0.05)

    def close(self, client: Client) -> None:
        if client.sock.fileno() < 0:
            return
        del self.clients[client.sock.fileno()]
        self.epoll.unregister(client.sock)
        self.stats["requests"] += client.session.requests
        self.stats["closed"] += LIE != "forgets-to-count" or self.stats["closed"] < 3
        if LIE == "leaks-memory":
            self.hoard.append(bytearray(512))
        if LIE == "leaks-fds":
            self.hoard.append(os.dup(client.sock.fileno()))
        client.sock.close()
        if LIE != "never-resumes-accepting":
            self.accept_more(True)

    def on_client(self, client: Client) -> None:
        try:
            self.receive(client)
            self.progress(client)
        except OSError as error:
            self.error(error.errno)
            client.session.stale_fd = client.sock.fileno()
            self.close(client)

    def receive(self, client: Client) -> None:
        session = client.session
        full = LIE == "spins-on-a-stuck-client" and session.buffered() >= ROOM  # and is told of more again and again
        if session.eof or full or not (client.interest & select.EPOLLIN):
            # A peer that has gone is noticed even while nothing is read from it.
            if client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(errno.ECONNRESET, "reset")
            return
        try:
            data = client.sock.recv(ROOM)
        except BlockingIOError:
            self.stats["eagain"] += 1
            return
        if not data and LIE == "drops-what-it-owes-at-eof":
            session.forget()
            client.due = None
        session.feed(data) if data else session.end()

    def progress(self, client: Client) -> None:
        session = client.session
        while True:
            if session.out or session.refill():
                try:
                    sent = client.sock.send(session.out[:1 << 18])
                except BlockingIOError:
                    self.stats["eagain"] += 1
                    break
                del session.out[:sent]
                continue
            if session.pause_s is not None and client.due is None:
                self.pause(client)
                continue
            if client.due is not None or not session.step():
                break
        if session.finished and not session.out and client.due is None:
            if LIE == "resets-after-reply" or session.eof or LIE == "closes-with-input-unread":
                if LIE == "resets-after-reply":
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return self.close(client)
            if not client.shut and LIE != "forgets-the-fin":
                client.sock.shutdown(socket.SHUT_WR)
                client.shut = True
        self.want(client)

    def pause(self, client: Client) -> None:
        session = client.session
        if session.pause_s == 0 or (self.options.delay_blocks and LIE != "delay-blocks-does-not"):
            select.select([self.wakes], [], [], session.pause_s)  # a signal ends it
            return session.waited()
        if LIE == "early-delay":
            session.pause_s *= 0.9
        client.due = time.monotonic() + session.pause_s
        if LIE == "delays-in-order-of-arrival" and self.deadlines:
            client.due = max(client.due, max(self.deadlines)[0])
        heapq.heappush(self.deadlines, (client.due, id(client), client))

    def want(self, client: Client) -> None:
        session = client.session
        if LIE == "unbounded-buffer" and not session.eof:
            read = True
        else:
            read = not session.eof and session.buffered() < ROOM
        if client.due is not None and LIE != "unbounded-buffer":
            read = False
        interest = RDHUP | (select.EPOLLIN if read else 0) | (select.EPOLLOUT if session.out else 0)
        if LIE == "spins-on-a-stuck-client":
            interest |= select.EPOLLIN
        if interest != client.interest:
            client.interest = interest
            self.epoll.modify(client.sock, interest)

    def expire(self) -> None:
        now = time.monotonic()
        while self.deadlines and self.deadlines[0][0] <= now:
            client = heapq.heappop(self.deadlines)[2]
            client.due = None
            client.session.waited()
            if LIE == "answers-the-wrong-client" and client.session.stale_fd in self.clients:
                self.clients[client.session.stale_fd].sock.send(client.session.out)
            elif client.sock.fileno() >= 0:
                try:
                    self.progress(client)
                except OSError as error:
                    self.error(error.errno)
                    self.close(client)

    def run(self) -> None:
        self.epoll.register(self.listener, select.EPOLLIN)
        while not self.stopping:
            wait = max(0, self.deadlines[0][0] - time.monotonic()) if self.deadlines else -1
            self.stats["wakeups"] += 1
            for fd, events in self.epoll.poll(wait):
                self.stats["events"] += 1
                if fd == self.listener.fileno():
                    self.accept()
                elif fd in self.clients and events & select.EPOLLRDHUP:
                    self.close(self.clients[fd])  # only watched for by a liar: the peer's FIN is not the end
                elif fd in self.clients:
                    self.on_client(self.clients[fd])
            self.expire()
        for client in list(self.clients.values()):
            self.close(client)


def die_with_parent() -> None:
    if LIE != "outlives-its-parent":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    die_with_parent()
    options = parser().parse_args()
    if options.describe:
        return print(describe())
    if options.delay is not None and options.protocol in ("echo", "frame"):
        parser().error(f"--delay needs greet or http: {options.protocol} has no use for it")
    if options.file is not None and options.protocol != "http":
        parser().error("--file needs --protocol http")
    if LIE == "cannot-run-here":  # no lie, but what a model says whose system call is forbidden
        sys.stderr.write(f"{NAME}: io_uring_setup: Operation not permitted\n")
        sys.exit(77)
    options.delay = options.delay or 0
    options.loops_per_us = options.loops_per_us or 20
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024 if LIE == "keeps-the-soft-limit" and hard > 1024 else hard, hard))
    try:
        listener, ready = listen(options)
    except OSError as error:
        where = options.listen or f"{options.bind}:{options.port}"
        sys.exit(f"{NAME}: cannot listen on {where}: {error.strerror}; "
                 "choose another --port, --bind or --listen, or stop what holds it")
    loop = Loop(listener, options)

    def stop(*_: object) -> None:
        loop.stopping = True

    wakes, waked = socket.socketpair()  # the handler's byte ends the wait, whenever the signal comes
    waked.setblocking(False)
    signal.set_wakeup_fd(waked.fileno())
    loop.wakes = wakes
    loop.epoll.register(wakes, select.EPOLLIN)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN if LIE == "ignores-sigint" else stop)
    print(ready, flush=True)
    loop.run()
    if options.listen:
        os.unlink(options.listen.removeprefix("unix:"))
    if LIE == "reports-a-leak":
        sys.stderr.write("==1==ERROR: LeakSanitizer: detected memory leaks\n")
    if LIE == "exits-1":
        sys.exit(1)
    print(json.dumps(loop.stats), flush=True)


main()
