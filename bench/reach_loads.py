"""The loads of `make reach`: how one sample of each is taken, and what is read off it.

A load is a function of an arm's name that starts a fresh server, loads it, and returns {"values": {metric: number},
"raw": what was told}.  In most of them the arm is the server; a load of the load generator's own has the client for
its arm.  A new load is one function and one line of LOADS.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import serve
from bench.errors import BenchError, Interrupted
from bench.reach_site import CONNECTIONS, Disturbed, Site, finish, floor, group_cpu_ns, loadgen, nginx_reply_bytes
from bench.reach_site import no_server, no_tool, path_for, program, serving, wrk
from bench.records import without_bins

CHANCES = 3  # for a sample in which the load generator broke its own rules, as it does when the host is taken away


@dataclass(frozen=True)
class Load:
    """One way of loading an arm; why_not says in words why an arm cannot be measured on this host."""

    title: str
    take: Callable[[str, Site], dict]
    why_not: Callable[[str], str | None]


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


def echo(name: str, site: Site, connections: int = 100, contract: Sequence[str] = ()) -> dict:
    """A server under our load generator: so many connections in closed loop, 64 bytes, every reply checked."""
    size = ("--protocol", "echo", "--connections", str(connections))
    with serving(name, "echo", site, contract) as (server, target):
        told = loadgen(target, site, *size, watch=serve.group_of(server.pid))
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
    return {"values": {f"record_{name}": cost for name, cost in told.items()}, "raw": told}


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
