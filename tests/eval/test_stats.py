"""Intervals and tests against closed forms and other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm, sem

from eval.stats import (
    compare,
    detectable,
    detectable_alone,
    effective_n,
    interval,
    mcnemar,
    standard_error,
    wilson,
)


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
    assert (same.delta, same.p_bootstrap, same.p_mcnemar) == (0, 1.0, 1.0)
    assert -0.1 < same.low < 0 < same.high < 0.1  # another dialogue might have differed
    gain = compare([0.0] * 100, [1.0] * 80 + [0.0] * 20, clusters)
    assert (gain.gained, gain.lost) == (80, 0)
    assert gain.low > 0.6
    assert gain.p_bootstrap < 0.001
    assert gain.p_mcnemar is not None and gain.p_mcnemar < 1e-20


def test_the_cluster_bootstrap_draws_from_the_exact_distribution_of_resampled_clusters() -> None:
    values, clusters = [0.9, 0.1, 0.4, 0.3, 0.8, 0.6, 0.2], ["a", "a", "b", "c", "c", "c", "d"]
    groups = [[v for v, name in zip(values, clusters, strict=True) if name == c] for c in "abcd"]
    means = [
        np.mean([v for group in drawn for v in group]) for drawn in itertools.product(groups, repeat=4)
    ]  # all 256 draws, equally likely
    estimate = interval(values, clusters)
    assert estimate.method == "bootstrap by cluster"
    assert estimate.low == pytest.approx(np.quantile(means, 0.025), abs=0.012)
    assert estimate.high == pytest.approx(np.quantile(means, 0.975), abs=0.012)


def test_the_cluster_bootstrap_is_as_wide_as_the_cluster_robust_standard_error_says() -> None:
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 6, size=400)
    shares = generator.beta(1, 1, size=400)
    values = [float(hit) for n, p in zip(sizes, shares, strict=True) for hit in generator.random(n) < p]
    clusters = [str(c) for c, n in enumerate(sizes) for _ in range(n)]
    estimate = interval(values, clusters)
    error = standard_error(values, clusters)
    assert error is not None and error > 1.2 * float(sem(values))
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_the_standard_error_of_independent_items_is_the_textbooks() -> None:
    values = [0.0, 1.0, 1.0, 0.5, 0.25]
    assert standard_error(values, list("abcde")) == pytest.approx(float(sem(values)))
    assert standard_error([1.0], ["a"]) is None
    assert effective_n(values, list("abcde")) == pytest.approx(5)
    assert effective_n([0.0] * 6 + [1.0] * 6, [str(k // 3) for k in range(12)]) == pytest.approx(4)
    assert effective_n([1.0] * 6, list("aabbcc")) == 3


def test_few_changed_clusters_cannot_give_a_small_p_nor_an_interval_without_width() -> None:
    pair = compare([0.0] * 6, [1.0] * 6, list("aabbcc"))
    assert pair.p_bootstrap == 2 / 2**3
    assert pair.low < pair.high == 1.0
    assert pair.low == pytest.approx(1 - 2 * wilson(0, 3)[1])
    assert compare([0.0], [1.0], ["a"]).p_bootstrap == 1.0


def test_the_bootstraps_p_is_as_often_small_as_it_says_where_nothing_changed() -> None:
    generator = np.random.default_rng(4)
    small = 0
    for _ in range(120):
        shift = generator.choice([-1.0, 0.0, 0.0, 1.0], size=60).repeat(2)
        small += compare(list(np.zeros(120)), list(shift), [str(k // 2) for k in range(120)]).p_bootstrap < 0.05
    assert small <= 14


@pytest.mark.parametrize(("psi", "n"), [(0.1, 500), (0.3, 100), (0.35, 60), (0.02, 1319)])
def test_the_detectable_difference_solves_connors_sample_size_formula(psi: float, n: int) -> None:
    a, b = norm.ppf(0.975), norm.ppf(0.8)

    def pairs_needed(d: float) -> float:
        return (a * np.sqrt(psi) + b * np.sqrt(psi - d * d)) ** 2 / d**2

    assert detectable(psi, n) == pytest.approx(brentq(lambda d: pairs_needed(d) - n, 1e-6, psi), rel=1e-9)


@pytest.mark.parametrize(("psi", "n"), [(0.3, 150), (0.1, 600)])
def test_mcnemars_exact_test_finds_the_detectable_difference_in_about_four_of_five_runs(psi: float, n: int) -> None:
    d = detectable(psi, n)
    assert d is not None
    changed = np.arange(1, n + 1)
    fewest = binom.ppf(0.025, changed, 0.5) - 1  # losses at which 2 P(as few) < 0.05, of so many changed
    fewest += 2 * binom.cdf(fewest + 1, changed, 0.5) < 0.05
    assert mcnemar(int(40 - fewest[39]), int(fewest[39])) < 0.05 < mcnemar(int(39 - fewest[39]), int(fewest[39]) + 1)
    power = float(np.sum(binom.pmf(changed, n, psi) * binom.cdf(fewest, changed, (1 - d / psi) / 2)))
    assert 0.74 < power < 0.84  # the exact test is a little conservative


def test_no_difference_smaller_than_about_eight_items_one_way_is_ever_called_detectable() -> None:
    assert detectable(0.0, 100) == pytest.approx(detectable(0.05, 100), abs=0.02) == pytest.approx(0.076, abs=0.005)
    assert detectable(0.5, 5) is None
    assert compare([0.0] * 5, [1.0] * 5, list("abcde")).detectable is None
    assert detectable(0.2, 400) < detectable(0.4, 400) < detectable(0.4, 200)  # type: ignore[operator]


def test_one_run_alone_assumes_unrelated_answers_and_turns_of_a_dialogue_count_less() -> None:
    values = [1.0, 0.0, 0.0, 0.0] * 50
    assert detectable_alone(values, [str(k) for k in range(200)]) == detectable(2 * 0.25 * 0.75, 200)
    together = detectable_alone(sorted(values), [str(k // 2) for k in range(200)])
    assert together == pytest.approx(detectable(0.375, 100), rel=1e-6)
