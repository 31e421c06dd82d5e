"""How wrk, h2load and ab are started, and how what they print is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench import serve
from bench.units import parse_time_ns

UNIT_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
PERCENTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}
AB_MOST_PER_S = 400_000  # ab reserves memory for so many replies, and stops when it has them


@dataclass(frozen=True)
class Told:
    """What a witness says of its run."""

    requests: int
    rps: float
    duration_ns: float | None = None
    received_bytes: float | None = None
    latency_ns: dict[str, float] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)  # figures as a reader of its output sees them
    errors: str | None = None


@dataclass(frozen=True)
class Witness:
    """One load generator of others."""

    name: str
    tier: str  # of bench/require.sh, which brings it
    options: frozenset[str]  # load options beyond the common ones
    whole_seconds: bool  # it counts its duration in whole seconds
    argv: Callable[[dict, str, float, Path], list[str]]  # options, URL, seconds, a folder for its files
    read: Callable[[str, Path], Told]  # its stdout, and that folder
    version: tuple[str, ...]
    most_threads: int | None = None


# --- wrk -------------------------------------------------------------------------------------------------------------


def wrk_argv(options: dict, url: str, seconds: float, _folder: Path) -> list[str]:
    size = [f"-t{options.get('threads', 1)}", f"-c{options['connections']}", f"-d{seconds:.0f}s"]
    return ["wrk", *size, "--latency", url]


def wrk_read(text: str, _folder: Path) -> Told:
    """wrk 4: its percentiles are those of --latency, rounded to two decimals of their unit, after its correction."""
    requests, duration = of(text, r"(\d+) requests in ([\d.]+[a-z]+)")
    latency = {
        f"p{rank}": time_ns(value) for rank, value in re.findall(r"^ +(50|75|90|99)% +([\d.]+[a-z]+) *$", text, re.M)
    }
    found = re.search(r"^ +Latency +([\d.]+[a-z]+) +([\d.]+[a-z]+) +([\d.]+[a-z]+)", text, re.M)
    if found:
        latency |= {"mean": time_ns(found[1]), "stddev": time_ns(found[2]), "max": time_ns(found[3])}
    printed = dict(re.findall(r"^ +(50|99)% +([\d.]+[a-z]+) *$", text, re.M))
    trouble = re.findall(r"^ +((?:Socket errors|Non-2xx or 3xx responses): .*)$", text, re.M)
    return Told(
        int(requests),
        float(of(text, r"Requests/sec: +([\d.]+)")[0]),
        time_ns(duration),
        bytes_of(of(text, r", ([\d.]+)([KMGT]?)B read")),
        latency,
        printed,
        "; ".join(trouble) or None,
    )


# --- h2load ----------------------------------------------------------------------------------------------------------


def h2load_argv(options: dict, url: str, seconds: float, folder: Path) -> list[str]:
    size = ["-t", str(options.get("threads", 1)), "-c", str(options["connections"]), "-m", str(options.get("depth", 1))]
    warm = ["--warm-up-time", milliseconds(options["own_warmup"])] if "own_warmup" in options else []
    log = [f"--log-file={folder / 'log'}"] if options.get("log") else []
    return ["h2load", "--h1", *size, "-D", f"{round(seconds * 1000)}ms", *warm, *log, url]


def h2load_read(text: str, folder: Path) -> Told:
    """h2load 1.5x prints no percentiles; they come from its log of every request, where it was asked for one."""
    duration, rps = of(text, r"finished in ([\d.]+[a-z]+), ([\d.]+) req/s")
    done, failed, errored, timeouts = of(text, r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
    shortest, longest, mean, deviation = of(text, r"time for request: +" + r" +".join([r"([\d.]+[a-z]+)"] * 4))
    latency = {"min": time_ns(shortest), "max": time_ns(longest), "mean": time_ns(mean), "stddev": time_ns(deviation)}
    if (folder / "log").exists():
        latency |= percentiles(1e3 * np.loadtxt(folder / "log", usecols=2, ndmin=1))
    trouble = int(failed) + int(errored) + int(timeouts)
    errors = f"{failed} failed, {errored} errored, {timeouts} timeout" if trouble else None
    return Told(
        int(done),
        float(rps),
        time_ns(duration),
        float(of(text, r"traffic: \S+ \((\d+)\) total")[0]),
        latency,
        {},
        errors,
    )


# --- ab --------------------------------------------------------------------------------------------------------------


def ab_argv(options: dict, url: str, seconds: float, folder: Path) -> list[str]:
    size = [
        "-c",
        str(options["connections"]),
        "-t",
        f"{seconds:.0f}",
        "-n",
        str(round(AB_MOST_PER_S * max(1, seconds))),
    ]
    return ["ab", "-q", *([] if options.get("closes") else ["-k"]), *size, "-e", str(folder / "percentiles"), url]


def ab_read(text: str, folder: Path) -> Told:
    """ab 2.3 prints whole milliseconds; its file of percentiles has three digits more."""
    lines = (folder / "percentiles").read_text().splitlines()[1:]
    ranks = {int(rank): float(value) * 1e6 for rank, value in (line.split(",") for line in lines)}
    latency = {
        name: ranks[round(100 * rank)]
        for name, rank in PERCENTILES.items()
        if rank <= 0.99 and round(100 * rank) in ranks
    }
    latency |= {"min": ranks[0], "max": ranks[100]} if {0, 100} <= ranks.keys() else {}
    printed = {rank: f"{value} ms" for rank, value in re.findall(r"^ +(50|99)% +(\d+)", text, re.M)}
    waiting = re.search(r"^Waiting: +\d+ +[\d.]+ +[\d.]+ +(\d+) ", text, re.M)
    printed |= {"first byte": f"{waiting[1]} ms"} if waiting else {}
    failed = int(of(text, r"Failed requests: +(\d+)")[0])
    errors = [f"{failed} failed requests"] if failed else []
    errors += re.findall(r"^(Non-2xx responses: +\d+)$", text, re.M)
    return Told(
        int(of(text, r"Complete requests: +(\d+)")[0]),
        float(of(text, r"Requests per second: +([\d.]+)")[0]),
        1e9 * float(of(text, r"Time taken for tests: +([\d.]+) seconds")[0]),
        float(of(text, r"Total transferred: +(\d+) bytes")[0]),
        latency,
        printed,
        "; ".join(errors) or None,
    )


WITNESSES = {
    one.name: one
    for one in (
        Witness("wrk", "bench", frozenset({"threads"}), True, wrk_argv, wrk_read, ("wrk", "-v")),
        Witness(
            "h2load", "test", frozenset({"threads", "depth"}), False, h2load_argv, h2load_read, ("h2load", "--version")
        ),
        Witness("ab", "test", frozenset(), True, ab_argv, ab_read, ("ab", "-V"), most_threads=1),
    )
}


# --- reading ---------------------------------------------------------------------------------------------------------


def of(text: str, pattern: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    if not found:
        raise serve.Failed(f"nothing like {pattern!r} in what the load generator printed: {text[-300:].strip()!r}")
    return found.groups()


def time_ns(text: str) -> float:
    """`660.00us`, `1.02s` as nanoseconds."""
    value, unit = of(text, r"^([\d.]+)([a-z]+)$")
    return float(value) * UNIT_NS[unit]


def bytes_of(parts: tuple[str, ...]) -> float:
    """wrk counts in powers of 1024."""
    return float(parts[0]) * 1024.0 ** " KMGT".index(parts[1] or " ")


def milliseconds(text: str) -> str:
    return f"{round(parse_time_ns(text) / 1e6)}ms"


def percentiles(values_ns: np.ndarray) -> dict[str, float]:
    """As build/loadgen defines them: the smallest value that so large a share does not exceed."""
    return {name: float(np.quantile(values_ns, rank, method="inverted_cdf")) for name, rank in PERCENTILES.items()}
