"""The held-out split by groups, so that what a model is tested on was not in its training data under another name.

    group_by: auto      rows that share a tool name stand together; a row without tools goes by its seed problem
                        (`meta["seed"]`), else by its content
    group_by: tools     rows that share a tool name stand together; a row without tools goes by its content
    group_by: content   rows of equal content stand together
    group_by: id        rows of equal content stand together (ids are unique, and equal content never parts)

Groups are connected components: a row with tools A and B ties together all rows with A and all rows with B. Where
that leaves one group of everything (an agent whose rows all list the same tools), no split by tools exists, and the
error says what to set instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from data_prep.dialogue import Dialogue, function_of

GroupBy = Literal["auto", "tools", "content", "id"]

# A group too large for the wanted share is still taken where nothing smaller exists, up to this multiple of it.
OVERSHOOT = 2
NAMED_IN_ERRORS = 5


class SplitError(ValueError):
    """No held-out split of the wanted kind exists, or training and held-out data overlap."""


class Grouper:
    """Collects the group keys of rows, one `add` per row, and joins rows that share a key."""

    def __init__(self, group_by: GroupBy):
        self.group_by = group_by
        self._key_numbers: dict[str, int] = {}
        self._rows: list[int] = []
        self._keys: list[int] = []
        self._count = 0

    def add(self, dialogue: Dialogue, content_hash: str) -> None:
        """Take in the next row."""
        for key in group_keys(dialogue, content_hash, self.group_by):
            self._rows.append(self._count)
            self._keys.append(self._key_numbers.setdefault(key, len(self._key_numbers)))
        self._count += 1

    def groups(self) -> NDArray[np.int64]:
        """The group number of every row, numbered by first appearance."""
        if not self._count:
            return np.zeros(0, dtype=np.int64)
        size = self._count + len(self._key_numbers)
        columns = np.array(self._keys, dtype=np.int64) + self._count
        links = coo_matrix((np.ones(columns.size, dtype=np.int8), (self._rows, columns)), shape=(size, size))
        _, label = connected_components(links, directed=False)
        _, first, group = np.unique(label[: self._count], return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[group].astype(np.int64)


def group_keys(dialogue: Dialogue, content_hash: str, group_by: GroupBy) -> list[str]:
    """What ties a row to others; the content always does, so that a copy of a row never lands on the other side."""
    keys = [f"content:{content_hash}"]
    if group_by in ("auto", "tools") and dialogue.tools:
        keys += [f"tool:{function_of(tool)['name']}" for tool in dialogue.tools]
    elif group_by == "auto" and "seed" in dialogue.meta:
        keys.append(f"seed:{dialogue.meta['seed']}")
    return keys


def split_held_out(
    groups: NDArray[np.int64],
    part_of_row: NDArray[np.int64],
    part_names: Sequence[str],
    share: float,
    group_by: GroupBy,
    seed: int,
) -> NDArray[np.bool_]:
    """Which rows are held out: whole groups, about `share` of every part (an entry of train_data), drawn by `seed`.

    `groups` and `part_of_row` give the group and the part of each row. Raises SplitError where a part large enough to
    give rows can give none without emptying the other side or overshooting the share.
    """
    parts = len(part_names)
    sizes = np.bincount(part_of_row, minlength=parts)
    wanted = np.minimum(np.rint(share * sizes).astype(np.int64), np.maximum(sizes - 1, 0))
    largest = int(np.argmax(sizes))
    if not wanted.any():
        wanted[largest] = 1
    if sizes[largest] < 2:
        raise SplitError(_impossible(part_names[largest], groups[part_of_row == largest], 1, share, group_by))
    members = _members(groups, part_of_row, parts)
    order = np.random.default_rng([seed, 1]).permutation(len(members)).tolist()
    taken = _take_fitting(order, members, wanted.tolist())
    held = np.bincount(part_of_row, weights=np.isin(groups, taken), minlength=parts).astype(np.int64)
    for part in np.flatnonzero((wanted > 0) & (held == 0)).tolist():
        extra = _smallest_of(part, order, members, set(taken), (OVERSHOOT * wanted - held).tolist(), sizes - held)
        if extra is None:
            raise SplitError(_impossible(part_names[part], groups[part_of_row == part], wanted[part], share, group_by))
        taken.append(extra)
        for other, count in members[extra].items():
            held[other] += count
    return np.isin(groups, taken)


def _members(groups: NDArray[np.int64], part_of_row: NDArray[np.int64], parts: int) -> list[dict[int, int]]:
    """Rows per part of every group."""
    members: list[dict[int, int]] = [{} for _ in range(int(groups.max(initial=-1)) + 1)]
    pairs, counts = np.unique(groups * parts + part_of_row, return_counts=True)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        members[pair // parts][pair % parts] = count
    return members


def _take_fitting(order: list[int], members: list[dict[int, int]], wanted: list[int]) -> list[int]:
    """Groups in the drawn order, each that overshoots no part's wanted rows."""
    left = list(wanted)
    taken = []
    for group in order:
        if all(left[part] >= count for part, count in members[group].items()):
            taken.append(group)
            for part, count in members[group].items():
                left[part] -= count
            if not any(left):
                break
    return taken


def _smallest_of(
    part: int,
    order: list[int],
    members: list[dict[int, int]],
    taken: set[int],
    room: list[int],
    rows_in_training: NDArray[np.int64],
) -> int | None:
    """The group with the fewest rows of `part` that stays within `room` and leaves every part rows to train on."""
    fitting = [
        group
        for group in order
        if part in members[group]
        and group not in taken
        and all(room[p] >= count and rows_in_training[p] > count for p, count in members[group].items())
    ]
    return min(fitting, key=lambda group: members[group][part], default=None)


def _impossible(name: str, groups: NDArray[np.int64], wanted: int, share: float, group_by: GroupBy) -> str:
    sizes = np.unique(groups, return_counts=True)[1]
    remedy = "raise held_out_share or give held_out_data"
    if group_by in ("auto", "tools"):
        remedy = f"set group_by: content (tools may then occur on both sides), or {remedy}"
    smallest = min(sizes.tolist(), default=0)
    return (
        f"{name}: held_out_share {share} asks for about {wanted} of {groups.size} rows, but by group_by: {group_by} "
        f"they form {sizes.size} group(s), the smallest of {smallest} rows, and a group is never split; {remedy}"
    )


def check_overlap(train: Mapping[str, str], held_out: Mapping[str, str]) -> None:
    """Raise SplitError, naming rows, where a held-out row has the id or the content hash of a training row.

    Both are `{id: content hash}`.
    """
    by_hash = {digest: row_id for row_id, digest in train.items()}
    clashes = [
        (row_id, row_id if row_id in train else by_hash[digest], "id" if row_id in train else "content")
        for row_id, digest in held_out.items()
        if row_id in train or digest in by_hash
    ]
    if clashes:
        raise SplitError(
            f"train_data and held_out_data overlap in {len(clashes):,} rows: {_name_some(clashes)}; take these rows "
            "out of one of the two, or drop held_out_data and let held_out_share split train_data"
        )


def _name_some(clashes: Iterable[tuple[str, str, str]]) -> str:
    clashes = list(clashes)
    named = [f"held-out {held!r} = train {train!r} (same {what})" for held, train, what in clashes[:NAMED_IN_ERRORS]]
    return ", ".join(named) + (", ..." if len(clashes) > NAMED_IN_ERRORS else "")
