"""`python3 -m bench gate`: the exact tier. Has a request become dearer in anything that can be counted?

Measures every model (bench/exact.py), compares with the committed ratchet of this toolchain or with another revision
built on the spot, and says by name what changed.  No figure depends on time, so that a noisy host repeats it; what rose
is measured once more, by a fresh process, before it is called so.
"""

import argparse
import time
from pathlib import Path

from rich.console import Console

from bench import arms, callgrind, contenders, exact, lockstep, paths, placement, ratchet, runner
from bench.errors import BenchError, UsageError
from bench.gate_report import conclude
from bench.gate_tier import Outcome, Tier
from bench.measure import Bed
from bench.units import nearest

ROUNDS = 3  # how often a baseline is measured, so that what time decides is known for that


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "models", nargs="*", metavar="MODEL", help="models and contenders (default: every model that is built)"
    )
    command.add_argument("--only", metavar="A,B", help=f"of the kinds {', '.join(exact.KINDS)} (default: all)")
    command.add_argument("--cases", metavar="A,B", help=f"of the cases {', '.join(exact.CASES)} (default: all)")
    command.add_argument(
        "--against", metavar="REV", help="compare with this revision, built on the spot, and not with the ratchet"
    )
    command.add_argument(
        "--update", action="store_true", help="let the ratchet follow figures that fell, and take in new ones"
    )
    command.add_argument(
        "--allow-worse", metavar="WHY", help="with --update: let it follow risen figures too, for this reason"
    )
    command.add_argument("--ratchet", metavar="DIR", help="the folder of committed figures (default: bench/ratchet)")
    command.add_argument("--strict", action="store_true", help="a model that this host cannot run is missing, too")
    command.add_argument(
        "--project", metavar="DIR", help="gate the server that DIR/.muxbench.toml names, and not the models"
    )
    command.add_argument(
        "--mode", choices=("exact", "timed", "both"), help="with --project: instead of the file's gate.mode"
    )
    command.add_argument("--together", action="store_true", help="run even while another bench runs here")


def run(options: argparse.Namespace, console: Console) -> int:
    check(options)
    if options.project:
        from bench import project

        return project.run_gate(options, console)
    begun = time.monotonic()
    wanted = [contenders.find(name) for name in dict.fromkeys(options.models)] or arms.models("all")
    outcome = Outcome()
    kinds = possible(kinds_of(options), outcome)
    chain = ratchet.toolchain()
    with runner.alone(options.together), runner.buried() as undertaker:
        bed = Bed(str(paths.build_dir() / "loadgen"), placement.place(), undertaker)
        tier = Tier(
            bed, kinds, cases_of(options), outcome, lambda line: console.print(line, style="dim", highlight=False)
        )
        folder = Path(options.ratchet).resolve() if options.ratchet else None
        before = tier.of_revision(options.against, wanted) if options.against else committed(chain, outcome, folder)
        tier.measure(wanted, ROUNDS if options.update else 1)
        tier.judge(before, {arm.name: arm for arm in wanted}, chosen=bool(options.models), strict=options.strict)
    return conclude(outcome, chain, options, console, begun, folder)


def check(options: argparse.Namespace) -> None:
    if options.allow_worse is not None and (not options.update or not options.allow_worse.strip()):
        raise UsageError("--allow-worse needs a reason, and --update beside it")
    if options.update and options.against:
        raise UsageError("--update keeps figures in the ratchet, --against compares with a revision: one at a time")
    if options.mode and not options.project:
        raise UsageError("--mode is for --project; the models' timed tier is: python3 -m bench compare")
    kinds_of(options)
    cases_of(options)


def kinds_of(options: argparse.Namespace) -> tuple[str, ...]:
    return names_of(options.only, exact.KINDS, "--only: no kind") or exact.KINDS


def cases_of(options: argparse.Namespace) -> tuple[str, ...] | None:
    return names_of(options.cases, tuple(exact.CASES), "--cases: no case") or None


def names_of(text: str | None, known: tuple[str, ...], complaint: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise UsageError(f"{complaint} {name!r}{nearest(name, known)}")
    return names


def possible(kinds: tuple[str, ...], outcome: Outcome) -> tuple[str, ...]:
    """The kinds for which this host has the tools; the others are missing, with what to do."""
    whys = {
        "calls": lockstep.why_impossible(),
        "allocations": lockstep.why_impossible(),
        "instructions": callgrind.why_impossible(),
    }
    for kind in kinds:
        if whys.get(kind):
            outcome.missing.append(f"{kind}: {whys[kind]}")
    left = tuple(kind for kind in kinds if not whys.get(kind))
    if not left:
        raise BenchError("nothing can be counted here: " + "; ".join(outcome.missing))
    return left


def committed(chain: dict, outcome: Outcome, folder: Path | None = None) -> dict[str, dict] | None:
    """The ratchet's models; None, and a note, where this toolchain has none yet."""
    path = ratchet.path_of(chain, folder)
    found = ratchet.load(path)
    if found is None:
        where = ", ".join(chain[name] for name in ("compiler", "libc", "architecture", "isa") if chain[name])
        outcome.notes.append(f"no baseline for this toolchain ({where}): nothing is judged; gate --update makes one")
        return None
    outcome.baseline = paths.from_root(path)
    return found["models"]
