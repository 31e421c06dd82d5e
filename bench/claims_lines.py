"""Statistics along an axis: lines, slopes and crossovers, fitted in each block and judged over blocks.

Each block holds one fresh process per place, so each gives a fit of its own, and nothing need be believed about how
errors within a block are distributed.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from bench import crossing, scaling, stats
from bench.claims_stats import LEVEL, Estimate, median, student

Curves = Mapping[int, Mapping[float, float]]  # block -> {x: value}


def complete(curves: Curves, start: float = -math.inf) -> tuple[list[float], np.ndarray]:
    """The places from `start` on, and the values of the blocks that have all of them (blocks x places)."""
    xs = sorted({x for curve in curves.values() for x in curve if x >= start})
    whole = [curve for _, curve in sorted(curves.items()) if set(xs) <= set(curve)]
    return xs, np.array([[curve[x] for x in xs] for curve in whole], dtype=float).reshape(len(whole), len(xs))


def lines(xs: Sequence[float], ys: np.ndarray, steps: int = 60) -> np.ndarray:
    """c0 and c1 Nmax of each row of ys, by least squares of ln y - ln(c0 + c1 N): Gauss and Newton's iteration.

    Logarithms, because costs scatter in proportion to themselves, up as well as down; a fit weighted by 1/y of the
    measured y (scaling.fit) leans towards the low ones, which 13 % of noise makes 2.5 %.
    Source: N. R. Draper, H. Smith, Applied Regression Analysis, 3rd ed., 1998, sections 13.6 and 24.2.
    """
    u = np.asarray(xs, dtype=float) / max(xs)
    logs = np.log(ys)
    c = np.column_stack([np.exp(logs.mean(axis=1)), np.zeros(len(ys))])
    for _ in range(steps):
        f = c[:, :1] + c[:, 1:] * u
        r, w = (logs - np.log(f)) / f, 1 / f**2
        a, b, d = w.sum(axis=1), (w * u).sum(axis=1), (w * u * u).sum(axis=1)
        e, g = r.sum(axis=1), (r * u).sum(axis=1)
        step = np.column_stack([d * e - b * g, a * g - b * e]) / (a * d - b * b)[:, None]
        moved = (step[:, :1] + step[:, 1:] * u) / f
        shorter = np.minimum(1, 0.8 / np.maximum(-moved.min(axis=1), 1e-12))  # the line stays above zero
        c = c + step * shorter[:, None]
        if np.abs(moved).max() < 1e-10:
            break
    return c


def fieller(above: Sequence[float], below: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """mean(above) / mean(below) of paired values, and the interval: all t for which mean(above - t below) may be 0.

    Where `below` is not told from zero the interval has no upper end, and none at all where neither is.
    Source: E. C. Fieller, J. R. Statist. Soc. B 16 (1954) 175-185.
    """
    x, y = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    if len(x) < 2:
        return float(x.mean() / y.mean()), -math.inf, math.inf
    t2 = special.stdtrit(len(x) - 1, 0.5 + level / 2) ** 2
    v = np.cov(np.vstack([x, y])) / len(x)
    a, b, c = y.mean() ** 2 - t2 * v[1, 1], x.mean() * y.mean() - t2 * v[0, 1], x.mean() ** 2 - t2 * v[0, 0]
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a > 0:
        return float(x.mean() / y.mean()), float((b - root) / a), float((b + root) / a)
    low = float((b - root) / a) if c > 0 and x.mean() > 0 and a < 0 else -math.inf
    return float(x.mean() / y.mean()), low, math.inf


def growth(curves: Curves, level: float = LEVEL) -> Estimate | None:
    """c1 Nmax / c0 of the line c0 + c1 N: how much what grows amounts to against what does not; None below 3 places."""
    xs, ys = complete(curves)
    if len(xs) < 3 or not len(ys):
        return None
    c = lines(xs, ys)
    curved = len(ys) > 1 and scaling.is_curved(xs, [dict(zip(xs, row)) for row in ys])
    each = tuple(map(float, c[:, 1] / c[:, 0]))
    return Estimate(*fieller(c[:, 1], c[:, 0], level), len(ys), each, note="curved" if curved else "")


def per_unit(curves: Curves, level: float = LEVEL) -> Estimate | None:
    """c1 of the same line: what each unit of N adds."""
    xs, ys = complete(curves)
    return student(lines(xs, ys)[:, 1] / max(xs), level) if len(xs) >= 3 and len(ys) else None


def slope(curves: Curves, start: float = 0, level: float = LEVEL) -> Estimate | None:
    """The slope of ln y over ln x from `start` on, fitted in each block: 1 where y grows as x, 0 where it does not."""
    xs, ys = complete({b: {x: y for x, y in c.items() if x > 0} for b, c in curves.items()}, start)
    if len(xs) < 2 or not len(ys):
        return None
    return student(np.polyfit(np.log(xs), np.log(ys).T, 1)[0], level)


def rise(curves: Curves, start: float = -math.inf, level: float = LEVEL) -> Estimate | None:
    """The slope of a straight line through the values, fitted in each block without weights."""
    xs, ys = complete(curves, start)
    if len(xs) < 2 or not len(ys):
        return None
    return student(np.polyfit(xs, ys.T, 1)[0], level)


def straightness(curves: Curves, start: float = -math.inf, level: float = LEVEL) -> Estimate | None:
    """R^2 of that line: how much of a block's variance it explains; the median over blocks."""
    xs, ys = complete(curves, start)
    if len(xs) < 3 or not len(ys):
        return None
    x, y = np.asarray(xs) - np.mean(xs), ys - ys.mean(axis=1, keepdims=True)
    total, explained = (y**2).sum(axis=1), (y @ x) ** 2 / (x @ x)
    return median(np.divide(explained, total, out=np.zeros_like(total), where=total > 0), level)


def logarithms(curves: Curves) -> Curves:
    """The same with both axes logarithmic; places at 0 have none and fall away."""
    return {b: {math.log(x): math.log(y) for x, y in c.items() if x > 0 and y > 0} for b, c in curves.items()}


def crossovers(xs: Sequence[float], logs: np.ndarray, level: float = LEVEL) -> list[crossing.Crossing]:
    """Where the mean of ln(ratio / level) over blocks (places x blocks) passes through zero, each with its interval.

    That there is a passage is shown for all places together (stats.max_t_quantile); where it is, each for itself
    (crossing.crossings), at the outer ends of what lies inside the passage that was shown.
    """
    y = np.asarray(logs, dtype=float)
    if y.shape[0] < 2 or y.shape[1] < 2:
        return []
    near = crossing.crossings(xs, y, level)
    found = []
    for shown in crossing.crossings(xs, y, level, quantile=joint(y, level)):
        inside = [one for one in near if shown.low <= one.low and one.high <= shown.high]
        ends = (min(o.low for o in inside), max(o.high for o in inside)) if inside else (shown.low, shown.high)
        found.append(crossing.Crossing(shown.x, *ends, shown.rises, shown.blocks))
    return found


def joint(logs: np.ndarray, level: float = LEVEL) -> float:
    """The critical |t| for all places of a curve together; never below the one of a single place."""
    single = special.stdtrit(logs.shape[1] - 1, 0.5 + level / 2)
    return max(float(single), stats.max_t_quantile(logs, level))


def sides(logs: np.ndarray, level: float = LEVEL) -> list[int]:
    """For each place, whether the curve is surely above the level (1), surely below (-1), or neither (0)."""
    y = np.asarray(logs, dtype=float)
    if y.shape[1] < 2:
        return [0] * y.shape[0]
    half = joint(y, level) * y.std(axis=1, ddof=1) / math.sqrt(y.shape[1])
    mean = y.mean(axis=1)
    return [1 if m > h else -1 if m < -h else 0 for m, h in zip(mean, half)]
