"""Dialogues that begin with the same tokens, whose common beginning training can compute once.

    s s s s a a     s s s s b b b      ->      s s s s | a a | b b b        9 token positions instead of 13

One application's tool list stands at the head of each of its dialogues, and a template that rewrites history makes of
one dialogue many samples with a common beginning. `in_rows` puts such samples side by side; training/collate.py lays
them out as above, and training/attention.py lets each branch see the beginning and itself, so every number stays what
it was. A common beginning holds nothing that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.pack import pack

MIN_SHARED = 64  # tokens; a shorter common beginning saves less than a further attention call costs


class Run(NamedTuple):
    """Neighbours that share `prefix` tokens, 0 for one alone; `members` are their positions in the list."""

    prefix: int
    members: list[int]


def beginning_of(ids: NDArray[np.int32], kinds: NDArray[np.int8]) -> NDArray[np.int32]:
    """What a sample may share: its ids up to before the last token ahead of its first trained one.

    One token of context stays in the branch: the loss of a branch's first token would need the beginning's last.
    """
    first_trained = int(np.argmax(kinds != 0)) if (kinds != 0).any() else len(ids)
    return ids[: max(first_trained - 1, 0)]


def runs(beginnings: Sequence[NDArray[np.int32]]) -> list[Run]:
    """Neighbours in runs: a sample joins the run before it where that takes no more positions than standing alone."""
    found: list[Run] = []
    for number, beginning in enumerate(beginnings):
        if found:
            prefix, members = found[-1]
            limit = prefix if len(members) > 1 else len(beginnings[members[0]])
            shared = min(limit, common_length(beginnings[members[-1]], beginning))
            if shared >= MIN_SHARED and len(members) * shared >= (len(members) - 1) * prefix:
                found[-1] = Run(shared, [*members, number])
                continue
        found.append(Run(0, [number]))
    return found


def in_rows(
    lengths: NDArray[np.int64], beginnings: Sequence[NDArray[np.int32]], capacity: int
) -> tuple[list[NDArray[np.int64]], int]:
    """Pack samples into rows of at most `capacity` token positions, those that begin alike side by side.

    Returns the sample numbers of each row, and the token positions that all rows take. Raises PackError.
    """
    order = sorted(range(len(lengths)), key=lambda sample: beginnings[sample].astype(">i4").tobytes())
    units: list[list[int]] = []
    sizes: list[int] = []
    for prefix, members in runs([beginnings[sample] for sample in order]):
        size = capacity + 1
        for sample in (order[member] for member in members):
            more = int(lengths[sample]) - prefix
            if size + more > capacity:
                units.append([])
                sizes.append(0)
                size, more = 0, int(lengths[sample])
            units[-1].append(sample)
            size += more
            sizes[-1] = size
    firsts = np.argsort([unit[0] for unit in units], kind="stable")  # a shuffled order stays shuffled
    bins = pack(np.array(sizes, dtype=np.int64)[firsts], capacity)
    rows = [np.array([sample for unit in members for sample in units[firsts[unit]]]) for members in bins]
    return rows, sum(sizes)


def common_length(left: NDArray[np.int32], right: NDArray[np.int32]) -> int:
    """How many leading ids are equal."""
    size = min(len(left), len(right))
    differing = np.flatnonzero(left[:size] != right[:size])
    return int(differing[0]) if differing.size else size
