"""What a comparison measures: contests (a model under one load), quads, looks, and the levels that were promised.

A contest is a model in a cell.  A quad is four samples of it, ABBA or BAAB as the coin falls, and one of the control in
the middle.  The plan is written before the first quad; what is decided can be decided again from it and the samples.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench import adhoc, checked, metrics, witnesses
from bench.arms import Arm, why_unfit
from bench.errors import UsageError
from bench.plan import Sample
from bench.sequential import MOST_QUADS, PATTERNS, Look, looks_of
from bench.units import nearest

METRICS = ("server_cpu_us_per_req", "p50_us")
MARGIN = 0.05
LEVEL = 0.01  # one-sided, over all looks, metrics, models and cells: how often a suspect may be a false one
PASS_LEVEL = 0.05  # one-sided: how often a slowdown of the whole margin may PASS
CONFIRM_LEVEL = 0.05
FEWEST_QUADS, FEWEST_TO_CONFIRM = 12, 10
FEWEST_TO_REJECT = 6  # of the second pass: fewer patterns of signs than its level can tell apart
CONFIRM_SHARE = 0.35  # of the time: kept for a suspect's second pass
SAMPLES_PER_QUAD = 5

BASE = {
    **{"protocol": "echo", "mode": "open", "arrival": "poisson", "connections": 50, "size": 64, "wait": "spin"},
    **{"rate": 20000, "warmup": "10ms", "duration": "120ms"},
}
CONTROL = {**BASE, "connections": 20, "duration": "100ms"}
SETS = {
    "usual": ["rate=20000"],
    "wide": ["rate=5000", "rate=20000", "rate=40000", "connections=500", "size=4096", "protocol=http"],
}


@dataclass(frozen=True)
class Contest:
    """One model, under one load, on both sides."""

    model: str
    cell: str
    options: dict
    a: dict  # arms, as records keep them
    b: dict
    identical: bool = False  # the same machine code: there is nothing to measure

    @property
    def key(self) -> str:
        return f"{self.model}/{self.cell}"


@dataclass
class Plan:
    seed: int
    sides: dict[str, dict]
    contests: list[Contest]
    control: dict
    missing: list[dict] = field(default_factory=list)  # contest, side, why
    metrics: tuple[str, ...] = METRICS
    margin: float = MARGIN
    level: float = LEVEL
    pass_level: float = PASS_LEVEL
    confirm_level: float = CONFIRM_LEVEL
    quads: int = 0  # planned, of each contest
    confirm_quads: int = 0
    notes: list[str] = field(default_factory=list)
    as_linked: list[str] = field(default_factory=list)  # models that could not be linked in another order

    @property
    def measured(self) -> list[Contest]:
        return [contest for contest in self.contests if not contest.identical]

    @property
    def comparisons(self) -> int:
        return max(1, len(self.measured) * len(self.metrics))

    def looks(self, number: int) -> list[Look]:
        """Of the first pass, or of the second, which confirms."""
        return looks_of(self.quads, 6) if number == 1 else looks_of(self.confirm_quads, 3)

    def as_record(self, schema: int) -> dict:
        return {"schema": schema, **asdict(self)}

    @staticmethod
    def from_record(record: dict) -> "Plan":
        kept = {key: value for key, value in record.items() if key in Plan.__dataclass_fields__}
        contests = [Contest(**told) for told in kept.pop("contests")]
        return Plan(**{**kept, "contests": contests, "metrics": tuple(kept["metrics"])})


def refuse_too_many(plan: Plan) -> None:
    """Raises where each comparison's part of the error is less than the patterns of signs can tell apart."""
    most = int(plan.level * PATTERNS / 10)
    if plan.comparisons > most:
        raise UsageError(f"{plan.comparisons} comparisons at once, at most {most}: name fewer --models or --cells")


def cells(words: Sequence[str]) -> dict[str, dict]:
    """`usual`, `wide`, or loads such as rate=40000,protocol=http: each one's key and options."""
    found: dict[str, dict] = {}
    for word in words or ["usual"]:
        if "=" not in word and word not in SETS:
            raise UsageError(
                f"--cells: expected a load such as rate=20000,size=64, or {' or '.join(SETS)}, got {word!r}"
            )
        for key in SETS.get(word, [word]):
            found[key] = options_of(key)
    return found


def options_of(key: str) -> dict:
    known, given = adhoc.load_options(), {}
    for part in key.split(","):
        name, equals, value = part.partition("=")
        if not equals or (name not in known and name not in ("warmup", "duration")):
            raise UsageError(f"--cells: {key}: no load option {name!r}{nearest(name, known)}")
        given[name] = adhoc.number_or_word(value)
    options = {**BASE, **given}
    if options["protocol"] == "http" and "size" not in given:
        del options["size"]  # what a reply holds is the path's
    rules = checked.schema("experiment")["$defs"]
    windows = {name: options[name] for name in ("warmup", "duration")}
    checked.complain(
        {k: v for k, v in options.items() if k not in windows}, {**rules["load"], "$defs": rules}, f"--cells: {key}"
    )
    checked.complain(windows, {"properties": dict.fromkeys(windows, rules["time"]), "$defs": rules}, f"--cells: {key}")
    if options["mode"] != "open":
        raise UsageError(f"--cells: {key}: both sides are offered the same rate, so mode=open is the only one")
    if why := witnesses.why_not(options):
        raise UsageError(f"--cells: {key}: {why}")
    return options


def metrics_of(word: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in word.split(","))) if word else METRICS
    for name in names:
        if name not in metrics.METRICS:
            raise UsageError(f"--metrics: unknown metric {name!r}{nearest(name, metrics.METRICS)}")
        if metrics.METRICS[name].better != "lower":
            raise UsageError(f"--metrics: {name}: expected one of which less is better")
    return names


def unfit(contest: Contest, fd_limit: int) -> str | None:
    """Why a contest cannot be run on one of its sides."""
    for letter, told in (("A", contest.a), ("B", contest.b)):
        if why := why_unfit(Arm(**told), contest.options, fd_limit):
            return f"{letter}: {contest.model} {why}"
    return None


def quads_within(seconds: float, contests: int, quad_s: float) -> tuple[int, int]:
    """How many quads the time allows to each contest in the first pass, and to a suspect in the second."""
    first = int(seconds * (1 - CONFIRM_SHARE / (1 + (contests > 2))) / max(contests, 1) / quad_s)
    first = min(max(first, FEWEST_QUADS), MOST_QUADS)
    second = int(seconds * (CONFIRM_SHARE / (1 + (contests > 2))) / quad_s)
    return first, min(max(second, FEWEST_TO_CONFIRM), MOST_QUADS)


def quad(plan: Plan, contest: Contest, number: int, index: int) -> list[Sample]:
    """The samples of one quad in the coin's order, which depends on seed, contest, pass and quad alone."""
    coin = random.Random(f"{plan.seed}/{contest.key}/{number}/{index}").getrandbits(1)
    order = "ABBA" if coin else "BAAB"
    sides = [*order[:2], "control", *order[2:]]
    samples = []
    for place, side in enumerate(sides):
        options = CONTROL if side == "control" else contest.options
        role = "control" if side == "control" else "arm"
        name = f"{contest.key}/{number}/{index}/{place}-{side}"
        samples.append(Sample(name, "compare", contest.key, index, side, role, options, {}))
    return samples
