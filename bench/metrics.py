"""What can be read off one sample: each metric is a name, a unit and a pure function of the record.

A metric is None where the record cannot say: the function never guesses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    name: str
    label: str
    unit: str
    better: str  # "lower" or "higher"
    read: Callable[[dict], float | None]
    scale: str = "log"  # how a figure's axis shows it
    digits: int = 3  # significant digits in tables


def dig(record: dict, *keys: str):
    """record[a][b][c], or None as soon as something is absent or null."""
    value = record
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def requests(record: dict) -> int | None:
    """Good replies that arrived inside the window, whenever they were due, to whomever: what its CPU was spent on."""
    others = [dig(population, "counts", "completed") or 0 for population in dig(record, "load", "populations") or []]
    return (dig(record, "load", "counts", "completed") or 0) + sum(others) or None


def server_cpu_ns(record: dict) -> float | None:
    """The server's process clocks over the window, read by the load generator; None if one is missing.

    Processes that it forked for its clients are in it; None where there were some and nobody counted them.
    """
    pids = dig(record, "server", "pids") or []
    clocks = {watched.get("pid"): watched for watched in dig(record, "load", "watch") or []}
    used = [(clocks.get(pid) or {}).get("cpu_ns") for pid in pids]
    forked = [watched["children_cpu_ns"] for watched in clocks.values() if watched.get("children_cpu_ns") is not None]
    if not used or None in used or (dig(record, "server", "forked") and not forked):
        return None
    return sum(used) + sum(forked)


def busy_ns(record: dict, side: str) -> float | None:
    """Not-idle time of one side's CPUs over the window: kernel threads and softirq included.

    /proc/stat counts idle time in ticks of 10 ms, so this is rough in short windows.
    """
    window = sampled_ns(record)
    cpus = set(dig(record, "placement", side) or [])
    seen = [
        c for c in dig(record, "load", "host", "cpus") or [] if c.get("cpu") in cpus and c.get("idle_ns") is not None
    ]
    if not window or not cpus or len(seen) != len(cpus):
        return None
    return sum(max(0, window - c["idle_ns"]) for c in seen)


def per_request_us(nanoseconds: float | None, record: dict) -> float | None:
    """CPU time per reply of the window; that the clocks are read a little off its edges is scaled away."""
    count, window, sampled = requests(record), dig(record, "load", "window_ns"), sampled_ns(record)
    if nanoseconds is None or not count or not window or not sampled:
        return None
    return nanoseconds * (window / sampled) / count / 1e3


def sampled_ns(record: dict) -> float | None:
    """The time between the two readings of all CPU clocks."""
    return dig(record, "load", "host", "window_ns")


def latency(record: dict) -> dict:
    """From the intended time in an open loop, from the send in a closed one: the one that the mode defines."""
    kind = "latency_intended_ns" if dig(record, "options", "mode") == "open" else "latency_sent_ns"
    return dig(record, "load", kind) or {}


def latency_us(record: dict, percentile: str) -> float | None:
    """A percentile; infinite where its rank is a request that was never answered, for these rank above all others."""
    found = latency(record)
    value = found.get(percentile)
    if value is None:
        return math.inf if found.get("unfinished") else None
    return value / 1e3


def latency_known_us(record: dict) -> float | None:
    """The longest latency that was measured: what an infinite percentile is known to exceed."""
    longest = latency(record).get("max")
    return None if longest is None else longest / 1e3


def share(used_ns: float | None, record: dict, cpus: int) -> float | None:
    sampled = sampled_ns(record)
    return None if used_ns is None or not sampled or not cpus else used_ns / sampled / cpus


def server_busy(record: dict) -> float | None:
    """Share of the server's CPUs in use: the larger of the two clocks, for each misses something."""
    cpus = len(dig(record, "placement", "server") or [])
    shares = [share(ns, record, cpus) for ns in (busy_ns(record, "server"), server_cpu_ns(record))]
    known = [s for s in shares if s is not None]
    return max(known) if known else None


def client_busy(record: dict) -> float | None:
    """Share of the client's threads in use; with --wait spin that says nothing and is None."""
    if dig(record, "options", "wait") == "spin":
        return None
    return share(dig(record, "load", "client", "cpu_ns"), record, dig(record, "options", "threads") or 1)


def client_ceiling_rps(record: dict) -> float | None:
    """What the client's CPU would allow: measured where it was full, else extrapolated from its cost per request.

    The extrapolation is cautious, for the cost per request falls as load, and so batching, grows.
    """
    cost, reached = per_request_us(dig(record, "load", "client", "cpu_ns"), record), throughput(record)
    if not cost or reached is None or dig(record, "options", "wait") == "spin":
        return None
    return max(reached, 1e6 / cost * (dig(record, "options", "threads") or 1))


def rss_per_connection(record: dict) -> float | None:
    """Peak resident memory over the fresh server's, in KiB per connection; None below 100, which drown in noise, and
    for a server that forks, whose memory is not all its own (idle_memory.py sums it over its processes)."""
    if dig(record, "server", "forked"):
        return None
    peak, fresh = dig(record, "server", "peak_rss_kib"), dig(record, "server", "rss_fresh_kib")
    connections = (dig(record, "options", "connections") or 0) + (dig(record, "options", "idle") or 0)
    return None if peak is None or fresh is None or connections < 100 else max(0, peak - fresh) / connections


def throughput(record: dict) -> float | None:
    return dig(record, "load", "achieved_rps")


def others_rps(record: dict) -> float | None:
    """Good replies per second of all populations beside the main load."""
    found = [dig(population, "achieved_rps") for population in dig(record, "load", "populations") or []]
    return sum(found) if found and None not in found else None


def connect_us(record: dict, percentile: str) -> float | None:
    value = dig(record, "load", "connect_ns", percentile)
    return None if value is None else value / 1e3


def evenness(record: dict) -> float | None:
    """Jain's index over the connections of the main load: 1 when all got the same, 1/n when one got all."""
    return dig(record, "load", "fairness", "jain")


def worker_evenness(record: dict, what: str) -> float | None:
    """Jain's index over a server's workers of what its report counts for each; None where it tells none.

    Source: R. Jain, D. Chiu, W. Hawe, DEC Research Report TR-301 (1984).
    """
    counts = [worker[what] for worker in dig(record, "server", "report", "workers") or []]
    squares = sum(count**2 for count in counts)
    return sum(counts) ** 2 / len(counts) / squares if squares else None


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "server_cpu_us_per_req", "server CPU per request", "µs", "lower", lambda r: per_request_us(
                server_cpu_ns(r), r
            )
        ),
        Metric(
            "host_cpu_us_per_req", "host CPU per request", "µs", "lower", lambda r: per_request_us(
                busy_ns(r, "server"), r
            )
        ),
        Metric("throughput_rps", "throughput", "requests/s", "higher", throughput),
        Metric("p50_us", "latency, median", "µs", "lower", lambda r: latency_us(r, "p50")),
        Metric("p99_us", "latency, 99th percentile", "µs", "lower", lambda r: latency_us(r, "p99")),
        Metric("p999_us", "latency, 99.9th percentile", "µs", "lower", lambda r: latency_us(r, "p999")),
        Metric("connect_p50_us", "time to connect, median", "µs", "lower", lambda r: connect_us(r, "p50")),
        Metric("connect_p99_us", "time to connect, 99th percentile", "µs", "lower", lambda r: connect_us(r, "p99")),
        Metric("others_rps", "throughput of the others", "requests/s", "higher", others_rps),
        Metric("evenness", "evenness over connections", "Jain's index", "higher", evenness, "linear"),
        Metric(
            "accepts_evenness", "evenness of accepts over workers", "Jain's index", "higher", lambda r: worker_evenness(
                r, "accepted"
            ), "linear"
        ),
        Metric("rss_kib_per_conn", "user memory per connection", "KiB", "lower", rss_per_connection),
        Metric("server_busy", "server CPUs in use", "share", "lower", server_busy, "linear", 2),
        Metric("client_busy", "client CPU in use", "share", "lower", client_busy, "linear", 2),
        Metric("client_ceiling_rps", "client's ceiling", "requests/s", "higher", client_ceiling_rps),
    )
}

# Where these hold, the server was the limit and its throughput is its capacity (docs/method.md).  OWN_SHARE keeps a
# CPU that other programs filled from passing for one that the server did.
SERVER_FULL, OWN_SHARE, CLIENT_FREE = 0.97, 0.80, 0.90


def limit(record: dict) -> str:
    """Who bounded a sample: `server`, `client` or `neither`; capacity may be claimed only of the first."""
    server, client = server_busy(record), client_busy(record)
    if dig(record, "load", "bound") == "client" or (client is not None and client > CLIENT_FREE):
        return "client"
    own = share(server_cpu_ns(record), record, len(dig(record, "placement", "server") or []))
    full = server is not None and server >= SERVER_FULL and (own or 0) >= OWN_SHARE
    return "server" if full else "neither"
