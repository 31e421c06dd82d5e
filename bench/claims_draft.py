"""What goes into the plan of a claims run, as claims are added to it one by one; claims_plan.py has the whole.

Cells of an experiment go in once, with the arms that any claim reads there.  A probe that several claims read is run as
often as the one that wants most.  Arrivals and counts belong to their claim.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import arms, contenders, paths, prepare
from bench.arms import Arm, why_unfit
from bench.claims_file import Claim
from bench.errors import BenchError, UsageError
from bench.experiment import Experiment, cell_key
from bench.plan import Sample, one_block, pre_pass
from bench.units import parse_time_ns

RUNS = {"probe": {"quick": 3, "full": 20}, "arrivals": {"quick": 3, "full": 12}, "count": {"quick": 2, "full": 3}}
SLOW_S, FEWEST_RUNS = 1.0, 2  # a quick run has probes that take so long no more often than runs can agree
COUNTED_REQUESTS = 40  # in each of a count's two rounds, unless the claim says otherwise
# Seconds for the time told before a run, beside what a sample waits for; measured on a 2-core machine.
PROBE_S, COUNT_S, PER_COUNTED_S, ARRIVALS_S = 0.06, 0.2, 0.002, 0.1
TAKES = re.compile(r"Takes about ([0-9.]+) s\.")  # in a probe's opening comment, where it is more


def series_of(claim: Claim) -> str:
    """What its samples are filed under: an experiment that claims share, a probe, or the claim itself."""
    if claim.kind == "experiment":
        return claim.experiment.name
    return f"probes/{claim.setup['name']}" if claim.kind == "probe" else claim.id.lower()


def cell_of(claim: Claim, at: dict) -> str:
    """A cell's name in ids; a probe has one for each choice of arguments."""
    return " ".join(claim.setup.get("arguments", [])) if claim.kind == "probe" else cell_key(at)


def reads(claim: Claim) -> list[tuple[dict, str]]:
    """(cell, arm) of all that a claim's parts read, each once."""
    if claim.kind == "probe":
        return [({}, claim.setup["name"])]
    found: dict[tuple[str, str], tuple[dict, str]] = {}
    for part in claim.parts:
        for cell in claim.cells(part):
            for name in [part[key] for key in ("arm", "over") if key in part] + part.get("arms", []):
                found[cell_key(cell), name] = (cell, name)
    return list(found.values())


@dataclass
class Draft:
    """What goes into a plan, as claims are added to it: who reads which cells, and what cannot be run."""

    profile: str
    fd_limit: int
    blocks: int | None
    missing: Callable[[dict], str | None]
    experiments: dict[str, Experiment] = field(default_factory=dict)
    arms: dict[str, dict] = field(default_factory=dict)
    cells: dict[tuple[str, str], tuple[dict, list[Arm]]] = field(default_factory=dict)
    single: dict[tuple[str, str], tuple[int, list[Sample]]] = field(default_factory=dict)  # (series, cell): how often
    left_out: list[dict] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)

    def runs_of(self, claim: Claim) -> int:
        if self.blocks:
            return self.blocks
        if claim.kind == "experiment":
            return claim.experiment.profiles[self.profile].blocks
        told = claim.setup.get("runs") if self.profile == "quick" else claim.setup.get("runs_full")
        few = claim.kind == "probe" and self.profile == "quick" and probe_s(claim.setup["name"]) >= SLOW_S
        return told or (FEWEST_RUNS if few else RUNS[claim.kind][self.profile])

    def leave_out(self, series: str, cell: str, arm: str, why: str) -> None:
        entry = {"experiment": series, "cell": cell, "arm": arm, "why": why}
        if entry not in self.left_out:
            self.left_out.append(entry)

    def arm(self, claim: Claim, told: dict, name: str) -> Arm | str:
        """An arm by the name that the claim's table gives it, or why there is none here."""
        variant = next((one for one in told.get("variants", []) if one["name"] == name), None)
        try:
            found = prepare.variant(variant) if variant else contenders.find(name)
        except (UsageError, BenchError):
            return f"is not built here ({variant['model'] if variant else name})"
        self.arms[arm_key(series_of(claim), found)] = found.as_record()
        return found


def arm_key(series: str, arm: Arm) -> str:
    """A variant's name means something in its own series only, and a probe may be called like a model."""
    return f"{series}:{arm.name}" if arm.kind in ("variant", "probe") else arm.name


def probe_path(name: str) -> Path:
    return paths.build_dir() / "probes" / name


def add_cells(claim: Claim, draft: Draft) -> None:
    """The cells of an experiment, with the arms that this claim reads in each."""
    e = claim.experiment
    draft.experiments.setdefault(e.name, e)
    draft.runs[e.name] = max(draft.runs.get(e.name, 0), draft.runs_of(claim))
    if e.capacity and e.capacity["of"] != "each":  # measured before all else, whether a part reads it or not
        draft.arm(claim, e.arms, e.capacity["of"])
    for cell, name in reads(claim):
        key = cell_key(cell)
        _, fit = draft.cells.setdefault((e.name, key), (cell, []))
        found = draft.arm(claim, e.arms, name)
        if isinstance(found, Arm):
            apart = {"bind": True} if e.topology == "netns" else {}
            options, server = e.load_of(draft.profile, cell), e.server_of(cell) | apart
            why = why_unfit(found, options, draft.fd_limit, server)
            if not why and found.name not in [arm.name for arm in fit]:
                fit.append(found)
        else:
            why = found
        if why:
            draft.leave_out(e.name, key, name, why)


def add_probe(claim: Claim, draft: Draft) -> None:
    name, arguments, runs = claim.setup["name"], claim.setup.get("arguments", []), draft.runs_of(claim)
    path = probe_path(name)
    arm = Arm(name, (paths.from_root(path),), arms.file_hash(path), paths.from_root(path), kind="probe")
    draft.arms[arm_key(series_of(claim), arm)] = arm.as_record()
    options = {"arguments": arguments, "expected_s": probe_s(name)}
    add_runs(claim, draft, {}, runs, [(arm, "probe", options, {})])


def probe_s(name: str) -> float:
    """How long a probe takes, as its page says."""
    comment = (paths.PROBES / f"{name}.c").read_text().partition("*/")[0]
    found = TAKES.search(comment)
    return float(found[1]) + PROBE_S if found else PROBE_S


def add_arrivals(claim: Claim, draft: Draft) -> None:
    for cell, group in grouped(claim, draft).items():
        at = group[0][0]
        looks = any(part["statistic"] == "interleaving" and part["at"] == at for part in claim.parts)
        wanted = []
        for _, arm in group:
            protocol = "greet" if "delay" in at else "http"
            server = claim.setup.get("server", {}) | ({"delay": at["delay"]} if "delay" in at else {})
            clients = {"protocol": protocol, "connections": 1}  # that the others wait is what is to be seen
            if why := why_unfit(arm, clients, draft.fd_limit, server):
                draft.leave_out(series_of(claim), cell, arm.name, why)
                continue
            options = {**at, "protocol": protocol, "silent": claim.setup.get("silent", 0), "looks": looks}
            options["expected_s"] = arrivals_s(at, arm, server)
            wanted.append((arm, "arrivals", options, server))
        add_runs(claim, draft, at, draft.runs_of(claim), wanted)


def arrivals_s(at: dict, arm: Arm, server: dict) -> float:
    """Clients that are served one after another wait for one another, and all do for CPU."""
    service = parse_time_ns(at.get("delay", at.get("work"))) / 1e9
    at_once = 1 if "work" in at else server.get("workers") or arm.clients_at_once or at["count"]
    return round(ARRIVALS_S + parse_time_ns(at["spread"]) / 1e9 + service * -(-at["count"] // at_once), 3)


def add_counts(claim: Claim, draft: Draft) -> None:
    requests = claim.setup.get("requests", COUNTED_REQUESTS)
    for cell, group in grouped(claim, draft).items():
        at, wanted = group[0][0], []
        for _, arm in group:
            server = claim.setup.get("server", {})
            load = {"protocol": claim.setup["protocol"], "connections": at["connections"]}
            if why := why_unfit(arm, load, draft.fd_limit, server):
                draft.leave_out(series_of(claim), cell, arm.name, why)
                continue
            chosen = {key: claim.setup[key] for key in ("fresh", "size", "path") if key in claim.setup}
            pauses = parse_time_ns(server.get("delay", "0s")) / 1e9
            takes = COUNT_S + 2 * requests * (PER_COUNTED_S + pauses)
            options = {**load, **chosen, "requests": requests, "expected_s": round(takes, 3)}
            wanted.append((arm, "count", options, server))
        add_runs(claim, draft, at, draft.runs_of(claim), wanted)


ADD = {"experiment": add_cells, "probe": add_probe, "arrivals": add_arrivals, "count": add_counts}


def grouped(claim: Claim, draft: Draft) -> dict[str, list[tuple[dict, Arm]]]:
    """The cells of an arrivals or count claim with the arms that it reads in each; what is not here is left out."""
    found: dict[str, list[tuple[dict, Arm]]] = {}
    for cell, name in reads(claim):
        arm = draft.arm(claim, claim.setup["arms"], name)
        if isinstance(arm, Arm):
            found.setdefault(cell_key(cell), []).append((cell, arm))
        else:
            draft.leave_out(series_of(claim), cell_key(cell), name, arm)
    return found


def add_runs(claim: Claim, draft: Draft, at: dict, runs: int, wanted: list[tuple[Arm, str, dict, dict]]) -> None:
    """Samples without a window; where two claims ask for the same, the longer series serves both."""
    series, cell = series_of(claim), cell_of(claim, at)
    if draft.single.get((series, cell), (0, []))[0] >= runs:
        return
    samples = [
        Sample(f"{series}/{cell}/{run}/{arm.name}", series, cell, run, arm.name, role, options, server)
        for run in range(runs)
        for arm, role, options, server in wanted
    ]
    draft.single[series, cell] = (runs, samples)


def ordered(draft: Draft, chance: random.Random) -> list[Sample]:
    """Round by round, in each the blocks of all cells in random order; capacities before all else."""
    cells = [(draft.experiments[name], cell, fit) for (name, _), (cell, fit) in draft.cells.items() if fit]
    samples = pre_pass(cells, draft.profile, chance)
    rounds = max([*draft.runs.values(), *(runs for runs, _ in draft.single.values())], default=0)
    for block in range(rounds):
        mine = [one for one in cells if block < draft.runs[one[0].name]]
        due = [one_block(e, draft.profile, cell, fit, block, chance) for e, cell, fit in mine]
        for _, single in draft.single.values():
            one = [sample for sample in single if sample.block == block]
            due.append(chance.sample(one, len(one)))
        chance.shuffle(due)
        samples += [sample for one in due for sample in one]
    return samples
