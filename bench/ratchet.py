"""The ratchet: exact figures as they were committed, and what has changed since, by name.

One file for each toolchain, bench/ratchet/KEY.json, for other compilers make other instructions, and other C libraries
other calls.  A figure may fall and the file follows; it may rise only with a reason, which the file keeps.
"""

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from bench import env, paths, records
from bench.errors import BenchError
from bench.exact import Figures, Value

# How far a figure may move and be the same: a share of it, and an amount.  Calls, allocations and the allocator's bytes
# are whole counts and exact.
TOLERANCE: dict[tuple[str, str], tuple[float, float]] = {
    ("instructions", "user"): (0.01, 4.0),
    ("memory", "private dirty"): (0.10, 64.0),
}
UNITS = {
    "calls": "per request",
    "allocations": "per request",
    "memory": "bytes per idle connection",
    "instructions": "instructions per request",
}
ISA_LEVELS = (("v3", {"avx2", "bmi2", "fma"}), ("v2", {"sse4_2", "popcnt"}))  # v4 ends where valgrind does: at AVX2


class Risen(BenchError):
    """The ratchet was asked to follow a figure that rose, and not told why."""

    exit_code = 10


@dataclass(frozen=True)
class Change:
    """One figure that is not what it was; `verdict`: worse, better, or moved, which is not judged."""

    model: str
    kind: str
    case: str
    name: str
    before: Value | None
    after: Value | None
    verdict: str

    def says(self) -> str:
        """`epoll_lt echo: +1 fcntl per request (0 → 1)`."""
        old, new = middle(self.before), middle(self.after)
        share = f", {new / old - 1:+.1%}" if old and self.kind in ("memory", "instructions") else ""
        values = f"{text(self.before)} → {text(self.after)}{share}"
        return f"{self.model} {self.case}: {new - old:+.4g} {self.name} {UNITS[self.kind]} ({values})"


def text(value: Value | None) -> str:
    if isinstance(value, list):
        return f"{value[0]:.6g} to {value[1]:.6g}"
    return f"{value or 0:.6g}"


def middle(value: Value | None) -> float:
    return sum(value) / 2 if isinstance(value, list) else value or 0.0


# --- the toolchain and its file ---------------------------------------------------------------------------------------


def toolchain() -> dict[str, str | None]:
    """What built the servers, as far as it decides the figures."""
    compiler = env.compiler()
    return {
        "compiler": compiler["version"],
        "flags": portable(compiler["flags"]),
        "libc": env.libraries()["libc"],
        "architecture": platform.machine(),
        "isa": isa(env.field(env.read("/proc/cpuinfo"), r"^flags\s*:\s*(.*)$")),
    }


def portable(flags: str | None) -> str | None:
    """Without the compiler's own name, which may be a path."""
    return flags and " ".join(flags.split()[1:])


def isa(flags: str | None) -> str | None:
    """The x86-64 level, by which the C library chooses its memcpy (x86-64 psABI, "Micro-Architecture Levels")."""
    here = set((flags or "").split())
    return next((level for level, needs in ISA_LEVELS if needs <= here), None)


def key(chain: dict[str, str | None]) -> str:
    """A file name that a person can read, made unique by a hash of the whole."""
    parts = [
        re.sub(r"[^A-Za-z0-9.]+", "-", chain[name] or "")[:32].strip("-")
        for name in ("compiler", "libc", "architecture", "isa")
    ]
    digest = hashlib.sha256(json.dumps(chain, sort_keys=True).encode()).hexdigest()[:8]
    return "_".join([part for part in parts if part] + [digest])


def path_of(chain: dict[str, str | None], folder: Path | None = None) -> Path:
    return (folder or paths.RATCHET) / f"{key(chain)}.json"


def load(path: Path) -> dict | None:
    """The committed figures; None where this toolchain has none yet."""
    return records.read_json(path) if path.is_file() else None


# --- judging ----------------------------------------------------------------------------------------------------------


def judge(model: str, before: Figures, after: Figures) -> list[Change]:
    """What changed in one model, over the kinds and cases that both have."""
    found = []
    for kind in [kind for kind in after if kind in before]:
        for case in [case for case in after[kind] if case in before[kind]]:
            found += of_case(model, kind, case, before[kind][case], after[kind][case])
    return found


def of_case(model: str, kind: str, case: str, before: dict[str, Value], after: dict[str, Value]) -> list[Change]:
    names = {*before, *after} if kind == "calls" else {*before} & {*after}  # a call that is not named is not made
    changes = []
    for name in sorted(names):
        verdict = compare(kind, name, before.get(name), after.get(name))
        if verdict != "same":
            changes.append(Change(model, kind, case, name, before.get(name), after.get(name), verdict))
    exact = [name for name in names if not isinstance(before.get(name), list) and not isinstance(after.get(name), list)]
    if kind == "calls" and sum(after.get(n) or 0 for n in exact) < sum(before.get(n) or 0 for n in exact):
        # One call for two others: a request does less, and what is new pays for what is gone.  What time decides pays
        # for nothing.
        changes = [Change(**{**asdict(c), "verdict": "better"}) if c.verdict == "worse" else c for c in changes]
    return changes


def compare(kind: str, name: str, before: Value | None, after: Value | None) -> str:
    """same, worse, better; or moved, where time decided one of them, and neither is more than an observation."""
    if isinstance(before, list):
        inside = before[0] <= middle(after) <= before[1]
        return "same" if inside or isinstance(after, list) else "moved"
    low, high = (after[0], after[1]) if isinstance(after, list) else (after or 0.0, after or 0.0)
    share, amount = TOLERANCE.get((kind, name), (0.0, 0.0))
    room = max(share * abs(before or 0.0), amount) + 1e-9
    if low - (before or 0.0) > room:
        return "worse"
    if (before or 0.0) - high > room:
        return "better"
    return "same" if not isinstance(after, list) or high - low <= room else "moved"


def merge(one: Figures, other: Figures) -> Figures:
    """Two measurements of a model: what they agree on, the span of what they do not, and what only one of them has."""
    merged: Figures = {}
    for kind in {**one, **other}:
        first, second = one.get(kind, {}), other.get(kind, {})
        merged[kind] = {**second, **first}
        for case in [case for case in first if case in second]:
            names = sorted({*first[case], *second[case]})
            pairs = {name: (first[case].get(name, 0.0), second[case].get(name, 0.0)) for name in names}
            merged[kind][case] = {name: span(kind, name, *pair) for name, pair in pairs.items()}
    return merged


def span(kind: str, name: str, one: Value, other: Value) -> Value:
    ends = [end for value in (one, other) for end in (value if isinstance(value, list) else [value])]
    low, high = min(ends), max(ends)
    share, amount = TOLERANCE.get((kind, name), (0.0, 0.0))
    if high - low <= max(share * abs(low), amount):
        return round((low + high) / 2, 2) if share or amount else low
    return [low, high]


# --- keeping ----------------------------------------------------------------------------------------------------------


def lowered(before: Figures, after: Figures) -> Figures:
    """What may be kept without a reason: a figure that rose within its tolerance stays where it was, lest it creep, and
    one that was exact does not become one that time decides."""
    kept = {kind: {case: dict(values) for case, values in cases.items()} for kind, cases in after.items()}
    for kind, cases in kept.items():
        for case, values in cases.items():
            for name, old in before.get(kind, {}).get(case, {}).items():
                if name in values and not isinstance(old, list):
                    new, verdict = values[name], compare(kind, name, old, values[name])
                    crept = verdict == "same" and middle(new) > old
                    if crept or (verdict == "moved" and isinstance(new, list)):
                        values[name] = old
    return kept


def updated(
    old: dict | None, chain: dict[str, str | None], found: dict[str, dict], worse: list[Change], reason: str | None
) -> dict:
    """The file with what was found; raises where a figure would rise without a reason.

    `found` is, by model, its `figures` and `libraries`.  Models, kinds and cases that were not measured stay.
    """
    if worse and not reason:
        raise Risen(
            f"{len(worse)} figures rose ({worse[0].says()}); --update only lowers them. "
            'Where it is meant: --update --allow-worse "WHY"'
        )
    now, revision = datetime.now(timezone.utc).isoformat(timespec="seconds"), env.git()["describe"]
    models, allowed = dict((old or {}).get("models", {})), list((old or {}).get("allowed", []))
    for model, told in found.items():
        before = models.get(model, {}).get("figures", {})
        after = told["figures"] if reason else lowered(before, told["figures"])
        figures = {kind: {**before.get(kind, {}), **after.get(kind, {})} for kind in {**before, **after}}
        models[model] = {"libraries": told["libraries"], "figures": figures}
    if worse:
        allowed.append({"when": now, "revision": revision, "why": reason, "what": [c.says() for c in worse]})
    about = {"toolchain": chain, "kernel": platform.release(), "when": now, "revision": revision}
    return {"schema": records.SCHEMA, **about, "models": dict(sorted(models.items())), "allowed": allowed}
