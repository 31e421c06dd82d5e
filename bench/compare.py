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
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import (
    compare_judge,
    compare_plan,
    compare_run,
    compare_sides,
    compare_text,
    drawing,
    env,
    host,
    paths,
    prepare,
    records,
)
from bench import runner
from bench.arms import Arm
from bench.compare_judge import CONTAMINATED, IMPROVED, INCONCLUSIVE, MISSING, PASS, REGRESSED, Judgement
from bench.compare_plan import Plan
from bench.compare_programs import Programs, control, programs
from bench.errors import BenchError, Interrupted, UsageError
from bench.measure import Bed, measure
from bench.placement import Placement, place
from bench.revisions import WORK, DoesNotBuild

EXIT = {PASS: 0, IMPROVED: 0, INCONCLUSIVE: 0, REGRESSED: 10, CONTAMINATED: 12, MISSING: 13}
STRICT = 11
GOOD, BAD, SKIP, ABORT = 0, 1, 125, 255  # git-bisect(1)
FIRST_CELL_S, NEXT_CELL_S = 36.0, 46.0
LEAST_S = 15.0  # to measure in, however long the building took
PLAN = "compare.json"


def add_options(command: argparse.ArgumentParser) -> None:
    what = "a revision, WORK (the working tree), a build folder, or a contender (model, name, file, ./program)"
    command.add_argument("a", nargs="?", metavar="A", help=f"the side that is known: {what}")
    command.add_argument("b", nargs="?", metavar="B", help="the side in question (default: HEAD)")
    command.add_argument("--models", metavar="A,B", help="default: those whose sources differ")
    command.add_argument(
        "--cells",
        nargs="+",
        default=[],
        metavar="CELL",
        help="loads such as rate=40000,size=1000, or the sets usual (one cell, the default) and wide (six)",
    )
    command.add_argument("--metrics", metavar="A,B", help=f"default: {','.join(compare_plan.METRICS)}")
    command.add_argument(
        "--margin",
        type=float,
        default=100 * compare_plan.MARGIN,
        metavar="PERCENT",
        help="a slowdown below it may pass (default: 5)",
    )
    command.add_argument(
        "--max-time",
        type=float,
        metavar="SECONDS",
        help="for all of it, building included (default: 36 for one cell, 46 for each further one)",
    )
    command.add_argument(
        "--seed", type=int, metavar="N", help="of the coins (default: from the clock; kept in the records)"
    )
    command.add_argument("--dirty", action="store_true", help=f"B is the working tree as it stands, as {WORK} says")
    command.add_argument("--strict", action="store_true", help="exit 11 when it is inconclusive, instead of 0")
    command.add_argument(
        "--bisect", action="store_true", help="exit codes for git bisect run: 0 good, 1 bad, 125 cannot be told"
    )
    command.add_argument(
        "--measure-identical", action="store_true", help="measure even where both sides are the same machine code"
    )
    command.add_argument("--no-figures", action="store_true", help="leave out the figure")
    command.add_argument("--json", metavar="FILE", help="the verdict as JSON (-: to stdout, everything else to stderr)")
    command.add_argument("--repo", metavar="DIR", help="the repository of the revisions (default: this one)")
    command.add_argument(
        "--from", dest="run", metavar="RUN", help="measure nothing: decide again from a recorded comparison"
    )
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
    except Exception:
        console.print_exception()
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
    told = compare_text.document(
        plan, judgement, samples, exit_code(judgement.verdict, options.strict), folder.name if folder else None
    )
    if folder:
        records.write_json(folder / "verdict.json", told)
    compare_text.show(console, plan, judgement, folder)
    if options.json:
        compare_text.write_json(options.json, told)
    if folder and measurer is None and not (options.no_figures or options.bisect):
        show_figure(console, folder)
    return judgement


def show_figure(console: Console, folder: Path) -> None:
    """The verdict stands, whatever becomes of its figure."""
    try:
        for path in drawn(folder):
            console.print(f"figure: {paths.shown(path)}", highlight=False, style="dim")
    except BenchError as error:
        console.print(Text(f"mind: {error}", style="yellow"))


def drawn(folder: Path, *words: str | Path) -> list[Path]:
    """The figure of a comparison, out of its verdict.json."""
    told = records.read_json(folder / "verdict.json")
    if not any(d is not None for of in told["quads"].values() for passes in of.values() for d in passes["first"]):
        return []
    where = env.footer(records.read_json(folder / "env.json"))
    return drawing.drawn("plots.comparison", folder, "--where", where, *words)


def check(options: argparse.Namespace) -> None:
    if options.a is None:
        raise UsageError("compare: expected a side A, such as a revision (HEAD~1) or a build folder")
    if options.dirty and options.b not in (None, WORK):
        raise UsageError(
            f"compare: --dirty makes the working tree side B, and B is {options.b!r}; leave one of them out"
        )
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
    return plan, records.read_samples(folder), folder.resolve()


# --- measuring -------------------------------------------------------------------------------------------------------


def carried_out(
    console: Console, options: argparse.Namespace, measurer: compare_run.Measurer | None
) -> tuple[Plan, list[dict], Path | None]:
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
        seed,
        {letter: side.as_record() for letter, side in found.items()},
        [],
        held.as_record(),
        metrics=compare_plan.metrics_of(options.metrics),
        margin=options.margin / 100,
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
        compare_plan.refuse_too_many(plan)
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
        found.append(
            f"other programs use this host (load average {os.getloadavg()[0]:.1f}); it may come out as contaminated"
        )
    return found


@dataclass(frozen=True)
class Site:
    where: Placement
    tools: dict
    stop: host.Stop
    folder: Path
    begun: float


def measured(
    console: Console,
    options: argparse.Namespace,
    plan: Plan,
    made: Programs,
    held: Arm,
    site: Site,
    measurer: compare_run.Measurer | None,
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
                bed = Bed(
                    str(paths.build_dir() / "loadgen"), site.where, undertaker, site.stop, loops, plan.seed % 1_000_000
                )
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
