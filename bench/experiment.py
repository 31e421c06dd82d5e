"""Experiments: TOML files, checked by a committed schema, made into cells.

`load(path)` either returns an Experiment or raises a UsageError that names the
file, the key and what was expected there.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from bench import checked, metrics, paths, witnesses
from bench.errors import UsageError
from bench.units import nearest, parse_time_ns


@dataclass(frozen=True)
class Profile:
    """How long and how often: one of an experiment's [profiles.*] tables."""

    blocks: int
    warmup: str
    duration: str
    grid: dict[str, list]
    load: dict = field(default_factory=dict)

    @property
    def window_s(self) -> float:
        return (parse_time_ns(self.warmup) + parse_time_ns(self.duration)) / 1e9


@dataclass(frozen=True)
class Experiment:
    """One question, as data."""

    name: str
    title: str
    question: str
    x: str
    metrics: list[str]
    load: dict
    profiles: dict[str, Profile]
    part_of: list[str] = field(default_factory=list)
    figure: str = "curves"
    scaling: bool = False
    arms: dict = field(default_factory=dict)
    server: dict = field(default_factory=dict)
    ceiling: dict | None = None

    @property
    def reference(self) -> str | None:
        return self.arms.get("reference")

    def cells(self, profile: str) -> list[dict]:
        """The parameter combinations of a profile's grid, in the order written."""
        grid = self.profiles[profile].grid
        return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]

    def load_of(self, profile: str, cell: dict) -> dict:
        """The load generator's options in one cell; the most specific table wins."""
        chosen = self.profiles[profile]
        timing = {"warmup": chosen.warmup, "duration": chosen.duration}
        return {**self.load, **chosen.load, **timing, **cell}


def cell_key(cell: dict) -> str:
    """A cell's name in ids, tables and on the command line: `rate=5000`."""
    return ",".join(f"{name}={value}" for name, value in cell.items())


def load(path: Path) -> Experiment:
    """Reads and checks one experiment file."""
    data = checked.read(path, "experiment")
    check(data, paths.shown(path))
    profiles = {key: Profile(**value) for key, value in data.pop("profiles").items()}
    return Experiment(name=path.stem, profiles=profiles, **data)


def check(data: dict, name: str) -> None:
    """Raises for what the schema cannot see: names of metrics, the grid's options, what an open loop needs."""
    for metric in data["metrics"]:
        if metric not in metrics.METRICS:
            raise UsageError(f"{name}: metrics: unknown metric {metric!r}{nearest(metric, metrics.METRICS)}")
    for key, profile in data["profiles"].items():
        check_grid(data, profile, f"{name}: profiles.{key}.grid")
        if data["x"] not in profile["grid"]:
            options = ", ".join(profile["grid"])
            raise UsageError(f"{name}: x: expected an option of profiles.{key}.grid ({options}), got {data['x']!r}")
        options = {**data["load"], **profile.get("load", {}), **profile["grid"]}
        for cell in itertools.product(*profile["grid"].values()):
            timing = {name: profile[name] for name in ("warmup", "duration")}
            why = witnesses.why_not({**options, **timing, **dict(zip(profile["grid"], cell))})
            if why:
                raise UsageError(f"{name}: load.engine: {why}")
        for needed in ("protocol", "connections") + (("rate",) if options.get("mode") == "open" else ()):
            if needed not in options:
                why = " because load.mode is open" if needed == "rate" else ""
                raise UsageError(f"{name}: load.{needed}: expected a value{why}, got nothing")


def check_grid(data: dict, profile: dict, where: str) -> None:
    """A grid's options are load options, and its values what these may be."""
    defs = checked.schema("experiment")["$defs"]
    load_schema = {**defs["load"], "$defs": defs}
    for option, values in profile["grid"].items():
        for value in values:
            checked.complain({option: value}, load_schema, where)
