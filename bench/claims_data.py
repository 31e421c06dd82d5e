"""What a claims run measured, as statistics want it: Data over a run's folder, read only, nothing of it kept elsewhere.

A claim is taken from plan.json as it was when the run was planned, so that a verdict can be redone from the folder
alone, whatever became of the claim's file.

    data = Data(folder)
    data.claims                            the claims of the run, in the order of their ids; see claims_file.Claim
    data.profile, data.wanted(claim)       "quick" or "full"; how many blocks or runs were planned for a claim
    data.missing(claim)                    None, or Why nothing of it can be measured here
    data.values(claim, arm, metric, at)    {block: figure} of good samples only
    data.workers(claim, arm, of, at)       {block: [a worker's count, ...]} of a server that tells its workers apart
    data.served(claim, arm, at)            {block: whether every client was served}
    data.why(claim, arm, at, metric)       [Why, ...]: what was left out of values(), and what for
    data.probe(claim)                      [facts, ...] of the runs that ended well
    data.arrivals(claim, arm, at)          [Arrivals, ...], a run each
    data.counts(claim, arm, at)            [{call: times per request}, ...], a run each
    data.cells(claim, along, at)           the cells of an axis of this run, in order: [{axis: value, ...}, ...]
    data.place(cell, along)                a cell's place on that axis, a number
    data.samples(claim)                    ids of all planned samples that a claim reads, for its ledger entry

`at` is a whole cell, as in `part["at"]` of a claim of data.claims; for probes there is none.

A sample is good when its status is ok.  A figure that counts what arrived in a time, or how long that took, is not read
from a sample in which the client was the limit: it would speak of the client (docs/method.md).
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import metrics, metrics_more, records
from bench.claims_file import Claim
from bench.claims_names import groups_of
from bench.claims_plan import cell_of, claim_from_record, series_of
from bench.units import value_of

CLIENTS_OWN = ("µs", "requests/s", "connections/s")  # units of what a full client bends ...
SERVERS_OWN = ("cpu", "ctx", "ceiling")  # ... but for what these names have in them


@dataclass(frozen=True)
class Why:
    """Why something does not count: a code of claims_verdict.CODES, a sentence, and how many samples it concerns."""

    code: str  # "client-bound", "invalid", "limit", "missing", "platform" or "no-data"
    text: str
    samples: int = 0


@dataclass(frozen=True)
class Arrivals:
    """One run of clients that come at once; times from the first client's request on."""

    service_s: float  # the delay or the work of one request
    completions_s: list[float]  # ascending, as many as clients; infinite for those that were not answered in time
    interleaved: bool | None  # had the server received the last request before it sent the first reply? None: not known


class Data:
    """Records of one claims run, by claim, arm and cell."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.plan = records.read_json(folder / "plan.json")
        self.profile: str = self.plan["profile"]
        told = self.plan.get("claims", {})
        self.claims: list[Claim] = [claim_from_record(told[id], self.plan) for id in sorted(told)]
        self.by_place: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
        for record in records.read_samples(folder):
            self.by_place[record["experiment"], record["cell"], record["arm"]].append(record)

    def records(self, claim: Claim, arm: str, at: dict) -> list[dict]:
        """All records of an arm in a cell, by block."""
        found = self.by_place[series_of(claim), cell_of(claim, at), arm]
        return sorted(found, key=lambda record: record["block"])

    def good(self, claim: Claim, arm: str, at: dict) -> Iterator[dict]:
        return (record for record in self.records(claim, arm, at) if record["status"] == "ok")

    def wanted(self, claim: Claim) -> int:
        return self.plan["claims"][claim.id]["runs"]

    def missing(self, claim: Claim) -> Why | None:
        found = self.plan["claims"][claim.id]["missing"]
        return Why(**found) if found else None

    def values(self, claim: Claim, arm: str, metric: str, at: dict) -> dict[int, float]:
        read = metric_of(claim, metric).read
        bends = bent_by_client(claim, metric)
        found = {
            record["block"]: read(record)
            for record in self.good(claim, arm, at)
            if not (bends and metrics.limit(record) == "client")
        }
        return {block: value for block, value in found.items() if value is not None}

    def workers(self, claim: Claim, arm: str, of: str, at: dict) -> dict[int, list[float]]:
        found = {}
        for record in self.good(claim, arm, at):
            each = metrics.dig(record, "server", "report", "workers") or []
            counts = [worker.get(of) for worker in each]
            if counts and None not in counts:
                found[record["block"]] = counts
        return found

    def served(self, claim: Claim, arm: str, at: dict) -> dict[int, bool]:
        """An invalid sample or one of a server that cannot run here says neither."""
        told = {"ok": True, "failed": False}
        return {r["block"]: told[r["status"]] for r in self.records(claim, arm, at) if r["status"] in told}

    def why(self, claim: Claim, arm: str, at: dict, metric: str | None = None) -> list[Why]:
        mine, series, cell = self.records(claim, arm, at), series_of(claim), cell_of(claim, at)
        found = [
            Why("limit" if entry["why"].startswith(("needs", "serves")) else "missing", f"{arm} {entry['why']}")
            for entry in self.plan["left_out"]
            if (entry["experiment"], entry["cell"], entry["arm"]) == (series, cell, arm)
        ]
        for status, code in (("unavailable", "missing"), ("failed", "invalid"), ("invalid", "invalid")):
            bad = [record for record in mine if record["status"] == status]
            if bad:
                found.append(Why(code, f"{arm} at {cell}: {status}: {bad[0]['why']}", len(bad)))
        if metric and bent_by_client(claim, metric):
            bound = [r for r in mine if r["status"] == "ok" and metrics.limit(r) == "client"]
            if bound:
                said = f"{arm} at {cell}: the client was the limit in {len(bound)} of {len(mine)} samples"
                found.append(Why("client-bound", said, len(bound)))
        if not mine and not found:
            found.append(Why("no-data", f"{arm} at {cell} has no sample yet"))
        return found

    def probe(self, claim: Claim) -> list[dict]:
        return [record["probe"]["facts"] for record in self.good(claim, claim.setup["name"], {})]

    def arrivals(self, claim: Claim, arm: str, at: dict) -> list[Arrivals]:
        return [arrivals_of(record["arrivals"]) for record in self.good(claim, arm, at)]

    def counts(self, claim: Claim, arm: str, at: dict) -> list[dict[str, float]]:
        return [record["count"]["calls"] for record in self.good(claim, arm, at)]

    def cells(self, claim: Claim, along: str, at: dict | None = None) -> list[dict]:
        return claim.cells({"along": along, "at": at or {}})

    @staticmethod
    def place(cell: dict, along: str) -> float:
        return value_of(cell[along])

    def samples(self, claim: Claim) -> list[str]:
        return self.plan["claims"][claim.id]["samples"]

    def text(self, claim: Claim) -> str:
        """The claim's file as it was when the run was planned."""
        return self.plan["claims"][claim.id]["text"]


def arrivals_of(told: dict) -> Arrivals:
    answered = [ns / 1e9 for ns in told["completions_ns"]]
    never = [math.inf] * (told["clients"] - len(answered))
    return Arrivals(told["service_ns"] / 1e9, answered + never, told["interleaved"])


def metric_of(claim: Claim, name: str) -> metrics.Metric:
    found = metrics_more.find(name, groups_of(claim.experiment))
    if found is None:
        raise KeyError(name)
    return found


def bent_by_client(claim: Claim, metric: str) -> bool:
    found = metric_of(claim, metric)
    return found.unit in CLIENTS_OWN and not any(word in metric for word in SERVERS_OWN)
