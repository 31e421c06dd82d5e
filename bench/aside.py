"""Samples without a window under load: a probe that is run, clients that come at once, a server under strace.

As measure.py does, measure() returns a record whatever happens: status and reason say how it went.
"""

import json
import time
from collections.abc import Callable
from subprocess import SubprocessError

from bench import claims_arrivals, host, lockstep, serve
from bench.arms import Arm
from bench.errors import BenchError, Interrupted
from bench.measure import Bed, blank, usage_of, wall_offset_ns
from bench.plan import Sample
from bench.serve import CANNOT_RUN_HERE, Failed, Unavailable, how_ended
from bench.units import parse_time_ns

PROBE_WITHIN_S = 20.0  # a probe bounds each of its waits and ends by itself well before
PATIENCE = 3.0  # of what arrivals are expected to take


def measure(sample: Sample, arm: Arm, bed: Bed) -> dict:
    begun, offset = time.monotonic_ns(), wall_offset_ns()
    record = blank(sample, bed)
    try:
        ROLES[sample.role](record, sample, arm, bed)
        record["status"] = "ok"
    except Unavailable as reason:
        record["status"], record["why"] = "unavailable", str(reason)
    except Interrupted:
        raise
    except (Failed, BenchError, OSError, SubprocessError) as failure:
        record["why"] = str(failure)
    record["clock_step_ns"] = wall_offset_ns() - offset
    record["elapsed_ns"] = time.monotonic_ns() - begun
    return record


def probe(record: dict, sample: Sample, arm: Arm, bed: Bed) -> None:
    """A fresh process of the probe; what it found, or why it could not."""
    argv = [*arm.argv, *sample.options["arguments"]]
    child = host.Child(argv, sorted({*bed.placement.server, *bed.placement.client}), bed.undertaker)
    try:
        host.wait_any([child], PROBE_WITHIN_S, bed.stop)
        if not child.ended():
            raise Failed(f"the probe did not end within {PROBE_WITHIN_S:.0f} s")
        record["last_words"] = child.last_words() or None if child.status else None
        if child.status == CANNOT_RUN_HERE:
            raise Unavailable(child.last_words() or "cannot run here, and does not say why")
        if child.status:
            raise Failed(f"the probe {how_ended(child.status)}")
        record["probe"] = {"argv": argv, "facts": facts_of(child.stdout())}
    finally:
        child.close()


def facts_of(text: str) -> dict:
    try:
        told = json.loads(text)
        if isinstance(told["facts"], dict):
            return told["facts"]
    except (ValueError, TypeError, KeyError):
        pass
    raise Failed(f'the probe printed no {{"probe": ..., "facts": {{...}}}} but {text[:200]!r}')


def arrivals(record: dict, sample: Sample, arm: Arm, bed: Bed) -> None:
    """A fresh server, its clients, its end."""
    options = sample.options
    launch = serve.launch(arm, options["protocol"], sample.server, bed.loops_per_us)
    record["server"]["argv"] = launch.argv
    server = host.Child(launch.argv, bed.placement.server, bed.undertaker)
    try:
        target = serve.wait_ready(server, bed.stop)
        record["arrivals"] = claims_arrivals.play(
            target, wish_of(options), PATIENCE * options["expected_s"] + 1, checking(server, bed.stop)
        )
        stopped = server.stop()
        record["server"]["report"] = serve.counters(server)
        if not stopped:
            raise Failed("the server did not end within 5 s of SIGTERM and was killed")
    except Failed:
        record["last_words"] = server.last_words() or None
        raise
    finally:
        server.close()
    record["server"] |= usage_of(server)


def wish_of(options: dict) -> claims_arrivals.Wish:
    service_ns = parse_time_ns(options.get("delay") or options["work"])
    path = f"/work/{service_ns // 1000}" if "work" in options else "/"
    spread_s = parse_time_ns(options["spread"]) / 1e9
    looks = options.get("looks", True)  # a plan from before there was a choice
    return claims_arrivals.Wish(
        options["count"], spread_s, service_ns / 1e9, options["protocol"], path, options["silent"], looks
    )


def checking(server: host.Child, stop: host.Stop | None) -> Callable[[], None]:
    def check() -> None:
        if stop:
            stop.check()
        if server.ended():
            raise Failed(f"the server {how_ended(server.status)} under its clients")

    return check


def count(record: dict, sample: Sample, arm: Arm, bed: Bed) -> None:
    """System calls per request, with several connections that ask in turn if it is so wished."""
    options = sample.options
    request = lockstep.GET.replace(b"GET / ", f"GET {options.get('path', '/')} ".encode())
    if options["protocol"] == "echo":
        request = b"x" * options.get("size", 64)
    server = dict(sample.server)
    case = lockstep.Case("claim", options["protocol"], "", request, server, options.get("fresh", False))
    requests, cpus = options["requests"], bed.placement.server
    with lockstep.traced(arm, case, cpus, bed.undertaker) as (target, pids, so_far):
        with InTurn(target, pids, case, options["connections"]) as client:
            found = lockstep.counted(client, requests, so_far)
            if bed.stop:
                bed.stop.check()
    record["count"] = found


class InTurn(lockstep.Client):
    """Lock-step over several connections: each asks in its turn, all others are silent meanwhile."""

    def __init__(self, target: str, pids: Callable[[], list[int]], case: lockstep.Case, connections: int):
        super().__init__(target, pids, case)
        self.others = [] if case.fresh else [lockstep.Connection(target) for _ in range(connections - 1)]

    def __exit__(self, *why: object) -> None:
        super().__exit__(*why)
        for other in self.others:
            other.socket.close()

    def converse(self, requests: int) -> None:
        if not self.others:
            super().converse(requests)
            return
        everyone = [self.connection, *self.others]
        for number in range(requests):
            everyone[number % len(everyone)].ask(self.case)
            self.quiet.wait()


ROLES = {"probe": probe, "arrivals": arrivals, "count": count}
