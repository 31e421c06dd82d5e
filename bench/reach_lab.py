"""Bars of the lab: the wait alone, by build/micro, and the steps of io_uring, each an arm of the experiment's own file.

Whether two measurements of one thing agree is asked as a bar, too: each way of waiting is measured twice in every
block, and the ratio of the two has to be shown to be one.
"""

from collections.abc import Callable
from functools import cache

from bench import experiment, micro, paths, prepare
from bench.arms import Arm
from bench.errors import BenchError
from bench.reach_loads import Load, echo
from bench.reach_models import CHEAPEST, OWN
from bench.reach_site import Site

LADDER, PAGE = "io_uring_ladder", "io_uring"
FEW, MANY = micro.Cell(1000, 1), micro.Cell(9000, 1)  # between them a wait's price differs by 8,000 idle descriptors
USUAL = micro.Cell(1000, 10)
AGAIN = " again"
LEAST_NS = 0.001  # where more idle descriptors seem to cost nothing: a ratio needs something


def wait_ns(way: str, cell: micro.Cell, site: Site) -> tuple[float, dict]:
    """The median wait of one fresh process, and what it told."""
    told = micro.measure(way, cell, "socketpair", site.server_cpus[0])
    if told["status"] != "ok":
        raise BenchError(f"{way}: {told['why']}")
    return micro.net(told, "wait"), told


def idle_price(way: str, site: Site) -> dict:
    """What one more idle descriptor costs a wait that finds one ready."""
    (few, first), (many, second) = wait_ns(way, FEW, site), wait_ns(way, MANY, site)
    price = (many - few) / (MANY.watched - FEW.watched)
    return {"values": {"idle_ns": max(price, LEAST_NS)}, "raw": [first, second]}


def usual_wait(name: str, site: Site) -> dict:
    price, told = wait_ns(name.removesuffix(AGAIN), USUAL, site)
    return {"values": {"wait_ns": price}, "raw": told}


def no_wait(_way: str) -> str | None:
    if not (paths.build_dir() / "micro").exists():
        return "micro is not built"
    most = micro.most_watched()
    return None if most >= MANY.watched else f"the limit of descriptors leaves {most} pairs, not {MANY.watched}"


def step_names() -> list[str]:
    ladder = experiment.load(prepare.path_of(LADDER))
    names = [*ladder.arms["models"], *(told["name"] for told in ladder.arms["variants"])]
    return [name for name in names if name != PAGE]


@cache
def steps() -> dict[str, Arm]:
    return {arm.name: arm for arm in prepare.arms_of(experiment.load(prepare.path_of(LADDER)), None)}


def climbed(connections: int) -> Callable[[str, Site], dict]:
    return lambda name, site: echo(name, site, connections, steps()[name].argv)


def no_step(_name: str) -> str | None:
    absent = [name for name in (f"servers/{PAGE}", "lab/io_uring") if not (paths.build_dir() / name).exists()]
    return f"{absent[0]} is not built" if absent else None


LOADS = {
    "micro-idle": Load(f"the wait alone: {FEW.watched:,} to {MANY.watched:,} watched, one ready", idle_price, no_wait),
    "micro-usual": Load(f"the wait alone: {USUAL.ready} of {USUAL.watched:,} ready, twice", usual_wait, no_wait),
    **{
        f"ladder-{connections}": Load(
            f"the steps of io_uring, echo, {connections:,} connections", climbed(connections), no_step
        )
        for connections in (100, 1000)
    },
}


def bars() -> list[tuple[str, str | float, str, str, dict]]:
    """(arm, reference, load, metric, what is asked)."""
    asked: list[tuple[str, str | float, str, str, dict]] = []
    asked.append(("epoll_lt", 1.0, "micro-idle", "idle_ns", {"at_most": 1.0}))
    asked += [(way, 1.0, "micro-idle", "idle_ns", {"within": 0.10}) for way in ("poll", "select")]
    agree = {"at_least": 0.95, "at_most": 1.05}
    asked += [(way, way + AGAIN, "micro-usual", "wait_ns", agree) for way in ("select", "poll", "epoll_lt")]
    for load in ("ladder-100", "ladder-1000"):
        asked.append((CHEAPEST, PAGE, load, OWN, {"at_least": 0.97}))
        asked += [(step, PAGE, load, OWN, {}) for step in step_names()]
    return asked
