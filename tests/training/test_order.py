"""Which rows a step takes and where they lie: the same for every layout, every row once, processes balanced."""

from __future__ import annotations

import math

import datasets
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.order import EpochOrder, Layout, spread, tokens_per_row

LENGTHS = st.lists(st.integers(2, 4000), min_size=1, max_size=40)
# Layouts of 8 rows a step.
LAYOUTS = [Layout(rows, processes, 8 // rows // processes) for rows in (1, 2, 4, 8) for processes in (1, 2, 4, 8)
           if 8 % (rows * processes) == 0]  # fmt: skip


def steps(lengths: list[int], layout: Layout, epoch: int = 0) -> list[list[int]]:
    order = EpochOrder(np.array(lengths), seed=3, layout=layout)
    order.set_epoch(epoch)
    rows = list(order)
    assert len(rows) == len(order)
    return [rows[start : start + 8] for start in range(0, len(rows), 8)]


@given(lengths=LENGTHS, epoch=st.integers(0, 3))
def test_every_step_takes_the_same_rows_in_every_layout_and_an_epoch_every_row_once(lengths, epoch):
    filler = len(lengths)
    found = [[sorted(row for row in step if row != filler) for step in steps(lengths, layout, epoch)]
             for layout in LAYOUTS]  # fmt: skip
    assert all(one == found[0] for one in found)
    assert sorted(row for step in found[0] for row in step) == list(range(len(lengths)))


def test_epochs_and_seeds_differ():
    lengths = [10] * 32
    assert steps(lengths, LAYOUTS[0], epoch=0) != steps(lengths, LAYOUTS[0], epoch=1)


@given(lengths=st.lists(st.integers(2, 4000), min_size=8, max_size=8))
def test_processes_have_about_as_many_tokens_in_every_micro_batch_and_as_a_whole(lengths):
    laid_out = spread(range(8), lengths, Layout(1, 2, 4))
    pairs = [(lengths[a], lengths[b]) for a, b in zip(laid_out[::2], laid_out[1::2], strict=True)]
    ranked = sorted(lengths, reverse=True)
    assert [tuple(sorted(pair, reverse=True)) for pair in pairs] == [
        (ranked[at], ranked[at + 1]) for at in range(0, 8, 2)
    ]
    first, second = (sum(pair[side] for pair in pairs) for side in (0, 1))
    assert abs(first - second) <= ranked[0] - ranked[-1]


@given(lengths=st.lists(st.integers(2, 4000), min_size=16, max_size=16), rows=st.sampled_from([2, 4, 8]))
def test_no_micro_batch_is_longer_than_the_rows_demand(lengths, rows):
    batches = np.array([lengths[row] for row in spread(range(16), lengths, Layout(rows, 2, 8 // rows))]).reshape(
        -1, rows
    )
    longest = batches.sum(1).max()
    assert longest <= math.ceil(sum(lengths) / len(batches)) + max(lengths)


def test_tokens_are_counted_of_selected_and_concatenated_rows_too():
    rows = datasets.Dataset.from_dict({"input_ids": [[1] * n for n in (3, 5, 2, 7)]})
    assert tokens_per_row(rows).tolist() == [3, 5, 2, 7]
    assert tokens_per_row(datasets.concatenate_datasets([rows.select([2, 0]), rows])).tolist() == [2, 3, 3, 5, 2, 7]
