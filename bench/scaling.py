"""How a cost grows: c0 + c1 N, fitted in each block, judged over blocks.

A block index holds one fresh process per cell, so each gives a fit of its own,
and Student's interval over the blocks' coefficients needs no belief about how
errors within a block are distributed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from bench import stats

STEEP, FLAT = 3.0, 0.3  # c1 Nmax against c0: from here on O(N), up to here O(1)


@dataclass(frozen=True)
class Line:
    """c0 + c1 N with intervals over blocks, and what it amounts to."""

    c0: float
    c1: float
    c1_low: float
    c1_high: float
    growth: float  # c1 Nmax / c0
    growth_low: float
    growth_high: float
    curved: bool
    blocks: int
    verdict: str


def fit(xs: Sequence[float], ys: Sequence[float], degree: int = 1) -> np.ndarray:
    """Coefficients, constant first, by least squares of relative errors (weights 1/y).

    Costs scatter in proportion to themselves; unweighted, the largest N alone would set the line.
    Source: N. R. Draper, H. Smith, Applied Regression Analysis, 3rd ed., 1998, section 9.2.
    """
    x, y = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
    design = np.vander(x, degree + 1, increasing=True) / y[:, None]
    scale = np.abs(design).max(axis=0)  # N and N^2 differ by powers of ten
    return np.linalg.lstsq(design / scale, np.ones_like(y), rcond=None)[0] / scale


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's interval over blocks."""
    v = np.asarray(values, dtype=float)
    half = special.stdtrit(len(v) - 1, 0.5 + level / 2) * v.std(ddof=1) / np.sqrt(len(v))
    return float(v.mean()), float(v.mean() - half), float(v.mean() + half)


def judge(blocks: Mapping[int, Mapping[float, float]], enough: int = stats.VERDICT_BLOCKS) -> Line | None:
    """The line over blocks of {N: cost}; None with fewer than three sizes or two complete blocks.

    O(N): c1 above zero, no curvature, and c1 Nmax at least 3 c0.  O(1): c1 Nmax at most 0.3 c0.  Between the
    two the cost grows, but a constant part stays of its order.  The whole interval must say so, else unresolved.
    Curved: the quadratic term differs from zero over blocks and bends the line by more than 10 % at Nmax / 2.
    """
    sizes = sorted({n for block in blocks.values() for n in block})
    whole = [block for _, block in sorted(blocks.items()) if set(block) == set(sizes)]
    if len(sizes) < 3 or len(whole) < 2:
        return None
    lines = np.array([fit(sizes, [block[n] for n in sizes]) for block in whole])
    largest = sizes[-1]
    c1, c1_low, c1_high = interval(lines[:, 1])
    growth, growth_low, growth_high = interval(lines[:, 1] * largest / lines[:, 0])
    curved = is_curved(sizes, whole)
    words = verdict(c1_low, growth_low, growth_high, curved) if len(whole) >= enough else "none"
    if words == "O(1)" and lines[:, 0].min() <= 0:  # steeper than any line from above zero: the ratio's sign means nothing
        words = "unresolved"
    return Line(
        float(lines[:, 0].mean()), c1, c1_low, c1_high, growth, growth_low, growth_high, curved, len(whole), words
    )


def is_curved(sizes: Sequence[float], blocks: Sequence[Mapping[float, float]]) -> bool:
    if len(sizes) < 4:  # three points and three coefficients leave nothing to see curvature by
        return False
    quadratics = np.array([fit(sizes, [block[n] for n in sizes], degree=2) for block in blocks])
    _, low, high = interval(quadratics[:, 2])
    mean = quadratics.mean(axis=0)
    bend = abs(mean[2]) * (sizes[-1] / 2) ** 2 / np.polyval(mean[::-1], sizes[-1] / 2)
    return bool((low > 0 or high < 0) and bend > 0.1)


def verdict(c1_low: float, growth_low: float, growth_high: float, curved: bool) -> str:
    if growth_high <= FLAT:
        return "O(1)"
    if c1_low > 0 and growth_low >= STEEP:
        return "neither" if curved else "O(N)"
    if growth_low > FLAT and growth_high < STEEP:
        return "grows"
    return "unresolved"
