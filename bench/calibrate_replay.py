"""Recorded quads put through the gate again: the same decisions, looks and second pass as live, without the waiting.

Two servers that are alike may change places: so a replay of A against A tosses new coins and gives each recorded sample
to the side that the coin says, which makes it a new experiment in the same weather.  A replay of a slowed server keeps
each sample on its side.  Windows begin anywhere and run on in the order measured, so bursts and drift stay in.
"""

import random
from collections import Counter
from collections.abc import Sequence

from scipy import special

from bench import compare_judge, compare_run, sequential
from bench.arms import Arm
from bench.compare_judge import REGRESSED
from bench.compare_plan import Contest, Plan
from bench.plan import Sample

WINDOW_NS, REQUESTS = 50_000_000, 1000
NOBODY = Arm("recorded", ("recorded",), "")


def as_record(sample: Sample, cpu_us: float | None, p50_us: float | None, status: str = "ok") -> dict:
    """A sample's record with these two figures, as bench/measure.py would have it."""
    clocks = [] if cpu_us is None else [{"pid": 1, "cpu_ns": cpu_us * 1e3 * REQUESTS, "children_cpu_ns": 0}]
    load = {
        "window_ns": WINDOW_NS,
        "counts": {"completed": REQUESTS},
        "host": {"window_ns": WINDOW_NS},
        "watch": clocks,
        "latency_intended_ns": {} if p50_us is None else {"p50": p50_us * 1e3, "max": p50_us * 2e3},
    }
    kept = {"id": sample.id, "cell": sample.cell, "block": sample.block, "arm": sample.arm, "role": sample.role}
    said = {"status": status, "why": None, "last_words": None, "options": sample.options}
    return {"schema": 1, **kept, **said, "server": {"pids": [1], "forked": False}, "load": load, "placement": None}


class Replayer:
    """Measures by looking up what was recorded; a quad is a list of [side, CPU in µs, median latency in µs]."""

    def __init__(self, quads: Sequence[list], start: int, alike: bool, planned: int):
        self.quads, self.start, self.alike, self.planned = quads, start, alike, planned

    def __call__(self, sample: Sample, _arm: Arm) -> dict:
        number, index, place = sample.id.rsplit("/", 3)[1:]
        at = self.start + int(index) + (self.planned if number == "2" else 0)
        quad, place = self.quads[at % len(self.quads)], int(place.partition("-")[0])
        if sample.role == "control":
            return as_record(sample, *next(taken[1:] for taken in quad if taken[0] == "control"))
        if self.alike:
            return as_record(sample, *quad[place][1:])
        of_side = [taken for taken in quad if taken[0] == sample.arm]
        return as_record(sample, *of_side[0 if place < 2 else 1][1:])


def replay(
    quads: Sequence[list], alike: bool, seed: int, planned: int, confirm: int, level: dict
) -> compare_judge.Judgement:
    """One comparison out of a recording."""
    contest = Contest("recorded", "rate=20000", {"mode": "open"}, {}, {})
    plan = Plan(seed, {}, [contest], {}, quads=planned, confirm_quads=confirm, **level)
    start = random.Random(f"window/{seed}").randrange(len(quads))
    bench = compare_run.Bench(
        Replayer(quads, start, alike, planned),
        lambda *_: NOBODY,
        NOBODY,
        None,
        lambda: None,
        lambda _: None,
        lambda: 0.0,
    )
    compare_run.measure(bench, plan, 1.0)
    return compare_judge.judge(plan, bench.samples, intervals=False)


def bound(found: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """The interval that covers a share in at least `level` of all cases.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.
    """
    if of == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = float(special.betaincinv(found, of - found + 1, tail)) if found else 0.0
    high = float(special.betaincinv(found + 1, of - found, 1 - tail)) if found < of else 1.0
    return low, high


def at_most(found: int, of: int, level: float = 0.95) -> float:
    """What a share is at most, one-sided: 0 of 59 is below 5 %."""
    return bound(found, of, 2 * level - 1)[1]


def differences_of(quads: Sequence[list]) -> list[float]:
    """The log ratio B/A of each recorded quad's CPU per request."""
    contest, found = "recorded", []
    for index, quad in enumerate(quads):
        samples = [
            as_record(
                Sample(f"{contest}/1/{index}/{place}-{side}", "", contest, index, side, "arm", {"mode": "open"}, {}),
                cpu,
                p50,
            )
            for place, (side, cpu, p50) in enumerate(quad)
            if side != "control"
        ]
        value = compare_judge.difference(samples, compare_judge.CONTROL_METRIC)
        found += [] if value is None else [value]
    return found


def measured_ratio(quads: Sequence[list]) -> tuple[float, float, float]:
    """What B cost over A in the whole recording, in the logarithm, with its 95 % interval."""
    values = differences_of(quads)[: sequential.MOST_QUADS]
    return sequential.estimate(values), *sequential.interval(values, 0.05, [(len(values), 1.0)])


def counted(judgements: Sequence[compare_judge.Judgement | dict]) -> dict:
    """How often each verdict was given, and after how many quads of the first pass."""
    told = [j if isinstance(j, dict) else j.as_record() for j in judgements]
    verdicts = Counter(j["verdict"] for j in told)
    quads = sorted(max((one["quads"] for one in j["found"]), default=0) for j in told)
    regressed = verdicts[REGRESSED]
    return {
        "comparisons": len(told),
        "regressed": regressed,
        "interval": list(bound(regressed, len(told))),
        "verdicts": dict(verdicts),
        "median_quads": quads[len(quads) // 2] if quads else None,
    }
