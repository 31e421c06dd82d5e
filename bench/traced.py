"""System calls per request under load: 50 connections at a fixed rate, counted by the kernel's tracepoints.

Under load a wait returns more than one ready connection, and its call is shared by several requests; how many depends
on rate and host, so these figures are measured and not exact.  perf counts entries into each call without stopping the
server (perf-stat(1)).  Setting up the fifty connections is in the count: 0.003 of a call per request, or less.

Only calls that the model makes in lock-step have an event of their own, for the kernel takes a while to arm each; one
more event counts all calls, and what no name accounts for is shown as `other`.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import host, measure, serve
from bench.arms import Arm
from bench.errors import BenchError
from bench.measure import Bed
from bench.plan import Sample
from bench.runner import CHANCES

TOTAL = "raw_syscalls:sys_enter"
NAMED = "syscalls:sys_enter_"
LOAD = {
    "protocol": "echo",
    "mode": "open",
    "arrival": "poisson",
    "connections": 50,
    "rate": 20000,
    "size": 64,
    "wait": "spin",
    "warmup": "100ms",
    "duration": "900ms",
}
PATIENCE_S = 20.0


def perf(events: Iterable[str], argv: Iterable[str]) -> list[str]:
    return ["perf", "stat", "-x,", "-e", ",".join(events), *argv]


def why_impossible() -> str | None:
    """Why tracepoints cannot be counted here; None when they can."""
    if not shutil.which("perf"):
        return "perf is not here (Debian: linux-perf)"
    try:
        tried = subprocess.run(perf([TOTAL], ["true"]), capture_output=True, text=True, timeout=PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"perf does not run: {error}"
    if tried.returncode != 0 or not counts_of(tried.stderr).get(TOTAL):
        said = [line.strip() for line in (tried.stderr + tried.stdout).splitlines() if line.strip()]
        why = said[0] if said else "it says nothing"
        return f"perf counts no system calls, it needs tracefs and the right to read it: {why}"
    return None


def events_of(calls: Iterable[str]) -> list[str]:
    """The tracepoints of these calls that this kernel has."""
    folders = [Path(f"/sys/kernel/{place}/events/syscalls") for place in ("tracing", "debug/tracing")]
    known = next((folder for folder in folders if folder.is_dir()), None)
    return [NAMED + call for call in sorted(set(calls)) if known is None or (known / f"sys_enter_{call}").is_dir()]


def counts_of(text: str) -> dict[str, int]:
    """perf's `count,,event,...` lines."""
    rows = (line.split(",") for line in text.splitlines())
    return {row[2].removeprefix(NAMED): int(row[0]) for row in rows if len(row) > 2 and row[0].isdigit()}


def count(arm: Arm, calls: Iterable[str], bed: Bed) -> dict:
    """One model under load: the record with the totals and the calls per request.

    As in the runner, a run in which the instrument broke its own rules gets one more chance.
    """
    for _ in range(CHANCES):
        with TemporaryDirectory(prefix="muxbench-") as folder:
            told = Path(folder, "counts")
            replies, valid = one_run(arm, perf([TOTAL, *events_of(calls)], ["-o", str(told)]), bed)
            totals = counts_of(told.read_text())
        if valid:
            break
    totals["other"] = totals[TOTAL] - sum(n for name, n in totals.items() if name != TOTAL)
    share = {name: n / replies for name, n in sorted(totals.items()) if n and name != TOTAL}
    return {
        "kind": "tracepoints",
        "model": arm.name,
        "valid": valid,
        "load": LOAD,
        "replies": replies,
        "calls": share,
        "totals": totals,
    }


def one_run(arm: Arm, tracer_argv: list[str], bed: Bed) -> tuple[int, bool]:
    """The server under perf and the load upon it; how many requests it answered, and whether
    the load generator vouches for the run."""
    launch = serve.launch(arm, LOAD["protocol"], {})
    tracer = host.Child([*tracer_argv, *launch.argv], bed.placement.server, bed.undertaker)
    try:
        target = serve.wait_ready(tracer)
        server = host.child_of(tracer.pid)
        sample = Sample("anatomy", "anatomy", "", 0, arm.name, "arm", LOAD, {})
        loadgen = host.Child(measure.loadgen_argv(sample, target, [server], bed), bed.placement.client, bed.undertaker)
        try:
            load = measure.drive(loadgen, tracer, sample, bed.stop)
        finally:
            loadgen.close()
        host.terminate(server)
        if not tracer.wait(PATIENCE_S):
            raise BenchError(f"{arm.name} under perf did not end within {PATIENCE_S:.0f} s of SIGTERM")
        told = serve.counters(tracer) or {}
        return told.get("requests") or load["counts"]["ok"] + load["counts"]["warmup_ok"], load["valid"]
    except serve.Failed as why:
        raise BenchError(f"{arm.name} under perf: {why}: {tracer.last_words()}") from None
    finally:
        tracer.close()
