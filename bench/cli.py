"""The commands of `python3 -m bench`.

Each command loads what it needs and no more: together the modules would take half a second of every call.
"""

import argparse
import os
import sys
import time
from importlib import import_module

from rich.console import Console

from bench import paths
from bench.errors import BenchError

EPILOG = """examples:
  python3 -m bench run quick                 all three headline experiments, under three minutes
  python3 -m bench run rates --profile full  one experiment, with blocks enough for verdicts
  python3 -m bench try poll epoll_lt ./mine --connections 500 --size 200
  python3 -m bench resume                    finish the newest interrupted run
  python3 -m bench show                      the newest run's tables again
  python3 -m bench show RUN rates/rate=5000  the samples behind a point
"""


class Commands:
    """The commands of a parser.  With `asked`, those of other modules have their options only where that is the one."""

    def __init__(self, top: argparse.ArgumentParser, asked: str | None):
        self.under, self.asked = top.add_subparsers(dest="command", required=True, metavar="COMMAND"), asked

    def add(self, name: str, function, help: str) -> argparse.ArgumentParser:
        added = self.under.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        added.set_defaults(function=function)
        added.add_argument("--results", metavar="DIR", help="folder that holds the runs (default: results)")
        return added

    def options_of(self, module: str, name: str, added: argparse.ArgumentParser) -> None:
        if self.asked in (None, name):
            import_module(f"bench.{module}").add_options(added)

    def elsewhere(self, name: str, module: str, function, help: str) -> None:
        self.options_of(module, name, self.add(name, function, help))


def parser(asked: str | None = None) -> argparse.ArgumentParser:
    """Of all commands, or with the options of the one that was asked for."""
    top = argparse.ArgumentParser(
        prog="python3 -m bench", description="Runs experiments, keeps raw records, shows what they say.", epilog=EPILOG
    )
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = Commands(top, asked)
    runs(commands)
    what_runs_say(commands)
    about_this_host(commands)
    measurements_of_their_own(commands)
    return top


def runs(commands: Commands) -> None:
    """What measures experiments."""
    run = commands.add("run", do_run, "run experiments and show what they say")
    run.add_argument(
        "what",
        nargs="*",
        metavar="quick|full|EXPERIMENT",
        help="a profile's whole run, or experiments by name or file (default: quick)",
    )
    run.add_argument(
        "--profile", choices=("quick", "full"), help="how long and how often, for named experiments (default: quick)"
    )
    run.add_argument("--models", metavar="A,B", help="only these models")
    run.add_argument("--blocks", type=int, metavar="K", help="this many blocks instead of the profile's")
    run.add_argument(
        "--seed", type=int, metavar="N", help="order of the plan (default: from the clock; kept in plan.json)"
    )
    run.add_argument("--dry-run", action="store_true", help="say what would be run and how long it takes, and stop")
    measuring(run)
    choosing_topology(run)
    tried = commands.add("try", do_try, "measure any arms under any load, without a file: models, contenders, programs")
    tried.add_argument(
        "arms",
        nargs="+",
        metavar="ARM",
        help="a model, a contender's name or file, or a contract program (./mine); the first is the reference",
    )
    commands.options_of("adhoc", "try", tried)
    tried.add_argument("--blocks", type=int, default=5, metavar="K", help="paired repetitions (default: 5)")
    tried.add_argument("--seed", type=int, metavar="N")
    tried.add_argument("--dry-run", action="store_true", help="say what would be run and how long it takes, and stop")
    measuring(tried)
    choosing_topology(tried)
    resume = commands.add("resume", do_resume, "finish an interrupted run, exactly as planned")
    resume.add_argument("run", nargs="?", metavar="RUN", help="default: the newest unfinished one")
    measuring(resume)


def what_runs_say(commands: Commands) -> None:
    """What reads runs and makes something of them."""
    show = commands.add("show", do_show, "show a run's tables, or the samples behind one cell")
    show.add_argument("run", nargs="?", metavar="RUN", help="default: the newest")
    show.add_argument("cell", nargs="?", metavar="CELL", help="EXPERIMENT/CELL, such as rates/rate=5000")
    derive = commands.add("derive", do_derive, "redo everything that is made from a run's raw records")
    derive.add_argument("run", nargs="?", metavar="RUN", help="default: the newest")
    commands.elsewhere("export", "exports", do_export, "a run's figures in the formats of others: CSV, JUnit, Markdown and more")
    commands.elsewhere("gate", "gate", do_gate, "the exact tier: has a request become dearer in anything that can be counted")
    commands.elsewhere("history", "history", do_history, "what every run said of every arm, over time: changes of level, charts")
    documents = commands.add("docs", do_docs, "make the documents' figures and tables from the committed sample of records")
    documents.add_argument("--from", dest="run", metavar="RUN", help="make this run's records the sample first")
    documents.add_argument("--anatomy", metavar="RUN", help="make these anatomy runs the sample first (A,B: what B has replaces A's)")
    documents.add_argument("--lab", metavar="RUN", help="make this run of the lab's experiments a sample first")
    documents.add_argument("--micro", metavar="RUN", help="make this run of micro a sample first")
    documents.add_argument("--claims", metavar="RUN", help="make this run of claims the sample first")
    documents.add_argument("--gate", metavar="RUN", help="make this calibration the sample first")
    documents.add_argument("--comparison", metavar="RUN", help="make this comparison the sample first")
    agreed = commands.add("agree", do_agree, "say how well two runs of the same experiments agree, cell by cell")
    agreed.add_argument("first", metavar="RUN")
    agreed.add_argument("second", metavar="RUN")


def about_this_host(commands: Commands) -> None:
    """What tells of servers and of this host."""
    checked = commands.add("check", do_check, "say in words whether a server serves right: the conformance scenarios that it can run")
    checked.add_argument("contender", metavar="CONTENDER", help="a model, a contender's name or file, or a program (./mine)")
    checked.add_argument("--contract", action="store_true", help="a program's options, counters, signals, memory and CPU too, as for a model")
    checked.add_argument("-k", dest="only", metavar="WORDS", help="only scenarios whose name has these words, as in pytest -k")
    commands.add("doctor", do_doctor, "say whether this host is fit to measure on, and how to mend what is not")
    commands.elsewhere("list", "listing", do_list, "list models, experiments, metrics or runs")


def measurements_of_their_own(commands: Commands) -> None:
    """What is measured in other ways than by experiments."""
    said = "count system calls per request by name, and memory per idle connection"
    commands.elsewhere("anatomy", "anatomy", do_anatomy, said)
    said = "do wrk, h2load and ab measure what our load generator measures, and why not where they do not"
    commands.elsewhere("crosscheck", "crosscheck", do_crosscheck, said)
    commands.elsewhere("reach", "reach", do_reach, "measure this project's own bars against nginx, wrk and plain loops")
    commands.elsewhere("micro", "micro", do_micro, "the wait alone: its price over watched and ready descriptors, without TCP")
    said = "is B slower than A? both built and measured in one run; the exit code is the verdict"
    commands.elsewhere("compare", "compare", do_compare, said)
    said = "how often compare errs here, and what it finds: the same server twice, and slowed ones"
    commands.elsewhere("calibrate", "calibrate", do_calibrate, said)
    said = "time whole commands with hyperfine: start to READY, and clients that greet at once"
    commands.elsewhere("startup", "startup", do_startup, said)
    commands.elsewhere("claim", "claims_command", do_claim, "put published claims to the test: check, list and run them")
    demo = commands.add("demo", do_demo, "three clients at once against a two-second greeting, on every model")
    demo.add_argument("--models", metavar="A,B", help="only these models")


def measuring(command: argparse.ArgumentParser) -> None:
    """Options of the commands that measure."""
    command.add_argument("--server-cpus", metavar="LIST", help="CPUs of the server (default: one of the last core)")
    command.add_argument("--client-cpus", metavar="LIST", help="CPUs of the client (default: one of another core)")
    command.add_argument("--no-figures", action="store_true", help="leave out the figures")
    command.add_argument("--together", action="store_true", help="run even while another bench runs here")


def choosing_topology(command: argparse.ArgumentParser) -> None:
    """For new plans only: a run that is resumed keeps its own."""
    command.add_argument(
        "--topology",
        choices=("loopback", "netns"),
        help="netns: two network namespaces joined by veth, each side's packets on its own CPUs "
        "(default: what the experiment says)",
    )


def do_try(options: argparse.Namespace, console: Console) -> int:
    from bench import adhoc, report

    return report.carry_out(adhoc.ready(options), options, console, time.monotonic())


def do_run(options: argparse.Namespace, console: Console) -> int:
    from bench import prepare, report

    return report.carry_out(prepare.from_options(options), options, console, time.monotonic())


def do_resume(options: argparse.Namespace, console: Console) -> int:
    from bench import prepare, report, runner

    begun = time.monotonic()
    folder = prepare.unfinished(paths.results_dir(options.results), options.run)
    ready = prepare.take_up(folder, options)
    console.print(prepare.announce(ready, folder), highlight=False)
    with runner.alone(options.together):
        return report.run_and_show(ready, folder, options, console, begun)


def do_show(options: argparse.Namespace, console: Console) -> int:
    from bench import records, report

    results = paths.results_dir(options.results)
    if options.run and "/" in options.run and "=" in options.run and not options.cell:
        options.run, options.cell = None, options.run
    folder = records.find(results, options.run)
    if options.cell:
        report.show_cell(folder, options.cell, console)
    else:
        report.show(folder, console)
    return 0


def do_derive(options: argparse.Namespace, console: Console) -> int:
    from bench import records, report

    folder = records.find(paths.results_dir(options.results), options.run)
    report.derive_and_draw(folder, console)
    return 0


def do_export(options: argparse.Namespace, console: Console) -> int:
    from bench import exports

    return exports.from_options(options, console)


def do_gate(options: argparse.Namespace, console: Console) -> int:
    from bench import gate

    return gate.run(options, console)


def do_history(options: argparse.Namespace, console: Console) -> int:
    from bench import history

    return history.from_options(console, options)


def do_docs(options: argparse.Namespace, console: Console) -> int:
    from bench import docs

    runs = (options.run, options.anatomy, options.lab, options.micro, options.gate, options.claims, options.comparison)
    taken = docs.Taken(*runs)
    docs.take(taken, paths.results_dir(options.results))
    for path in docs.make():
        console.print(f"made: {paths.shown(path)}")
    return 0


def do_agree(options: argparse.Namespace, console: Console) -> int:
    from bench import agree, claims_agree, claims_run, records

    results = paths.results_dir(options.results)
    first, second = records.find(results, options.first), records.find(results, options.second)
    if claims_run.is_claims_run(first) and claims_run.is_claims_run(second):
        return claims_agree.show(first, second, console)
    return 0 if agree.show(console, agree.compare(first, second)) >= 0.9 else 1


def do_check(options: argparse.Namespace, console: Console) -> int:
    from bench import check

    return check.run(options.contender, options.contract, options.only, console)


def do_doctor(options: argparse.Namespace, console: Console) -> int:
    from bench import doctor, report

    findings = doctor.examine(paths.results_dir(options.results))
    report.show_findings(findings, console)
    return 1 if any(finding.level == doctor.BAD for finding in findings) else 0


def do_list(options: argparse.Namespace, console: Console) -> int:
    from bench import listing

    console.print(listing.table(options.what, paths.results_dir(options.results)))
    return 0


def do_anatomy(options: argparse.Namespace, console: Console) -> int:
    from bench import anatomy

    return anatomy.run(options, console)


def do_crosscheck(options: argparse.Namespace, console: Console) -> int:
    from bench import crosscheck

    return crosscheck.from_options(console, options)


def do_reach(options: argparse.Namespace, console: Console) -> int:
    from bench import reach

    return reach.from_options(console, options)


def do_micro(options: argparse.Namespace, console: Console) -> int:
    from bench import micro

    return micro.from_options(console, options)


def do_compare(options: argparse.Namespace, console: Console) -> int:
    from bench import compare

    return compare.from_options(console, options)


def do_calibrate(options: argparse.Namespace, console: Console) -> int:
    from bench import calibrate

    return calibrate.from_options(console, options)


def do_startup(options: argparse.Namespace, console: Console) -> int:
    from bench import startup

    return startup.run(console, options)


def do_claim(options: argparse.Namespace, console: Console) -> int:
    from bench import claims_command

    return claims_command.from_options(options, console)


def do_demo(options: argparse.Namespace, console: Console) -> int:
    from bench import demo

    names = options.models.split(",") if options.models else "all"
    return demo.run(console, names, sorted(os.sched_getaffinity(0)))


def main(argv: list[str]) -> int:
    # A pipe has no width of its own: tables are then as wide as they need to be.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    try:
        options = parser(argv[0] if argv else None).parse_args(argv)
        return options.function(options, console)
    except SystemExit as end:
        if end.code == 2 and "--bisect" in argv:  # git bisect would take 2 for the answer "bad"
            return 255
        raise
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # before the first sample or after the last; in between host.Stop answers
        return 130
    except BrokenPipeError:  # `python3 -m bench list | head`
        sys.stderr.close()
        return 0


