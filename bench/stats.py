"""The statistics of muxbench, each function with its source.

The unit is one fresh server process.  Blocks pair the arms: within a block all
arms ran back to back, so what drifts between blocks cancels in the ratios.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

TIE = (0.97, 1.03)  # ratios inside are no difference that matters here
FULL_BLOCKS = 12  # planned where a verdict is wanted: two may be lost to a host that was taken away
VERDICT_BLOCKS = 10  # good ones; fewer lean, they do not decide
LEAN_LEVEL = 0.8  # of the interval by which they lean


@dataclass(frozen=True)
class Ratio:
    """An arm over its reference: the estimate and its interval."""

    ratio: float
    low: float
    high: float
    blocks: int
    verdict: str


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float, float]:
    """Median, its distribution-free interval, and that interval's exact coverage.

    The interval lies between two order statistics, symmetric ranks j and n+1-j,
    with coverage 1 - 2 P(Binomial(n, 1/2) < j); j is the largest that still
    covers `level`.  With fewer than six values none does: the interval is then
    the whole range, and the coverage says how little that is (K=3: 0.75).
    Source: H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 2003, section 7.1.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    if n == 0:
        raise ValueError("a median needs at least one value")
    covers = [1 - 2 * special.bdtr(j - 1, n, 0.5) for j in range(1, n // 2 + 1)]
    rank = max((j for j, c in enumerate(covers, 1) if c >= level), default=1)
    coverage = float(covers[rank - 1]) if covers else 0.0
    return float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]), coverage


def log_ratios(arm: Sequence[float], reference: Sequence[float]) -> np.ndarray:
    """ln(arm/reference), block by block."""
    a, r = np.asarray(arm, dtype=float), np.asarray(reference, dtype=float)
    if a.shape != r.shape:
        raise ValueError("paired values need the same blocks on both sides")
    if not (np.all(a > 0) and np.all(r > 0)):
        raise ValueError("a log ratio needs values above zero")
    return np.log(a) - np.log(r)


def t_interval(logs: Sequence[float], level: float = 0.95, quantile: float | None = None) -> tuple[float, float, float]:
    """exp(mean), exp(mean -+ t s/sqrt K): the geometric mean of paired ratios and its interval.

    Student's one-sample interval on log ratios; `quantile` replaces t where a
    family is judged together (max_t_quantile below).
    Source: G. Casella, R. L. Berger, Statistical Inference, 2nd ed., 2002, section 9.2.1;
    for paired comparisons: G. E. P. Box, W. G. Hunter, J. S. Hunter, Statistics for Experimenters, 2nd ed., 2005,
    section 3.2.
    """
    x = np.asarray(logs, dtype=float)
    mean = float(x.mean())
    if len(x) < 2:
        return math.exp(mean), 0.0, math.inf
    q = special.stdtrit(len(x) - 1, 0.5 + level / 2) if quantile is None else quantile
    half = float(q * x.std(ddof=1) / math.sqrt(len(x)))
    return math.exp(mean), math.exp(mean - half), math.exp(min(mean + half, 700.0))


def verdict(low: float, high: float, blocks: int, better: str) -> str:
    """tie, ahead, behind or unresolved; with too few blocks no verdict at all.

    A tie is a whole interval inside the margins: equivalence is shown, not
    assumed from a lack of difference.
    Source: D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657-680 (two one-sided tests);
    margins and the four outcomes are this project's.
    """
    if blocks < VERDICT_BLOCKS:
        return "none"
    if TIE[0] <= low and high <= TIE[1]:
        return "tie"
    if high < 1:
        return "ahead" if better == "lower" else "behind"
    if low > 1:
        return "behind" if better == "lower" else "ahead"
    return "unresolved"


def lean(logs: Sequence[float], better: str) -> str:
    """What few blocks hint at: Student's 80 % interval lies on one side of 1, and the mean beyond the tie margins.

    Under no difference that is at most one time in five: a hint, never a verdict.
    """
    x = np.asarray(logs, dtype=float)
    mean, low, high = t_interval(x, LEAN_LEVEL)
    if len(x) < 2 or TIE[0] <= mean <= TIE[1] or low <= 1 <= high:
        return "level"
    lower = mean < 1
    return "leans ahead" if lower == (better == "lower") else "leans behind"


def compare(arm: Sequence[float], reference: Sequence[float], better: str, quantile: float | None = None) -> Ratio:
    """An arm against its reference over the blocks that both have."""
    logs = log_ratios(arm, reference)
    ratio, low, high = t_interval(logs, quantile=quantile)
    decided = verdict(low, high, len(logs), better)
    return Ratio(ratio, low, high, len(logs), lean(logs, better) if decided == "none" else decided)


def max_t_quantile(family: Sequence[Sequence[float]], level: float = 0.95, draws: int = 10_000, seed: int = 1) -> float:
    """The critical value that makes a whole family of paired intervals hold at once.

    Each comparison's log ratios are centred, then all comparisons of a block
    change sign together: the largest |t| over the family under these joint
    flips keeps the dependence between arms that share a reference, which
    Bonferroni throws away.  All 2^(K-1) flips are taken while they are no more
    than `draws`, else a seeded sample of them.  A comparison that lacks a block
    has NaN there, and counts with the others.
    Source: P. H. Westfall, S. S. Young, Resampling-Based Multiple Testing, 1993, section 2.5;
    sign flips: A. M. Winkler et al., NeuroImage 92 (2014) 381-397.
    """
    x = np.asarray(family, dtype=float)  # comparisons x blocks
    there, blocks = ~np.isnan(x), x.shape[1]
    counts = there.sum(axis=1)
    x = np.where(there, x - np.nanmean(x, axis=1, keepdims=True), 0.0)
    if 2 ** (blocks - 1) <= draws:
        codes = np.arange(2 ** (blocks - 1))
        flips = 1 - 2 * ((codes[:, None] >> np.arange(blocks)) & 1)
    else:
        flips = np.random.default_rng(seed).choice((-1, 1), size=(draws, blocks))
    means = flips @ x.T / counts
    variances = np.maximum((x**2).sum(axis=1) - counts * means**2, 0) / (counts - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(means) * np.sqrt(counts) / np.sqrt(variances)
    largest = np.nan_to_num(t, nan=0.0, posinf=np.finfo(float).max).max(axis=1)
    return float(np.quantile(largest, level, method="higher"))
