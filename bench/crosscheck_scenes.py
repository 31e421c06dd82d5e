"""The scenes of `make crosscheck`: which tool drives which server how, what of it this host can play, in which order.

A new scene is one line of EVIDENCE, a new tool or a variant of one a line of TOOLS.
"""

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import arms, crosscheck_calls, witnesses
from bench.errors import BenchError
from bench.plan import Sample
from bench.reach_site import NGINX_CONF, nginx_path
from bench.units import parse_time_ns

CONNECTIONS = (1, 50, 200)
SERVERS = ("epoll_lt", "io_uring", "thread_per_conn", "nginx")
EVIDENCE_ON = "epoll_lt"
WARMUP = "300ms"  # of our engines; the witnesses have none, or none of that kind
SIDE_S = 0.45  # what a sample takes beside its window: starting, stopping, wrk's last timer


@dataclass(frozen=True)
class Tool:
    """A load generator, and the options that make it this arm."""

    label: str
    options: dict

    @property
    def witness(self) -> str | None:
        return self.options["engine"] if witnesses.is_one(self.options) else None


TOOLS = {
    "epoll": Tool("loadgen, epoll", {"engine": "epoll"}),
    "io_uring": Tool("loadgen, io_uring", {"engine": "io_uring"}),
    "wrk": Tool("wrk", {"engine": "wrk"}),
    "h2load": Tool("h2load --h1", {"engine": "h2load"}),
    "h2load-log": Tool("h2load --h1 --log-file", {"engine": "h2load", "log": True}),
    "ab": Tool("ab -k", {"engine": "ab"}),
    "open": Tool("loadgen, open loop", {"engine": "epoll", "mode": "open", "arrival": "constant", "rate": 5000}),
    "epoll-once": Tool("loadgen --per-connection 1", {"engine": "epoll", "per-connection": 1}),
    "ab-once": Tool("ab", {"engine": "ab", "closes": True}),
    "wrk-2": Tool("wrk -t2", {"engine": "wrk", "threads": 2}),
    "h2load-warm": Tool("h2load --h1 --warm-up-time 1s", {"engine": "h2load", "own_warmup": "1s"}),
}
ALL = ("epoll", "io_uring", "wrk", "h2load", "h2load-log", "ab")
TIMED = ("epoll", "io_uring", "wrk", "h2load-log", "ab")  # those that tell percentiles


@dataclass(frozen=True)
class Scene:
    """One load of one server, and the tools that take turns in it; ratios are to the first of them."""

    name: str
    server: str
    tools: tuple[str, ...]
    load: dict = field(default_factory=dict)
    duration: str = "1s"
    traced: bool = False  # system calls are counted, once in a run, and nothing is timed

    def options(self, tool: str) -> dict:
        base = {"protocol": "http", "connections": 50, **self.load, **TOOLS[tool].options}
        warmup = "0s" if TOOLS[tool].witness or self.traced else WARMUP
        return base | {"warmup": warmup, "duration": self.duration}


STALL = "900ms+200ms"
EVIDENCE = (
    Scene("stall", EVIDENCE_ON, ("epoll", "wrk", "h2load-log", "ab", "open"), {"pause": STALL}, "2s"),
    Scene("delay", EVIDENCE_ON, TIMED, {"delay": "5ms"}),
    Scene("long-reply", EVIDENCE_ON, ("epoll", "wrk", "h2load-log", "ab"), {"reply": 1 << 20}),
    Scene("once", EVIDENCE_ON, ("epoll-once", "ab-once")),
    Scene("threads", EVIDENCE_ON, ("wrk", "wrk-2")),
    Scene("warm-up", EVIDENCE_ON, ("h2load", "h2load-warm")),
    Scene("calls", EVIDENCE_ON, ("epoll", "io_uring", "wrk", "h2load", "ab"), traced=True),
)


def scenes(servers: Sequence[str], connections: Sequence[int], evidence: bool) -> list[Scene]:
    agreement = [Scene(f"agree-{n}", server, ALL, {"connections": n}) for n in connections for server in servers]
    return agreement + (list(EVIDENCE) if evidence else [])


# --- what this host has ----------------------------------------------------------------------------------------------


def able(wanted: Sequence[Scene]) -> tuple[list[Scene], list[str]]:
    """The scenes that can be played here, with the tools that are here; and a line for each thing that is not."""
    lacking = {name: why for name in witnesses.WITNESSES if (why := witnesses.missing(name))}
    built = arms.model_names()
    gone = {
        server: f"{server} is not built (make)"
        if server != "nginx"
        else "nginx is not installed (bench/require.sh extras)"
        for server in {scene.server for scene in wanted}
        if (server not in built if server != "nginx" else not nginx_path())
    }
    played = []
    for scene in wanted:
        tools = tuple(tool for tool in scene.tools if TOOLS[tool].witness not in lacking)
        if scene.server not in gone and len(tools) > 1 and not (scene.traced and crosscheck_calls.missing()):
            played.append(replace(scene, tools=tools))
    left_out = [f"left out: system calls by name: {why}"] if (why := crosscheck_calls.missing()) else []
    left_out += [f"left out: everything by {name}: {why}" for name, why in lacking.items()]
    left_out += [f"left out: everything of {server}: {why}" for server, why in sorted(gone.items())]
    if len(lacking) == len(witnesses.WITNESSES):
        raise BenchError(f"there is nothing to check against: {'; '.join(lacking.values())}")
    return played, left_out


@contextmanager
def nginx_folder() -> Iterator[str]:
    """A folder for nginx, whose configuration has PORT where each sample puts its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "template").write_text(NGINX_CONF.format(folder=folder, port="PORT"))
        yield folder


def arm_of(server: str, folder: str) -> arms.Arm:
    if server != "nginx":
        return arms.models([server])[0]
    conf = f"{folder}/conf"
    start = f'sed "s/PORT/$0/" {folder}/template > {conf} && exec {nginx_path()} -c {conf} -p {folder} -e stderr'
    path = Path(str(nginx_path()))
    return arms.Arm(
        "nginx",
        ("/bin/sh", "-c", start, "{port}"),
        arms.file_hash(path),
        "nginx",
        protocols=("http",),
        kind="contender",
        contender={"port": "given", "ready_line": None},
    )


# --- the plan --------------------------------------------------------------------------------------------------------


def schedule(played: Sequence[Scene], blocks: int, seed: int) -> list[Sample]:
    """Every block has every scene in random order, every scene all its tools back to back in random order."""
    chance = random.Random(seed)
    return [
        Sample(
            f"{scene.name}/{scene.server}/{block}/{tool}",
            "crosscheck",
            f"scene={scene.name},tool={tool}",
            block,
            scene.server,
            "arm",
            scene.options(tool),
            {},
        )
        for block in range(blocks)
        for scene in chance.sample(played, len(played))
        if not (scene.traced and block > 0)
        for tool in chance.sample(scene.tools, len(scene.tools))
    ]


def expected_s(played: Sequence[Scene], blocks: int) -> float:
    return blocks * sum((parse_time_ns(s.duration) / 1e9 + SIDE_S) * len(s.tools) for s in played if not s.traced)
