"""Where `make reach` measures: fresh servers, clients that load them once, and replies of equal length."""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import host, paths, serve, witnesses
from bench.errors import BenchError

SECONDS = 1
INVALID = 3  # the load generator's exit code when it broke its own rules, as when the host is taken away
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
def serving(
    name: str, protocol: str, site: Site, contract: Sequence[str] = ()
) -> Iterator[tuple[host.Child, str]]:
    """A fresh server of that name, or by that command if it is a contract server's: its process and HOST:PORT."""
    with ExitStack() as stack:
        port = serve.free_port()
        if name == "nginx":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            Path(folder, "nginx.conf").write_text(NGINX_CONF.format(folder=folder, port=port))
            argv: Sequence[str] = (str(nginx_path()), "-c", f"{folder}/nginx.conf", "-p", folder, "-e", "stderr")
        elif contract:
            argv = (*contract, "--protocol", protocol)
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
