"""`python3 -m bench try`: an experiment of one cell, made from the command line instead of a file."""

import argparse

from bench import arms, checked, contenders, prepare, witnesses
from bench.arms import Arm
from bench.errors import UsageError
from bench.experiment import Experiment, Profile
from bench.units import parse_time_ns

METRICS = ["server_cpu_us_per_req", "throughput_rps", "p50_us", "p99_us"]
DEFAULTS = {"protocol": "echo", "connections": 50}


def load_options() -> dict[str, dict]:
    """The load options of experiment files that are one word: what a file may say, the command line may say too."""
    known = checked.schema("experiment")["$defs"]["load"]["properties"]
    return {name: rules for name, rules in known.items() if rules.get("type") not in ("array", "object")}


def add_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("load", "as in experiment files; --rate makes it an open loop")
    for name, rules in load_options().items():
        option = "--" + name.replace("_", "-")
        group.add_argument(option, metavar="X", type=number_or_word, help=described(rules).replace("%", "%%"))
    group.add_argument("--workers", metavar="N", type=int, help="of the servers: threads or processes that serve")
    group.add_argument("--warmup", default="300ms", metavar="TIME", help="before the window (default: 300ms)")
    group.add_argument("--duration", default="1s", metavar="TIME", help="the measured window (default: 1s)")


def number_or_word(text: str) -> int | str:
    """What a TOML file would hold: the schema says later which of both it should have been."""
    return int(text) if text.isdigit() else text


def described(rules: dict) -> str:
    return rules.get("description") or checked.schema("experiment")["$defs"][
        rules["$ref"].rsplit("/", 1)[1]
    ]["description"]


def ready(options: argparse.Namespace) -> prepare.Ready:
    """The plan of an ad hoc comparison."""
    given = {name: getattr(options, name) for name in load_options() if getattr(options, name) is not None}
    load = {
        **DEFAULTS,
        **({"mode": "open", "arrival": "poisson", "wait": "spin"} if "rate" in given else {"mode": "closed"}),
        **given,
    }
    timing = {"warmup": options.warmup, "duration": options.duration}
    rules = checked.schema("experiment")["$defs"]
    checked.complain(load, {**rules["load"], "$defs": rules}, "try")
    for name, value in timing.items():
        checked.complain({name: value}, {"properties": {name: rules["time"]}}, "try")
        parse_time_ns(value)
    if why := witnesses.why_not({**load, **timing}):
        raise UsageError(f"try: --engine: {why}")
    found = list({arm.name: arm for arm in map(contenders.find, options.arms)}.values())
    server = {} if options.workers is None else {"workers": options.workers}
    refuse_unfit(found, load["protocol"], server)
    x = "rate" if "rate" in load else "connections"
    profile = Profile(options.blocks, options.warmup, options.duration, {x: [load[x]]})
    shown = ", ".join(f"{name} {value}" for name, value in load.items() if name not in ("mode", "arrival", "wait"))
    experiment = Experiment(
        name="try",
        title=f"{', '.join(arm.name for arm in found)} under {shown}",
        question="Which of these is cheaper under this load?",
        x=x,
        metrics=METRICS,
        load=load,
        server=server,
        profiles={"quick": profile},
        arms={"reference": found[0].name},
    )
    options.no_figures = True  # one cell is a table, not a curve
    return prepare.of_experiments([experiment], "quick", "try", options, lambda _: found)



def refuse_unfit(found: list[Arm], protocol: str, server: dict) -> None:
    """What an arm that was named does not have is refused with the models that have it."""
    for arm in found:
        if protocol not in arm.protocols:
            others = have("protocols", protocol)
            raise UsageError(f"{arm.name} does not speak {protocol}; of the models these do: {others}")
        for option in server:
            if option not in arm.options:
                raise UsageError(f"{arm.name} has no --{option}; of the models these have: {have('options', option)}")


def have(what: str, word: str) -> str:
    return ", ".join(arm.name for arm in arms.models() if word in getattr(arm, what)) or "none"
