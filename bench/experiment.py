"""Experiments: TOML files, checked by a committed schema, made into cells.

`load(path)` either returns an Experiment or raises a UsageError that names the
file, the key and what was expected there.
"""

import itertools
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench import checked, metrics, paths, witnesses
from bench.arms import FDS_ASIDE
from bench.errors import UsageError
from bench.units import nearest

PORTS_EACH = 25_000  # connections from one source address; Linux gives out 28,232 ports unless told otherwise
ALL_SOURCES = 16 * PORTS_EACH


@dataclass(frozen=True)
class Profile:
    """How long and how often: one of an experiment's [profiles.*] tables."""

    blocks: int
    warmup: str
    duration: str
    grid: dict[str, list]
    load: dict = field(default_factory=dict)


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
    panels: str | None = None
    part_of: list[str] = field(default_factory=list)
    figure: str = "curves"
    scaling: bool = False
    arms: dict = field(default_factory=dict)
    needs: dict = field(default_factory=dict)
    topology: str | None = None
    server: dict = field(default_factory=dict)
    capacity: dict | None = None
    ceiling: dict | None = None

    @property
    def reference(self) -> str | None:
        return self.arms.get("reference")

    def cells(self, profile: str) -> list[dict]:
        """The parameter combinations of a profile's grid, in the order written."""
        grid = self.profiles[profile].grid
        return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]

    def load_of(self, profile: str, cell: dict, more: dict | None = None) -> dict:
        """The load generator's options in one cell; the most specific table wins."""
        chosen = self.profiles[profile]
        timing = {"warmup": chosen.warmup, "duration": chosen.duration}
        found = merged(
            self.load, chosen.load, timing, {k: v for k, v in nested(cell).items() if is_load(k)}, more or {}
        )
        if "total" in found:  # a crowd, of which a share speaks
            total, share = found.pop("total"), found.pop("share", "100%")
            found["connections"] = max(1, round(total * float(share.rstrip("%")) / 100))
            found["idle"] = total - found["connections"]
        found["populations"] = {k: v for k, v in found.get("populations", {}).items() if v["connections"]}
        if crowd(found) > PORTS_EACH and "sources" not in found:
            found["sources"] = -(-crowd(found) // PORTS_EACH)
        return {name: value for name, value in found.items() if value != {}}

    def server_of(self, cell: dict) -> dict:
        """The server's options in one cell."""
        return {**self.server, **{name: value for name, value in cell.items() if not is_load(name)}}

    def bounded(self, fd_limit: int) -> "Experiment":
        """The same with `max` made a number: as many as descriptors and ports allow, in whole thousands."""
        profiles = {}
        for name, profile in self.profiles.items():
            others = {**self.load, **profile.load}
            aside = FDS_ASIDE + sum(p["connections"] for p in others.get("populations", {}).values())
            aside += (
                others["connections"]
                if isinstance(others.get("connections"), int)
                else max(profile.grid.get("connections", [0]), default=0)
            )
            most = min(fd_limit - aside, ALL_SOURCES)
            most -= most % (1000 if most >= 1000 else 1)
            grid = (
                {
                    key: list(
                        dict.fromkeys(most if v == "max" else v for v in values if v == "max" or not over(key, v, most))
                    )
                    for key, values in profile.grid.items()
                }
                if any("max" in values for values in profile.grid.values())
                else profile.grid
            )
            profiles[name] = replace(profile, grid=grid)
        return replace(self, profiles=profiles)

    def as_record(self) -> dict:
        return asdict(self)


def over(key: str, value: object, most: int) -> bool:
    return key in ("idle", "total") and isinstance(value, int) and value > most


def crowd(options: dict) -> int:
    """How many connections a load holds open at once."""
    others = sum(p["connections"] for p in options.get("populations", {}).values())
    return options["connections"] + options.get("idle", 0) + others if "connections" in options else others


def is_load(option: str) -> bool:
    """A load option, or one of a population's (`hogs.connections`); else a server's."""
    defs = checked.schema("experiment")["$defs"]
    return option == "populations" or "." in option or option in defs["load"]["properties"]


def nested(cell: dict) -> dict:
    """{"hogs.depth": 4} as load options have it: {"populations": {"hogs": {"depth": 4}}}."""
    found: dict = {}
    for key, value in cell.items():
        population, dot, option = key.partition(".")
        if dot:
            found.setdefault("populations", {}).setdefault(population, {})[option] = value
        else:
            found[key] = value
    return found


def merged(*tables: dict) -> dict:
    """Later tables win, option by option in populations too."""
    found: dict = {}
    for table in tables:
        for key, value in table.items():
            found[key] = (
                merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
            )
    return found


def cell_key(cell: dict) -> str:
    """A cell's name in ids, tables and on the command line: `rate=5000`."""
    return ",".join(f"{name}={value}" for name, value in cell.items())


def load(path: Path, name: str | None = None) -> Experiment:
    """Reads and checks one experiment file; it is called as the file unless told otherwise."""
    return from_data(checked.read(path, "experiment"), paths.shown(path), name or path.stem)


def from_data(data: dict, where: str, name: str) -> Experiment:
    """The experiment of a table that fits the schema; `where` is what complaints begin with."""
    for profile in data["profiles"].values():
        profile["grid"] = flat(profile["grid"])
    check_names(data, where)
    for key, profile in data["profiles"].items():
        check_grid(data, profile, f"{where}: profiles.{key}.grid")
    profiles = {key: Profile(**value) for key, value in data.pop("profiles").items()}
    found = Experiment(name=name, profiles=profiles, **data)
    for profile in profiles:
        check_loads(found.bounded(1 << 20), profile, where)
    return found


def flat(grid: dict) -> dict[str, list]:
    """A population's options by their full names: {"hogs": {"depth": [1]}} is {"hogs.depth": [1]}."""
    return {
        (f"{key}.{option}" if isinstance(values, dict) else key): found
        for key, values in grid.items()
        for option, found in (values.items() if isinstance(values, dict) else [(key, values)])
    }


def check_names(data: dict, name: str) -> None:
    """Raises for names that the schema cannot know: of metrics, of axes, of the arm that others are divided by."""
    for metric in data["metrics"]:
        if metric not in metrics.METRICS:
            raise UsageError(f"{name}: metrics: unknown metric {metric!r}{nearest(metric, metrics.METRICS)}")
    if data.get("scaling") and "panels" in data:
        raise UsageError(f"{name}: scaling: expected no `panels` beside it: a line is fitted along one axis")
    for key, profile in data["profiles"].items():
        for axis in ("x", "panels"):
            if axis in data and data[axis] not in profile["grid"]:
                options = ", ".join(profile["grid"])
                raise UsageError(
                    f"{name}: {axis}: expected an option of profiles.{key}.grid ({options}), got {data[axis]!r}"
                )


def check_grid(data: dict, profile: dict, where: str) -> None:
    """A grid's options are load or server options, or those of a population, and its values what these may be."""
    defs = checked.schema("experiment")["$defs"]
    populations = {**data["load"].get("populations", {}), **profile.get("load", {}).get("populations", {})}
    for option, values in profile["grid"].items():
        population, dot, own = option.partition(".")
        if dot and population not in populations:
            raise UsageError(
                f"{where}: no population {population!r} in load.populations{nearest(population, populations)}"
            )
        known = "population" if dot else "load" if option in defs["load"]["properties"] else "server"
        if not dot and option not in {**defs["load"]["properties"], **defs["server"]["properties"]}:
            near = nearest(option, [*defs["load"]["properties"], *defs["server"]["properties"]])
            raise UsageError(f"{where}: unknown key {option!r}{near}")
        rules = {**defs[known], "required": [], "$defs": defs}
        for value in values:
            checked.complain({own or option: value}, rules, where)


def check_loads(found: Experiment, profile: str, name: str) -> None:
    """Raises for what no cell's load can do without, and for what its engine cannot do."""
    for cell in found.cells(profile):
        options = found.load_of(profile, cell)
        for needed in ("protocol", "connections") + (("rate",) if options.get("mode") == "open" else ()):
            if needed not in options:
                why = " because load.mode is open" if needed == "rate" else ""
                raise UsageError(f"{name}: load.{needed}: expected a value{why}, got nothing")
        if isinstance(options.get("rate"), str) and not found.capacity:
            raise UsageError(f"{name}: load.rate: {options['rate']} of what? expected a table [capacity] that says it")
        if why := witnesses.why_not(options):
            raise UsageError(f"{name}: load.engine: {why}")
