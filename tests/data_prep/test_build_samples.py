"""The laws of labels: a part is trained where train_on says so, a stop token wherever any of its turn is."""

import numpy as np
import pytest
from datasets import load_from_disk
from hypothesis import given
from hypothesis import strategies as st

from data_prep.encode import ANSWER, CALL, CONTEXT, STOP, THOUGHT, Encoded
from data_prep.samples import SampleStore, labels_of, trained_tokens, write_index, write_split

PARTS = {"thought": THOUGHT, "call": CALL, "answer": ANSWER}

turns = st.tuples(st.lists(st.sampled_from([THOUGHT, CALL, ANSWER]), max_size=4), st.booleans())
samples = st.lists(st.tuples(st.integers(0, 3), turns), min_size=1, max_size=5)


def by_the_book(sample, train_on):
    """Kinds and trained flags of one sample, turn by turn."""
    kinds, trained = [], []
    for context, (parts, stops) in sample:
        kinds += [CONTEXT] * (context + 1) + parts + [STOP] * stops
        flags = [kind in [PARTS[part] for part in train_on] for kind in parts]
        trained += [False] * (context + 1) + flags + [any(flags)] * stops
    return kinds, trained


@given(st.lists(samples, min_size=1, max_size=4), st.sets(st.sampled_from(sorted(PARTS)), min_size=1))
def test_trained_tokens_are_those_found_turn_by_turn(all_samples, train_on):
    expected = [by_the_book(sample, train_on) for sample in all_samples]
    kinds = np.array([kind for part, _ in expected for kind in part], dtype=np.int8)
    got = trained_tokens(kinds, np.array([len(part) for part, _ in expected]), sorted(train_on))
    assert got.tolist() == [flag for _, flags in expected for flag in flags]


def test_a_turn_never_reaches_over_the_border_of_packed_samples():
    # The first sample ends in a turn without stop token; the second begins with a turn that is not trained.
    kinds = np.array([CONTEXT, ANSWER, CALL, STOP], dtype=np.int8)
    assert trained_tokens(kinds, np.array([2, 2]), ["answer"]).tolist() == [False, True, False, False]
    assert trained_tokens(kinds, np.array([4]), ["answer"]).tolist() == [False, True, False, True]


def test_two_turns_with_nothing_between_have_their_own_stop_tokens():
    kinds = np.array([CONTEXT, ANSWER, STOP, CALL, STOP], dtype=np.int8)
    assert trained_tokens(kinds, np.array([5]), ["answer"]).tolist() == [False, True, True, False, False]


def test_labels_are_the_ids_where_trained_and_minus_100_elsewhere():
    ids, kinds = np.array([7, 8, 9], dtype=np.int32), np.array([CONTEXT, ANSWER, STOP], dtype=np.int8)
    labels = labels_of(ids, kinds, np.array([3]), ["answer"])
    assert labels.tolist() == [-100, 8, 9]
    assert labels.dtype == np.int32


def add(store, row, sample):
    ids, kinds = np.array(sample.input_ids, dtype=np.int32), np.array(sample.kinds, dtype=np.int8)
    store.add(ids, kinds, np.array([ids.size]), np.array([row]))


@pytest.mark.parametrize("bins", [[], [[0], [1], [2]], [[0, 2], [1]]])
def test_load_from_disk_gives_back_every_stored_sample(tmp_path, bins):
    stored_samples = [Encoded([5, 6, 7], [0, 3, 4]), Encoded([8, 9], [0, 2]), Encoded([1, 2, 3], [1, 3, 4])]
    with SampleStore(tmp_path) as store:
        for row, sample in zip([0, 0, 1], stored_samples, strict=True):
            add(store, row, sample)
        stored = store.close()
    arrays = [np.array(part, dtype=np.int64) for part in bins]
    write_split(tmp_path / "set" / "train", stored, arrays, ["a", "b"], ["x", "y"], ["answer"], "f")
    write_index(tmp_path / "set", ["train"])
    rows = list(load_from_disk(str(tmp_path / "set"))["train"])
    assert len(rows) == len(bins)
    for row, part in zip(rows, bins, strict=True):
        assert row["input_ids"] == [token for sample in part for token in stored_samples[sample].input_ids]
        assert row["kinds"] == [kind for sample in part for kind in stored_samples[sample].kinds]
        assert row["seq_lengths"] == [len(stored_samples[sample].kinds) for sample in part]
        assert row["dialogue_id"] == " ".join("aab"[sample] for sample in part)
        assert row["source"] == " ".join(dict.fromkeys("xxy"[sample] for sample in part))


def test_samples_of_rows_come_in_the_order_asked_for_and_as_often(tmp_path):
    with SampleStore(tmp_path) as store:
        for row in [0, 0, 2]:
            add(store, row, Encoded([1], [3]))
        stored = store.close()
    assert stored.of_rows(np.array([2, 0, 1, 2, 3])).tolist() == [2, 0, 1, 2]
