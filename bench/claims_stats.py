"""The statistics of a claim, each a pure function: an estimate with its interval over blocks or runs.

Three kinds of interval, by what is known of the figures:
- ratios, slopes and lines are made block by block, from fresh processes that share no noise; over blocks they are near
  normal, and Student's interval is taken (Fieller's, where one mean is divided by another);
- a single figure, a share of workers, a completion of a run may have any distribution, zero and infinity included: the
  median, and the distribution-free interval between two order statistics;
- a fact of the kernel or a count has no noise to take an interval of: its range over the runs, which must agree.

`level` is an argument of each, because the parts of one claim are judged together (claims_verdict.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from bench import crossing, scaling, stats

LEVEL = 0.95
Curves = Mapping[int, Mapping[float, float]]  # block -> {x: value}


@dataclass(frozen=True)
class Estimate:
    """A statistic, its interval, and what it was in each block."""

    value: float
    low: float
    high: float
    blocks: int  # or runs
    each: tuple[float, ...] = ()
    exact: bool = False  # no noise: low and high are the range over the runs
    note: str = ""


def student(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean over blocks, and Student's interval; without end where there is but one block.

    Source: G. Casella, R. L. Berger, Statistical Inference, 2nd ed., 2002, section 9.2.1.
    """
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return Estimate(float(x.mean()), -math.inf, math.inf, len(x), tuple(map(float, x)))
    mean, low, high = scaling.interval(x, level)
    return Estimate(mean, low, high, len(x), tuple(map(float, x)))


def median(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """The median, and the interval between two order statistics (stats.median_interval), which any distribution has."""
    middle, low, high, _ = stats.median_interval(values, level)
    return Estimate(middle, low, high, len(values), tuple(map(float, values)))


def geometric(logs: Sequence[float], level: float = LEVEL) -> Estimate:
    """exp of the mean of logarithms, and of Student's interval (stats.t_interval)."""
    x = np.asarray(logs, dtype=float)
    quantile = special.stdtrit(len(x) - 1, 0.5 + level / 2) if len(x) > 1 else None
    value, low, high = stats.t_interval(x, quantile=quantile)
    return Estimate(value, low, high, len(x), tuple(map(float, np.exp(x))))


# --- figures and their ratios ----------------------------------------------------------------------------------------


def ratio(arm: Sequence[float], over: Sequence[float], level: float = LEVEL) -> Estimate:
    """One arm over another, paired by block: the geometric mean of ratios.

    Where a value is zero or infinite, as a percentile of requests that were never answered is, no mean of logarithms
    exists: the median of the ratios then, with its own interval.  A block with 0/0 or infinity over infinity says
    nothing and is left out.
    """
    a, b = np.asarray(arm, dtype=float), np.asarray(over, dtype=float)
    if a.shape != b.shape:
        raise ValueError("paired values need the same blocks on both sides")
    if np.all((a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)):
        return geometric(stats.log_ratios(a, b), level)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = a / b
    told = ratios[~np.isnan(ratios)]
    if not len(told):
        return Estimate(math.nan, 0.0, math.inf, 0, note="0/0 in every block")
    found = median(told, level)
    return Estimate(found.value, found.low, found.high, found.blocks, found.each, note="median of ratios")


def ratio_of_ratios(
    arm: Sequence[float], to: Sequence[float], over: Sequence[float], over_to: Sequence[float], level: float = LEVEL
) -> Estimate:
    """(arm at one place / arm at another) / (over at the one / over at the other), all four of one block."""
    logs = stats.log_ratios(arm, to) - stats.log_ratios(over, over_to)
    return geometric(logs, level)


def order(arms: Sequence[Sequence[float]], level: float = LEVEL) -> Estimate:
    """Whether the arms come in this order, smallest first: the smallest step from one to the next, as a ratio.

    They do when it is above 1.  Each step has a paired interval at 1 - (1 - level) / steps (Bonferroni); when all
    hold, the smallest true step lies between the smallest lower and the smallest upper end.
    Source: R. G. Miller, Simultaneous Statistical Inference, 2nd ed., 1981, chapter 1.
    """
    x = np.log(np.asarray(arms, dtype=float))
    steps = np.diff(x, axis=0)
    found = [geometric(step, 1 - (1 - level) / len(steps)) for step in steps]
    smallest = tuple(map(float, np.exp(steps.min(axis=0))))
    ends = (min(f.value for f in found), min(f.low for f in found), min(f.high for f in found))
    return Estimate(*ends, x.shape[1], smallest)


# --- along an axis ---------------------------------------------------------------------------------------------------


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


# --- completions of clients that come at once ------------------------------------------------------------------------


def completion(runs: Sequence[Sequence[float]], k: int | None, delay: float, level: float = LEVEL) -> Estimate:
    """The k-th completion of a run over the service's delay (k None: the last, the makespan): the median over runs."""
    kept = [sorted(run) for run in runs]
    return median([run[(k or len(run)) - 1] / delay for run in kept], level)


def staircase(runs: Sequence[Sequence[float]], workers: int, delay: float, level: float = LEVEL) -> Estimate:
    """How far completions are off the stairs ceil(k / workers) x delay: the largest relative error of a run, its median."""
    return median([worst_step(sorted(run), workers, delay) for run in runs], level)


def worst_step(times: Sequence[float], workers: int, delay: float) -> float:
    steps = np.ceil(np.arange(1, len(times) + 1) / workers) * delay
    return float(np.abs(np.asarray(times) / steps - 1).max())


def share(yes: Sequence[bool], level: float = LEVEL) -> Estimate:
    """The share of runs in which something was so, and the interval that never covers less than it says.

    Twelve of twelve runs show at least 74 %, not 100 %.
    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.
    """
    n, k = len(yes), sum(map(bool, yes))
    tail = (1 - level) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Estimate(k / n, low, high, n, tuple(float(bool(y)) for y in yes))


# --- a server's workers ----------------------------------------------------------------------------------------------


def most_over_least(counts: Sequence[float]) -> float:
    """Infinite where one had nothing, 1 where none had anything."""
    return max(counts) / min(counts) if min(counts) else math.inf if max(counts) else 1.0


def jain(counts: Sequence[float]) -> float:
    """1 when all got the same, 1/n when one got all.  Source: R. Jain, D. Chiu, W. Hawe, DEC TR-301 (1984)."""
    squares = sum(c * c for c in counts)
    return sum(counts) ** 2 / len(counts) / squares if squares else 1.0


def busiest(counts: Sequence[float]) -> float:
    return max(counts) / sum(counts) if sum(counts) else 0.0


# --- without noise ---------------------------------------------------------------------------------------------------


def exact(values: Sequence[float]) -> Estimate:
    """A count or a fact: the median of the runs, and their whole range, which must lie on one side of a region."""
    x = np.asarray(values, dtype=float)
    return Estimate(float(np.median(x)), float(x.min()), float(x.max()), len(x), tuple(map(float, x)), exact=True)


# --- what can be decided at all --------------------------------------------------------------------------------------


def smallest_decided(spread: float, blocks: int = 12, power: float = 0.9, level: float = LEVEL) -> float:
    """How far beyond a region's edge a true ratio must lie, as a factor, to be decided with this probability.

    `spread` is the standard deviation of a block's log ratio: sqrt 2 times that of one sample's logarithm.
    (t_.975 + t_.9) s / sqrt K with K - 1 degrees of freedom.
    Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 1988, section 2.4.
    """
    quantiles = special.stdtrit(blocks - 1, 0.5 + level / 2) + special.stdtrit(blocks - 1, power)
    return math.exp(quantiles * spread / math.sqrt(blocks))
