"""The statistics of a claim, each a pure function: an estimate with its interval over blocks or runs.

Three kinds of interval, by what is known of the figures:
- ratios, and the slopes and lines of claims_lines.py, are made block by block, from fresh processes that share no
  noise; over blocks they are near normal, and Student's interval is taken (Fieller's, where one mean divides another);
- a single figure, a share of workers, a completion of a run may have any distribution, zero and infinity included: the
  median, and the distribution-free interval between two order statistics;
- a fact of the kernel or a count has no noise to take an interval of: its range over the runs, which must agree.

`level` is an argument of each, because the parts of one claim are judged together (claims_verdict.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from bench import scaling, stats

LEVEL = 0.95


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


# --- completions of clients that come at once ------------------------------------------------------------------------


def completion(runs: Sequence[Sequence[float]], k: int | None, delay: float, level: float = LEVEL) -> Estimate:
    """The k-th completion of a run over the service's delay (k None: the last, the makespan): the median over runs."""
    kept = [sorted(run) for run in runs]
    return median([run[(k or len(run)) - 1] / delay for run in kept], level)


def staircase(runs: Sequence[Sequence[float]], workers: int, delay: float, level: float = LEVEL) -> Estimate:
    """How far completions are off the stairs ceil(k / workers) x delay: a run's largest relative error, the median."""
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
