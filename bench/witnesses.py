"""Load generators of others (wrk, h2load, ab) as engines: what they cannot do, how they are run, and what they say in
the shape of our own document.

They bear witness in `make crosscheck`, and an experiment may name one as its engine, to redo a measurement as it was
done elsewhere.  A witness says less than build/loadgen does: what it does not say is null, never guessed.  CPU time is
read by the bench, over the witness's whole life: it has no window of its own to read it at.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import host, serve
from bench.arms import file_hash
from bench.errors import BenchError
from bench.units import format_seconds, parse_time_ns
from bench.witness_tools import PERCENTILES, WITNESSES, Told, Witness

SLACK_S = 20.0
# Load options that mean the same to a witness as to build/loadgen.  `wait = "block"` is what all of them do; `pause` is
# done by the bench.
COMMON = {"protocol", "mode", "engine", "connections", "path", "reply", "delay", "work", "wait", "pause"}
COMMON |= {"warmup", "duration"}


# --- what is refused -------------------------------------------------------------------------------------------------


def is_one(options: dict) -> bool:
    return options.get("engine") in WITNESSES


def why_not(options: dict) -> str | None:
    """Why a witness cannot produce this load, in words; None when it can, or when the engine is our own."""
    if not is_one(options):
        return None
    one = WITNESSES[options["engine"]]
    if options.get("protocol") != "http":
        return f"{one.name} speaks http only, not {options.get('protocol')}"
    if options.get("mode", "closed") != "closed" or "rate" in options:
        return f"{one.name} has a closed loop only: it keeps no schedule"
    if options.get("wait", "block") != "block":
        return f"{one.name} sleeps while it waits: it cannot spin"
    strange = sorted(set(options) - COMMON - one.options)
    strange = [name for name in strange if not (name in ("threads", "depth") and options[name] == 1)]
    if strange:
        return f"{one.name} has nothing like the load option {strange[0]!r}"
    if one.whole_seconds and any(
        parse_time_ns(options.get(name, "0s")) % 1_000_000_000 for name in ("warmup", "duration")
    ):
        return f"{one.name} counts in whole seconds, warm-up and duration must be such"
    if parse_time_ns(options.get("duration", "1s")) == 0:
        return f"{one.name} needs a duration above 0"
    if options["connections"] < options.get("threads", 1):
        return f"{one.name} needs a connection for each thread"
    return None


def missing(name: str) -> str | None:
    """What is said where it is not installed."""
    return None if shutil.which(name) else f"{name} is not installed (bench/require.sh {WITNESSES[name].tier})"


def describe(name: str) -> dict:
    """What a plan keeps of a tool that its figures come from."""
    done = subprocess.run(WITNESSES[name].version, capture_output=True, text=True, timeout=10)
    first = ((done.stdout or done.stderr).strip().splitlines() or [""])[0]
    number = next((word for word in first.split() if re.search(r"\d\.\d", word)), "of unknown version")
    path = shutil.which(name)
    return {"path": path, "version": f"{name} {number}", "sha256": file_hash(Path(path))}


def needed(engines: Iterable[str | None]) -> dict[str, dict]:
    """The witnesses among these engines, described; raises BenchError where one is not here."""
    wanted = set(engines)
    names = [name for name in WITNESSES if name in wanted]
    lacking = [why for name in names if (why := missing(name))]
    if lacking:
        raise BenchError("; ".join(lacking))
    return {name: describe(name) for name in names}


# --- running ---------------------------------------------------------------------------------------------------------


def path_of(options: dict) -> str:
    """What is asked for, as build/loadgen's short forms mean it."""
    if "delay" in options:
        return f"/delay/{parse_time_ns(options['delay']) // 1_000_000}"
    if "work" in options:
        return f"/work/{parse_time_ns(options['work']) // 1000}"
    return f"/bytes/{options['reply']}" if "reply" in options else options.get("path", "/")


def cpu_ns(pid: int) -> int:
    """The process's CPU clock, its ended threads included (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def idle_ns(cpus: Sequence[int]) -> dict[int, int]:
    """CPU -> its idle time since boot, in ticks of /proc/stat."""
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    found = {words[0]: (int(words[4]) + int(words[5])) * tick for words in lines if words[0].startswith("cpu")}
    return {cpu: found[f"cpu{cpu}"] for cpu in cpus if f"cpu{cpu}" in found}


@dataclass(frozen=True)
class Scene:
    """What a witness runs against, and where."""

    server: host.Child
    pids: Sequence[int]  # of the server
    target: str
    cpus: Sequence[int]  # the witness's
    watched_cpus: Sequence[int]
    undertaker: host.Undertaker | None = None
    stop: host.Stop | None = None
    enter: Callable[[], None] | None = None  # how the witness gets into its network namespace


def drive(options: dict, scene: Scene) -> dict:
    """Runs a witness, a warm-up of its own before it, and returns its document; raises serve.Failed."""
    one = WITNESSES[options["engine"]]
    if scene.target.startswith("unix:"):
        raise serve.Failed(f"{one.name} needs a TCP address, the server listens on {scene.target}")
    url = f"http://{scene.target}{path_of(options)}"
    warmup_s, window_s = (parse_time_ns(options[name]) / 1e9 for name in ("warmup", "duration"))
    with tempfile.TemporaryDirectory() as folder:
        if warmup_s:
            run(one, one.argv(options, url, warmup_s, Path(folder)), warmup_s, scene)
            for file in Path(folder).iterdir():  # h2load appends to its log
                file.unlink()
        argv = one.argv(options, url, window_s, Path(folder))
        idle, spent, begun = idle_ns(scene.watched_cpus), [cpu_ns(pid) for pid in scene.pids], time.monotonic_ns()
        text, client_ns, stalls = run(one, argv, window_s, scene, options.get("pause"))
        elapsed = time.monotonic_ns() - begun
        spent = [cpu_ns(pid) - before for pid, before in zip(scene.pids, spent)]
        rested = {cpu: now - idle[cpu] for cpu, now in idle_ns(scene.watched_cpus).items()}
        told = one.read(text, Path(folder))
    if told.errors:
        raise serve.Failed(f"{one.name} saw errors: {told.errors}")
    return document(told, text, argv, client_ns, elapsed, dict(zip(scene.pids, spent)), rested, stalls)


def run(
    one: Witness, argv: list[str], seconds: float, scene: Scene, pause: str | None = None
) -> tuple[str, float, list[dict]]:
    """One process of a witness: its stdout, the CPU time of its life in ns, and the stalls that were made meanwhile."""
    try:
        child = host.Child(argv, scene.cpus, scene.undertaker, scene.enter)
    except (OSError, subprocess.SubprocessError) as error:
        raise serve.Failed(f"{one.name} could not be started: {error}") from None
    try:
        stalls = [stall(child, pause, scene)] if pause else []
        host.wait_any([child, scene.server], seconds + SLACK_S, scene.stop)
        if scene.server.ended():
            raise serve.Failed(f"the server {serve.how_ended(scene.server.status)} under load")
        if not child.ended():
            raise serve.Failed(f"{one.name} did not end within {format_seconds(seconds + SLACK_S)}")
        if child.status != 0:
            raise serve.Failed(
                f"{one.name} {serve.how_ended(child.status)}: {child.last_words() or child.stdout()[-300:]}"
            )
        return child.stdout(), (child.usage.ru_utime + child.usage.ru_stime) * 1e9, stalls
    finally:
        child.close()


def stall(child: host.Child, pause: str, scene: Scene) -> dict:
    """Stops the server for a while, `AT+FOR` from now on, as build/loadgen does with --pause."""
    at, length = (parse_time_ns(part) / 1e9 for part in pause.split("+"))
    host.wait_any([child], at, scene.stop)
    begun = time.monotonic_ns()
    try:
        for pid in scene.pids:
            os.kill(pid, signal.SIGSTOP)
        host.wait_any([child], length, scene.stop)
    finally:
        for pid in scene.pids:
            os.kill(pid, signal.SIGCONT)
    return {"stopped_ns": time.monotonic_ns() - begun}


def document(
    told: Told,
    text: str,
    argv: list[str],
    client_ns: float,
    elapsed: int,
    spent: dict[int, int],
    rested: dict[int, int],
    stalls: list,
) -> dict:
    """The members of loadgen/schema.json that the bench reads; null where the witness says nothing."""
    known = {name: round(value) for name, value in told.latency_ns.items()}
    latency = {name: known.get(name) for name in ("min", "mean", "stddev", *PERCENTILES, "max")}
    return {
        "instrument": argv[0],
        "argv": argv,
        "valid": True,
        "reasons": [],
        "bound": None,
        "window_ns": elapsed,
        "counts": {
            "ok": told.requests,
            "completed": told.requests,
            "errors": 0,
            "received_bytes": None if told.received_bytes is None else round(told.received_bytes),
        },
        "achieved_rps": told.rps,
        "target_rps": None,
        "latency_intended_ns": None,
        "latency_sent_ns": {"n": told.requests, "unfinished": 0, **latency},
        "client": {"cpu_ns": client_ns, "cpu_ns_per_req": client_ns / told.requests if told.requests else None},
        "watch": [{"pid": pid, "cpu_ns": used} for pid, used in spent.items()],
        "host": {"window_ns": elapsed, "cpus": [{"cpu": cpu, "idle_ns": idle} for cpu, idle in rested.items()]},
        "events": stalls,
        "printed": told.printed,
        "duration_ns": told.duration_ns,
        "text": text,
    }
