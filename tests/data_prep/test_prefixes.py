"""Laws of common beginnings: every sample stays whole, rows stay within capacity, and sharing never costs positions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.pack import pack
from data_prep.prefixes import MIN_SHARED, beginning_of, in_order, in_rows, runs
from training.collate import collate

CAPACITY = 400


@st.composite
def samples(draw):
    """(ids, kinds) of samples, many of which extend the beginning of another one."""
    made = []
    for _ in range(draw(st.integers(1, 12))):
        stem = draw(st.sampled_from(made))[0] if made and draw(st.booleans()) else np.zeros(0, dtype=np.int32)
        stem = stem[: draw(st.integers(0, len(stem)))][:200]
        seed = draw(st.integers(0, 10_000))
        own = np.random.default_rng(seed).integers(1, 9, size=draw(st.integers(2, 150)), dtype=np.int32)
        ids = np.concatenate([stem, own]).astype(np.int32)
        kinds = np.zeros(len(ids), dtype=np.int8)
        kinds[draw(st.integers(1, len(ids) - 1)) :] = 3
        made.append((ids, kinds))
    return made


def row_of(members, made):
    ids = [made[member][0].tolist() for member in members]
    kinds = [made[member][1].tolist() for member in members]
    labels = [[i if k else -100 for i, k in zip(*pair, strict=True)] for pair in zip(ids, kinds, strict=True)]
    columns = {"input_ids": ids, "kinds": kinds, "labels": labels}
    joined = {name: [value for part in parts for value in part] for name, parts in columns.items()}
    return joined | {"seq_lengths": [len(part) for part in ids]}


@given(samples())
def test_every_sample_is_in_one_row_and_no_row_takes_more_positions_than_the_capacity(made):
    lengths = np.array([len(ids) for ids, _ in made])
    rows, positions = in_rows(lengths, [beginning_of(*sample) for sample in made], CAPACITY)
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(made)))
    batches = [collate([row_of(row, made)], share_prefixes=True) for row in rows]
    taken = [batch["input_ids"].shape[1] for batch in batches]
    assert max(taken) <= CAPACITY
    assert sum(taken) <= positions <= lengths.sum()


@given(samples())
def test_each_dialogue_is_read_back_from_its_prefix_and_branch(made):
    batch = collate([row_of(range(len(made)), made)], share_prefixes=True)
    ids, labels, positions = (batch[name][0].tolist() for name in ("input_ids", "labels", "position_ids"))
    read, at = [], 0
    for run in batch["runs"]:
        prefix, branches = (run[0], run[1:]) if len(run) > 1 else (0, run)
        begin = at
        assert all(label == -100 for label in labels[at : at + prefix])
        at += prefix
        for branch in branches:
            read.append(ids[begin : begin + prefix] + ids[at : at + branch])
            assert positions[at : at + branch] == list(range(prefix, prefix + branch))
            assert labels[at] == -100, "its loss would be predicted from another branch"
            at += branch
    assert read == [sample.tolist() for sample, _ in made]
    trained = [label for label in labels if label != -100]
    assert trained == [int(i) for ids, kinds in made for at, (i, k) in enumerate(zip(ids, kinds, strict=True)) if k]


@given(samples())
def test_samples_that_begin_alike_stand_in_the_order_of_their_ids(made):
    beginnings = [beginning_of(*sample) for sample in made]
    assert in_order(beginnings).tolist() == sorted(range(len(made)), key=lambda number: beginnings[number].tolist())


def test_dialogues_of_one_tool_list_become_one_run():
    head = np.arange(1, 101, dtype=np.int32)
    made = [np.concatenate([head, np.full(20, 200 + n, dtype=np.int32)]) for n in range(3)]
    kinds = np.repeat(np.array([0, 3], dtype=np.int8), [110, 10])
    found = runs([beginning_of(ids, kinds) for ids in made])
    assert [(run.prefix, list(run.members)) for run in found] == [(100, [0, 1, 2])]
    assert MIN_SHARED < 100


def test_without_common_beginnings_rows_are_those_of_plain_packing():
    made = [(np.full(60 + n, n, dtype=np.int32), np.ones(60 + n, dtype=np.int8)) for n in range(20)]
    lengths = np.array([len(ids) for ids, _ in made])
    rows, positions = in_rows(lengths, [beginning_of(*sample) for sample in made], CAPACITY)
    assert [set(row.tolist()) for row in rows] == [set(row.tolist()) for row in pack(lengths, CAPACITY)]
    assert positions == lengths.sum()
