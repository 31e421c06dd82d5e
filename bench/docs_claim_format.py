"""The tables of docs/claims.md: what a claim file may say, out of its schema, and the metrics out of their list."""

from collections.abc import Callable

from bench import checked, metrics_more
from bench.claims_draft import FEWEST_RUNS, RUNS, SLOW_S
from bench.claims_file import DEFAULTS, SOURCES

COMMON = ("name", "statistic", "says", "theirs", "region")  # what every part may have
TABLES = ("source", "needs", "probe", "arrivals", "count")


def rules() -> dict:
    return checked.schema("claim")


def words(rule: dict) -> str:
    """A rule's description, with what a table cannot hold escaped."""
    told = rule.get("description") or rules()["$defs"][rule["$ref"].rpartition("/")[2]]["description"]
    return told.replace("|", "\\|")


def keys(summary: dict) -> str:
    """Every key of a claim file but those of its parts."""
    lines = ["| key | what is expected |", "|---|---|"]
    must = rules()["required"]
    for name, rule in rules()["properties"].items():
        lines.append(f"| `{name}`{' (needed)' if name in must else ''} | {words(rule)} |")
        for inner, one in rule.get("properties", {}).items() if name in TABLES else ():
            lines.append(f"| `{name}.{inner}` | {words(one)} |")
    return "\n".join(lines) + "\n"


def statistics(summary: dict) -> str:
    """Every statistic with the keys that it takes, by where its figures come from."""
    lines = ["| statistic | of | what it is | takes |", "|---|---|---|---|"]
    found = rules()["$defs"]["statistics"]
    for source, names in SOURCES.items():
        for name in names:
            one = found[name]
            own = [key for key in one["properties"] if key not in COMMON]
            taken = ", ".join(f"`{key}`" if key in one["required"] else f"(`{key}`)" for key in own)
            lines.append(f"| `{name}` | `{source}` | {words(one)} | {taken} |")
    return "\n".join(lines) + "\n"


def part_keys(summary: dict) -> str:
    """What each key of a part expects."""
    shared = rules()["properties"]["parts"]["items"]["properties"]
    told: dict[str, dict[str, str]] = {}
    for statistic, one in rules()["$defs"]["statistics"].items():
        for key, rule in one["properties"].items():
            told.setdefault(key, {}).setdefault(words(shared.get(key, rule)), statistic)
    lines = ["| key | what is expected |", "|---|---|"]
    for key, meanings in told.items():
        several = len(meanings) > 1
        said = [f"{what} (`{statistic}`)" if several else what for what, statistic in meanings.items()]
        lines.append(f"| `{key}` | {'; or '.join(said)} |")
    region = rules()["$defs"]["region"]["properties"]
    return "\n".join([*lines, *(f"| `region.{key}` | {words(rule)} |" for key, rule in region.items())]) + "\n"


def metric_names(summary: dict) -> str:
    """The names that do not say which clock they read: the two clocks are a sentence below the table."""
    found = [metrics_more.find(name) for name in metrics_more.names() if not name.endswith(("_sent", "_intended"))]
    lines = ["| metric | unit | what |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{m.name}` | {m.unit} | {m.label} |" for m in found)]) + "\n"


def lengths(summary: dict) -> str:
    """How often and how long each kind of sample is measured, unless a claim says otherwise."""
    lines = ["| figures of | quick | full |", "|---|---|---|"]
    windows = [
        f"{one['blocks']} blocks, {one['warmup']} of warm-up, windows of {one['duration']}"
        for one in (DEFAULTS["quick"], DEFAULTS["full"])
    ]
    lines.append(f"| an experiment in the claim | {windows[0]} | {windows[1]} |")
    lines.append("| a shared experiment | as its file says | as its file says |")
    few = {"probe": f" ({FEWEST_RUNS} where one takes {SLOW_S:g} s or more)"}
    lines += [f"| `{k}` | {runs['quick']} runs{few.get(k, '')} | {runs['full']} runs |" for k, runs in RUNS.items()]
    return "\n".join(lines) + "\n"


BLOCKS: dict[str, Callable[[dict], str]] = {
    "claim-keys": keys,
    "claim-statistics": statistics,
    "claim-part-keys": part_keys,
    "claim-metrics": metric_names,
    "claim-lengths": lengths,
}
