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

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.compact import Numbers
from data_prep.dialogue import Dialogue, function_of

GroupBy = Literal["auto", "tools", "content", "id"]

# A group too large for the wanted share is still taken where nothing smaller exists, up to this multiple of it.
OVERSHOOT = 2
NAMED_IN_ERRORS = 5


class SplitError(ValueError):
    """No held-out split of the wanted kind exists, or training and held-out data overlap."""


class Grouper:
    """Collects the group keys of rows, one `add` per row, and joins rows that share a key.

    A union-find over keys: each points to an earlier one of its group or, the group's first, to itself. About 40 bytes
    a key and 8 a row, however many keys a row has.
    """

    def __init__(self, group_by: GroupBy):
        self.group_by = group_by
        self._keys = Numbers()
        self._earlier = array("q")  # by the key's number
        self._key_of_row = array("q")

    def add(self, dialogue: Dialogue, content_hash: str) -> None:
        """Take in the next row."""
        firsts = [self._first_of(key) for key in group_keys(dialogue, content_hash, self.group_by)]
        for first in firsts:
            self._earlier[first] = min(firsts)
        self._key_of_row.append(min(firsts))

    def _first_of(self, text: str) -> int:
        """The first key of the key's group."""
        key = self._keys.add(text)
        if key == len(self._earlier):
            self._earlier.append(key)
        while (earlier := self._earlier[key]) != key:
            self._earlier[key] = self._earlier[earlier]  # a shorter way for whoever comes next
            key = earlier
        return key

    def groups(self) -> NDArray[np.int64]:
        """The group number of every row, numbered by first appearance."""
        earlier = np.array(self._earlier, dtype=np.int64)
        while (earlier != earlier[earlier]).any():
            earlier = earlier[earlier]
        # A group's first key came with its first row, so groups stand in the order of their rows.
        number = np.cumsum(earlier == np.arange(earlier.size)) - 1
        return number[earlier[np.array(self._key_of_row, dtype=np.int64)]]


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
    part_of_row: NDArray[np.integer],
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
    members = Members(groups, part_of_row, parts)
    order = np.random.default_rng([seed, 1]).permutation(len(members))
    taken = _take_fitting(order, members, wanted.tolist())
    held = np.bincount(part_of_row[taken[groups]], minlength=parts)
    for part in np.flatnonzero((wanted > 0) & (held == 0)).tolist():
        extra = _smallest_of(part, order[~taken[order]], members, (OVERSHOOT * wanted - held).tolist(), sizes - held)
        if extra is None:
            raise SplitError(_impossible(part_names[part], groups[part_of_row == part], wanted[part], share, group_by))
        taken[extra] = True
        for other, count in members[extra]:
            held[other] += count
    return taken[groups]


class Members:
    """Rows per part of every group: `members[group]` gives (part, rows) pairs."""

    def __init__(self, groups: NDArray[np.int64], part_of_row: NDArray[np.integer], parts: int):
        pairs, self._counts = np.unique(groups * parts + part_of_row, return_counts=True)
        self._parts = pairs % parts
        self._begins = np.searchsorted(pairs // parts, np.arange(int(groups.max(initial=-1)) + 2))

    def __len__(self) -> int:
        return self._begins.size - 1

    def __getitem__(self, group: int) -> Iterator[tuple[int, int]]:
        own = slice(self._begins[group], self._begins[group + 1])
        return zip(self._parts[own].tolist(), self._counts[own].tolist(), strict=True)


def _take_fitting(order: NDArray[np.int64], members: Members, wanted: list[int]) -> NDArray[np.bool_]:
    """Which groups are taken: in the drawn order, each that overshoots no part's wanted rows."""
    left = list(wanted)
    taken = np.zeros(len(members), dtype=bool)
    for group in order:
        if all(left[part] >= count for part, count in members[group]):
            taken[group] = True
            for part, count in members[group]:
                left[part] -= count
            if not any(left):
                break
    return taken


def _smallest_of(
    part: int,
    order: NDArray[np.int64],
    members: Members,
    room: list[int],
    rows_in_training: NDArray[np.int64],
) -> int | None:
    """The group with the fewest rows of `part` that stays within `room` and leaves every part rows to train on."""
    smallest, fewest = None, room[part] + 1
    for group in order:
        rows = dict(members[group])
        fits = all(room[p] >= count and rows_in_training[p] > count for p, count in rows.items())
        if fits and rows.get(part, fewest) < fewest:
            smallest, fewest = int(group), rows[part]
    return smallest


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
