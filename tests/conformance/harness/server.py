"""A running server: started, waited for until READY, stopped, and judged by its last words."""
from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from . import proc
from .client import Client
from .model import Model, describe, environment

PATIENCE_S = float(os.environ.get("CONFORMANCE_PATIENCE", "20"))
COUNTERS = ("accepted", "closed", "requests", "wakeups", "events", "eagain", "peak_connections")
SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                              r"SUMMARY: \w*Sanitizer|LeakSanitizer has encountered")


@dataclass
class Server:
    model: Model
    popen: subprocess.Popen[bytes]
    stderr: object
    address: tuple | str = ""
    stats: dict | None = None
    clients: list[Client] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def port(self) -> int:
        return self.address[1]

    def connect(self, **kwargs) -> Client:
        client = Client(self.address, **kwargs)
        self.clients.append(client)
        return client

    def send_signal(self, number: int) -> None:
        """To the server; what stops it and lets it go on, to each of its processes."""
        whole = number in (signal.SIGSTOP, signal.SIGCONT)
        for pid in proc.family(self.pid) if whole else [self.pid]:
            with suppress(ProcessLookupError):  # a child that ended meanwhile
                os.kill(pid, number)

    def errors(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> dict:
        """Send a signal, wait for the end, check exit code, counters and sanitizer reports; returns the counters."""
        if self.stats is None:
            if self.popen.poll() is None:
                self.send_signal(number)
            self.stats = self.judge()
        return self.stats

    def judge(self) -> dict:
        out = self._last_words()
        report, code = self.errors(), self.popen.returncode
        assert not SANITIZER_REPORT.search(report), f"{self.model.name}: sanitizer report (exit {code}):\n{report}"
        if self.model.foreign:  # how it ends is its own affair, as long as it does
            return Uncounted()
        assert code == 0, f"{self.model.name}: exit {code} after SIGTERM, expected 0; stderr: {report!r}"
        lines = out.decode().splitlines()
        assert len(lines) == 1, f"{self.model.name}: expected one JSON line after READY, stdout had {lines!r}"
        stats = json.loads(lines[0])
        check_counters(self.model.name, stats)
        return stats

    def _last_words(self) -> bytes:
        try:
            return self.popen.communicate(timeout=PATIENCE_S)[0]
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.model.name}: still running {PATIENCE_S} s after the signal that ends it")

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()

    def leave(self) -> None:
        """Close every client that a scenario left open."""
        for client in self.clients:
            client.close()
        self.clients.clear()


class Uncounted(dict):
    """The counters of a server that keeps none: a scenario that asks for one ends here."""

    def __missing__(self, key: str):
        pytest.skip("all that can be seen from outside is right; this server keeps no counters to compare")


def check_counters(name: str, stats: dict) -> None:
    for key in COUNTERS:
        value = stats.get(key)
        assert isinstance(value, int) and value >= 0, f"{name}: counter {key!r} is {value!r}, expected a number"
    errors = stats.get("errors")
    assert isinstance(errors, dict), f"{name}: errors is {errors!r}, expected an object"
    for key, value in errors.items():
        assert re.fullmatch(r"E[A-Z0-9]+", key) and isinstance(value, int) and value > 0, f"{name}: errors {errors!r}"
    assert stats["accepted"] == stats["closed"], f"{name}: accepted and closed differ: {stats}"
    assert stats["peak_connections"] <= stats["accepted"], f"{name}: more at once than ever: {stats}"


def ready_line(popen: subprocess.Popen[bytes], patience_s: float) -> bytes:
    """The first line of stdout, read byte by byte so that nothing of what follows is swallowed."""
    line, deadline = b"", time.monotonic() + patience_s
    while not line.endswith(b"\n"):
        if not select.select([popen.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            break
        byte = os.read(popen.stdout.fileno(), 1)
        if not byte:
            break
        line += byte
    return line


def limit_files(count: int | None):
    return (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))) if count else None


def start(model: Model, protocol: str, *args: str, nofile: int | None = None, unix: str | None = None,
          bind: str = "127.0.0.1", calibrated: bool = True) -> Server:
    """Start a server on a port of the kernel's choice and wait for READY; exit 77 skips with the server's reason."""
    if model.foreign and not all(model.has(word) for word in args if word.startswith("--")):
        pytest.skip("the scenario needs an option of the server contract that this server does not have")
    if model.given_port:
        return start_given_port(model, protocol, nofile)
    if "--workers" in args and model.clients_at_once:
        model = describe(model.path, "--protocol", protocol, *args)  # as many as it has workers
    command = [*model.argv, "--protocol", protocol]
    command += ["--listen", f"unix:{unix}"] if unix else ["--port", "0"]
    if calibrated and protocol in ("http", "frame") and model.has("loops-per-us") and "--loops-per-us" not in args:
        command += ["--loops-per-us", "100"]  # calibrating at every start would only cost time
    stderr = tempfile.TemporaryFile()
    popen = subprocess.Popen([*command, *args], stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL,
                             env=environment(model.sanitizer), preexec_fn=limit_files(nofile), bufsize=0)
    server = Server(model, popen, stderr)
    line = ready_line(popen, PATIENCE_S)
    match = re.fullmatch(rb"READY (?:port=([1-9]\d*)|unix=(.+))\n", line)
    if not match:
        code = popen.wait(PATIENCE_S) if line == b"" else None
        words = server.errors().strip()
        server.kill()
        if code == 77:
            pytest.skip(f"{model.name} cannot run here: {words}")
        raise AssertionError(f"{model.name}: no READY line but {line!r}, exit {code}, stderr {words!r}")
    server.address = match[2].decode() if match[2] else (bind, int(match[1]))
    return server


def start_given_port(model: Model, protocol: str, nofile: int | None) -> Server:
    """Start a server that a contender file describes, on a free port, and wait until it says so or its port answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    stderr = tempfile.TemporaryFile()
    command = [word.format(port=address[1], protocol=protocol) for word in model.command]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL,
                             preexec_fn=limit_files(nofile), bufsize=0)
    server, end = Server(model, popen, stderr, address), time.monotonic() + PATIENCE_S
    said = not model.ready_line
    while time.monotonic() < end and popen.poll() is None:
        if not said:
            said = ready_line(popen, end - time.monotonic()).startswith(model.ready_line.encode())
        elif model.ready_line:
            return server
        elif answers(address):
            time.sleep(0.1)  # that the server sees this one leave before a scenario counts its descriptors
            return server
        time.sleep(0.005)
    words, code = server.errors().strip(), popen.poll()
    server.kill()
    if code == 77:
        pytest.skip(f"{model.name} cannot run here: {words}")
    raise AssertionError(f"{model.name}: not ready within {PATIENCE_S} s, exit {code}, stderr {words!r}")


def answers(address: tuple) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
