"""The exact tier at work: models measured, held against what was there before, and what rose measured again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import arms, env, exact, pages, ratchet, revisions
from bench.arms import Arm
from bench.errors import BenchError, UsageError
from bench.measure import Bed
from bench.ratchet import Change
from bench.serve import Unavailable

PASS, REGRESSED, MISSING = 0, 10, 13  # docs/exit-codes.md
AGAINST_ROUNDS = 2  # of another revision's models: what differs between them is time's


@dataclass
class Outcome:
    """What a gate found, from the first model to the verdict."""

    figures: dict[str, dict] = field(default_factory=dict)  # by model: figures, libraries
    changes: list[Change] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # cells that should be there, each with its reason
    notes: list[str] = field(default_factory=list)
    baseline: str | None = None

    @property
    def worse(self) -> list[Change]:
        return [change for change in self.changes if change.verdict == "worse"]

    def code(self) -> int:
        return REGRESSED if self.worse else MISSING if self.missing else PASS

    def verdict(self) -> str:
        return {REGRESSED: "REGRESSED", MISSING: "MISSING", PASS: "PASS"}[self.code()]


class Tier:
    """Measures models and holds them against what was there before."""

    def __init__(
        self,
        bed: Bed,
        kinds: tuple[str, ...],
        cases: tuple[str, ...] | None,
        outcome: Outcome,
        tell: Callable[[str], None],
    ):
        self.bed, self.kinds, self.cases, self.outcome, self.tell = bed, kinds, cases, outcome, tell
        self.away: dict[str, str] = {}  # models that this host cannot run, and why

    def measure(self, wanted: list[Arm], rounds: int) -> None:
        for arm in wanted:
            begun = time.monotonic()
            try:
                found = self.twice(arm, rounds)
                self.outcome.figures[arm.name] = {"figures": found.figures, "libraries": libraries_of(arm)}
                self.outcome.notes += [note for note in found.notes if note not in self.outcome.notes]
                self.tell(f"{arm.name}: {time.monotonic() - begun:.1f} s")
            except Unavailable as why:
                self.away[arm.name] = f"this host cannot run it: {why}"
            except (BenchError, OSError) as why:
                self.outcome.missing.append(f"{arm.name}: {why}")

    def twice(self, arm: Arm, rounds: int) -> exact.Found:
        """A server that fails is asked once more: on a crowded host one may miss every patience."""
        try:
            return self.of_arm(arm, rounds)
        except (BenchError, OSError):
            return self.of_arm(arm, rounds)

    def of_arm(self, arm: Arm, rounds: int) -> exact.Found:
        kinds = ("calls",) if arm.kind == "contender" else self.kinds  # not ours to load libraries into
        found = exact.measure(arm, kinds, self.bed, self.cases)
        for _ in range(rounds - 1):
            again = exact.measure(arm, kinds, self.bed, self.cases)
            found = exact.Found(ratchet.merge(found.figures, again.figures), found.notes)
        return found

    def of_revision(self, revision: str, wanted: list[Arm]) -> dict[str, dict]:
        """The same figures of the same models, as another revision builds them."""
        names = [arm.name for arm in wanted if arm.kind == "model"]
        if len(names) < len(wanted):
            raise UsageError("--against is for the models of this project; a project of its own: --project DIR")
        commit = revisions.resolve(revision)
        self.outcome.baseline = f"revision {commit.shown}"
        found = {}
        try:  # all at once; where it has not all of them, one by one
            revisions.built(commit, [f"servers/{name}" for name in names])
        except revisions.NoSuchTarget:
            pass
        for name in names:
            try:
                build = revisions.built(commit, [f"servers/{name}"])
                arm = arms.from_executable(build / "servers" / name)
                found[name] = {"figures": self.twice(arm, AGAINST_ROUNDS).figures, "libraries": libraries_of(arm)}
                self.tell(f"{name} of {commit.shown}: counted")
            except revisions.DoesNotBuild:
                raise
            except (Unavailable, revisions.NoSuchTarget) as why:
                self.outcome.notes.append(f"{name} of {commit.shown}: {why}")
            except (BenchError, OSError) as why:
                self.outcome.missing.append(f"{name} of {commit.shown}: {why}")
        return found

    def judge(self, before: dict[str, dict] | None, wanted: dict[str, Arm], chosen: bool, strict: bool) -> None:
        """Every change of every model; what rose or is lost is measured again, and is so if it was so twice."""
        if before is None:
            self.outcome.notes += [f"{model}: {why}" for model, why in self.away.items()]
            return
        for model, told in before.items():
            now = self.outcome.figures.get(model)
            if now is None:
                self.absent(model, chosen, strict)
            elif now["libraries"] != told["libraries"]:
                known = ", ".join(f"{name} {version}" for name, version in told["libraries"].items())
                self.outcome.notes.append(f"{model}: its baseline is for {known}; not judged")
            else:
                changes = ratchet.judge(model, told["figures"], now["figures"])
                lost = self.lost(model, told["figures"], now["figures"])
                if lost or any(change.verdict == "worse" for change in changes):
                    self.count_again(model, wanted[model])
                    changes = ratchet.judge(model, told["figures"], now["figures"])
                self.outcome.changes += changes
                self.outcome.missing += self.lost(model, told["figures"], now["figures"])
        for model in [model for model in self.outcome.figures if model not in before]:
            self.outcome.notes.append(f"{model}: new, no baseline")

    def count_again(self, model: str, arm: Arm) -> None:
        """What rose or was lost has done so only if it does so twice."""
        now = self.outcome.figures[model]
        try:
            now["figures"] = ratchet.merge(now["figures"], self.twice(arm, 1).figures)
        except (Unavailable, BenchError, OSError) as why:
            self.outcome.missing.append(f"{model}: could not be counted again: {why}")

    def lost(self, model: str, before: exact.Figures, after: exact.Figures) -> list[str]:
        """Cells that the baseline has and this measurement has not, though it asked for them."""
        cells = [(kind, case) for kind in self.kinds for case in before.get(kind, {})]
        asked = [(kind, case) for kind, case in cells if not self.cases or case in self.cases]
        return [
            f"{model} {case}: no {kind} could be counted" for kind, case in asked if case not in after.get(kind, {})
        ]

    def absent(self, model: str, chosen: bool, strict: bool) -> None:
        """A model of the baseline that was not measured: asked for others, cannot run here, or really missing."""
        if chosen and model not in self.away:
            return
        page = pages.read(model) if model in pages.names() else None
        lacks = pages.missing_libraries(page) if page else []
        why = self.away.get(model) or (f"not built: this host has no {' '.join(lacks)}" if lacks else None)
        if why and not strict:
            self.outcome.notes.append(f"{model}: {why}; not judged")
        elif not any(line.startswith(f"{model}:") for line in self.outcome.missing):
            self.outcome.missing.append(
                f"{model}: {why or 'in the baseline, but not built (make), or its page is gone'}"
            )


def libraries_of(arm: Arm) -> dict[str, str | None]:
    """What a model is built on, with versions: another one makes other figures."""
    if arm.name not in pages.names():
        return {}
    asked = pages.read(arm.name).libraries
    return {name: None if name.startswith("-l") else env.run("pkg-config", "--modversion", name) for name in asked}
