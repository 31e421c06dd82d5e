"""Where along an axis one arm overtakes another, where latency leaves its floor, how much an arm carries at most."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

STEPS = 256  # places looked at between two cells
KNEE = 3.0  # a latency's knee: so many times what it is at the lowest rate


@dataclass(frozen=True)
class Crossing:
    """Where a curve passes through zero, with its interval."""

    x: float
    low: float
    high: float
    rises: bool  # from below zero to above
    blocks: int


def crossings(
    xs: Sequence[float], values: Sequence[Sequence[float]], level: float = 0.95, quantile: float | None = None
) -> list[Crossing]:
    """The places where the mean over blocks of `values` (cells x blocks) passes through zero, each with its interval.

    Between neighbouring cells each block's curve is taken as straight over log x (over x where 0 is on the axis).
    A place belongs to the interval when Student's t does not tell the curve there from zero: what Fieller's theorem
    does for the ratio of two means, and exact where the curve is straight and the blocks are normal.
    A passage that is not flanked by places where the curve is surely below on one side and above on the other is no
    crossing that was shown: it is left away, and an interval never holds two.  `quantile` replaces t where a family is
    judged together (stats.max_t_quantile).
    Source: E. C. Fieller, J. R. Statist. Soc. B 16 (1954) 175-185.
    """
    x, y = np.asarray(xs, dtype=float), np.asarray(values, dtype=float)
    blocks = y.shape[1]
    if len(x) < 2 or blocks < 2:
        return []
    place = np.log(x) if np.all(x > 0) else x
    where = np.concatenate([np.linspace(a, b, STEPS, endpoint=False) for a, b in zip(place, place[1:])] + [place[-1:]])
    curves = np.array([np.interp(where, place, y[:, b]) for b in range(blocks)])
    t = special.stdtrit(blocks - 1, 0.5 + level / 2) if quantile is None else quantile
    mean, half = curves.mean(axis=0), t * curves.std(axis=0, ddof=1) / math.sqrt(blocks)
    sign = np.where(mean - half > 0, 1, np.where(mean + half < 0, -1, 0))
    sure = np.flatnonzero(sign)
    found = []
    for left, right in zip(sure, sure[1:]):
        if sign[left] != sign[right]:
            beyond = left + int(np.flatnonzero(np.sign(mean[left : right + 1]) != np.sign(mean[left]))[0])
            step, fall = where[beyond] - where[beyond - 1], mean[beyond - 1] - mean[beyond]
            at = where[beyond - 1] + step * mean[beyond - 1] / fall
            ends = np.array([at, where[left], where[right]])
            found.append(Crossing(*map(float, np.exp(ends) if np.all(x > 0) else ends), bool(sign[right] > 0), blocks))
    return found


def knee(rates: Sequence[float], latencies: Sequence[Sequence[float]], factor: float = KNEE) -> Crossing | None:
    """The first rate at which latency (cells x blocks) is `factor` times that of the lowest rate; None if never shown.

    The threshold is this project's; the interval is that of `crossings`, over each block's own ratio to its floor.
    """
    logs = np.log(np.asarray(latencies, dtype=float))
    above = logs - logs[0] - math.log(factor)
    return next((crossing for crossing in crossings(rates, above) if crossing.rises), None)


@dataclass(frozen=True)
class Capacity:
    """What an arm carries at most, where it was the limit itself."""

    rps: float
    low: float
    high: float
    at: float  # the x of its best cell
    blocks: int


def capacity(cells: Mapping[float, Sequence[float]], level: float = 0.95) -> Capacity | None:
    """The highest mean throughput over the cells (x -> blocks) in which the server was the limit.

    The best of m cells is chosen by looking, so each gets an interval at 1 - (1 - level) / m (Bonferroni); when all
    hold, the largest true mean lies between the largest lower and the largest upper end.
    Means are of logarithms, as in ratios.
    Source: R. G. Miller, Simultaneous Statistical Inference, 2nd ed., 1981, chapter 1 (the Bonferroni inequality).
    """
    logs = {x: np.log(np.asarray(values, dtype=float)) for x, values in cells.items() if len(values) >= 2}
    if not logs:
        return None
    ends = {}
    for x, v in logs.items():
        quantile = special.stdtrit(len(v) - 1, 1 - (1 - level) / len(logs) / 2)
        half = quantile * v.std(ddof=1) / math.sqrt(len(v))
        ends[x] = (v.mean() - half, v.mean() + half)
    best = max(logs, key=lambda x: logs[x].mean())
    low, high = max(low for low, _ in ends.values()), max(high for _, high in ends.values())
    return Capacity(float(np.exp(logs[best].mean())), float(np.exp(low)), float(np.exp(high)), best, len(logs[best]))
