"""What a claim's part asks, in words, and the unit of its answer."""

from collections.abc import Mapping

from bench import metrics_more
from bench.claims_names import groups_of

RATIOS, TIMES = ("ratio", "ratio_across", "order"), ("kth", "makespan")


def label(claim, metric: str) -> tuple[str, str]:
    """A metric's label and unit."""
    found = metrics_more.find(metric, groups_of(claim.experiment) if claim.experiment else ())
    return (found.label, found.unit) if found else (metric, "")


def unit(claim, part: Mapping) -> str:
    if part["statistic"] == "value":
        return label(claim, part["metric"])[1]
    if part["statistic"] in ("crossover", "first_fails"):
        return part["along"]
    if part["statistic"] in RATIOS:
        return "×"
    return "calls" if part["statistic"] == "calls" else "service times" if part["statistic"] in TIMES else ""


def place(at: Mapping | None) -> str:
    """` at connections 1,000`; nothing where there is but one cell."""
    told = [f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in (at or {}).items()]
    return f" at {', '.join(told)}" if told else ""


def said(claim, part: Mapping) -> str:
    """What a part asks: the claim's own words, or words made from its statistic."""
    if "says" in part:
        return part["says"].rstrip("?.")
    about = label(claim, part["metric"])[0] if "metric" in part else ""
    return made(part, about, part.get("arm"), part.get("over"), place(part.get("at")))


def made(part: Mapping, about: str, arm: str | None, over: str | None, at: str) -> str:
    """A sentence for each statistic."""
    match part["statistic"]:
        case "value":
            return f"{about} of {arm}{at}"
        case "ratio":
            return f"{about} of {arm} over {over}{at}"
        case "ratio_across":
            return f"{about} of {arm}{at} over that{place(part['to'])}" + (f", over the same of {over}" if over else "")
        case "growth":
            what = "what each adds" if part.get("share") else "what grows over what does not"
            return f"{about} of {arm} along {part['along']}: {what}"
        case "slope":
            line = "log-log slope" if part.get("fit", "log") == "log" else "slope of a line"
            return f"{about} of {arm} along {part['along']}: {'R² of a line' if part.get('of') == 'r2' else line}"
        case "crossover":
            return f"where {about} of {arm} passes {part.get('level', 1):g} times that of {over}, along {part['along']}"
        case "order":
            return f"{about}{at}: {' < '.join(part['arms'])}; the smallest step"
        case "staircase":
            return f"completions of {arm}{at} off ceil(k/{part['workers']}) service times, at most"
        case "kth":
            return f"completion {part['k']} of {arm}{at}, in service times"
        case "makespan":
            return f"the last completion of {arm}{at}, in service times"
        case "interleaving":
            return f"runs of {arm}{at} in which all was received before anything was sent"
        case "skew":
            share = "share of the busiest" if part.get("top") else "most over least"
            return f"{part['of']} by the workers of {arm}{at}: {'Jain index' if part.get('jain') else share}"
        case "calls":
            named = part["call"] if isinstance(part["call"], str) else " + ".join(part["call"])
            return f"{named} per request, {arm}{at}"
        case "first_fails":
            return f"the smallest {part['along']} at which {arm} does not serve every client"
    return f"the probe's {part['field']}"
