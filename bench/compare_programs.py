"""Both sides' programs: built, put where they are alike, and linked anew when a suspect is measured once more."""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

from bench import compare_plan, compare_sides, host, paths, prepare, relink
from bench.arms import Arm, file_hash, from_executable
from bench.compare_plan import Contest, Plan
from bench.compare_sides import ALONE, Side
from bench.errors import BenchError, UsageError

CONTROL = "plain_epoll"


@dataclass
class Programs:
    """Both sides' servers, built and staged, and linked anew for the second pass when that is asked for."""

    sides: dict[str, Side]
    stage: Path
    found: dict[tuple[str, str], Path] = field(default_factory=dict)  # (model, letter) -> executable
    arms: dict[tuple[int, str, str], Arm] = field(default_factory=dict)
    seed: int = 1
    as_linked: list[str] = field(default_factory=list)  # models whose second pass measures the same programs again

    def arm(self, number: int, contest: Contest, letter: str) -> Arm:
        if contest.model in self.as_linked:
            return self.arms[1, contest.model, letter]
        return self.arms[number, contest.model, letter]

    def link_anew(self, model: str) -> None:
        """Both sides linked in another order; or neither, for one alone would differ from the other by its order."""
        anew = {letter: self.relinked(model, letter) for letter in self.sides}
        if None in anew.values():
            self.as_linked.append(model)
        else:
            self.arms |= {(2, model, letter): from_executable(path) for letter, path in anew.items()}

    def relinked(self, model: str, letter: str) -> Path | None:
        """The program in another order; None where its objects are gone, or do not link as we would."""
        path = self.found.get((model, letter))
        target = self.stage / f"{letter.lower()}2" / "servers" / Path(model).name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            page = f"{path.parent.name}/{path.name}" if path else ""
            return target if path and relink.relinked(path.parent.parent, page, self.seed, target) else None
        except BenchError:
            return None


def programs(options: argparse.Namespace, sides: dict[str, Side], stage: Path, stop: host.Stop, plan: Plan) -> Programs:
    """Builds and stages; what one side lacks goes into the plan's list of missing cells."""
    made = Programs(sides, stage, seed=plan.seed)
    models, note = chosen(options, sides)
    plan.notes += [note] if note else []
    cells = compare_plan.cells(options.cells)
    built = {letter: compare_sides.built(side, models, stop) for letter, side in sides.items()}
    for model in models:
        arms = {letter: staged(made, built[letter], letter, model) for letter in sides}
        absent = [letter for letter, arm in arms.items() if arm is None]
        if len(absent) == 2:
            raise UsageError(f"neither side has a model {model!r}")
        for key, load in cells.items():
            if absent:
                why = f"{sides[absent[0]].shown} has no {model}"
                plan.missing.append({"contest": f"{model}/{key}", "side": absent[0], "why": f"{absent[0]}: {why}"})
                continue
            same = not options.measure_identical and alike(made, model, arms)
            contest = Contest(model, key, load, arms["A"].as_record(), arms["B"].as_record(), same)
            if why := compare_plan.unfit(contest, prepare.fd_limit()):
                plan.missing.append({"contest": contest.key, "side": why[0], "why": why})
            else:
                plan.contests.append(contest)
    for model in dict.fromkeys(contest.model for contest in plan.measured):
        made.link_anew(model)
    plan.as_linked = made.as_linked
    return made


def chosen(options: argparse.Namespace, sides: dict[str, Side]) -> tuple[list[str], str | None]:
    alone = [side for side in sides.values() if side.arm]
    if len(alone) == 1:
        other = next(side for side in sides.values() if not side.arm)
        raise UsageError(f"{alone[0].word} is one server and {other.word} is many: compare two servers, or two trees")
    if options.models and not alone:
        return list(dict.fromkeys(name.strip() for name in options.models.split(",") if name.strip())), None
    models, note = compare_sides.default_models(sides["A"], sides["B"])
    if not models and not alone and not any(side.pages() for side in sides.values()):
        raise UsageError("neither side has servers/")
    return models, note


def staged(made: Programs, built: dict[str, Path | None], letter: str, model: str) -> Arm | None:
    side = made.sides[letter]
    if side.arm:
        arm = compare_sides.staged_alone(side, made.stage, made.sides["B" if letter == "A" else "A"])
        made.found[model, letter] = compare_sides.program_of(side)
    elif built[model] is None:
        return None
    else:
        made.found[model, letter] = built[model]
        arm = compare_sides.staged(built[model], made.stage, letter.lower(), model)
    made.arms[1, model, letter] = arm
    return arm


def alike(made: Programs, model: str, arms: dict[str, Arm]) -> bool:
    a, b = made.found[model, "A"], made.found[model, "B"]
    if model == ALONE and (arms["A"].contender or len(arms["A"].argv) > 1 or len(arms["B"].argv) > 1):
        return arms["A"].argv == arms["B"].argv
    return compare_sides.code_of(a) == compare_sides.code_of(b)


def control() -> Arm:
    """The frozen reference: a loop of forty lines that shares no code with the servers and is built from this tree."""
    path = paths.build_dir() / "arms" / CONTROL
    if not os.access(path, os.X_OK):
        raise BenchError(f"{paths.shown(path)}, the control, is missing; run: make {paths.shown(path)}")
    return Arm(
        CONTROL, (paths.from_root(path),), file_hash(path), paths.from_root(path), protocols=("echo",), kind="control"
    )
