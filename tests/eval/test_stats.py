"""Intervals and tests against closed forms and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from eval.stats import compare, interval, mcnemar, wilson


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipys(counts: tuple[int, int]) -> None:
    right, n = counts
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_an_interval_at_none_or_all_right_still_has_width() -> None:
    for value in (0.0, 1.0):
        for clusters in ([str(k) for k in range(40)], [str(k // 4) for k in range(40)]):
            estimate = interval([value] * 40, clusters)
            assert estimate.high - estimate.low > 0.05
            assert estimate.low <= value <= estimate.high


def test_items_that_fail_together_widen_the_interval() -> None:
    generator = np.random.default_rng(1)
    dialogues = (generator.random(60) < 0.5).repeat(5).astype(float)
    alone = interval(list(dialogues), [str(k) for k in range(300)])
    together = interval(list(dialogues), [str(k // 5) for k in range(300)])
    assert alone.method == "wilson"
    assert together.method == "bootstrap by cluster"
    assert together.high - together.low > 1.7 * (alone.high - alone.low)  # sqrt(5) in the limit


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        sample = list(generator.beta(2, 3, size=80))
        estimate = interval(sample, [str(k) for k in range(80)])
        hits += estimate.low <= 0.4 <= estimate.high
    assert hits >= 88


def test_mcnemar_is_the_exact_sign_test_of_the_changed_items() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(8, 0) == pytest.approx(2 / 2**8)
    assert mcnemar(3, 5) == mcnemar(5, 3)


def test_equal_runs_do_not_differ_and_a_clear_gain_does() -> None:
    clusters = [str(k // 2) for k in range(100)]
    same = compare([1.0, 0.0] * 50, [1.0, 0.0] * 50, clusters)
    assert (same.delta, same.low, same.high, same.p_bootstrap, same.p_mcnemar) == (0, 0, 0, 1.0, 1.0)
    gain = compare([0.0] * 100, [1.0] * 80 + [0.0] * 20, clusters)
    assert (gain.gained, gain.lost) == (80, 0)
    assert gain.low > 0.6
    assert gain.p_bootstrap < 0.001
    assert gain.p_mcnemar is not None and gain.p_mcnemar < 1e-20
