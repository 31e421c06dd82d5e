"""The words around tables: how to read them, what was left out, what went wrong, how the run ended."""

from bench.stats import VERDICT_BLOCKS
from bench.units import format_seconds, number

GROWTH = (
    "cost = c0 + c1 × N, fitted in each block; O(1) up to 0.3 in the last column, O(N) from 3; "
    f"verdicts from {VERDICT_BLOCKS} blocks on"
)
LEGENDS = {
    "quick": "▲ leans ahead, ▼ leans behind: the 80 % interval on that side, the mean beyond 3 %; a hint, no verdict",
    "full": "▲▲ ahead, ▼▼ behind, = tie (whole interval within 3 %), ? unresolved; 95 % for all comparisons together",
    "mixed": "one ▲ or ▼, or none: too few good blocks for a verdict",
}
LEANINGS = {"leans ahead", "leans behind", "level"}


def of(experiment: dict, metrics: list[str]) -> list[str]:
    """What a reader must know to read the table right."""
    lines = [
        f"medians over {experiment['blocks']} block{'s' * (experiment['blocks'] != 1)}, a fresh server process in each"
    ]
    found = [a for cell in experiment["cells"] for a in cell["arms"].values()]
    verdicts = {a["ratios"][m]["verdict"] for a in found for m in metrics if m in a.get("ratios", {})}
    if verdicts:
        lines[0] += f"; × is the paired ratio to {experiment['reference']}"
        lines.append(LEGENDS["quick" if verdicts <= LEANINGS else "full"])
        lines += [LEGENDS["mixed"]] if verdicts & LEANINGS and verdicts - LEANINGS else []
    if "throughput_rps" in metrics:
        lines.append("° the server's CPU was not the limit: no capacity is claimed")
        if experiment["ceiling"]:
            ceiling = experiment["ceiling"]
            lines.append(
                f"the client's ceiling here is {number(ceiling['median'])} requests/s (against {ceiling['arm']})"
            )
    lines += [line for metric in metrics for line in findings(experiment, metric)]
    lines += left_out(experiment)
    if any(value and value["median"] is None for a in found for m, value in a["values"].items() if m in metrics):
        lines.append("> too many requests were not answered in time: this percentile lies beyond all that was measured")
    return lines


def between(found: dict, at: str) -> str:
    return f"{number(found[at])} ({number(found['low'])} to {number(found['high'])})"


def findings(experiment: dict, metric: str) -> list[str]:
    """Crossovers, capacities and knees in words, with 95 % intervals; figures say them too."""
    said = []
    for found in experiment["crossovers"]:
        if found["metric"] == metric:
            where = f" at {found['panel']}" if found["panel"] else ""
            passes = "above" if found["rises"] else "below"
            at = f"{experiment['x']} {between(found, 'x')}"
            said.append(
                f"{found['arm']} passes {experiment['reference']}{where} at {at}, and is {passes} it from there on"
            )
    if metric == "throughput_rps" and experiment["capacities"]:
        told = [f"{arm} {between(c, 'rps')} at {number(c['at'])}" for arm, c in experiment["capacities"].items()]
        said.append("capacity, where the server was the limit [requests/s]: " + ", ".join(told))
    if metric == "p99_us" and experiment["knees"]:
        told = [f"{arm} {between(k, 'x') if k else '(not shown)'}" for arm, k in experiment["knees"].items()]
        said.append("knee, where this is three times what it is at the lowest rate: " + ", ".join(told))
    return said


def left_out(experiment: dict) -> list[str]:
    """One line per reason, with everybody that it is true of."""
    whom: dict[str, set[str]] = {}
    for cell in experiment["cells"]:
        for arm, why in cell["left_out"].items():
            whom.setdefault(why, set()).add(arm)
    return [f"– {', '.join(sorted(whom[why]))}{':' * (len(whom[why]) > 1)} {why}" for why in sorted(whom)]


def troubles(experiment: dict) -> list[str]:
    """What went wrong, once per model and kind, with one reason in full."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for cell in experiment["cells"]:
        for arm, found in cell["arms"].items():
            for status in ("failed", "invalid", "unavailable"):
                if found["samples"][status]:
                    kinds.setdefault((status, arm), []).extend([found["why"]] * found["samples"][status])
    return [
        f"{status}: {arm}, {len(whys)} sample{'s' * (len(whys) != 1)}, such as: {whys[0]}"
        for (status, arm), whys in sorted(kinds.items())
    ]


def closing(summary: dict, seconds: float, session: dict | None = None) -> str:
    """One line on how the run went."""
    words = f"{summary['measured']} of {summary['planned']} samples in {format_seconds(seconds)}"
    for what in ("failed", "invalid", "unavailable"):
        if summary[what]:
            words += f", {summary[what]} {what}"
    if session:
        words += f", {session['overhead']:.0%} of the time outside measured windows"
    if summary["clock_step_ms"]:
        step = number(summary["clock_step_ms"])
        words += f"; the wall clock was set by {step} ms meanwhile (no figure comes from it)"
    if summary["invalid"] > summary["measured"] / 20:
        words += "; this host was not idle: python3 -m bench doctor says what disturbs"
    return words
