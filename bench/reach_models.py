"""Bars between the models: what each costs per request, over the least that an exchange can cost and over epoll_lt.

Two loads, because they answer two questions.  At an equal offered rate every model does the same work, and the host's
CPU says what it cost, kernel threads and soft interrupts included.  At saturation the client keeps every connection
busy, and the server's own CPU says what a request costs where batches are as large as they get.

`floor` has one connection whose next request is there already; it is loaded so under either load, and is the zero of
both scales.  Every page of servers/ is an arm: a new model gets its ratios without a line here.
"""

from bench import arms, metrics, pages, serve
from bench.reach_loads import Load, no_server, program
from bench.reach_site import Site, loadgen, serving
from bench.records import without_bins

RATE = 20_000
FLOOR = "floor"
FLOOR_DEPTH = 16  # requests under way on its one connection: the next one is always there
HOST, OWN = "host_cpu_us", "server_cpu_us"
CHEAPEST = "the cheapest"


def options_of(name: str, connections: int, rate: int | None) -> tuple[str, ...]:
    if name == FLOOR:
        return ("--connections", "1", "--depth", str(FLOOR_DEPTH))
    if rate is None:
        return ("--connections", str(connections))
    return ("--connections", str(connections), "--rate", str(rate), "--arrival", "poisson", "--wait", "spin")


def taken(connections: int, rate: int | None):
    """A load: echo of 64 bytes over that many connections, at a rate or as fast as they go."""

    def take(name: str, site: Site) -> dict:
        with serving(name, "echo", site) as (server, target):
            watch = serve.group_of(server.pid)
            watch = watch if len(watch) <= MAX_WATCHED else watch[:1]  # its children are counted with it
            told = loadgen(target, site, "--protocol", "echo", *options_of(name, connections, rate), watch=watch)
        record = {
            "load": told,
            "server": {"pids": watch},
            "placement": {"server": list(site.server_cpus)},
            "options": {},
        }
        read = {HOST: "host_cpu_us_per_req", OWN: "server_cpu_us_per_req"}
        values = {name: metrics.METRICS[metric].read(record) for name, metric in read.items()}
        return {"values": {name: value for name, value in values.items() if value}, "raw": without_bins(told)}

    def why_not(name: str) -> str | None:
        if name == CHEAPEST:
            return None
        if absent := no_server(name):
            return absent
        told = arms.describe(program(name))
        if "echo" not in told["protocols"]:
            return f"{name} does not speak echo"
        if name != FLOOR and (told["clients_at_once"] or connections) < connections:
            at_once = told["clients_at_once"]
            return f"{name} serves {at_once} client{'s' if at_once > 1 else ''} at once"
        return None

    said = f"{RATE:,} requests/s" if rate else "saturated"
    return Load(f"echo, {connections} connections, {said}", take, why_not)


MAX_WATCHED = 64  # what the load generator watches at most
LOADS = {
    f"models-{connections}{'-rate' if rate else ''}": taken(connections, rate)
    for connections in (64, 100, 1000)
    for rate in (None, RATE)
}
MODELS_100 = (("models-100-rate", HOST), ("models-100", OWN))


def limits() -> dict[tuple[str, str, str], float]:
    """(arm, reference, load) -> the ratio that should not be exceeded."""
    found = {}
    for connections in (100, 1000):
        for suffix in ("", "-rate"):
            found["io_uring", "epoll_lt", f"models-{connections}{suffix}"] = 0.85
    for load, _ in MODELS_100:
        found[CHEAPEST, FLOOR, load] = 1.15
        found["linux_aio", "epoll_lt", load] = 1.15
        found["sigio", "epoll_lt", load] = 1.5
        found["epoll_lt", "libev", load] = 1.03
    for arm in ("select", "poll"):
        for suffix in ("", "-rate"):
            found[arm, "epoll_lt", f"models-64{suffix}"] = 1.1
    return found


def bars() -> list[tuple[str, str, str, str, float | None]]:
    """(arm, reference, load, metric, at most or None): every model over both references, and what is asked of some."""
    asked = limits()
    shown = [
        (arm, reference, load, metric)
        for load, metric in MODELS_100
        for reference in (FLOOR, "epoll_lt")
        for arm in (CHEAPEST, *pages.names())
        if arm != reference and not (arm == CHEAPEST and reference != FLOOR)
    ]
    more = [key for key in asked if key not in {(arm, reference, load) for arm, reference, load, _ in shown}]
    metric_of = {load: HOST if load.endswith("-rate") else OWN for load in LOADS}
    return [(*bar, asked.get(bar[:3])) for bar in [*shown, *((*key, metric_of[key[2]]) for key in more)]]


def cheapest(medians: dict[str, float]) -> str | None:
    """Of arms and their medians, the one with the least, the floor aside."""
    known = {arm: median for arm, median in medians.items() if arm != FLOOR}
    return min(known, key=known.get) if known else None
