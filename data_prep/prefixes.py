"""Dialogues that begin with the same tokens, whose common beginning training can compute once.

    s s s s a a     s s s s b b b      ->      s s s s | a a | b b b        9 token positions instead of 13

One application's tool list stands at the head of each of its dialogues, and a template that rewrites history makes of
one dialogue many samples with a common beginning. `in_rows` puts such samples side by side; training/collate.py lays
them out as above, and training/attention.py lets each branch see the beginning and itself, so every number stays what
it was. A common beginning holds nothing that is trained.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.pack import Bins, pack
from data_prep.samples import StoredSamples

MIN_SHARED = 64  # tokens; a shorter common beginning saves less than a further attention call costs
SORTED_BY = 4  # ids of each sample that are in memory while samples are sorted


class Run(NamedTuple):
    """Neighbours that share `prefix` tokens, 0 for one alone; `members` are their positions in the list."""

    prefix: int
    members: Sequence[int]


def beginning_of(ids: NDArray[np.int32], kinds: NDArray[np.int8]) -> NDArray[np.int32]:
    """What a sample may share: its ids up to before the last token ahead of its first trained one.

    One token of context stays in the branch: the loss of a branch's first token would need the beginning's last.
    """
    first_trained = int(np.argmax(kinds != 0)) if (kinds != 0).any() else len(ids)
    return ids[: max(first_trained - 1, 0)]


class Beginnings(Sequence[NDArray[np.int32]]):
    """The beginnings of stored samples, each read when asked for."""

    def __init__(self, stored: StoredSamples, samples: NDArray[np.int64]):
        self.stored = stored
        self.samples = samples

    def __len__(self) -> int:
        return self.samples.size

    def __getitem__(self, number: int) -> NDArray[np.int32]:  # type: ignore[override]  # no slices
        return beginning_of(*self.stored.gather(self.samples[number, None]))


def in_order(beginnings: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """The numbers of the beginnings in the order of their ids, one that ends before one that goes on; stable.

    Sorts by the first ids that differ, then each group in which these are equal again, and so never holds all ids.
    """
    order = np.arange(len(beginnings))
    if not order.size:
        return order
    groups = array("q", [0, order.size])  # begin and end in `order` of each group, one after the other
    while groups:
        equal = array("q")
        for begin, end in zip(groups[::2], groups[1::2], strict=True):
            equal.extend(begin + _sort(order[begin:end], beginnings))
        groups = equal
    return order


def _sort(numbers: NDArray[np.int64], beginnings: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Sort `numbers` in place by the first ids that differ; where each group that needs sorting on begins and ends."""
    first = beginnings[numbers[0]]
    shared = min(common_length(first, beginnings[one]) for one in numbers)
    keys = np.zeros((numbers.size, SORTED_BY), dtype=np.int32)  # 0 past a beginning's end, else the id + 1
    for key, one in zip(keys, numbers, strict=True):
        ids = beginnings[one][shared : shared + SORTED_BY]
        key[: ids.size] = ids + 1
    places = np.lexsort(keys.T[::-1])
    numbers[:], keys = numbers[places], keys[places]
    borders = np.flatnonzero((np.diff(keys, axis=0, prepend=-1, append=-1) != 0).any(axis=1))
    equal = (np.diff(borders) > 1) & (keys[borders[:-1], -1] > 0)
    return np.stack([borders[:-1][equal], borders[1:][equal]], axis=1).ravel()


def runs(beginnings: Iterable[NDArray[np.int32]]) -> Iterator[Run]:
    """Neighbours in runs: a sample joins the run before it where that takes no more positions than standing alone."""
    run, last = Run(0, range(0)), np.zeros(0, dtype=np.int32)
    for number, beginning in enumerate(beginnings):
        size = len(run.members)
        limit = run.prefix if size > 1 else len(last)
        shared = min(limit, common_length(last, beginning))
        if shared >= MIN_SHARED and size * shared >= (size - 1) * run.prefix:
            run = Run(shared, range(run.members[0], number + 1))
        else:
            if size:
                yield run
            run = Run(0, range(number, number + 1))
        last = beginning
    if run.members:
        yield run


def in_rows(lengths: NDArray[np.int64], beginnings: Sequence[NDArray[np.int32]], capacity: int) -> tuple[Bins, int]:
    """Pack samples into rows of at most `capacity` token positions, those that begin alike side by side.

    Returns the sample numbers of each row, and the token positions that all rows take. Raises PackError.
    """
    order = in_order(beginnings)
    unit_begins = array("q")  # units of samples that share a row for sure: where each begins in `order`
    sizes = array("q")  # in token positions
    for prefix, members in runs(beginnings[sample] for sample in order):
        size = capacity + 1
        for member in members:
            more = int(lengths[order[member]]) - prefix
            if size + more > capacity:
                unit_begins.append(member)
                sizes.append(0)
                size, more = 0, int(lengths[order[member]])
            size += more
            sizes[-1] = size
    units = Bins(order, np.append(unit_begins, order.size))
    firsts = np.argsort(order[units.offsets[:-1]], kind="stable")  # a shuffled order stays shuffled
    bins = pack(np.array(sizes, dtype=np.int64)[firsts], capacity)
    rows = units.take(firsts[bins.rows])
    return Bins(rows.rows, rows.offsets[bins.offsets]), sum(sizes)


def common_length(left: NDArray[np.int32], right: NDArray[np.int32]) -> int:
    """How many leading ids are equal."""
    size = min(len(left), len(right))
    differing = np.flatnonzero(left[:size] != right[:size])
    return int(differing[0]) if differing.size else size
