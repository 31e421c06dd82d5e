"""`python3 -m bench compare A B`: is B slower than A?  docs/gate.md says how it is decided, and how often it errs.

Both sides are built, copied under equally long paths, and measured in quads ABBA or BAAB until the answer is known or
the time is over.  The exit code is the verdict (docs/exit-codes.md); --bisect has it as `git bisect run` wants it.
"""

import argparse
import os
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import compare_judge, compare_plan, compare_run, compare_sides, compare_text, env, host, paths, prepare, records
from bench import relink, runner
from bench.arms import Arm, file_hash, from_executable
from bench.compare_judge import CONTAMINATED, IMPROVED, INCONCLUSIVE, MISSING, PASS, REGRESSED, Judgement
from bench.compare_plan import Contest, Plan
from bench.compare_sides import ALONE, Side
from bench.errors import BenchError, Interrupted, UsageError
from bench.measure import Bed, measure
from bench.placement import Placement, place
from bench.revisions import WORK, DoesNotBuild

EXIT = {PASS: 0, IMPROVED: 0, INCONCLUSIVE: 0, REGRESSED: 10, CONTAMINATED: 12, MISSING: 13}
STRICT = 11
GOOD, BAD, SKIP, ABORT = 0, 1, 125, 255  # git-bisect(1)
FIRST_CELL_S, NEXT_CELL_S = 36.0, 46.0
LEAST_S = 15.0  # to measure in, however long the building took
CONTROL = "plain_epoll"
PLAN = "compare.json"


def add_options(command: argparse.ArgumentParser) -> None:
    what = "a revision, WORK (the working tree), a build folder, or a contender (model, name, file, ./program)"
    command.add_argument("a", nargs="?", metavar="A", help=f"the side that is known: {what}")
    command.add_argument("b", nargs="?", metavar="B", help="the side in question (default: HEAD)")
    command.add_argument("--models", metavar="A,B", help="default: those whose sources differ")
    command.add_argument("--cells", nargs="+", default=[], metavar="CELL", help="loads such as rate=40000,size=1000, or the sets usual (one cell, the default) and wide (six)")
    command.add_argument("--metrics", metavar="A,B", help=f"default: {','.join(compare_plan.METRICS)}")
    command.add_argument("--margin", type=float, default=100 * compare_plan.MARGIN, metavar="PERCENT", help="a slowdown below it may pass (default: 5)")
    command.add_argument("--max-time", type=float, metavar="SECONDS", help="for all of it, building included (default: 36 for one cell, 46 for each further one)")
    command.add_argument("--seed", type=int, metavar="N", help="of the coins (default: from the clock; kept in the records)")
    command.add_argument("--dirty", action="store_true", help=f"B is the working tree as it stands, as {WORK} says")
    command.add_argument("--strict", action="store_true", help="exit 11 when it is inconclusive, instead of 0")
    command.add_argument("--bisect", action="store_true", help="exit codes for git bisect run: 0 good, 1 bad, 125 cannot be told")
    command.add_argument("--measure-identical", action="store_true", help="measure even where both sides are the same machine code")
    command.add_argument("--json", metavar="FILE", help="the verdict as JSON (-: to stdout, everything else to stderr)")
    command.add_argument("--repo", metavar="DIR", help="the repository of the revisions (default: this one)")
    command.add_argument("--from", dest="run", metavar="RUN", help="measure nothing: decide again from a recorded comparison")
    command.add_argument("--server-cpus", metavar="LIST", help="CPUs of the server (default: one of the last core)")
    command.add_argument("--client-cpus", metavar="LIST", help="CPUs of the client (default: one of another core)")
    command.add_argument("--together", action="store_true", help="run even while another bench runs here")


def from_options(console: Console, options: argparse.Namespace, measurer: compare_run.Measurer | None = None) -> int:
    """The exit code; `measurer` takes the host's place in tests."""
    if options.json == "-":
        console = Console(stderr=True, highlight=False, width=console.width)
    if not options.bisect:
        return exit_code(compare(console, options, measurer).verdict, options.strict)
    try:
        return bisect_code(compare(console, options, measurer).verdict)
    except DoesNotBuild as error:
        console.print(Text(f"skipped: {error}"))
        return SKIP
    except Interrupted:
        raise
    except BenchError as error:  # an exit code below 128 would be taken for an answer
        console.print(Text(f"bench: {error}", style="red"))
        return ABORT


def exit_code(verdict: str, strict: bool) -> int:
    return STRICT if strict and verdict == INCONCLUSIVE else EXIT[verdict]


def bisect_code(verdict: str) -> int:
    """A slowdown is bad, what is shown to be none is good, and all else is not known."""
    return {REGRESSED: BAD, PASS: GOOD, IMPROVED: GOOD}.get(verdict, SKIP)


def compare(console: Console, options: argparse.Namespace, measurer: compare_run.Measurer | None = None) -> Judgement:
    """Decides, shows, writes; `measurer` replaces the host in tests."""
    if options.run:
        plan, samples, folder = recorded(paths.results_dir(options.results), options.run)
    else:
        check(options)
        plan, samples, folder = carried_out(console, options, measurer)
    judgement = compare_judge.judge(plan, samples)
    told = compare_text.document(plan, judgement, exit_code(judgement.verdict, options.strict), folder.name if folder else None)
    if folder:
        records.write_json(folder / "verdict.json", told)
    compare_text.show(console, plan, judgement, folder)
    if options.json:
        compare_text.write_json(options.json, told)
    return judgement


def check(options: argparse.Namespace) -> None:
    if options.a is None:
        raise UsageError("compare: expected a side A, such as a revision (HEAD~1) or a build folder")
    if options.dirty and options.b not in (None, WORK):
        raise UsageError(f"compare: --dirty makes the working tree side B, and B is {options.b!r}; leave one of them out")
    if not 0 < options.margin <= 100:
        raise UsageError(f"--margin: expected per cent above 0 and up to 100, got {options.margin:g}")
    if options.max_time is not None and not 1 <= options.max_time <= 36_000:
        raise UsageError(f"--max-time: expected seconds from 1 to 36000, got {options.max_time:g}")


def recorded(results: Path, name: str) -> tuple[Plan, list[dict], Path]:
    """A comparison that was measured before."""
    folder = next((path for path in (Path(name), results / name) if (path / PLAN).is_file()), None)
    if folder is None:
        raise UsageError(f"no comparison {name!r} in {paths.shown(results)}: a folder with {PLAN}")
    plan = Plan.from_record(records.read_json(folder / PLAN))
    return plan, records.read_samples(folder), folder


# --- before the first sample -----------------------------------------------------------------------------------------


@dataclass
class Programs:
    """Both sides' servers, built and staged, and linked anew for the second pass when that is asked for."""

    sides: dict[str, Side]
    stage: Path
    found: dict[tuple[str, str], Path] = field(default_factory=dict)  # (model, letter) -> executable
    arms: dict[tuple[int, str, str], Arm] = field(default_factory=dict)
    seed: int = 1

    def arm(self, number: int, contest: Contest, letter: str) -> Arm:
        key = (number, contest.model, letter)
        if key not in self.arms:
            self.arms[key] = self.relinked(contest.model, letter)
        return self.arms[key]

    def relinked(self, model: str, letter: str) -> Arm:
        """Linked in another order; a program whose objects we do not have is measured once more as it is."""
        path = self.found.get((model, letter))
        target = self.stage / f"{letter.lower()}2" / "servers" / Path(model).name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path is None or not relink.relinked(path.parent.parent, f"{path.parent.name}/{path.name}", self.seed, target):
            return self.arms[1, model, letter]
        return from_executable(target)


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
    return Arm(CONTROL, (paths.from_root(path),), file_hash(path), paths.from_root(path), protocols=("echo",), kind="control")


# --- measuring -------------------------------------------------------------------------------------------------------


def carried_out(console: Console, options: argparse.Namespace, measurer: compare_run.Measurer | None) -> tuple[Plan, list[dict], Path | None]:
    begun = time.monotonic()
    repository = Path(options.repo or paths.ROOT)
    sides = {"A": options.a, "B": WORK if options.dirty else options.b or "HEAD"}
    compare_sides.refuse_records(list(sides.values()))
    found = {letter: compare_sides.recognised(letter, word, repository) for letter, word in sides.items()}
    for side in found.values():
        if line := compare_sides.said_of(side):
            console.print(Text(f"mind: {line}", style="yellow"))
    seed = int(time.time()) if options.seed is None else options.seed
    tools, held = prepare.tools() if measurer is None else {}, control()
    plan = Plan(
        seed, {letter: side.as_record() for letter, side in found.items()}, [], held.as_record(),
        metrics=compare_plan.metrics_of(options.metrics), margin=options.margin / 100,
    )
    where = place(server=options.server_cpus, client=options.client_cpus)
    plan.notes += weather(where)
    again = "nothing of this comparison is kept"
    with ExitStack() as stack:
        stop = stack.enter_context(host.Stop(again))
        stage = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muxbench-")))
        made = programs(options, found, stage, stop, plan)
        for note in plan.notes:
            console.print(Text(f"mind: {note}", style="yellow"))
        if not plan.measured:
            return plan, [], None
        stack.enter_context(runner.alone(options.together))
        folder = records.create(paths.results_dir(options.results), "compare")
        try:
            samples = measured(console, options, plan, made, held, Site(where, tools, stop, folder, begun), measurer)
        except (BenchError, KeyboardInterrupt):
            shutil.rmtree(folder, ignore_errors=True)  # half a comparison decides nothing
            raise
    return plan, samples, folder


def weather(where: Placement) -> list[str]:
    """What is known to disturb before the first sample."""
    found = [where.shared] if where.shared else []
    if os.getloadavg()[0] > prepare.BUSY:
        found.append(f"other programs use this host (load average {os.getloadavg()[0]:.1f}); it may come out as contaminated")
    return found


@dataclass(frozen=True)
class Site:
    where: Placement
    tools: dict
    stop: host.Stop
    folder: Path
    begun: float


def measured(
    console: Console, options: argparse.Namespace, plan: Plan, made: Programs, held: Arm, site: Site, measurer: compare_run.Measurer | None
) -> list[dict]:
    """Warm-up, plan, both passes."""
    records.write_json(site.folder / "env.json", env.collect())
    whole = options.max_time or FIRST_CELL_S + NEXT_CELL_S * (len(plan.measured) - 1)
    deadline = max(site.begun + whole, time.monotonic() + min(LEAST_S, whole))
    keep, said = records.Appender(site.folder), compare_text.Said(console)
    try:
        with runner.out_of_the_way(site.where.bench), runner.buried() as undertaker:
            if measurer is None:
                loops = site.tools["calibrate"]["loops_per_us"]
                bed = Bed(str(paths.build_dir() / "loadgen"), site.where, undertaker, site.stop, loops, plan.seed % 1_000_000)
                measurer = lambda sample, arm: measure(sample, arm, bed)  # noqa: E731
            bench = compare_run.Bench(measurer, made.arm, held, keep, site.stop.check, said)
            quad_s = compare_run.warm_up(bench, plan, plan.measured)
            compare_run.schedule(plan, deadline - bench.clock(), quad_s)
            records.write_json(site.folder / PLAN, plan.as_record(records.SCHEMA))
            compare_run.measure(bench, plan, deadline)
            return bench.samples
    finally:
        said.close()
        keep.close()
