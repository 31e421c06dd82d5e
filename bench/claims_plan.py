"""The plan of a claims run: only those cells and arms that the claims of this run read, each cell once for all of them.

It is an ordinary plan (plan.py): randomised blocks, round by round, written before the first sample.  Beside windows
under load it has samples of three more roles: a probe is a program that is run, arrivals are clients that come at once,
a count is a server under strace.  The claims themselves go into the plan with their files' text and hash, and with the
ids of the samples that each will be judged by.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import asdict, replace

from bench import claims_draft, paths
from bench.claims_draft import Draft, cell_of, reads, series_of
from bench.claims_file import Claim, grid_of
from bench.experiment import Experiment, Profile
from bench.plan import Plan, Sample

CODES = {"platform": "platform"} | dict.fromkeys(("fds", "cores", "server_cpus", "memory_mib"), "limit")  # else "missing"


def as_record(claim: Claim) -> dict:
    return {**asdict(replace(claim, experiment=None)), "experiment": claim.experiment and claim.experiment.name}


def claim_from_record(told: dict, plan: dict) -> Claim:
    """A claim as the run was planned with it."""
    claim = dict(told["claim"])
    name = claim.pop("experiment")
    return Claim(**claim, experiment=name and experiment_from_record(plan["experiments"][name]))


def experiment_from_record(told: dict) -> Experiment:
    return Experiment(**{**told, "profiles": {name: Profile(**one) for name, one in told["profiles"].items()}})


def settled(claim: Claim, profile: str, fd_limit: int) -> Claim:
    """The claim on this host and in this profile: `max` made a number, axes with the profile's own values.

    A part's `at` may be any cell of either profile; what a part runs along has the profile's values only.
    """
    if not claim.experiment:
        return claim
    bounded = claim.experiment.bounded(fd_limit)
    own, both = bounded.profiles[profile].grid, grid_of(bounded)
    crowds = [axis for axis, values in claim.grid.items() if "max" in values]
    most = {axis: max(v for v in own[axis] if isinstance(v, int)) for axis in crowds}
    grid = {axis: own[axis] if len(own[axis]) > 1 else both[axis] for axis in claim.grid}
    parts = [
        {**part, **{key: numbered(part[key], most) for key in ("at", "to") if key in part}} for part in claim.parts
    ]
    return replace(claim, experiment=bounded, grid=grid, parts=parts)


def numbered(cell: dict, most: dict[str, int]) -> dict:
    return {axis: most[axis] if value == "max" else value for axis, value in cell.items()}


def make(claims: list[Claim], profile: str, seed: int, fd_limit: int, blocks: int | None, missing: Callable) -> Plan:
    """The plan of these claims, which are settled here; `missing` says what of its needs a host lacks."""
    draft = Draft(profile, fd_limit, blocks, missing)
    claims = [settled(claim, profile, fd_limit) for claim in claims]
    lacks = {claim.id: lacking(claim, draft) for claim in claims}
    for claim in claims:
        if not lacks[claim.id]:
            claims_draft.ADD[claim.kind](claim, draft)
        elif claim.experiment:
            draft.experiments.setdefault(claim.experiment.name, claim.experiment)
    samples = claims_draft.ordered(draft, random.Random(seed))
    told = {claim.id: claim_record(claim, draft, lacks[claim.id], samples) for claim in claims}
    experiments = {name: asdict(one) for name, one in draft.experiments.items()}
    return Plan(profile, seed, experiments, draft.arms, samples, draft.left_out, claims=told)


def claim_record(claim: Claim, draft: Draft, lacks: dict | None, samples: list[Sample]) -> dict:
    text = (paths.ROOT / claim.file).read_text()
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "text": text,
        "claim": as_record(claim),
        "runs": 0 if lacks else draft.runs_of(claim),
        "missing": lacks,
        "samples": [] if lacks else ids_of(claim, samples),
    }


def ids_of(claim: Claim, samples: list[Sample]) -> list[str]:
    """The samples that a claim is judged by."""
    places = {(cell_of(claim, cell), arm) for cell, arm in reads(claim)}
    series = series_of(claim)
    return [s.id for s in samples if s.experiment == series and s.role != "capacity" and (s.cell, s.arm) in places]


def lacking(claim: Claim, draft: Draft) -> dict | None:
    """Why nothing of a claim can be measured here, with a code for programs."""
    if claim.absent:
        return {"code": "platform", "text": claim.absent}
    needs = dict(claim.needs)
    if claim.experiment:
        needs |= claim.experiment.needs | ({"netns": True} if claim.experiment.topology == "netns" else {})
    for what, wanted in needs.items():
        if why := draft.missing({what: wanted}):
            return {"code": CODES.get(what, "missing"), "text": why}
    if claim.kind == "count" and (why := draft.missing({"commands": ["strace"]})):
        return {"code": "missing", "text": why}
    if claim.kind == "probe" and not claims_draft.probe_path(claim.setup["name"]).is_file():
        return {"code": "missing", "text": f"the probe {claim.setup['name']} is not built here"}
    return None
