"""Two engines, same results: the same requests over every protocol and every kind of population end alike, counted
alike."""
from contextlib import contextmanager

import pytest
from conftest import ENGINES, loadgen, peer
from servers import greet, http, page, served

REQUESTS = ("--connections", 10, "--rate", "1k", "--duration", "200ms", "--drain", "30s", "--timeout", "30s")


@contextmanager
def by_peer(**options):
    with peer(**options) as server:
        yield server.target


def lines(handler):
    while line := handler.rfile.readline():
        handler.wfile.write(line)


SERVERS = {
    "echo": (lambda: by_peer(), ()),
    "frame": (lambda: by_peer(protocol="frame"), ("--size", 20, "--reply", 300)),
    "greet": (lambda: served(greet), ()),
    "http": (lambda: served(http(lambda n, path: page(path.encode() * 40))), ()),
    "raw": (lambda: served(lines), ("--send", r"some line\n", "--expect", r"some line\n")),
}
POPULATIONS = {
    "active": (),
    "deep": ("--depth", 5),
    "idle": ("--idle", 30),
    "churner": ("--per-connection", 1),
    "short-lived": ("--per-connection", 3, "--depth", 2),
    "slow sender": ("--send-part", 7, "--send-every", "500us"),
    "writer in parts": ("--send-part", 3, "--depth", 3),
    "slow reader": ("--read-part", 20, "--read-every", "500us"),
    "slow reader in a hurry": ("--read-part", 60000, "--read-every", "1us", "--depth", 3),
    "hog": ("--depth", 64, "--connections", 1),
    "poisson": ("--arrival", "poisson", "--threads", 3),
    "small buffer": ("--rcvbuf", 1024, "--nodelay", "off"),
    "other socket": ("--sndbuf", 4096, "--busy-poll", "50us", "--quickack", "on"),
    "spinner": ("--wait", "spin"),
    "classes": ("--class", "a: --weight 3", "--class", "b: --weight 1"),
}
IMPOSSIBLE = {
    ("greet", name)
    for name in ("deep", "churner", "short-lived", "writer in parts", "slow reader in a hurry", "hog", "classes")
}
IMPOSSIBLE.add(("echo", "classes"))
CASES = [(protocol, name) for protocol in SERVERS for name in POPULATIONS if (protocol, name) not in IMPOSSIBLE]


def counts(part: dict) -> dict:
    """All but `completed`, which is what arrived before the end of the window: a matter of time."""
    return {name: n for name, n in part["counts"].items() if name != "completed"}


def told(run) -> dict:
    doc = run.doc
    return {
        "counts": counts(doc),
        "errors": doc["errors"],
        "idle": doc["idle_connects"],
        "recycled": doc["connects"]["recycled"] > 0,
        "latencies": [doc[name]["n"] for name in ("latency_intended_ns", "latency_sent_ns", "schedule_lag_ns")],
        "classes": [(counts(one), one["errors"]) for one in doc["classes"]],
    }


@pytest.mark.parametrize("protocol, population", CASES)
def test_two_engines_same_results(protocol, population):
    server, options = SERVERS[protocol]
    with server() as target:
        epoll, uring = (
            loadgen(target, "--protocol", protocol, *REQUESTS, *options, *POPULATIONS[population], "--engine", engine)
            for engine in ENGINES
        )
    assert epoll.good and uring.good, epoll.err + uring.err
    assert told(epoll) == told(uring)
    assert epoll.doc["counts"]["ok"] == epoll.doc["counts"]["scheduled"] > 100
    if "read-part" in str(POPULATIONS[population]) and protocol != "raw":
        assert epoll.doc["client"]["receives"] > epoll.doc["counts"]["ok"]


@pytest.mark.parametrize("lie", ["wrong", "extra", "short", "foreign", "reset", "early"])
@pytest.mark.parametrize("protocol", ["echo", "frame"])
def test_two_engines_same_errors(protocol, lie):
    """Every 20th message is a lie, and each request is sent once: so many of each kind, whichever engine counts them.
    """
    runs = []
    for engine in ENGINES:
        with peer(protocol=protocol, lie=lie, every=20) as server:
            runs.append(loadgen(server.target, "--protocol", protocol, *REQUESTS, "--engine", engine))
            lies = server.stop()["lies"]
        assert sum(runs[-1].failures.values()) == lies
    assert all(run.bad and run.doc["counts"]["scheduled"] == 200 for run in runs)
    assert runs[0].failures.keys() == runs[1].failures.keys()
    if lie not in ("foreign",):  # the first lies of a run are true while there is no other connection
        assert runs[0].failures == runs[1].failures
