"""Intervals and paired tests for scores between 0 and 1, resampled by dialogue or question where items hang together.

interval(values, clusters) -> Interval(score, low, high, method)        95 %
compare(before, after, clusters) -> Paired(delta, low, high, p_bootstrap, p_mcnemar, gained, lost)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 4000
SEED = 0
Z = 1.959963984540054  # 95 %, two-sided


class Interval(NamedTuple):
    """A mean with its 95 % interval and how that was made."""

    score: float
    low: float
    high: float
    method: str


class Paired(NamedTuple):
    """After minus before on the same items. gained/lost: items that went from 0 to 1 and from 1 to 0."""

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
    means = _resampled_means(np.asarray(values, float), clusters)
    low, high = np.quantile(means, [0.025, 0.975])
    if low == high:
        return Interval(score, *wilson(score * distinct, distinct), "wilson over clusters")
    return Interval(score, float(low), float(high), "bootstrap by cluster")


def compare(before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> Paired:
    """Paired difference with a cluster bootstrap (interval and p), and McNemar's exact p for yes/no values.

    McNemar takes items as independent; where several share a cluster, believe the bootstrap.
    """
    old, new = np.asarray(before, float), np.asarray(after, float)
    difference = new - old
    deltas = _resampled_means(difference, clusters)
    low, high = np.quantile(deltas, [0.025, 0.975])
    tail = min(float(np.mean(deltas <= 0)), float(np.mean(deltas >= 0)))
    binary = set(old) | set(new) <= {0.0, 1.0}
    gained, lost = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    return Paired(
        n=len(old),
        before=float(old.mean()),
        after=float(new.mean()),
        delta=float(difference.mean()),
        low=float(low),
        high=float(high),
        p_bootstrap=min(1.0, max(2 * tail, 1 / RESAMPLES)),
        p_mcnemar=mcnemar(gained, lost) if binary else None,
        gained=gained,
        lost=lost,
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p that changes go either way alike; 1 where nothing changed."""
    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def _resampled_means(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Means of RESAMPLES draws of whole clusters with replacement, [RESAMPLES]; the seed is fixed."""
    _, index = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(index, weights=values)
    counts = np.bincount(index)
    generator = np.random.default_rng(SEED)
    weights = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    return (weights @ sums) / (weights @ counts)
