"""Measures a comparison: quad after quad, looking as planned, until all is decided or the time is over.

A quad's samples run back to back; quads of different contests alternate in random order.  What measures a sample is an
argument, so that the tests can put a simulated host in its place.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench import compare_judge
from bench.arms import Arm
from bench.compare_judge import REGRESSED
from bench.compare_plan import CONFIRM_SHARE, FEWEST_TO_REJECT, SAMPLES_PER_QUAD, Contest, Plan, quad, quads_within
from bench.errors import BenchError
from bench.plan import Sample
from bench.records import Appender, without_bins
from bench.sequential import MOST_QUADS

Measurer = Callable[[Sample, Arm], dict]
CHANCES = 2  # for a window that the instrument itself calls invalid; that says nothing about the server
KEPT = (
    "schema",
    "id",
    "cell",
    "block",
    "arm",
    "role",
    "started",
    "status",
    "why",
    "last_words",
    "options",
    "elapsed_ns",
)


@dataclass
class Bench:
    """What a comparison is measured with."""

    measurer: Measurer
    arm: Callable[[int, Contest, str], Arm]  # of a pass, a contest and a side
    control: Arm
    keep: Appender | None
    check: Callable[[], None]  # raises when a signal asked to stop
    said: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    samples: list[dict] = field(default_factory=list)


def one(bench: Bench, sample: Sample, arm: Arm, number: int) -> dict:
    """A sample, once more where its window was invalid; a server that fails ends the comparison."""
    discarded: list[str] = []
    while True:
        bench.check()
        record = bench.measurer(sample, arm)
        if record["status"] in ("failed", "unavailable"):
            raise BenchError(f"{sample.arm}, {sample.cell}: {record['why']}" + words_of(record))
        if record["status"] != "invalid" or len(discarded) == CHANCES - 1:
            break
        discarded.append(str(record["why"]))
    slim = {key: value for key, value in record.items() if key in KEPT} | {"pass": number, "discarded": discarded}
    return slim | {
        "server": {
            key: value for key, value in record["server"].items() if key in ("pids", "forked", "ready_ns", "report")
        },
        "load": without_bins({k: v for k, v in (record["load"] or {}).items() if k not in ("config", "env", "checks")}),
        "placement": record.get("placement"),
        "telemetry": record.get("telemetry"),
    }


def words_of(record: dict) -> str:
    return f": {record['last_words'].splitlines()[-1]}" if record.get("last_words") else ""


def run_quad(bench: Bench, plan: Plan, contest: Contest, number: int, index: int) -> None:
    """One quad, kept whole or not at all."""
    gathered = []
    for sample in quad(plan, contest, number, index):
        arm = bench.control if sample.role == "control" else bench.arm(number, contest, sample.arm)
        gathered.append(one(bench, sample, arm, number))
    bench.samples += gathered
    if bench.keep:
        for record in gathered[:-1]:
            bench.keep.add(record, durable=False)
        bench.keep.add(gathered[-1])


def warm_up(bench: Bench, plan: Plan, contests: Sequence[Contest]) -> float:
    """One quad of each contest that counts for nothing: it loads the programs, and says how long a quad takes.

    The lower quartile of the samples' times: the first are slow, and a plan for more quads than the time allows loses
    little, for the deadline ends it, while one for fewer ends before its time.
    """
    took = []
    for contest in contests:
        for sample in quad(plan, contest, 0, 0):
            arm = bench.control if sample.role == "control" else bench.arm(1, contest, sample.arm)
            begun = bench.clock()
            one(bench, sample, arm, 0)
            took.append(bench.clock() - begun)
    return SAMPLES_PER_QUAD * sorted(took)[len(took) // 4] if took else 0.0


def schedule(plan: Plan, seconds: float, quad_s: float) -> None:
    """How many quads the time allows, known before the first that counts."""
    planned, plan.confirm_quads = quads_within(seconds, len(plan.measured), quad_s)
    telling = math.ceil(math.log2(plan.comparisons / plan.level)) + 2  # fewer patterns than that show nothing at its level
    plan.quads = min(MOST_QUADS, max(planned, telling))


def measure(bench: Bench, plan: Plan, deadline: float) -> None:
    """Both passes.  `deadline` is on the bench's clock; what it cuts short is judged from what there is."""
    first = list(plan.measured)
    reserve = plan.confirm_quads * SAMPLES_PER_QUAD
    begun = bench.clock()
    most = CONFIRM_SHARE * (deadline - begun)  # windows that are taken twice must not eat up the first pass
    one_pass(bench, plan, first, 1, lambda done: deadline - min(most, reserve * (bench.clock() - begun) / max(done, 1)))
    suspects = [contest for contest in first if compare_judge.suspects(plan, bench.samples, contest)]
    suspects.sort(key=lambda contest: -largest(plan, bench, contest))
    if suspects:
        bench.said(f"suspect: {', '.join(contest.key for contest in suspects)}; once more, linked in another order")
    for contest in suspects:
        if bench.clock() < deadline or contest is suspects[0]:
            one_pass(bench, plan, [contest], 2, lambda done: deadline)


def largest(plan: Plan, bench: Bench, contest: Contest) -> float:
    found = [compare_judge.differences(bench.samples, contest.key, 1, metric) for metric in plan.metrics]
    return max(sum(values) / len(values) for values in found if values)


def one_pass(bench: Bench, plan: Plan, contests: Sequence[Contest], number: int, until: Callable[[int], float]) -> None:
    """Rounds of one quad of each open contest; `until` is told how many samples were taken."""
    planned = plan.quads if number == 1 else plan.confirm_quads
    looks = {quads for quads, _ in plan.looks(number)}
    chance = random.Random(f"{plan.seed}/order/{number}")
    open_contests, counts, tries, taken = list(contests), dict.fromkeys((c.key for c in contests), 0), 0, 0
    while open_contests and tries < 2 * planned:
        for contest in chance.sample(open_contests, len(open_contests)):
            run_quad(bench, plan, contest, number, tries)
            taken += SAMPLES_PER_QUAD
        tries += 1
        late = bench.clock() > until(taken)
        for contest in list(open_contests):
            before, counts[contest.key] = counts[contest.key], len(
                compare_judge.quads_of(bench.samples, contest.key, number)
            )
            if counts[contest.key] != before and counts[contest.key] in looks:
                if decided(bench, plan, contest, number):
                    open_contests.remove(contest)
        bench.said(progress(plan, number, tries, planned, len(open_contests)))
        if late and (number == 1 or min(counts.values()) >= FEWEST_TO_REJECT):
            return


def decided(bench: Bench, plan: Plan, contest: Contest, number: int) -> bool:
    if number == 1:
        return not compare_judge.goes_on(plan, bench.samples, contest)
    return compare_judge.confirming(plan, bench.samples, contest) in (REGRESSED, compare_judge.INCONCLUSIVE)


def progress(plan: Plan, number: int, done: int, planned: int, left: int) -> str:
    what = "first pass" if number == 1 else "linked in another order"
    return f"{what}: quad {done} of at most {planned}" + (
        f", {left} of {len(plan.measured)} contests open" if left > 1 else ""
    )
