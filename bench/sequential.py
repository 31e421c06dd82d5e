"""Sequential randomisation tests of paired log ratios: looks at growing data whose error adds up to what was promised.

Each quad's log ratio B/A carries the sign of a coin (ABBA or BAAB).  Where B costs exactly e^shift times what A costs,
whatever the noise did inside a quad (bursts, drift, heavy tails, memory) would have come out with the opposite sign
had the coin fallen otherwise.  So, given the magnitudes |d - shift|, all sign patterns are equally likely, and a test
that compares the observed pattern with random ones is exact: it assumes the coin, which we toss, and nothing of the
host.  R. A. Fisher, The Design of Experiments, 1935, section 21; J. A. Hartigan, JASA 64 (1969) 1303-1317 for the
interval that its inversion gives.

Looking several times spends the error bit by bit: at each look so many patterns may cross as the spending function
allows by then, counted among those that have not crossed before.  K. K. G. Lan, D. L. DeMets, Biometrika 70 (1983)
659-663; for randomisation tests V. Plamadeala, W. F. Rosenberger, Ann. Statist. 40 (2012) 30-44.  The observed
pattern is one of those counted, which keeps the level exact although the patterns are a random sample of all
(M. Dwass, Ann. Math. Statist. 28 (1957) 181-187; B. Phipson, G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import special

PATTERNS = 20_000
MOST_QUADS = 256
Look = tuple[int, float]  # after so many quads, at this fraction of those planned: the spending function's time
ROUNDING = 1e-5  # of single precision: a total that equals the limit does not cross it
CLIP = 1.5  # medians of |d - shift| (one standard deviation of a normal): beyond, a quad counts no more


def spent(fraction: float, level: float) -> float:
    """How much of a one-sided level may be used up by this fraction of the planned quads: little early, all at the end.

    2 - 2 Phi(z / sqrt(fraction)), z the normal quantile of 1 - level/2.
    Source: Lan & DeMets 1983, the spending function of the kind of O'Brien and Fleming, Biometrics 35 (1979) 549-556.
    """
    if fraction <= 0:
        return 0.0
    return float(2 * special.ndtr(special.ndtri(level / 2) / math.sqrt(min(fraction, 1.0))))


@lru_cache(maxsize=1)
def patterns() -> np.ndarray:
    """Random signs, a column for each pattern; a later look has more rows of the same patterns."""
    signs = np.random.default_rng(20260101).integers(0, 2, size=(MOST_QUADS, PATTERNS), dtype=np.int8) * 2 - 1
    return signs.astype(np.float32)  # as the matrix product wants it


def weights(magnitudes: np.ndarray) -> np.ndarray:
    """What each quad counts: its magnitude, but no more than CLIP medians.

    Depends on magnitudes alone, as it must to leave the test exact; the clip is P. J. Huber's psi (Ann. Math. Statist.
    35 (1964) 73-101), so that a quad in which the host was taken away cannot outvote the others.
    """
    middle = float(np.median(magnitudes))
    return np.minimum(magnitudes, CLIP * middle) if middle > 0 else magnitudes


def rejected_at(
    differences: Sequence[float], shift: float, level: float, looks: Sequence[Look], above: bool = True
) -> int | None:
    """Quads at the first look that rejects "the ratio is at most e^shift" (above), or "at least e^shift" (not above).

    One-sided at `level` over all looks together; looks beyond the data are yet to come.
    """
    excess = np.asarray(differences, dtype=float) - shift
    excess = np.nan_to_num(excess if above else -excess, posinf=1e6, neginf=-1e6)
    rows = PATTERNS + 1
    crossed = np.zeros(rows, dtype=bool)
    for quads, fraction in (look for look in looks if look[0] <= len(excess)):
        may_cross = int(spent(fraction, level) * rows) - int(crossed.sum())
        if may_cross <= 0:
            continue
        counts = weights(np.abs(excess[:quads])).astype(np.float32)
        totals = np.concatenate([[np.sign(excess[:quads]) @ counts], counts @ patterns()[:quads]])
        left = totals[~crossed]
        limit = np.partition(left, -may_cross - 1)[-may_cross - 1]
        crossed |= ~crossed & (totals > limit + ROUNDING * abs(limit))
        if crossed[0]:
            return quads
    return None


def estimate(differences: Sequence[float]) -> float:
    """The shift around which the weighted signs balance: Hodges and Lehmann, Ann. Math. Statist. 34 (1963) 598-611."""
    values = np.nan_to_num(np.asarray(differences, dtype=float), posinf=1e6, neginf=-1e6)
    low, high = float(values.min()), float(values.max())
    for _ in range(50):
        middle = (low + high) / 2
        excess = values - middle
        if np.sign(excess) @ weights(np.abs(excess)) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def interval(differences: Sequence[float], level: float, looks: Sequence[Look]) -> tuple[float, float]:
    """All shifts that no look so far rejects, at `level` on both sides together: a repeated confidence interval.

    Source: C. Jennison, B. W. Turnbull, J. R. Statist. Soc. B 51 (1989) 305-361.
    """
    middle = estimate(differences)
    values = np.nan_to_num(np.asarray(differences, dtype=float), posinf=1e6, neginf=-1e6)
    ends = []
    for above, outermost in ((True, float(values.min())), (False, float(values.max()))):
        outside, inside = outermost - (1e-6 if above else -1e-6), middle

        def rejects(shift: float, above: bool = above) -> bool:
            return rejected_at(values, shift, level / 2, looks, above) is not None

        if not rejects(outside):
            ends.append(-math.inf if above else math.inf)
            continue
        for _ in range(14):
            between = (outside + inside) / 2
            outside, inside = (between, inside) if rejects(between) else (outside, between)
        ends.append(outside)
    return ends[0], ends[1]


def detectable(differences: Sequence[float], level: float, planned: int, power: float = 0.8) -> float:
    """The smallest slowdown that so many quads would find in four of five runs, from the spread of those there are.

    (z_{1-level} + z_power) s / sqrt(planned), s from the median deviation (times 1.4826 for a normal).
    Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 1988, section 2.4.
    """
    values = np.asarray(differences, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return math.inf
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return math.expm1(min(float(special.ndtri(1 - level) + special.ndtri(power)) * spread / math.sqrt(planned), 700.0))


def looks_of(planned: int, number: int = 6) -> list[Look]:
    """When to look: evenly, the last time at the end."""
    return [
        (quads, quads / planned) for quads in sorted({max(1, round(planned * (k + 1) / number)) for k in range(number)})
    ]


def moved(levels: Sequence[float]) -> tuple[float, float]:
    """Did a series change its level somewhere: the p-value, and by how much the medians on both sides differ.

    Source: A. N. Pettitt, Appl. Statist. 28 (1979) 126-135: ranks, so that no outlier passes for a change.
    """
    values = np.asarray(levels, dtype=float)
    n = len(values)
    if n < 8:
        return 1.0, 0.0
    signs = np.sign(values[:, None] - values[None, :])
    totals = np.array([signs[:t, t:].sum() for t in range(1, n)])
    at = int(np.argmax(np.abs(totals)))
    p = min(1.0, 2 * math.exp(-6 * float(totals[at]) ** 2 / (n**3 + n**2)))
    return p, float(np.median(values[at + 1 :]) - np.median(values[: at + 1]))
