"""Best-fit-decreasing packing over the whole set: `pack(lengths, capacity)` -> row numbers per packed row.

    pack(np.array([5, 3, 3, 2, 1]), capacity=8)  ->  [[0, 1], [2, 3, 4]]

Every row goes into exactly one bin and none is ever cut. Rows are taken longest first, and each goes into the bin
whose free space is the smallest that still holds it. Rows of one length are placed together: the bin that fits the
first of them best also fits the next one best until it is full, so a whole length class is a few numpy operations
and a million rows take well under a second. That keeps packing exact over the whole set, where packing per batch of
1,000 rows would leave one badly filled bin after another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class PackError(ValueError):
    """Lengths that cannot be packed: one is longer than the capacity, or not positive."""


class Bins(Sequence[NDArray[np.int64]]):
    """Row numbers per bin, in two arrays: those of bin b are `rows[offsets[b] : offsets[b + 1]]`."""

    def __init__(self, rows: NDArray[np.int64], offsets: NDArray[np.int64]):
        self.rows = rows
        self.offsets = offsets

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __getitem__(self, number: int) -> NDArray[np.int64]:  # type: ignore[override]  # no slices
        return self.rows[self.offsets[:-1][number] : self.offsets[1:][number]]

    def take(self, numbers: NDArray[np.int64]) -> Bins:
        """These bins, in this order."""
        sizes = np.diff(self.offsets)[numbers]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        return Bins(self.rows[np.arange(offsets[-1]) + np.repeat(self.offsets[numbers] - offsets[:-1], sizes)], offsets)


def pack(lengths: NDArray[np.integer], capacity: int) -> Bins:
    """Pack rows of `lengths` tokens into bins of at most `capacity` tokens; deterministic.

    Row numbers are ascending in each bin, and bins are ordered by their first row, so that an order shuffled before
    packing stays shuffled. Raises PackError for a length below 1 or above `capacity`.
    """
    tokens = np.asarray(lengths, dtype=np.int64)
    if not tokens.size:
        return one_by_one(tokens)
    _check(tokens, capacity)
    bin_of_row = _assign(tokens, capacity)
    sizes = np.bincount(bin_of_row)
    first_rows = np.empty_like(sizes)
    first_rows[bin_of_row[::-1]] = np.arange(tokens.size)[::-1]  # of the rows of a bin the last one written stays
    order = np.argsort(first_rows)
    place_of_bin = np.argsort(order)
    rows = np.argsort(place_of_bin[bin_of_row], kind="stable")
    return Bins(rows, np.concatenate([[0], np.cumsum(sizes[order])]))


def one_by_one(rows: NDArray[np.int64]) -> Bins:
    """Each of the rows in a bin of its own."""
    return Bins(rows, np.arange(rows.size + 1))


def efficiency(lengths: NDArray[np.integer], bins: int, capacity: int) -> float:
    """Share of the packed rows' token positions that hold a token, 0 to 1."""
    return float(np.sum(lengths, dtype=np.int64)) / (bins * capacity) if bins else 0.0


def _check(lengths: NDArray[np.int64], capacity: int) -> None:
    for bad, why in ((lengths > capacity, f"longer than the capacity of {capacity}"), (lengths < 1, "empty")):
        if bad.any():
            row = int(np.argmax(bad))
            raise PackError(f"row {row} with {lengths[row]} tokens is {why}; such rows must be removed before packing")


def _assign(lengths: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """The bin number of every row."""
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=capacity + 1))
    classes = ordered[starts].tolist()
    bin_of_row = np.empty_like(lengths)
    spaces = _FreeSpaces(capacity)
    for length, rows in zip(classes, np.split(order, starts[1:]), strict=True):
        bin_of_row[rows] = spaces.place(length, rows.size)
    return bin_of_row


class _FreeSpaces:
    """Open bins by free space: `counts[space]` bins, their numbers in `bins[space]` as a list of arrays."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.counts = np.zeros(capacity + 1, dtype=np.int64)
        self.bins: list[list[NDArray[np.int64]]] = [[] for _ in range(capacity + 1)]
        self.opened = 0

    def place(self, length: int, count: int) -> NDArray[np.int64]:
        """Place `count` rows of `length` tokens by best fit; returns the bin number of each."""
        placed: list[NDArray[np.int64]] = []
        candidates = np.flatnonzero(self.counts[length:]) + length
        room = np.cumsum(self.counts[candidates] * (candidates // length))
        # Only as many space classes as these rows can use; the last of them perhaps in part.
        used = int(np.searchsorted(room, count)) + 1
        for space in candidates[:used].tolist():
            available = self._take_all(space)
            placed.append(self._fill(available, space, length, count))
            count -= placed[-1].size
        if count:
            per_bin = self.capacity // length
            new = np.arange(self.opened, self.opened - (-count // per_bin), dtype=np.int64)
            self.opened += new.size
            placed.append(self._fill(new, self.capacity, length, count))
        return np.concatenate(placed)

    def _fill(self, available: NDArray[np.int64], space: int, length: int, count: int) -> NDArray[np.int64]:
        """Fill bins of equal `space` one after the other with up to `count` rows; keep what space is left."""
        per_bin = space // length
        count = min(count, per_bin * available.size)
        full, rest = divmod(count, per_bin)
        self._put(available[:full], space - per_bin * length)
        if rest:
            self._put(available[full : full + 1], space - rest * length)
        self._put(available[full + bool(rest) :], space)
        return np.repeat(available[: full + bool(rest)], per_bin)[:count]

    def _take_all(self, space: int) -> NDArray[np.int64]:
        taken = np.concatenate(self.bins[space])
        self.bins[space] = []
        self.counts[space] = 0
        return taken

    def _put(self, bins: NDArray[np.int64], space: int) -> None:
        if bins.size and space:
            self.bins[space].append(bins)
            self.counts[space] += bins.size
