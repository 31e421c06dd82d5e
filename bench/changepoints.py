"""Where a series of figures changes its level: E-divisive, which asks nothing of their distribution.

A segment is cut where the energy distance between its two sides, weighted by their lengths, is largest; the cut stands
if a larger one is rare when the segment's values are shuffled.  Then the parts are searched in the same way, until none
has a cut that stands.

Source: D. S. Matteson, N. A. James, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data",
Journal of the American Statistical Association 109 (2014) 334-345, sections 2 and 3, with alpha = 1 and the right side
always reaching to the segment's end, as in D. Daly et al., "The Use of Change Point Detection to Identify Software
Performance Regressions in a Continuous Integration System", ICPE 2020, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST = 3  # values on each side: fewer are an outlier as well as a level
LEVEL = 0.01
SHUFFLES = 199
AT_ONCE = 4_000_000  # distances in memory


@dataclass(frozen=True)
class Change:
    """The first value of a new level, that level over the one before it, and how rare such a cut is by chance."""

    at: int
    ratio: float
    p: float


def changes(values: Sequence[float], level: float = LEVEL, shuffles: int = SHUFFLES, seed: int = 1) -> list[Change]:
    """The change points of a series of positive values, in order."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2 * LEAST:
        return []
    rng = np.random.default_rng(seed)
    cuts: dict[int, float] = {}
    while True:
        edges = [0, *sorted(cuts), len(x)]
        segments = [x[a:b] for a, b in zip(edges, edges[1:])]
        best = [best_cut(segment) for segment in segments]
        chosen = max(range(len(best)), key=lambda i: best[i][1])
        at, statistic = best[chosen]
        if statistic <= 0:
            break
        p = chance(segments, statistic, shuffles, rng)
        if p > level:
            break
        cuts[edges[chosen] + at] = p
    edges = [0, *sorted(cuts), len(x)]
    means = [float(x[a:b].mean()) for a, b in zip(edges, edges[1:])]
    return [Change(at, means[i + 1] / means[i], cuts[at]) for i, at in enumerate(sorted(cuts))]


def best_cut(segment: np.ndarray) -> tuple[int, float]:
    """The cut of a segment with the largest statistic; 0 and 0 where it is too short for one."""
    if len(segment) < 2 * LEAST:
        return 0, 0.0
    found = statistics(np.abs(segment[:, None] - segment[None, :])[None])[0]
    at = int(found.argmax())
    return at + LEAST, float(found[at])


def chance(segments: list[np.ndarray], statistic: float, shuffles: int, rng: np.random.Generator) -> float:
    """How often shuffling within the segments gives a cut at least as good; never 0 (B. Phipson, G. K. Smyth, 2010)."""
    most = np.zeros(shuffles)
    for segment in [segment for segment in segments if len(segment) >= 2 * LEAST]:
        together = max(1, AT_ONCE // len(segment) ** 2)
        for first in range(0, shuffles, together):
            some = slice(first, min(first + together, shuffles))
            shuffled = rng.permuted(np.tile(segment, (some.stop - first, 1)), axis=1)
            distances = np.abs(shuffled[:, :, None] - shuffled[:, None, :])
            most[some] = np.maximum(most[some], statistics(distances).max(axis=1))
    return float((1 + (most >= statistic - 1e-12).sum()) / (shuffles + 1))


def statistics(distances: np.ndarray) -> np.ndarray:
    """For each matrix of distances, the weighted energy distance of every allowed cut.

    With n values left and m right: (2 between - within left - within right) n m / (n + m), each a mean over pairs.
    """
    size = distances.shape[-1]
    corner = distances.cumsum(axis=1).cumsum(axis=2)
    cuts = np.arange(LEAST, size - LEAST + 1)
    total = corner[:, -1, -1][:, None]
    left = corner[:, cuts - 1, cuts - 1]
    above = corner[:, cuts - 1, -1]  # the left rows, all columns
    between = above - left
    right = total - left - 2 * between
    n, m = cuts.astype(float), size - cuts.astype(float)
    energy = 2 * between / (n * m) - left / (n * (n - 1)) - right / (m * (m - 1))
    return energy * n * m / (n + m)
