"""The plan: every sample of a run, in the order in which it will be measured, written before the first.

Blocks are randomised: a block is one cell with all its arms back to back in
fresh random order; a round holds one block of every cell, in random order too,
so that a run that was cut short is still balanced.
"""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from bench.arms import Arm, why_unfit
from bench.experiment import Experiment, cell_key, crowd
from bench.units import parse_time_ns

# What a sample costs beside its window, for the time told before a run; measured on a 2-core machine.
START_STOP_S = 0.03
PROBE = "50ms"  # the load generator's own look at the host before its load
PER_CONNECTION_S = 70e-6
CAPACITY_SAMPLES = 3
OPEN = ("rate", "arrival", "shed", "pause")  # options that a closed loop has no use for


@dataclass(frozen=True)
class Sample:
    """One fresh server process and one measured window."""

    id: str
    experiment: str
    cell: str
    block: int
    arm: str
    role: str  # "arm"; "ceiling": the cheapest responder, which shows the client's limit; "capacity": see relative.py;
    # without a window under load: "probe", "arrivals", "count", see aside.py
    options: dict  # the load generator's
    server: dict  # the server's
    topology: str = "loopback"


@dataclass
class Plan:
    profile: str
    seed: int
    experiments: dict[str, dict]
    arms: dict[str, dict]
    samples: list[Sample]
    left_out: list[dict]
    tools: dict[str, dict] = field(default_factory=dict)
    claims: dict[str, dict] = field(default_factory=dict)  # of a claims run: claims_plan.py

    @property
    def expected_s(self) -> float:
        return sum(expected_s(sample) for sample in self.samples)

    def as_record(self, schema: int) -> dict:
        whole = {"schema": schema, "expected_s": round(self.expected_s, 1), **asdict(self)}
        return whole if self.claims else {key: value for key, value in whole.items() if key != "claims"}

    @staticmethod
    def from_record(record: dict) -> "Plan":
        keys = ("profile", "seed", "experiments", "arms", "left_out", "tools")
        samples, claims = [Sample(**s) for s in record["samples"]], record.get("claims", {})
        return Plan(samples=samples, claims=claims, **{k: record[k] for k in keys})


def expected_s(sample: Sample) -> float:
    if "expected_s" in sample.options:  # what has no window knows best
        return sample.options["expected_s"]
    windows = parse_time_ns(sample.options["warmup"]) + parse_time_ns(sample.options["duration"])
    windows += parse_time_ns(sample.options.get("probe", PROBE))
    return windows / 1e9 + START_STOP_S + PER_CONNECTION_S * crowd(sample.options)


def sample_of(
    experiment: Experiment, key: str, options: dict, block: int, arm: str, role: str, server: dict | None = None
) -> Sample:
    name = f"{experiment.name}/{key}/{block}/{arm}"
    server = experiment.server if server is None else server
    return Sample(name, experiment.name, key, block, arm, role, options, server, experiment.topology or "loopback")


def make(
    experiments: list[Experiment],
    arms: dict[str, list[Arm]],
    ceiling_arms: dict[str, Arm],
    profile: str,
    seed: int,
    fd_limit: int,
    blocks: int | None = None,
    missing: Callable[[dict], str | None] = lambda needs: None,
) -> Plan:
    """Expands experiments x cells x blocks x arms, leaves out what cannot be run and says why."""
    chance = random.Random(seed)
    experiments = [e.bounded(fd_limit) for e in experiments]
    left_out: list[dict] = []
    cells: list[tuple[Experiment, dict, list[Arm]]] = []
    for experiment in experiments:
        for cell in experiment.cells(profile):
            options = experiment.load_of(profile, cell)
            apart = experiment.topology == "netns"
            absent, server = missing(experiment.needs | ({"netns": True} if apart else {})), experiment.server_of(cell)
            reasons = {
                arm.name: absent or why_unfit(arm, options, fd_limit, server | ({"bind": True} if apart else {}))
                for arm in arms[experiment.name]
            }
            left_out += [
                {"experiment": experiment.name, "cell": cell_key(cell), "arm": name, "why": why}
                for name, why in reasons.items()
                if why
            ]
            fit = [arm for arm in arms[experiment.name] if not reasons[arm.name]]
            if fit:
                cells.append((experiment, cell, fit))
    rounds = {e.name: blocks or e.profiles[profile].blocks for e in experiments}
    samples: list[Sample] = pre_pass(cells, profile, chance)
    for block in range(max(rounds.values(), default=0)):
        due = [one_block(e, profile, cell, fit, block, chance) for e, cell, fit in cells if block < rounds[e.name]]
        due += [
            [ceiling_sample(e, profile, ceiling_arms[e.name], block)]
            for e in experiments
            if e.name in ceiling_arms and block < rounds[e.name]
        ]
        chance.shuffle(due)
        samples += [sample for one in due for sample in one]
    all_arms = {arm.name: arm.as_record() for group in arms.values() for arm in group}
    all_arms |= {arm.name: arm.as_record() for arm in ceiling_arms.values()}
    return Plan(profile, seed, {e.name: asdict(e) for e in experiments}, all_arms, samples, left_out)


def pre_pass(cells: list[tuple[Experiment, dict, list[Arm]]], profile: str, chance: random.Random) -> list[Sample]:
    """The closed loops whose throughput relative rates are shares of, before all else."""
    wanted: dict[str, tuple[Experiment, set[str]]] = {}
    for experiment, _, fit in cells:
        if experiment.capacity:
            of = experiment.capacity["of"]
            names = {arm.name for arm in fit} if of == "each" else {of}
            wanted.setdefault(experiment.name, (experiment, set()))[1].update(names)
    samples = []
    for experiment, names in wanted.values():
        load = {
            k: v for k, v in experiment.load_of(profile, {}, experiment.capacity.get("load")).items() if k not in OPEN
        }
        for block in range(experiment.capacity.get("samples", CAPACITY_SAMPLES)):
            order = chance.sample(sorted(names), len(names))
            samples += [
                sample_of(experiment, "capacity", {**load, "mode": "closed"}, block, arm, "capacity") for arm in order
            ]
    return samples


def one_block(
    experiment: Experiment, profile: str, cell: dict, fit: list[Arm], block: int, chance: random.Random
) -> list[Sample]:
    """One cell, all its arms back to back in fresh random order."""
    order = chance.sample(fit, len(fit))
    options = experiment.load_of(profile, cell)
    server = experiment.server_of(cell)
    return [sample_of(experiment, cell_key(cell), options, block, arm.name, "arm", server) for arm in order]


def ceiling_sample(experiment: Experiment, profile: str, arm: Arm, block: int) -> Sample:
    options = experiment.load_of(profile, {}, experiment.ceiling["load"])
    return sample_of(experiment, "ceiling", options, block, arm.name, "ceiling")
