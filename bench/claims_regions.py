"""Regions that no sample could decide are refused when a claim is read, long before a sample is paid for.

A region must leave room for both answers: within what a statistic can be at all, some figures must lie inside and some
outside.  What is measured comes as an interval, and an interval of some width never lies on a point; what is counted or
told can.
"""

import math
from dataclasses import dataclass

from bench import claims_verdict, metrics_more
from bench.errors import UsageError

SHARES = ("evenness", "accepts_evenness", "failed_share", "server_busy", "client_busy")  # from 0 to 1


@dataclass(frozen=True)
class Range:
    """What a statistic can be: from low to high, both included; `exact` where figures are counted or told."""

    low: float
    high: float
    what: str
    exact: bool = False


def range_of(part: dict, axis: list[float] | None = None) -> Range:
    """What the statistic of a part can be; `axis` has the values of the axis that it runs along."""
    statistic = part["statistic"]
    if statistic == "value":
        return of_metric(part["metric"])
    if statistic == "skew":
        share = "jain" in part or "top" in part
        return Range(0, 1, "a share") if share else Range(1, math.inf, "the busiest over the least busy")
    if statistic == "slope":
        return Range(0, 1, "a share of variance") if part.get("of") == "r2" else Range(-math.inf, math.inf, "a slope")
    if statistic in ("crossover", "first_fails") and axis:
        return Range(min(axis), max(axis), f"a place on {part['along']}", statistic == "first_fails")
    return FIXED.get(statistic, Range(-math.inf, math.inf, "a figure"))


FIXED = {
    "ratio": Range(0, math.inf, "a ratio"),
    "ratio_across": Range(0, math.inf, "a ratio"),
    "staircase": Range(0, math.inf, "an error's size"),
    "kth": Range(0, math.inf, "a time"),
    "makespan": Range(0, math.inf, "a time"),
    "interleaving": Range(0, 1, "a share", True),
    "calls": Range(0, math.inf, "a count", True),
    "fact": Range(-math.inf, math.inf, "a number", True),
}


def of_metric(name: str) -> Range:
    last = name.rpartition(".")[2]
    if last in SHARES:
        return Range(0, 1, "a share")
    return Range(0, math.inf, "a count" if metrics_more.is_exact(name) else "a figure", metrics_more.is_exact(name))


def check(part: dict, where: str, axis: list[float] | None = None) -> None:
    """Raises for a region that says nothing, contradicts itself or cannot be missed."""
    region, at = part.get("region", {}), f"{where}: region"
    together = set(region) - {"above", "below"}
    if together and len(region) > 1:
        raise UsageError(f"{at}: expected one of above, below, within, outside and equals, or above with below")
    statistic = part["statistic"]
    if why := claims_verdict.undecidable(part):
        raise UsageError(f"{at}: no sample could decide it: {why}")
    if statistic in ("order", "sequence"):
        check_told(statistic, region, at)
        return
    possible = range_of(part, axis)
    if "equals" in region:
        check_equals(region["equals"], statistic, possible, at)
        return
    pieces = pieces_of(region, at)
    if not any(room(piece, possible) for piece in pieces):
        raise UsageError(f"{at}: no sample could ever lie in it: {told(possible)}")
    if not any(room(piece, possible) for piece in complement(pieces)):
        raise UsageError(f"{at}: every sample would lie in it: {told(possible)}")


def check_told(statistic: str, region: dict, at: str) -> None:
    if statistic == "sequence" and not isinstance(region.get("equals"), list):
        raise UsageError(f"{at}.equals: expected a list, for a sequence is one")
    if statistic == "order" and region and not isinstance(region.get("equals"), bool):
        raise UsageError(f"{at}.equals: expected true or false: the arms stand in this order, or they do not")


def check_equals(value: object, statistic: str, possible: Range, at: str) -> None:
    if not possible.exact:
        raise UsageError(
            f"{at}.equals: no sample could decide it: an interval is never a point; say within = [a, b] instead"
        )
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if statistic != "fact" and not number:
        raise UsageError(f"{at}.equals: expected a number, got {value!r}")
    if number and not possible.low <= value <= possible.high:
        raise UsageError(f"{at}.equals: no sample could ever be {value}: {told(possible)}")


def told(possible: Range) -> str:
    if math.isinf(possible.low):
        return f"{possible.what} has no bounds"
    if math.isinf(possible.high):
        return f"{possible.what} is {possible.low:g} or more"
    return f"{possible.what} lies between {possible.low:g} and {possible.high:g}"


def pieces_of(region: dict, at: str) -> list[tuple[float, float]]:
    """The region as open intervals; its borders are points, which decide nothing."""
    for key in ("within", "outside"):
        if key in region and region[key][0] >= region[key][1]:
            low, high = region[key]
            raise UsageError(
                f"{at}.{key}: expected the smaller number first and room between the two, got [{low:g}, {high:g}]"
            )
    if "within" in region:
        return [tuple(region["within"])]
    if "outside" in region:
        return [(-math.inf, region["outside"][0]), (region["outside"][1], math.inf)]
    low, high = region.get("above", -math.inf), region.get("below", math.inf)
    if low >= high:
        raise UsageError(f"{at}: contradicts itself: above {low:g} and below {high:g}")
    return [(low, high)]


def complement(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    edges = [-math.inf, *(edge for piece in pieces for edge in piece), math.inf]
    return list(zip(edges[::2], edges[1::2]))


def room(piece: tuple[float, float], possible: Range) -> bool:
    """Whether a possible figure lies in it: for what is measured there must be room for an interval."""
    low, high = max(piece[0], possible.low), min(piece[1], possible.high)
    return low < high
