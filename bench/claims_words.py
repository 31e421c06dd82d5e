"""What a claim's part asks, in words, and the unit of its answer."""

from collections.abc import Mapping

from bench import metrics_more
from bench.claims_names import groups_of


def label(claim, metric: str) -> tuple[str, str]:
    """A metric's label and unit."""
    found = metrics_more.find(metric, groups_of(claim.experiment) if claim.experiment else ())
    return (found.label, found.unit) if found else (metric, "")


def place(at: Mapping | None, also: str = "") -> str:
    told = ", ".join(f"{name} {value:,}" if isinstance(value, int) and value >= 1000 else f"{name} {value}" for name, value in (at or {}).items())
    return f" at {told}" if told else also


def said(claim, part: Mapping) -> str:
    """What a part asks, in words: the claim's own, or made from its statistic."""
    if "says" in part:
        return part["says"].rstrip("?.")
    about = label(claim, part["metric"])[0] if "metric" in part else ""
    arm, over, at = part.get("arm"), part.get("over"), place(part.get("at"))
    return {
        "value": lambda: f"{about} of {arm}{at}",
        "ratio": lambda: f"{about} of {arm} over {over}{at}",
        "ratio_across": lambda: f"{about} of {arm}{at} over that{place(part['to'])}" + (f", over the same of {over}" if over else ""),
        "growth": lambda: f"{about} of {arm} along {part['along']}: " + ("what each adds" if part.get("share") else "what grows over what does not"),
        "slope": lambda: f"{about} of {arm} along {part['along']}: " + ("R² of a line" if part.get("of") == "r2" else "slope of a line" if part.get("fit") == "linear" else "log-log slope"),
        "crossover": lambda: f"where {about} of {arm} passes {part.get('level', 1):g} times that of {over}, along {part['along']}",
        "order": lambda: f"{about}{at}: {' < '.join(part['arms'])}; the smallest step",
        "staircase": lambda: f"completions of {arm}{at} off ceil(k/{part.get('workers')}) service times, at most",
        "kth": lambda: f"completion {part.get('k')} of {arm}{at}, in service times",
        "makespan": lambda: f"the last completion of {arm}{at}, in service times",
        "interleaving": lambda: f"runs of {arm}{at} in which all was received before anything was sent",
        "skew": lambda: f"{part.get('of')} by the workers of {arm}{at}: " + ("Jain's index" if part.get("jain") else "share of the busiest" if part.get("top") else "most over least"),
        "calls": lambda: f"{part['call'] if isinstance(part['call'], str) else ' + '.join(part['call'])} per request, {arm}{at}",
        "fact": lambda: f"the probe's {part['field']}",
        "sequence": lambda: f"the probe's {part['field']}",
        "first_fails": lambda: f"the smallest {part['along']} at which {arm} does not serve every client",
    }[part["statistic"]]()


def unit(claim, part: Mapping) -> str:
    if part["statistic"] == "value":
        return label(claim, part["metric"])[1]
    if part["statistic"] in ("crossover", "first_fails"):
        return part["along"]
    return {"ratio": "×", "ratio_across": "×", "order": "×", "calls": "calls", "kth": "service times", "makespan": "service times"}.get(part["statistic"], "")
