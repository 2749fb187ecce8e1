"""The laws of the held-out split: no group on both sides, both sides filled, the same split for the same seed."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from data_prep.dialogue import Dialogue, content_hash
from data_prep.split import Grouper, SplitError, check_overlap, group_keys, split_held_out


def dialogue(number, tools=(), seed=None, text=None):
    return Dialogue.from_dict(
        {
            "id": f"row-{number}",
            "messages": [{"role": "user", "content": text or f"question {number}"}],
            "tools": [{"name": name, "parameters": {}} for name in tools],
            "meta": {} if seed is None else {"seed": seed},
        }
    )


def groups_of(dialogues, group_by="auto"):
    grouper = Grouper(group_by)
    for row in dialogues:
        grouper.add(row, content_hash(row))
    return grouper.groups()


def split_one_part(groups, share, seed=0, group_by="auto"):
    return split_held_out(groups, np.zeros_like(groups), ["train_data[0]"], share, group_by, seed)


rows_with_tools = st.lists(st.sets(st.sampled_from("abcdefghijklmnop"), max_size=3), min_size=2, max_size=40)


@given(rows_with_tools, st.floats(0.01, 0.9), st.integers(0, 5))
def test_no_tool_is_on_both_sides_and_both_sides_hold_rows(toolsets, share, seed):
    dialogues = [dialogue(number, sorted(tools)) for number, tools in enumerate(toolsets)]
    groups = groups_of(dialogues)
    try:
        held = split_one_part(groups, share, seed)
    except SplitError:
        smallest = np.bincount(groups).min()
        assert groups.max() == 0 or smallest > 2 * max(1, round(share * len(groups)))
        return
    assert 0 < held.sum() < len(dialogues)
    sides = [
        {name for tools, out in zip(toolsets, held, strict=True) if out == side for name in tools} for side in (0, 1)
    ]
    assert not sides[0] & sides[1]


@given(rows_with_tools)
def test_groups_are_the_connected_components_by_brute_force(toolsets):
    groups = groups_of([dialogue(number, sorted(tools)) for number, tools in enumerate(toolsets)])
    components: list[tuple[set, set]] = []
    for row, tools in enumerate(toolsets):
        joined = [part for part in components if part[1] & tools]
        components = [part for part in components if part not in joined]
        components.append(({row}.union(*(part[0] for part in joined)), set(tools).union(*(part[1] for part in joined))))
    assert {frozenset(rows) for rows, _ in components} == {
        frozenset(np.flatnonzero(groups == group).tolist()) for group in set(groups.tolist())
    }


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=4, max_size=80), st.floats(0.05, 0.6))
def test_every_part_gives_close_to_its_share_and_never_more_than_twice_it(rows, share):
    groups = np.unique([group for group, _ in rows], return_inverse=True)[1].astype(np.int64)
    parts = np.array([part for _, part in rows], dtype=np.int64)
    sizes = np.bincount(parts, minlength=3).tolist()
    try:
        held = split_held_out(groups, parts, ["a", "b", "c"], share, "auto", 7)
    except SplitError:
        assume(False)
    for part in range(3):
        wanted = max(0, min(round(share * sizes[part]), sizes[part] - 1))
        assert held[parts == part].sum() <= 2 * max(1, wanted)
        if wanted:
            assert 0 < held[parts == part].sum() < sizes[part]


@given(st.integers(2, 60), st.integers(0, 1000))
def test_the_split_depends_on_the_seed_alone(count, seed):
    groups = np.arange(count, dtype=np.int64)
    first = split_one_part(groups, 0.3, seed)
    assert (first == split_one_part(groups, 0.3, seed)).all()


def test_other_seeds_give_other_splits():
    groups = np.arange(100, dtype=np.int64)
    assert len({split_one_part(groups, 0.3, seed).tobytes() for seed in range(5)}) == 5


def test_rows_of_one_seed_problem_stay_together_and_equal_content_always_does():
    rows = [dialogue(0, seed="p1"), dialogue(1, seed="p1"), dialogue(2, text="same"), dialogue(3, text="same", seed=9)]
    assert groups_of(rows).tolist() == [0, 0, 1, 1]
    assert groups_of(rows, "tools").tolist() == [0, 1, 2, 2]
    assert groups_of(rows, "id").tolist() == [0, 1, 2, 2]
    assert group_keys(dialogue(0, tools="ab", seed="p1"), "h", "auto") == ["content:h", "tool:a", "tool:b"]


def test_rows_that_all_share_their_tools_are_an_error_that_names_the_remedy():
    rows = [dialogue(number, tools=["book", "cancel"]) for number in range(50)]
    with pytest.raises(SplitError, match=r"train_data\[0\].*1 group.*50 rows.*set group_by: content.*held_out_data"):
        split_one_part(groups_of(rows), 0.1)
    assert split_one_part(groups_of(rows, "content"), 0.1, group_by="content").sum() == 5


def test_a_group_far_over_the_wanted_share_is_an_error_not_half_the_data():
    rows = [dialogue(number, tools=["a" if number % 2 else "b"]) for number in range(100)]
    with pytest.raises(SplitError, match=r"about 2 of 100 rows.*2 group\(s\), the smallest of 50"):
        split_one_part(groups_of(rows), 0.02)
    assert split_one_part(groups_of(rows), 0.5).sum() == 50


def test_a_single_row_cannot_be_split():
    with pytest.raises(SplitError, match="held_out_data"):
        split_one_part(np.zeros(1, dtype=np.int64), 0.5, group_by="content")


def test_overlap_is_found_by_id_and_by_content_and_names_the_rows():
    check_overlap({"a": "1", "b": "2"}, {"c": "3"})
    with pytest.raises(SplitError, match=r"overlap in 2 rows: held-out 'a' = train 'a' \(same id\), .*'d' = train 'b'"):
        check_overlap({"a": "1", "b": "2"}, {"a": "9", "d": "2", "e": "5"})
