"""Claims over simulated data: a truth for each figure, this host's noise on top, and no sample measured."""

import json
import math
import shutil
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from bench import claims_file, claims_plan, paths
from bench.claims_file import Claim
from bench.experiment import cell_key
from bench.units import value_of

NOISE = 0.13  # standard deviation of a sample's logarithm on a busy host

HEAD = """
id = "{id}"
title = "A planted claim"
regime = "a simulation"
ours = "numbers out of a generator"
{more}
[source]
title = "A planted source"
author = "Nobody"
year = 2026
url = "https://example.org/planted"
paraphrase = "It is as it was planted."
"""

EXPERIMENT = """
[experiment]
load = {protocol = "echo"}
grid.connections = [1, 10, 100, 1000]
arms.models = ["poll", "epoll_lt", "epoll_et", "select"]
"""


def claim(folder: Path, parts: str, id: str = "P90", source: str = EXPERIMENT, more: str = "") -> Claim:
    """A claim as the bench reads it from a file."""
    path = folder / f"{id.lower()}-planted.toml"
    path.write_text(HEAD.format(id=id, more=more) + source + parts)
    return claims_plan.settled(claims_file.load(path), "full", 20_000)


PAIR = 'arm = "poll"\nover = "epoll_lt"\nat = {connections = 100}'


def part(name: str, region: str, statistic: str = "ratio", rest: str = PAIR, metric: str = "throughput_rps") -> str:
    metric = f'metric = "{metric}"\n' if metric else ""
    return f'[[parts]]\nname = "{name}"\nstatistic = "{statistic}"\n{rest}\n{metric}region = {{{region}}}\n'


@dataclass
class Fake:
    """Data (claims_parts.Data) over a truth: truth(arm, metric, cell) is what endless samples would show."""

    claims: list[Claim]
    truth: Callable[[str, str, dict], float] = lambda arm, metric, cell: 100.0
    blocks: int = 12
    seed: int = 1
    noise: float = NOISE
    profile: str = "full"
    bound: Callable[[str, dict, int], bool] = lambda arm, cell, block: False  # where the client was the limit
    invalid: Callable[[str, dict, int], bool] = lambda arm, cell, block: False
    left_out: dict[str, tuple[str, str]] = field(default_factory=dict)  # arm -> code, why
    facts: list[dict] = field(default_factory=list)
    runs: list = field(default_factory=list)
    called: list[dict] = field(default_factory=list)
    lacking: dict[str, SimpleNamespace] = field(default_factory=dict)

    def chance(self, *words: object) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(repr(words).encode())])

    def wanted(self, claim: Claim) -> int:
        return self.blocks

    def missing(self, claim: Claim):
        return self.lacking.get(claim.id)

    def values(self, claim: Claim, arm: str, metric: str, at: dict) -> dict[int, float]:
        if arm in self.left_out:
            return {}
        drift = self.chance("drift").normal(0, 0.1, self.blocks)  # what a block has in common, and ratios lose
        noise = self.chance(claim.id, arm, metric, cell_key(at)).normal(0, self.noise, self.blocks)
        lost = [b for b in range(self.blocks) if self.bound(arm, at, b) or self.invalid(arm, at, b)]
        truth = self.truth(arm, metric, at)
        return {b: truth * math.exp(drift[b] + noise[b]) for b in range(self.blocks) if b not in lost}

    def why(self, claim: Claim, arm: str, at: dict, metric: str | None = None) -> list:
        found = []
        if arm in self.left_out:
            code, text = self.left_out[arm]
            found.append(SimpleNamespace(code=code, text=f"{arm} {text}", samples=0))
        for code, test in (("client-bound", self.bound), ("invalid", self.invalid)):
            if lost := sum(test(arm, at, b) for b in range(self.blocks)):
                found.append(SimpleNamespace(code=code, text=f"{arm} at {cell_key(at)}: {lost} samples", samples=lost))
        return found

    def workers(self, claim: Claim, arm: str, of: str, at: dict) -> dict[int, list[float]]:
        return {b: [30, 20, 10] for b in range(self.blocks)}

    def served(self, claim: Claim, arm: str, at: dict) -> dict[int, bool]:
        return {b: at["connections"] < 1000 or arm != "select" for b in range(self.blocks)}

    def probe(self, claim: Claim) -> list[dict]:
        return self.facts

    def arrivals(self, claim: Claim, arm: str, at: dict) -> list:
        return self.runs

    def counts(self, claim: Claim, arm: str, at: dict) -> list[dict[str, float]]:
        return self.called

    def cells(self, claim: Claim, along: str, at: dict | None = None) -> list[dict]:
        return claim.cells({"along": along, "at": at or {}})

    @staticmethod
    def place(cell: dict, along: str) -> float:
        return value_of(cell[along])


def run_folder(
    folder: Path, claims: list[Claim], truth: Callable[[str, dict], float], blocks: int = 12, bound: str = ""
) -> Path:
    """A run's folder as the bench leaves it: a plan with the claims in it, an environment, and records."""
    chance, records, experiments = np.random.default_rng(1), {}, {}
    for one in claims:
        series = claims_plan.series_of(one)
        experiments |= {series: asdict(one.experiment)} if one.experiment else {}
        for cell, arm in claims_plan.reads(one) if one.experiment else []:
            for block in range(blocks):
                id = f"{series}/{cell_key(cell)}/{block}/{arm}"
                rps = truth(arm, cell) * math.exp(chance.normal(0, 0.05))
                load = {"achieved_rps": rps, "bound": "client" if arm == bound else "server", "bins": [1] * 500}
                where = {"experiment": series, "cell": cell_key(cell), "block": block, "arm": arm}
                records[id] = {"schema": 1, "id": id, **where, "role": "arm", "status": "ok", "why": None, "load": load}
        for run, facts in enumerate([{"after": {"queued": 524}}] * 3 if one.kind == "probe" else []):
            id, name = f"{series}//{run}/{one.setup['name']}", one.setup["name"]
            where = {"experiment": series, "cell": "", "block": run, "arm": name, "role": "probe"}
            records[id] = {"schema": 1, "id": id, **where, "status": "ok", "why": None, "probe": {"facts": facts}}
    told = {}
    for one in claims:
        missing = {"code": "platform", "text": one.absent} if one.absent else None
        kept = {"text": "", "sha256": "", "runs": blocks, "missing": missing, "samples": list(records)}
        told[one.id] = {**kept, "claim": claims_plan.as_record(one)}
    plan = {"schema": 1, "profile": "full", "seed": 1, "experiments": experiments, "arms": {}, "left_out": []}
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({**plan, "samples": [{"id": id} for id in records], "claims": told}))
    shutil.copy(paths.SAMPLE_RUN / "env.json", folder / "env.json")
    (folder / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records.values()))
    return folder
