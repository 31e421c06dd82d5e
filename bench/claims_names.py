"""What a claim may name: arms and their options, metrics, cells of a grid.

Names are looked up in the sources, so that a claim can be checked before anything is built; what a build has beside
them counts, too.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bench import arms, contenders, metrics_more, pages, paths, telemetry
from bench.errors import UsageError
from bench.experiment import Experiment
from bench.units import nearest

KNOB = re.compile(r'\{"([a-z][a-z-]*)",(?:[^{}"]|"[^"]*")*?\}')
CHOICES = re.compile(r'\.choices\s*=\s*"([^"]*)"')
EVERY_SERVER = ("backlog", "bind", "delay", "delay-blocks", "file", "listen", "loops-per-us", "workers")


@cache
def models() -> list[str]:
    return sorted({*pages.names(), *arms.model_names()})


@cache
def lab() -> list[str]:
    built = arms.model_names(paths.build_dir() / "lab")
    return sorted({f"lab/{name}" for name in [*pages.names(pages.PAGES / "lab"), *built]})


@cache
def knobs(model: str) -> dict[str, list[str]] | None:
    """A lab page's options and the words that each takes, [] where it takes a number or a time; None without a page."""
    page = pages.PAGES / f"{model}.c"
    if not page.is_file():
        return None
    found = {}
    for knob in KNOB.finditer(page.read_text()):
        choices = CHOICES.search(knob[0])
        found[knob[1]] = choices[1].split("|") if choices else []
    return found


def check_arms(told: dict, where: str) -> None:
    """The `arms` table of a claim or of its experiment: models, contenders and variants that there are."""
    known = contender_names()
    wanted = told.get("models", [])
    for name in [] if wanted == "all" else wanted:
        if name not in models():
            raise UsageError(f"{where}.models: no model {name!r}{nearest(name, models())}")
    for name in told.get("contenders", []):
        if name not in known:
            raise UsageError(f"{where}.contenders: no contender {name!r}{nearest(name, known)}")
    for variant in told.get("variants", []):
        check_variant(variant, f"{where}.variants.{variant['name']}")
    names = arm_names(told)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{where}: two arms have the name {twice!r}")
    if not names:
        raise UsageError(f"{where}: expected models, contenders or variants, got none")


def check_variant(variant: dict, where: str) -> None:
    base = variant["model"]
    known = [*models(), *lab(), *contender_names()]
    if base not in known:
        raise UsageError(f"{where}.model: no model {base!r}{nearest(base, known)}")
    own = knobs(base)
    for option, value in variant["options"].items() if own is not None else ():
        name = option.replace("_", "-")
        if name not in own and name not in EVERY_SERVER:
            raise UsageError(f"{where}.options: {base} has no --{name}{nearest(name, [*own, *EVERY_SERVER])}")
        words = own.get(name)
        if words and value not in words:
            raise UsageError(f"{where}.options.{option}: expected one of {', '.join(words)}, got {value!r}")


def contender_names() -> list[str]:
    return [path.stem for path in contenders.files()]


def arm_names(told: dict) -> list[str]:
    """The names that an `arms` table gives; the one that others are divided by is among them."""
    wanted = told.get("models", [] if told.get("contenders") or told.get("variants") else "all")
    found = [*(models() if wanted == "all" else wanted), *told.get("contenders", [])]
    found += [variant["name"] for variant in told.get("variants", [])]
    reference = told.get("reference")
    return found + ([reference] if reference and reference not in found else [])


def kernel_calls(told: str | list[str], where: str) -> list[str] | str:
    """System calls by the kernel's names, which strace prints: recv is recvfrom there."""
    if told == "all":
        return told
    found = [pages.KERNEL_NAMES.get(name, name) for name in ([told] if isinstance(told, str) else told)]
    for name in found if system_calls() else ():
        if name not in system_calls():
            raise UsageError(f"{where}: no system call {name!r}{nearest(name, system_calls())}")
    return found


@cache
def system_calls() -> frozenset[str]:
    """The kernel's names out of the C library's headers; none where these are not installed."""
    headers = [*Path("/usr/include").glob("*/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")]
    texts = [header.read_text() for header in headers if header.is_file()]
    return frozenset(name for text in texts for name in re.findall(r"#define __NR_(\w+)", text))


def check_metric(name: str, groups: Iterable[str], where: str) -> None:
    if metrics_more.find(name, groups) is None:
        near = nearest(name, [*metrics_more.names(), *(f"{group}.p99_us" for group in groups)])
        raise UsageError(f"{where}: unknown metric {name!r}{near}")
    first, _, rest = name.partition(".")
    if first == "netstat" and (known := kernel_counters()) and rest not in known:
        raise UsageError(f"{where}: this kernel counts no {rest!r}{nearest(rest, known)}")


@cache
def kernel_counters() -> frozenset[str]:
    """The names of TCP's counters in /proc/net/netstat and snmp; none where these cannot be read."""
    return frozenset(telemetry.of_network(Path("/proc"))["netstat"] or {})


def groups_of(experiment: Experiment) -> list[str]:
    """The populations and request classes of an experiment's loads."""
    loads = [experiment.load, *(profile.load for profile in experiment.profiles.values())]
    populations = [name for load in loads for name in load.get("populations", {})]
    classes = [told.partition(":")[0].strip() for load in loads for told in load.get("classes", [])]
    return list(dict.fromkeys([*populations, *classes]))


def whole_cell(at: dict, grid: dict[str, list], where: str, skip: str | None = None) -> dict:
    """The cell that `at` names, in the grid's order; an axis of one value may be left out, and `skip` must be."""
    for axis, value in at.items():
        if axis not in grid:
            raise UsageError(f"{where}: the grid has no axis {axis!r}{nearest(axis, grid)}")
        if axis == skip:
            raise UsageError(f"{where}: {axis} is the axis that `along` runs over; leave it out here")
        if value not in grid[axis]:
            there = ", ".join(map(str, grid[axis]))
            raise UsageError(f"{where}.{axis}: {value!r} is not in the grid, which has {there}")
    cell = {}
    for axis, values in grid.items():
        if axis == skip:
            continue
        if axis not in at and len(values) > 1:
            there = ", ".join(map(str, values))
            raise UsageError(f"{where}: which {axis}? The grid has {there}")
        cell[axis] = at.get(axis, values[0])
    return cell
