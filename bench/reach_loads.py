"""The loads of `make reach`: how one sample of each is taken, and what is read off it.

A load is a function of an arm's name that starts a fresh server, loads it, and returns {"values": {metric: number},
"raw": what was told}.  In most of them the arm is the server; a load of the load generator's own has the client for
its arm.  A new load is one function and one line of LOADS.
"""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import host, paths, serve, witnesses
from bench.errors import BenchError, Interrupted

SECONDS = 1
CHANCES = 3  # for a sample in which the load generator broke its own rules, as it does when the host is taken away
INVALID = 3  # its exit code then
PATIENCE_S = 20.0
CONNECTIONS = 50
NGINX_CONF = """daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{port} backlog=4096;
location / {{ default_type text/plain; return 200 "muxbench\\n"; }} }} }}
"""


@dataclass
class Site:
    """Where it is measured, and what samples of one run tell those that come later."""

    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    undertaker: host.Undertaker
    stop: host.Stop
    memory: dict = field(default_factory=dict)


class Disturbed(Exception):
    """The load generator says that this window is not valid; the words say why."""


@dataclass(frozen=True)
class Load:
    """One way of loading an arm; why_not says in words why an arm cannot be measured on this host."""

    title: str
    take: Callable[[str, Site], dict]
    why_not: Callable[[str], str | None]


# --- servers ---------------------------------------------------------------------------------------------------------


def nginx_path() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def program(name: str) -> Path | None:
    """The executable of that name among what is built: a model, its variants, and what models are held against."""
    for folder in ("servers", "lab", "arms"):
        path = paths.build_dir() / folder / name
        if os.access(path, os.X_OK):
            return path
    return None


def no_server(name: str) -> str | None:
    if name == "nginx":
        return None if nginx_path() else "nginx is not installed (bench/require.sh extras)"
    return None if program(name) else f"{name} is not built"


def no_tool(name: str, tier: str) -> str | None:
    return None if shutil.which(name) else f"{name} is not installed (bench/require.sh {tier})"


@contextmanager
def serving(name: str, protocol: str, site: Site) -> Iterator[tuple[host.Child, str]]:
    """A fresh server of that name: its process and HOST:PORT."""
    with ExitStack() as stack:
        port = serve.free_port()
        if name == "nginx":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            Path(folder, "nginx.conf").write_text(NGINX_CONF.format(folder=folder, port=port))
            argv: Sequence[str] = (str(nginx_path()), "-c", f"{folder}/nginx.conf", "-p", folder, "-e", "stderr")
        else:
            path = program(name)
            plain = path and path.parent.name == "arms"  # no contract server: it has one protocol and no options
            argv = (str(path),) if plain else (str(path), "--protocol", protocol)
        server = host.Child(argv, site.server_cpus, site.undertaker)
        stack.callback(server.close)
        try:
            target = (
                serve.wait_listening(server, port, None, site.stop)
                if name == "nginx"
                else serve.wait_ready(server, site.stop)
            )
        except (serve.Failed, serve.Unavailable) as why:
            raise BenchError(f"{name}: {why}: {server.last_words()}") from None
        yield server, target


def group_cpu_ns(leader: int) -> int:
    """The same for a server and the workers it has started."""
    return sum(map(witnesses.cpu_ns, serve.group_of(leader)))


# --- equal replies ---------------------------------------------------------------------------------------------------


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


def nginx_reply_bytes(site: Site) -> int:
    """Bytes of nginx's reply: what the others are asked for too.  Looked up once in a run."""
    if "nginx_reply_bytes" not in site.memory:
        with serving("nginx", "http", site) as (_, target):
            site.memory["nginx_reply_bytes"] = reply_length(target, "/")
    return site.memory["nginx_reply_bytes"]


# --- clients ---------------------------------------------------------------------------------------------------------


def finish(argv: Sequence[str], site: Site, what: str, seconds: float = SECONDS) -> tuple[str, float]:
    """Runs a client to its end: its stdout, and the CPU time of its whole life in ns."""
    client = host.Child(argv, site.client_cpus, site.undertaker)
    try:
        host.wait_any([client], seconds + PATIENCE_S, site.stop)
        if client.ended() and client.status == INVALID:
            raise Disturbed(client.last_words().splitlines()[-1])
        if not client.ended() or client.status != 0:
            raise BenchError(f"{what} failed: {client.last_words() or client.stdout()[-500:]}")
        return client.stdout(), (client.usage.ru_utime + client.usage.ru_stime) * 1e9
    finally:
        client.close()


def loadgen(target: str, site: Site, *options: str, watch: Sequence[int] = ()) -> dict:
    """One run of our load generator on one thread; its JSON document, without the bins of its histograms."""
    argv = [str(paths.build_dir() / "loadgen"), "--target", target, "--warmup", "200ms", "--duration", f"{SECONDS}s"]
    argv += [*options, "--json", "-", *(word for pid in watch for word in ("--watch", str(pid)))]
    return json.loads(finish(argv, site, "loadgen")[0])


def wrk(target: str, path: str, site: Site) -> dict:
    """One run of wrk on one thread; its CPU time is that of its whole life, starting and connecting included."""
    one = witnesses.WITNESSES["wrk"]
    argv = one.argv({"connections": CONNECTIONS}, f"http://{target}{path}", SECONDS, Path())
    text, spent = finish(argv, site, "wrk")
    try:
        told = one.read(text, Path())
    except serve.Failed as why:
        raise BenchError(str(why)) from None
    if told.errors:
        raise BenchError(f"wrk saw errors: {told.errors}")
    return {"requests": told.requests, "rps": told.rps, "cpu_ns": spent, "told": text}


def floor(arm: str, target: str, path: str, site: Site) -> dict:
    """One run of a floor client (tests/arms/floor_client.h)."""
    argv = (str(program(arm)), target, path, str(CONNECTIONS), str(SECONDS))
    return json.loads(finish(argv, site, arm)[0])


def without_bins(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_bins(inner) for key, inner in value.items() if key != "bins"}
    return [without_bins(inner) for inner in value] if isinstance(value, list) else value


# --- loads of servers ------------------------------------------------------------------------------------------------


def http_by_wrk(name: str, site: Site) -> dict:
    """A server under wrk, the reply as long as nginx's; connecting is part of the CPU time, the same for every arm."""
    wanted = nginx_reply_bytes(site)
    with serving(name, "http", site) as (server, target):
        path = "/" if name == "nginx" else path_for(target, wanted)
        before = group_cpu_ns(server.pid)
        told = wrk(target, path, site)
        spent = group_cpu_ns(server.pid) - before
    return {"values": {"server_cpu_us": spent / told["requests"] / 1e3, "rps": told["rps"]}, "raw": told}


def no_http_by_wrk(name: str) -> str | None:
    return no_server("nginx") or no_server(name) or no_tool("wrk", "bench")


def echo(name: str, site: Site) -> dict:
    """A server under our load generator: 100 connections in closed loop, 64 bytes, every reply checked."""
    with serving(name, "echo", site) as (server, target):
        told = loadgen(target, site, "--protocol", "echo", "--connections", "100", watch=serve.group_of(server.pid))
    spent = sum(watched["cpu_ns"] for watched in told["watch"])
    return {
        "values": {"server_cpu_us": spent / told["counts"]["completed"] / 1e3, "rps": told["achieved_rps"]},
        "raw": without_bins(told),
    }


# --- loads of the load generator: the arm is the client ---------------------------------------------------------------

ENGINES = {"loadgen epoll": "epoll", "loadgen io_uring": "io_uring"}


def client_of_nginx(name: str, site: Site) -> dict:
    """A client against a fresh nginx: 50 connections in closed loop on one thread; ours checks every reply."""
    with serving("nginx", "http", site) as (server, target):
        if name == "wrk":
            told = wrk(target, "/", site)
            return {
                "values": {"client_cpu_us": told["cpu_ns"] / told["requests"] / 1e3, "rps": told["rps"]},
                "raw": told,
            }
        if name.startswith("floor_client"):
            told = floor(name, target, "/", site)
            rps = told["requests"] * 1e9 / told["window_ns"]
            return {"values": {"client_cpu_us": told["cpu_ns"] / told["requests"] / 1e3, "rps": rps}, "raw": told}
        size = ("--protocol", "http", "--connections", str(CONNECTIONS), "--engine", ENGINES[name])
        told = loadgen(target, site, *size, watch=[server.pid])
    values = {"client_cpu_us": told["client"]["cpu_ns_per_req"] / 1e3, "rps": told["achieved_rps"]}
    site.memory.setdefault("nginx_rps", []).append(told["achieved_rps"])
    return {"values": values, "raw": without_bins(told)}


def no_client(name: str) -> str | None:
    if why := no_server("nginx"):
        return why
    return no_tool("wrk", "bench") if name == "wrk" else None if name in ENGINES else no_server(name)


PUNCTUAL_NS = 100_000


def open_at_half(name: str, site: Site) -> dict:
    """Open loop at half of what nginx did in closed loop in this run, spinning: how late each send was.

    `send_lag` is the lag that 99.9 % of the sends kept below, over 100 us or the 99.9th percentile of the hiccup
    probe, whichever is more: no client on this host can be more punctual than the probe.
    """
    if "nginx_rps" not in site.memory:
        client_of_nginx(name, site)
    known = site.memory["nginx_rps"]
    rate = str(round(sorted(known)[len(known) // 2] / 2))
    size = ("--protocol", "http", "--connections", str(CONNECTIONS), "--engine", ENGINES[name])
    with serving("nginx", "http", site) as (_, target):
        told = loadgen(target, site, *size, "--rate", rate, "--wait", "spin", "--probe", "500ms")
    lag, hiccup = told["schedule_lag_ns"], told["hiccup_ns"]
    punctual = max(1, sum(count for smallest, count in lag["bins"] if smallest < PUNCTUAL_NS)) / lag["n"]
    values = {
        "send_lag": max(lag["p999"], 1) / max(PUNCTUAL_NS, hiccup["p999"]),
        "punctual_share": punctual,
        "lag_p999_us": max(lag["p999"], 1) / 1e3,
    }
    return {"values": values, "raw": without_bins(told)}


def recording(name: str, site: Site) -> dict:
    """What the load generator's way of writing down a request costs by itself (tests/arms/record_cost.c)."""
    told = json.loads(finish((str(program(name)),), site, name)[0])
    return {"values": {"record_open_ns": told["open_ns"], "record_closed_ns": told["closed_ns"]}, "raw": told}


LOADS = {
    "client-nginx": Load(
        f"client of nginx, closed loop, {CONNECTIONS} connections, one thread", client_of_nginx, no_client
    ),
    "open-half": Load(
        f"client of nginx, open loop at half load, {CONNECTIONS} connections, spinning", open_at_half, no_client
    ),
    "recording": Load("recording alone", recording, no_server),
    "http-wrk": Load(f"http, wrk, {CONNECTIONS} connections, equal reply bytes", http_by_wrk, no_http_by_wrk),
    "echo-100": Load("echo, 100 connections", echo, no_server),
}


def sample(load: str, arm: str, site: Site) -> dict:
    """One sample, with some chances more where the host was taken away; what fails is told, and the run goes on."""
    for _ in range(CHANCES):
        try:
            return {"status": "ok", "why": None} | LOADS[load].take(arm, site)
        except Disturbed as why:
            told = {"status": "invalid", "why": str(why), "values": {}, "raw": None}
        except Interrupted:
            raise
        except BenchError as why:
            return {"status": "failed", "why": str(why), "values": {}, "raw": None}
    return told
