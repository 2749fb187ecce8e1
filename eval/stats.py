"""Intervals and paired tests for scores between 0 and 1, resampled by dialogue or question where items hang together.

interval(values, clusters) -> Interval(score, low, high, method)        95 %
compare(before, after, clusters) -> Paired(delta, low, high, p_bootstrap, p_mcnemar, gained, lost, detectable)
detectable(psi, n) -> the least difference that a paired test finds with 80 % power
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES = 4000
SEED = 0
Z = 1.959963984540054  # 95 %, two-sided
Z_POWER = 0.8416212335729143  # 80 % power
FEWEST_CHANGES = 6  # all one way: McNemar's exact p is 2 / 2**6 = 0.03; with five it is 0.06
DRAWS_AT_ONCE = 1 << 22  # cluster draws in memory together, 32 MiB


class Interval(NamedTuple):
    """A mean with its 95 % interval and how that was made."""

    score: float
    low: float
    high: float
    method: str


class Paired(NamedTuple):
    """After minus before on the same items. gained/lost: items whose value rose and fell (0 to 1 and 1 to 0).

    detectable: the least difference found with 80 % power at this n and this many changes; None with too few items.
    """

    n: int
    before: float
    after: float
    delta: float
    low: float
    high: float
    p_bootstrap: float
    p_mcnemar: float | None
    gained: int
    lost: int
    detectable: float | None


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a proportion; unlike the normal one it stays inside 0..1 and is honest at 0 and n."""
    if n == 0:
        raise ValueError("an interval needs at least one item")
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return (max(0.0, centre - half) if successes else 0.0), (min(1.0, centre + half) if successes < n else 1.0)


def interval(values: Sequence[float], clusters: Sequence[str]) -> Interval:
    """Mean and 95 % interval.

    Wilson for independent yes/no items; otherwise whole clusters are resampled, since turns of one dialogue fail
    together and counting them as independent makes intervals too narrow. Where a bootstrap sees no spread at all
    (all values equal, one cluster), Wilson over the number of clusters.
    """
    score = float(np.mean(values))
    distinct = len(set(clusters))
    if distinct == len(values) and set(values) <= {0.0, 1.0}:
        return Interval(score, *wilson(sum(values), distinct), "wilson")
    low, high = np.quantile(_resampled_means(values, clusters), [0.025, 0.975])
    if low == high:
        return Interval(score, *wilson(score * distinct, distinct), "wilson over clusters")
    return Interval(score, float(low), float(high), "bootstrap by cluster")


def compare(before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> Paired:
    """Paired difference with a cluster bootstrap (interval and p), and McNemar's exact p for yes/no values.

    McNemar takes items as independent; where several share a cluster, believe the bootstrap. Its p is
    2 (k + 1) / (RESAMPLES + 1) for k resampled differences on the far side of 0 (Davison & Hinkley 1997, 4.2), and
    never below 2 / 2**c, the least that c clusters whose difference is not 0 can give when signs are exchangeable.
    """
    old, new = np.asarray(before, float), np.asarray(after, float)
    difference = new - old
    deltas = _resampled_means(difference, clusters)
    low, high = (float(bound) for bound in np.quantile(deltas, [0.025, 0.975]))
    sums, _ = _by_cluster(difference, clusters)
    if low == high:
        low, high = _without_spread(low, len(sums))
    beyond = min(int(np.sum(deltas <= 0)), int(np.sum(deltas >= 0)))
    least = 2.0 / 2.0 ** min(int(np.sum(sums != 0)), 1000)
    binary = set(old) | set(new) <= {0.0, 1.0}
    gained, lost = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    return Paired(
        n=len(old),
        before=float(old.mean()),
        after=float(new.mean()),
        delta=float(difference.mean()),
        low=low,
        high=high,
        p_bootstrap=min(1.0, max(2 * (beyond + 1) / (RESAMPLES + 1), least)),
        p_mcnemar=mcnemar(gained, lost) if binary else None,
        gained=gained,
        lost=lost,
        detectable=detectable(float(np.mean(difference**2)), effective_n(difference, clusters)),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p that changes go either way alike; 1 where nothing changed."""
    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def detectable(psi: float, n: float) -> float | None:
    """The least true difference that a two-sided paired test at alpha 0.05 finds with 80 % power; None below six pairs.

    psi: share of pairs that differ (for graded scores the mean squared difference); n: independent pairs.

    Connor (1987, Biometrics 43, 207-211) gives the pairs needed for a difference d of McNemar's test,
    n = (a sqrt(psi) + b sqrt(psi - d^2))^2 / d^2 with a = z(1 - alpha/2), b = z(power). Solved for d:
    d = K sqrt(psi) with K = (a sqrt(n) + b sqrt(n - a^2 + b^2)) / (n + b^2). A difference cannot exceed the share of
    pairs that differ, d <= psi, so psi is at least K^2 and d too: about eight items that all go one way.
    """
    if n < FEWEST_CHANGES:
        return None
    k = (Z * math.sqrt(n) + Z_POWER * math.sqrt(n - Z**2 + Z_POWER**2)) / (n + Z_POWER**2)
    return max(k * math.sqrt(psi), k * k)


def detectable_alone(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """`detectable` from one run: against another of the same mean and spread whose answers have nothing to do with it.

    Then psi is twice the variance, 2 p (1 - p) for yes/no values. Two runs of related models differ on fewer items, so
    this is more than `compare` will say.
    """
    return detectable(2 * float(np.var(values)), effective_n(values, clusters))


def standard_error(values: Sequence[float] | NDArray[np.float64], clusters: Sequence[str]) -> float | None:
    """Of the mean, robust to clusters; the sample deviation over sqrt(n) where each item is its own; None for one.

    sqrt(C / (C - 1) * sum over clusters of (sum of value - mean)^2) / n: the linearised variance of a ratio
    (Cochran 1977, Sampling Techniques, 6.4), as in Miller (2024, Adding Error Bars to Evals, arXiv 2411.00640).
    """
    numbers = np.asarray(values, float)
    sums, _ = _by_cluster(numbers - numbers.mean(), clusters)
    if len(sums) < 2:
        return None
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2)) / len(numbers))


def effective_n(values: Sequence[float] | NDArray[np.float64], clusters: Sequence[str]) -> float:
    """How many independent items tell as much: n over Kish's design effect (1965, Survey Sampling, 5.4), at most n.

    The effect is the variance of the mean with clusters over that without; where nothing varies, n is the clusters.
    """
    numbers = np.asarray(values, float)
    deviations = numbers - numbers.mean()
    sums, _ = _by_cluster(deviations, clusters)
    alone, together = float(np.sum(deviations**2)), float(np.sum(sums**2))
    if alone == 0 or len(sums) == 1:
        return float(len(sums))
    return len(numbers) / max(1.0, together / alone)


def _without_spread(delta: float, clusters: int) -> tuple[float, float]:
    """Bounds where every cluster shows the same difference: another one, within -1..1, may yet have Wilson's share."""
    _, others = wilson(0, clusters)
    return delta - others * (1 + delta), delta + others * (1 - delta)


def _by_cluster(
    values: Sequence[float] | NDArray[np.float64], clusters: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Sums and counts of each cluster, [clusters]."""
    _, index = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return np.bincount(index, weights=np.asarray(values, float)).astype(float), np.bincount(index)


def _resampled_means(values: Sequence[float] | NDArray[np.float64], clusters: Sequence[str]) -> NDArray[np.float64]:
    """Means of RESAMPLES draws of whole clusters with replacement, [RESAMPLES]; the seed is fixed."""
    sums, counts = _by_cluster(values, clusters)
    generator = np.random.default_rng(SEED)
    rows = max(1, DRAWS_AT_ONCE // len(sums))
    means = []
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(0, len(sums), size=(min(rows, RESAMPLES - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)
