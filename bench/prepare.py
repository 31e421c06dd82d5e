"""Before the first sample: what is asked for becomes a checked, written plan, or one line says what is missing."""

import argparse
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import arms, contenders, env, experiment, listing, paths, plan, records, witnesses
from bench import needs as needs_of
from bench.errors import BenchError, UsageError
from bench.experiment import Experiment
from bench.placement import Placement, place
from bench.plan import Plan
from bench.units import format_cpus, format_seconds, nearest

PROFILES = ("quick", "full")
BUSY = 0.7  # a load average from which on a run is warned of; a build right before leaves about this much


@dataclass(frozen=True)
class Ready:
    """A plan and where it will run."""

    plan: Plan
    placement: Placement
    label: str


def from_options(options: argparse.Namespace) -> Ready:
    """Everything that can be wrong is found here, before anything is written."""
    experiments, profile, label = chosen(options.what, options.profile)
    if options.blocks is not None and options.blocks < 1:
        raise UsageError(f"--blocks: expected 1 or more, got {options.blocks}")
    return of_experiments(experiments, profile, label, options, lambda e: arms_of(e, options.models))


def of_experiments(
    experiments: list[Experiment], profile: str, label: str, options: argparse.Namespace, arms_for: Callable
) -> Ready:
    placement = place(server=options.server_cpus, client=options.client_cpus)
    if options.topology:
        experiments = [replace(e, topology=options.topology) for e in experiments]
    arms_of_each = {e.name: arms_for(e) for e in experiments}
    made = plan.make(
        experiments,
        arms_of_each,
        ceiling_arms(experiments),
        profile,
        int(time.time()) if options.seed is None else options.seed,
        fd_limit(),
        options.blocks,
        lambda needs: needs_of.missing(needs, fd_limit()),
    )
    if not made.samples:
        raise UsageError("nothing to run: " + "; ".join(sorted({f"{o['arm']} {o['why']}" for o in made.left_out})))
    made.tools = tools() | witnesses.needed(sample.options.get("engine") for sample in made.samples)
    made.tools |= programs(arm for mine in arms_of_each.values() for arm in mine)
    return Ready(made, placement, label)


def fd_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def chosen(what: list[str], profile: str | None) -> tuple[list[Experiment], str, str]:
    """The experiments of `quick`, `full` or of names and files; the profile; and a label for the run."""
    whole = [w for w in what if w in PROFILES] or ([] if what else [profile or "quick"])
    named = [w for w in what if w not in PROFILES]
    if len(whole) > 1 or (whole and profile and whole[0] != profile):
        raise UsageError(f"one profile at a time: got {' and '.join(dict.fromkeys(whole + [profile or whole[-1]]))}")
    profile = whole[0] if whole else profile or "quick"
    if named:
        found = [experiment.load(path_of(name)) for name in dict.fromkeys(named)]
    else:
        found = [e for e in map(experiment.load, listing.experiment_files()) if profile in e.part_of]
    for e in found:
        if profile not in e.profiles:
            raise UsageError(f"experiment {e.name} has no profile {profile} (there are: {', '.join(e.profiles)})")
    return found, profile, "-".join([e.name for e in found] + [profile]) if named else profile


def path_of(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    path = paths.EXPERIMENTS / f"{name}.toml"
    if not path.exists():
        known = [p.stem for p in listing.experiment_files()]
        raise UsageError(f"no experiment {name!r}{nearest(name, known + list(PROFILES))}")
    return path


def arms_of(e: Experiment, only: str | None) -> list[arms.Arm]:
    """The experiment's arms, or of these the ones that --models names."""
    if only:
        found = [contenders.find(name.strip()) for name in only.split(",") if name.strip()]
    else:
        others = [contenders.find(name) for name in e.arms.get("contenders", [])]
        found = arms.models(e.arms.get("models", "all")) + others + [variant(told) for told in e.arms.get("variants", [])]
    if len({arm.name for arm in found}) < len(found):
        raise UsageError(f"{e.name}: arms: two of them have the same name")
    if e.reference and e.reference not in [arm.name for arm in found]:
        found += arms.models([e.reference])  # without it nothing could be compared
    return found


def variant(told: dict) -> arms.Arm:
    """A model, or a server of build/lab, started with options of its own."""
    base = contenders.find(told["model"])
    words: list[str] = []
    for option, value in told["options"].items():
        name = option.replace("_", "-")
        if name not in base.options:
            raise UsageError(f"{told['model']} has no --{name}{nearest(name, base.options)}")
        words += ["--" + name] if value is True else [] if value is False else ["--" + name, str(value)]
    return replace(base, name=told["name"], argv=(*base.argv, *words), kind="variant")


def ceiling_arms(experiments: list[Experiment]) -> dict[str, arms.Arm]:
    return {e.name: arms.models([e.ceiling["arm"]])[0] for e in experiments if e.ceiling}


def programs(found: Iterable[arms.Arm]) -> dict[str, dict]:
    """The files that the commands of contenders name, with their hashes: what a contender's own hash does not hold."""
    told = {}
    for arm in found:
        for word in arm.argv if arm.source.endswith(".toml") else ():
            path = shutil.which(word) if word == arm.argv[0] else word
            if path and (paths.ROOT / path).is_file():
                told[f"{word} of {arm.name}"] = {"path": path, "sha256": arms.file_hash(paths.ROOT / path)}
    return told


def tools() -> dict[str, dict]:
    """The load generator, its hash, and the work calibration of this host."""
    loadgen = paths.build_dir() / "loadgen"
    if not os.access(loadgen, os.X_OK):
        raise BenchError(f"{paths.shown(loadgen)} is missing; run: make")
    return {
        "loadgen": {"path": paths.from_root(loadgen), "sha256": arms.file_hash(loadgen)},
        "calibrate": {"loops_per_us": calibrate()},
    }


def calibrate() -> int | None:
    """Loops per microsecond, once per plan, so that all arms burn the same work; None where the tool is not built."""
    try:
        done = subprocess.run([paths.build_dir() / "calibrate"], capture_output=True, timeout=20, check=True)
        return json.loads(done.stdout)["loops_per_us"]
    except FileNotFoundError:
        return None
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise BenchError(
            f"{paths.shown(paths.build_dir() / 'calibrate')} does not say how fast this host is: {error}"
        ) from None


def announce(ready: Ready, folder: Path | None = None) -> str:
    """What will be run, where, and how long it takes."""
    done = len(records.read_samples(folder)) if folder else 0
    due = ready.plan.samples[done:]
    where = f"server on CPU {format_cpus(ready.placement.server)}, client on CPU {format_cpus(ready.placement.client)}"
    what = "claims" if ready.plan.claims else ", ".join(ready.plan.experiments)
    lines = [f"{what} ({ready.plan.profile}): {len(due)} samples, about {duration(due)}; {where}"]
    if ready.placement.shared:
        lines.append(f"mind: {ready.placement.shared}")
    if os.getloadavg()[0] > BUSY:
        lines.append(f"mind: other programs use this host (load average {os.getloadavg()[0]:.1f}); figures will be disturbed")
    if ready.plan.claims:
        from bench import claims_run  # it imports this module

        return "\n".join([*lines, *claims_run.announce(ready.plan)])
    for name in ready.plan.experiments if len(ready.plan.experiments) > 1 else ():
        samples = [s for s in due if s.experiment == name]
        lines.append(f"  {name}: {len(samples)} samples, {duration(samples)}")
    return "\n".join(lines)


def duration(samples: list[plan.Sample]) -> str:
    return format_seconds(sum(map(plan.expected_s, samples)))


def lay_down(ready: Ready, results: Path) -> Path:
    """Makes the run's folder and writes plan.json and env.json, the plan first."""
    folder = records.create(results, ready.label)
    records.write_json(folder / "plan.json", ready.plan.as_record(records.SCHEMA))
    records.write_json(folder / "env.json", env.collect())
    return folder


def unfinished(results: Path, name: str | None) -> Path:
    """The run to go on with."""
    if name:
        return records.find(results, name)
    for folder in reversed(records.runs(results)):
        planned = records.read_json(folder / "plan.json")["samples"]
        if len(records.read_samples(folder)) < len(planned):
            return folder
    raise UsageError(f"no unfinished run in {paths.shown(results)}")


def take_up(folder: Path, options: argparse.Namespace) -> Ready:
    """The plan of an interrupted run, refused when what it would measure has changed since."""
    found = Plan.from_record(records.read_json(folder / "plan.json"))
    planned = [{"name": name, "path": arm["source"], "sha256": arm["sha256"]} for name, arm in found.arms.items()]
    planned += [{"name": name, **told} for name, told in found.tools.items() if "sha256" in told]
    for what in planned:
        path = paths.ROOT / what["path"]
        if not path.exists() or arms.file_hash(path) != what["sha256"]:
            raise BenchError(
                f"{what['name']} ({what['path']}) is not what {folder.name} was planned with; "
                "rebuild that revision, or start a new run"
            )
    if (folder / "env.json").exists():
        then, now = records.read_json(folder / "env.json")["fingerprint"], env.collect()["fingerprint"]
        if then != now:
            raise BenchError(
                f"{folder.name} was begun on another host or setting (fingerprint {then}, here {now}); start a new run"
            )
    else:  # killed between the two files
        records.write_json(folder / "env.json", env.collect())
    return Ready(found, as_before(folder, options), folder.name)


def as_before(folder: Path, options: argparse.Namespace) -> Placement:
    """The CPUs of the samples that are there: others in the same run would be another experiment."""
    where, done = place(server=options.server_cpus, client=options.client_cpus), records.read_samples(folder)
    then = done[0]["placement"] if done else where.as_record()
    if not (options.server_cpus or options.client_cpus) and not same_cpus(where, then):
        where = place(server=format_cpus(then["server"]), client=format_cpus(then["client"]))
    if not same_cpus(where, then):
        raise UsageError(f"{folder.name} was begun on other CPUs; leave out --server-cpus and --client-cpus")
    return where


def same_cpus(where: Placement, then: dict) -> bool:
    return all(sorted(where.as_record()[side]) == sorted(then[side]) for side in ("server", "client"))
