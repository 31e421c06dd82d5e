"""Claims: TOML files, checked by a committed schema and against everything that they name.

`load(path)` returns a Claim or raises a UsageError that names the file, the key and what was expected there, before
anything is built or run.  What regions can be decided is in claims_regions.py, what names there are in claims_names.py.
"""

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench import checked, claims_names, claims_regions, experiment, paths
from bench.errors import UsageError
from bench.experiment import Experiment
from bench.metrics import METRICS
from bench.units import nearest, value_of
from bench.witnesses import WITNESSES

KINDS = ("experiment", "probe", "arrivals", "count")
QUOTE_WORDS = 25
SOURCES = {  # which statistics can be had of which source
    "experiment": ("value", "ratio", "ratio_across", "growth", "slope", "crossover", "order", "skew", "first_fails"),
    "probe": ("fact", "sequence"),
    "arrivals": ("staircase", "kth", "makespan", "interleaving"),
    "count": ("calls",),
}
DEFAULTS = {  # how long and how often, for experiments written inline
    "quick": {"blocks": 3, "warmup": "30ms", "duration": "100ms", "load": {"probe": "20ms"}},
    "full": {"blocks": 12, "warmup": "100ms", "duration": "700ms"},
}
SEED_TEXTS = {"A": "async-io-blog.txt", "B": "nonblocking-io.txt"}


@dataclass(frozen=True)
class Claim:
    """A claim as it was read: `at` and `to` of its parts are whole cells."""

    id: str
    file: str  # as records keep it
    title: str
    regime: str
    source: dict
    kind: str | None  # one of KINDS; None where nobody can test it
    setup: dict  # the table of that kind; empty for an experiment, which is in `experiment`
    experiment: Experiment | None
    grid: dict[str, list]
    parts: list[dict]
    verdict: dict
    needs: dict = field(default_factory=dict)
    absent: str | None = None
    contradicts: list[str] = field(default_factory=list)
    ours: str | None = None
    tags: list[str] = field(default_factory=list)

    def arms(self) -> list[str]:
        """The arms that the parts read, each once."""
        named = [name for part in self.parts for name in (part.get("arm"), part.get("over"), *part.get("arms", []))]
        return list(dict.fromkeys(name for name in named if name))

    def cells(self, part: dict) -> list[dict]:
        """The cells that a part reads."""
        if "along" in part:
            return [in_order({**part["at"], part["along"]: v}, self.grid) for v in self.grid[part["along"]]]
        return [part[key] for key in ("at", "to") if key in part]


def files() -> list[Path]:
    return sorted(paths.CLAIMS.glob("*.toml"))


def load_all(chosen: Iterable[Path] | None = None) -> list[Claim]:
    """The claims of these files; of all, and then `contradicts` is checked too."""
    found = [load(path) for path in (files() if chosen is None else chosen)]
    ids = [claim.id for claim in found]
    for claim in found:
        if ids.count(claim.id) > 1:
            raise UsageError(f"{claim.file}: id: {claim.id} is another claim's, too")
        for other in claim.contradicts if chosen is None else []:
            if other not in ids:
                raise UsageError(f"{claim.file}: contradicts: no claim {other!r}{nearest(other, ids)}")
    return found


def load(path: Path) -> Claim:
    data, where = checked.read(path, "claim"), paths.shown(path)
    check_head(data, path, where)
    kind = kind_of(data, where)
    source, grid = (data.get(kind), {}) if kind else (None, {})
    found = None
    if kind == "experiment":
        found = experiment_of(data, where)
        grid = grid_of(found)
        claims_names.check_arms(found.arms, f"{where}: experiment.arms")
    elif kind in ("arrivals", "count"):
        grid = axes_of(kind, source, where)
        claims_names.check_arms(source["arms"], f"{where}: {kind}.arms")
    elif kind == "probe":
        check_probe(source["name"], where)
    parts = [whole_part(part, kind, found, source, grid, where) for part in data.get("parts", [])]
    names = [part["name"] for part in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{where}: parts: two of them have the name {twice!r}")
    verdict = data.get("verdict", {"all": names} if names else {})
    check_verdict(verdict, names, where)
    taken = ("id", "title", "regime", "source", "needs", "absent", "contradicts", "ours", "tags")
    head = {key: data[key] for key in taken if key in data}
    return Claim(
        file=paths.from_root(path.resolve()), kind=kind, setup=source if kind not in (None, "experiment") else {},
        experiment=found, grid=grid, parts=parts, verdict=verdict, **head,
    )


def check_head(data: dict, path: Path, where: str) -> None:
    """What stands before the parts: id, source, quotations."""
    if not re.fullmatch(re.escape(data["id"].lower()) + r"(-[a-z0-9]+)*", path.stem):
        raise UsageError(f"{where}: id: {data['id']} belongs in a file {data['id'].lower()}-some-words.toml")
    source = data["source"]
    for number, quote in enumerate(source.get("quote", []), 1):
        words = len(quote.split())
        if words > QUOTE_WORDS:
            raise UsageError(
                f"{where}: source.quote: the quotation {number} has {words} words, {QUOTE_WORDS} are allowed"
            )
    if "quote" not in source and "paraphrase" not in source:
        raise UsageError(f"{where}: source: expected a quote, or a paraphrase")
    for key in ("author", "url") if "seed" not in source else ():
        if key not in source:
            raise UsageError(f"{where}: source: missing key {key!r}: only the two source documents may do without")
    check_quotes(data, where)


def seed_text(seed: str) -> str | None:
    """A source document's text, whitespace collapsed; None where it is not here."""
    folder = Path(os.environ.get("MUXBENCH_SEEDS", paths.ROOT.parent / "shared" / "seeds"))
    try:
        return " ".join((folder / SEED_TEXTS[seed]).read_text().split())
    except OSError:
        return None


def check_quotes(data: dict, where: str) -> None:
    """A source document's quotations stand in it word for word, wherever the text is at hand."""
    text = seed_text(data["source"]["seed"]) if "seed" in data["source"] else None
    for quote in data["source"].get("quote", []) if text else []:
        if " ".join(quote.split()) not in text:
            raise UsageError(f"{where}: source.quote: document {data['source']['seed']} has no such words: {quote!r}")


def kind_of(data: dict, where: str) -> str | None:
    """Where the figures come from."""
    kinds = [kind for kind in KINDS if kind in data]
    if len(kinds) > 1:
        raise UsageError(f"{where}: expected one of {', '.join(KINDS)}, got {' and '.join(kinds)}")
    if not kinds and "absent" not in data:
        raise UsageError(f"{where}: expected one of {', '.join(KINDS)}, or `absent` with a reason")
    if kinds and "absent" in data:
        raise UsageError(f"{where}: absent: what nobody can test has no {kinds[0]}; leave one of the two out")
    if bool(kinds) != ("parts" in data):
        raise UsageError(
            f"{where}: missing key 'parts': expected a list of tables [[parts]], each judged apart"
            if kinds else f"{where}: parts: what nobody can test has none"
        )
    return kinds[0] if kinds else None


def experiment_of(data: dict, where: str) -> Experiment:
    """A shared or shipped experiment by its name, or the table in the claim, completed to one."""
    told = data["experiment"]
    if isinstance(told, str):
        return experiment.load(experiment_path(told, where), told)
    told = dict(told)
    grid, profiles = told.pop("grid", None), told.pop("profiles", {})
    if not grid and not profiles:
        if "connections" not in told.get("load", {}):
            raise UsageError(f"{where}: experiment.grid: expected a table of axes, each with a list of values")
        grid = {"connections": [told["load"]["connections"]]}
    if told.get("load", {}).get("engine") in WITNESSES:  # who have no such option
        defaults = {name: {key: value for key, value in one.items() if key != "load"} for name, one in DEFAULTS.items()}
    else:
        defaults = DEFAULTS
    told["profiles"] = {
        name: {**one, **({"grid": grid} if grid else {}), **profiles.get(name, {})} for name, one in defaults.items()
    }
    named = [part.get("metric") for part in data["parts"]]
    told.setdefault("metrics", list(dict.fromkeys(m for m in named if m in METRICS)) or ["server_cpu_us_per_req"])
    told.setdefault("title", data["title"])
    told.setdefault("question", data["regime"])
    told.setdefault("x", next(iter(experiment.flat(grid or told["profiles"]["full"].get("grid", {}))), "connections"))
    at = f"{where}: experiment"
    checked.complain(told, checked.schema("experiment"), at)
    return experiment.from_data(told, at, data["id"].lower())


def experiment_path(name: str, where: str) -> Path:
    folder, _, own = name.rpartition("/")
    path = (paths.CLAIMS / "shared" if folder == "claims" else paths.EXPERIMENTS / folder) / f"{own}.toml"
    if not path.is_file():
        shared = [f"claims/{p.stem}" for p in (paths.CLAIMS / "shared").glob("*.toml")]
        known = [*shared, *(p.stem for p in paths.EXPERIMENTS.glob("*.toml"))]
        raise UsageError(f"{where}: experiment: no experiment {name!r}{nearest(name, known)}")
    return path


def grid_of(found: Experiment) -> dict[str, list]:
    """All cells that there may be: each axis with the values of both profiles."""
    grid: dict[str, list] = {}
    for profile in found.profiles.values():
        for axis, values in profile.grid.items():
            grid[axis] = list(dict.fromkeys([*grid.get(axis, []), *values]))
    numbers = {axis: all(isinstance(v, (int, float)) for v in values) for axis, values in grid.items()}
    return {axis: sorted(values) if numbers[axis] else values for axis, values in grid.items()}


def axes_of(kind: str, setup: dict, where: str) -> dict[str, list]:
    """The axes of an arrivals or count table."""
    if kind == "count":
        return {"connections": setup.get("connections", [1])}
    if ("delay" in setup) == ("work" in setup):
        raise UsageError(f"{where}: arrivals: expected either `delay` or `work`, the service's time")
    listed = {name: setup[name] for name in ("spread", "delay", "work") if name in setup}
    axes = {name: value if isinstance(value, list) else [value] for name, value in listed.items()}
    return {"count": setup["count"], **({"spread": ["0ms"]} | axes)}


def check_probe(name: str, where: str) -> None:
    known = [page.stem for page in paths.PROBES.glob("*.c")]
    if name not in known:
        raise UsageError(f"{where}: probe.name: no page bench/probes/{name}.c{nearest(name, known)}")


def whole_part(part: dict, kind: str, found: Experiment | None, setup: dict, grid: dict, where: str) -> dict:
    """A part that fits its statistic, with whole cells for `at` and `to`."""
    rules, at = checked.schema("claim")["$defs"], f"{where}: parts.{part['name']}"
    statistic = part["statistic"]
    checked.complain(part, {**rules["statistics"][statistic], "$defs": rules}, at)
    if statistic not in SOURCES[kind]:
        able = next(source for source, can in SOURCES.items() if statistic in can)
        raise UsageError(f"{at}: statistic: {statistic} is had of [{able}], and this claim has [{kind}]")
    part = dict(part)
    axis = None
    if kind != "probe":
        check_part_arms(part, found.arms if found else setup["arms"], at)
        axis = place_part(part, grid, at)
    if "metric" in part:
        claims_names.check_metric(part["metric"], claims_names.groups_of(found), f"{at}.metric")
    if "call" in part:
        part["call"] = claims_names.kernel_calls(part["call"], f"{at}.call")
    if part.get("k", 1) > part.get("at", {}).get("count", part.get("k", 1)):
        raise UsageError(f"{at}.k: of {part['at']['count']} clients none is the {part['k']}-th")
    claims_regions.check(part, at, axis)
    return part


def check_part_arms(part: dict, told: dict, at: str) -> None:
    known = claims_names.arm_names(told)
    for key in ("arm", "over"):
        if key in part and part[key] not in known:
            raise UsageError(f"{at}.{key}: no arm {part[key]!r}{nearest(part[key], known)}")
    for name in part.get("arms", []):
        if name not in known:
            raise UsageError(f"{at}.arms: no arm {name!r}{nearest(name, known)}")
    if "over" in part and part["over"] == part["arm"]:
        raise UsageError(f"{at}.over: {part['arm']} over itself is 1")


def place_part(part: dict, grid: dict[str, list], at: str) -> list[float] | None:
    """Makes `at` and `to` whole cells; the places of the axis that the part runs along, if it does."""
    along = part.get("along")
    if along and along not in grid:
        raise UsageError(f"{at}.along: the grid has no axis {along!r}{nearest(along, grid)}")
    if along and len(grid[along]) < 2:
        raise UsageError(f"{at}.along: {along} has one value only, and along it nothing can be seen")
    part["at"] = claims_names.whole_cell(part.get("at", {}), grid, f"{at}.at", along)
    if "to" in part:
        part["to"] = claims_names.whole_cell(part["to"], grid, f"{at}.to")
        if part["to"] == part["at"]:
            raise UsageError(f"{at}.to: the same cell as `at`, and their ratio is 1")
    if not along or "max" in grid[along]:  # how many `max` are is known on a host only
        return None
    return [value_of(value) for value in grid[along]]


def in_order(cell: dict, grid: dict[str, list]) -> dict:
    return {axis: cell[axis] for axis in grid}


def check_verdict(verdict: dict, names: list[str], where: str) -> None:
    """The expression names parts that there are, and can come out both ways."""
    for name in leaves(verdict):
        if name not in names:
            raise UsageError(f"{where}: verdict: no part {name!r}{nearest(name, names)}")
    used = sorted(set(leaves(verdict)))
    if used and len(used) <= 12:
        every = itertools.product((False, True), repeat=len(used))
        outcomes = {holds(verdict, dict(zip(used, values))) for values in every}
        if len(outcomes) == 1:
            always = str(outcomes.pop()).lower()
            raise UsageError(f"{where}: verdict: no sample could decide it: it is always {always}")


def leaves(term: dict | str) -> list[str]:
    if isinstance(term, str):
        return [term]
    inner = [part for value in term.values() for part in (value if isinstance(value, list) else [value])]
    return [name for part in inner for name in leaves(part)]


def holds(term: dict | str, parts: dict[str, bool]) -> bool:
    """An expression's value, of its parts' values."""
    if isinstance(term, str):
        return parts[term]
    if "not" in term:
        return not holds(term["not"], parts)
    values = [holds(one, parts) for one in term.get("all", term.get("any", []))]
    return all(values) if "all" in term else any(values)
