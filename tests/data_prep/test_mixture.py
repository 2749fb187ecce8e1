"""The laws of the mixture: exact counts, shares as asked, even repetition, and the seed decides all else."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.mixture import MixtureError, counts, draw_samples, mix
from recipes.schema import DataSource


def entry(weight=None, samples=None, repeat=1):
    return DataSource(source="button", path=("a.jsonl",), weight=weight, samples=samples, repeat=repeat)


def parts_of(sizes):
    """Row numbers of each part, numbered through."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [np.arange(start, start + size) for start, size in zip(starts[:-1], sizes, strict=True)]


sizes_and_repeats = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 3)), min_size=1, max_size=4)


@given(sizes_and_repeats, st.integers(0, 9))
def test_without_weights_every_row_occurs_exactly_as_often_as_repeat_says(parts, seed):
    sizes = [size for size, _ in parts]
    mixture = mix(parts_of(sizes), [entry(repeat=repeat) for _, repeat in parts], seed)
    occurs = Counter(mixture.tolist())
    for rows, (_, repeat) in zip(parts_of(sizes), parts, strict=True):
        assert all(occurs[row] == repeat for row in rows.tolist())
    assert len(mixture) == sum(size * repeat for size, repeat in parts)


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0.1, 10), st.integers(1, 3)), min_size=1, max_size=4))
def test_weights_are_shares_and_the_scarcest_entry_is_used_whole(parts):
    available = [size * repeat for size, _, repeat in parts]
    weights = [weight for _, weight, _ in parts]
    got = counts([size for size, _, _ in parts], [entry(weight, repeat=repeat) for _, weight, repeat in parts])
    scarcest = min(range(len(parts)), key=lambda part: available[part] / weights[part])
    assert got[scarcest] == available[scarcest]
    for count, most, weight in zip(got, available, weights, strict=True):
        assert count <= most
        assert abs(count - available[scarcest] * weight / weights[scarcest]) <= 0.5 + 1e-6


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 9))
def test_no_row_is_drawn_again_before_all_rows_were_drawn_as_often(size, repeat, seed):
    mixture = mix(parts_of([size, 20]), [entry(weight=1, repeat=repeat), entry(weight=1)], seed)
    occurs = Counter(mixture[mixture < size].tolist())
    often = [occurs[row] for row in range(size)]
    assert max(often) - min(often) <= 1


@given(sizes_and_repeats, st.integers(0, 1000))
def test_the_mixture_depends_on_the_seed_alone(parts, seed):
    sizes, entries = [size for size, _ in parts], [entry(repeat=repeat) for _, repeat in parts]
    assert (mix(parts_of(sizes), entries, seed) == mix(parts_of(sizes), entries, seed)).all()


def test_another_seed_gives_another_order():
    orders = {mix(parts_of([50]), [entry()], seed).tobytes() for seed in range(5)}
    assert len(orders) == 5


@given(st.integers(1, 60).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(1, rows))), st.integers(0, 9))
def test_samples_draws_that_many_distinct_rows(case, seed):
    rows, samples = case
    drawn = draw_samples(rows, samples, "a", seed, 0)
    assert len(set(drawn.tolist())) == samples
    assert (drawn == draw_samples(rows, samples, "a", seed, 0)).all()
    assert draw_samples(rows, None, "a", seed, 0).tolist() == list(range(rows))


def test_more_samples_than_rows_is_an_error_that_names_the_entry():
    with pytest.raises(MixtureError, match=r"train_data\[1\]: samples: 1,000 asks for more than the 12 rows.*repeat"):
        draw_samples(12, 1000, "train_data[1]", 0, 1)


def test_a_weight_on_some_entries_only_is_an_error():
    with pytest.raises(MixtureError, match="every entry a weight or none"):
        counts([5, 5], [entry(weight=1), entry()])
