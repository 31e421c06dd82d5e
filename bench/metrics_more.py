"""Metrics that claims may name beside those of experiments: any percentile on either clock, a population's or a class's
own, counters of the server and of the kernel.

`find(name)` makes a Metric of a name; the names follow a grammar, so that a claim needs no code:

    p99_us, max_us, mean_us, stddev_us      the latency that the load's mode defines, as in experiments
    p99_us_sent, p99_us_intended            the same from the send, or from the moment when it was due
    hogs.p99_us, hogs.throughput_rps        a population's, or a request class's, by its name
    report.wakeups, report.errors.emfile    a counter that the server printed when it ended
    netstat.ListenOverflows                 a counter of /proc/net/netstat or /proc/net/snmp, over the load
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from bench import metrics
from bench.metrics import METRICS, Metric, dig, requests, server_cpu_ns

FIGURES = {
    "p50": "median",
    "p75": "75th percentile",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "p999": "99.9th percentile",
    "p9999": "99.99th percentile",
    "min": "smallest",
    "max": "largest",
    "mean": "mean",
    "stddev": "standard deviation",
}
CLOCKS = {"": "", "_sent": ", from the send", "_intended": ", from the moment it was due"}
LATENCY = re.compile(rf"({'|'.join(FIGURES)})_us({'|'.join(filter(None, CLOCKS))})?")
COUNTER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
EXACT = ("report.", "netstat.", "threads")  # counted, not measured: they can equal something


def per_request(count: float | None, record: dict) -> float | None:
    done = requests(record)
    return None if count is None or not done else count / done


def switches(record: dict, *kinds: str) -> int | None:
    """Context switches of the server's watched processes over the window; None where one of them was not seen."""
    found = [watched.get(kind) for watched in dig(record, "load", "watch") or [] for kind in kinds]
    return None if not found or None in found else sum(found)


def requests_per_cpu_s(record: dict) -> float | None:
    """Replies for each second of CPU time that the server used: the inverse of its CPU per request."""
    cost = metrics.per_request_us(server_cpu_ns(record), record)
    return 1e6 / cost if cost else None


def connects_per_s(record: dict) -> float | None:
    """Connections opened during the whole run of the load, per second of it; for loads that open them anew."""
    opened = dig(record, "load", "connects", "established")
    phases = dig(record, "load", "phase_ns") or {}
    spent = sum(phases.get(name) or 0 for name in ("connect", "warmup", "measure", "drain"))
    return None if opened is None or not spent else opened * 1e9 / spent


VOLUNTARY, INVOLUNTARY = "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"
MORE = {
    metric.name: metric
    for metric in (
        Metric(
            "ctx_switches_per_req", "context switches per request", "switches", "lower",
            lambda r: per_request(switches(r, VOLUNTARY, INVOLUNTARY), r),
        ),
        Metric(
            "voluntary_per_req", "voluntary context switches per request", "switches", "lower",
            lambda r: per_request(switches(r, VOLUNTARY), r),
        ),
        Metric("requests_per_cpu_s", "requests per second of server CPU", "requests/s", "higher", requests_per_cpu_s),
        Metric("connects_per_s", "connections opened per second", "connections/s", "higher", connects_per_s),
        Metric(
            "rss_kib", "resident memory at its highest", "KiB", "lower", lambda r: dig(r, "server", "peak_rss_kib")
        ),
        Metric("threads", "most threads under load", "threads", "lower", lambda r: dig(r, "server", "threads_loaded")),
        Metric("failed_share", "requests without a good reply", "share", "lower", lambda r: failed_share(r), "linear"),
    )
}


def failed_share(record: dict) -> float | None:
    """Requests of the window that ended in an error, over those that were due."""
    due = dig(record, "load", "counts", "scheduled")
    return None if not due else (dig(record, "load", "counts", "errors") or 0) / due


def find(name: str, groups: Iterable[str] = ()) -> Metric | None:
    """The metric of this name; `groups` are the populations and classes of the load. None where there is none."""
    if name in METRICS or name in MORE:
        return METRICS.get(name) or MORE[name]
    if found := LATENCY.fullmatch(name):
        return latency(name, found[1], found[2] or "")
    first, dot, rest = name.partition(".")
    if not dot:
        return None
    if first == "report" and COUNTER.fullmatch(rest):
        return Metric(name, f"the server's count of {rest}", "", "lower", partial(of_report, path=rest.split(".")))
    if first == "netstat" and COUNTER.fullmatch(rest):
        return Metric(name, f"the kernel's count of {rest}", "", "lower", partial(of_netstat, name=rest))
    inner = find(rest) if first in groups and (LATENCY.fullmatch(rest) or rest in OF_GROUPS) else None
    return inner and replace(inner, name=name, label=f"{first}: {inner.label}", read=of_group(first, inner.read))


OF_GROUPS = ("throughput_rps", "failed_share", "evenness")


def names() -> list[str]:
    """All names without a population or a counter in them, for lists and for the nearest to a wrong one."""
    latencies = [f"{figure}_us{clock}" for clock in CLOCKS for figure in FIGURES]
    return list(dict.fromkeys([*METRICS, *latencies, *MORE]))


def is_exact(name: str) -> bool:
    return name.startswith(EXACT)


def latency(name: str, figure: str, clock: str) -> Metric:
    def read(record: dict) -> float | None:
        if not clock:
            return metrics.latency_us(record, figure)
        value = dig(record, "load", f"latency{clock}_ns", figure)
        return None if value is None else value / 1e3

    return Metric(name, f"latency, {FIGURES[figure]}{CLOCKS[clock]}", "µs", "lower", read)


def of_report(record: dict, path: list[str]) -> float | None:
    value = dig(record, "server", "report", *path)
    return value if isinstance(value, (int, float)) else None


def of_netstat(record: dict, name: str) -> int | None:
    """Counters that did not move are left out of the record."""
    moved = dig(record, "telemetry", "netstat")
    return None if moved is None else moved.get(name, 0)


def of_group(group: str, read: Callable[[dict], float | None]) -> Callable[[dict], float | None]:
    """The same figure of one population or class: its part of the document has the members of the whole."""

    def read_group(record: dict) -> float | None:
        load = dig(record, "load") or {}
        everyone = [*(load.get("populations") or []), *(load.get("classes") or [])]
        mine = next((one for one in everyone if one.get("name") == group), None)
        if mine is None:
            return None
        options = {**(record.get("options") or {}), **(mine.get("config") or {})}
        return read({**record, "options": options, "load": mine})

    return read_group
