"""`make reach`: the figures this project sets itself as bars, measured side by side.

Server CPU per request, server and client on one CPU each, arms back to back in fresh random order within each
block, a fresh server process for each sample, and the paired ratio with its interval.  A missed bar is printed
as missed; it is a figure, not a failure.
"""

import json
import os
import random
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import host, paths, placement, runner, serve, stats
from bench.errors import BenchError

BLOCKS = 12
SECONDS = 1.0
PATIENCE_S = 20.0
NGINX_CONF = """daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type text/plain; return 200 "muxbench\\n"; }} }} }}
"""


@dataclass(frozen=True)
class Bar:
    """A ratio of server CPU per request that should stay at or below a bar."""

    arm: str
    reference: str
    load: str
    at_most: float


BARS = (
    Bar("epoll_lt", "nginx", "http, wrk, 50 connections, equal reply bytes", 0.95),
    Bar("io_uring", "nginx", "http, wrk, 50 connections, equal reply bytes", 0.85),
    Bar("io_uring", "epoll_lt", "echo, 100 connections", 0.88),
    Bar("epoll_lt", "plain_epoll", "echo, 100 connections", 1.05),
)


@dataclass(frozen=True)
class Site:
    """Where it is measured, and what the http arms answer."""

    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    undertaker: host.Undertaker
    reply_bytes: int  # of nginx, head and body: what the others are asked for too


def cpu_ns(pid: int) -> int:
    """The process's CPU clock, its ended threads included (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


@contextmanager
def serving(name: str, protocol: str, site: Site):
    """A fresh server of that name: its process and HOST:PORT."""
    with ExitStack() as stack:
        port = serve.free_port()
        argv: Sequence[str] = (str(paths.build_dir() / "servers" / name), "--protocol", protocol)
        if name == "plain_epoll":
            argv = (str(paths.build_dir() / "arms" / name),)
        if name == "nginx":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            Path(folder, "nginx.conf").write_text(NGINX_CONF.format(folder=folder, port=port))
            argv = (nginx_path(), "-c", f"{folder}/nginx.conf", "-p", folder, "-e", "stderr")
        server = host.Child(argv, site.server_cpus, site.undertaker)
        stack.callback(server.close)
        try:
            target = serve.wait_listening(server, port, None, None) if name == "nginx" else serve.wait_ready(server)
        except (serve.Failed, serve.Unavailable) as why:
            raise BenchError(f"{name}: {why}: {server.last_words()}") from None
        yield server, target


def nginx_path() -> str:
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not path:
        raise BenchError("nginx is not here, and two bars are held against it; run: bench/require.sh extras")
    return path


def reply_length(target: str, path: str) -> int:
    """Bytes of the reply to one request on a connection that stays open, head and body."""
    where, _, port = target.rpartition(":")
    with socket.create_connection((where, int(port)), timeout=PATIENCE_S) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += client.recv(65536)
    head = reply[: reply.index(b"\r\n\r\n") + 4]
    return len(head) + int(re.search(rb"Content-Length: (\d+)", head)[1])


def path_for(target: str, wanted_bytes: int) -> str:
    """The path whose reply has that many bytes; the length of the head depends on the digits of the body's."""
    for probe in (1, 10, 100):
        body = wanted_bytes - (reply_length(target, f"/bytes/{probe}") - probe)
        if len(str(body)) == len(str(probe)):
            return f"/bytes/{body}"
    raise BenchError(f"{target} has no reply of {wanted_bytes} bytes")


def finish(load: host.Child, what: str) -> str:
    if not load.wait(SECONDS + PATIENCE_S) or load.status != 0:
        raise BenchError(f"{what} failed: {load.last_words() or load.stdout()[-500:]}")
    return load.stdout()


def wrk_sample(name: str, site: Site) -> float:
    """Server CPU per request in ns under wrk; connecting is part of it, the same for every arm."""
    with serving(name, "http", site) as (server, target):
        path = "/" if name == "nginx" else path_for(target, site.reply_bytes)
        before = cpu_ns(server.pid)
        argv = ("wrk", "-t1", "-c50", f"-d{SECONDS:g}s", f"http://{target}{path}")
        load = host.Child(argv, site.client_cpus, site.undertaker)
        told = finish(load, "wrk")
        spent = cpu_ns(server.pid) - before
        load.close()
    requests = int(re.search(r"(\d+) requests in", told)[1])
    if "Socket errors" in told or "Non-2xx" in told:
        raise BenchError(f"wrk saw errors from {name}: {told}")
    return spent / requests


def echo_sample(name: str, site: Site) -> float:
    """Server CPU per request in ns, 100 connections in closed loop, 64 bytes, every reply checked."""
    with serving(name, "echo", site) as (server, target):
        argv = (str(paths.build_dir() / "loadgen"), "--target", target, "--protocol", "echo", "--connections", "100",
                "--warmup", "200ms", "--duration", f"{SECONDS:g}s", "--watch", str(server.pid), "--json", "-")
        load = host.Child(argv, site.client_cpus, site.undertaker)
        told = json.loads(finish(load, "loadgen"))
        load.close()
    return told["watch"][0]["cpu_ns"] / told["counts"]["ok"]


SAMPLERS: dict[str, Callable[[str, Site], float]] = {BARS[0].load: wrk_sample, BARS[2].load: echo_sample}


def arms_of(load: str) -> list[str]:
    return sorted({name for bar in BARS if bar.load == load for name in (bar.arm, bar.reference)})


def measure_all(site: Site, console: Console, seed: int, blocks: int) -> list[dict]:
    shuffle, samples = random.Random(seed), []
    for block in range(blocks):
        console.print(f"block {block + 1} of {blocks}", highlight=False)
        for load, sampler in SAMPLERS.items():
            names = arms_of(load)
            shuffle.shuffle(names)
            for name in names:
                samples.append({"block": block, "load": load, "arm": name, "cpu_ns_per_request": sampler(name, site)})
    return samples


def values(samples: Sequence[dict], load: str, arm: str) -> list[float]:
    return [s["cpu_ns_per_request"] for s in samples if s["load"] == load and s["arm"] == arm]


def judge(bar: Bar, samples: Sequence[dict]) -> dict:
    arm, reference = values(samples, bar.load, bar.arm), values(samples, bar.load, bar.reference)
    ratio, low, high = stats.t_interval(stats.log_ratios(arm, reference))
    met = "met" if high <= bar.at_most else "missed" if low > bar.at_most else "within the noise"
    return asdict(bar) | {
        "ratio": ratio, "low": low, "high": high, "answer": met,
        "arm_us": stats.median_interval(arm)[0] / 1e3, "reference_us": stats.median_interval(reference)[0] / 1e3,
    }


def table(judged: Sequence[dict]) -> Table:
    shown = Table(title="Server CPU per request: ratio to the reference, 95 % interval", title_justify="left")
    for heading in ("load", "ratio", "bar", "measured", "answer", "median µs, arm and reference"):
        shown.add_column(heading)
    for j in judged:
        shown.add_row(j["load"], f"{j['arm']} / {j['reference']}", f"<= {j['at_most']}", f"{j['ratio']:.3f} [{j['low']:.3f}, {j['high']:.3f}]",
                      j["answer"], f"{j['arm_us']:.2f}  {j['reference_us']:.2f}")
    return shown


def run(console: Console, results: Path, seed: int, blocks: int = BLOCKS) -> int:
    """Measures every bar, prints the table, and leaves the samples in results/reach-TIME.json."""
    where = placement.place(sorted(os.sched_getaffinity(0)))
    with runner.alone(False), runner.buried() as undertaker:
        site = Site(where.server, where.client, undertaker, 0)
        with serving("nginx", "http", site) as (_, target):
            site = Site(where.server, where.client, undertaker, reply_length(target, "/"))
        samples = measure_all(site, console, seed, blocks)
    judged = [judge(bar, samples) for bar in BARS]
    results.mkdir(parents=True, exist_ok=True)
    record = results / f"reach-{time.strftime('%Y%m%d-%H%M%S')}.json"
    record.write_text(json.dumps({"seed": seed, "samples": samples, "bars": judged}, indent=1) + "\n")
    console.print(table(judged))
    console.print(f"samples: {paths.shown(record)}", highlight=False)
    return 0
