"""Which rows an optimizer step takes, and in which micro-batch of which process each of them lies.

A step of rows of 900, 100, 500 and 700 tokens on 2 processes x 1 row x 2: (900 | 700), (100 | 500), so that neither
waits long for the other; in the order drawn it is 900 + 500 tokens for one and 100 + 700 for the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler


class Layout(NamedTuple):
    """How the rows of a step are spread."""

    rows: int  # per micro-batch of one process
    processes: int
    accumulation: int


class EpochOrder(Sampler[int]):
    """Row numbers of one epoch, shuffled by seed and epoch; the number of rows stands for a filler at its end.

    Which rows a step takes depends on nothing else: not on the number of processes, not on the state of any generator.
    So each optimizer step sees the same dialogues however they are spread over processes, and a resumed run goes on
    where it was. Within a step rows are laid out by length: the loss is per trained token of the step, whatever their
    order.
    """

    def __init__(self, lengths: NDArray[np.int64], seed: int, layout: Layout):
        self.lengths, self.seed, self.layout, self.epoch = [*lengths.tolist(), 1], seed, layout, 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch; by the trainer, for accelerate's loader forgets it where batches are skipped."""
        self.epoch = epoch

    def __len__(self) -> int:
        multiple = self.layout.rows * self.layout.processes
        return math.ceil((len(self.lengths) - 1) / multiple) * multiple

    def __iter__(self) -> Iterator[int]:
        filler = len(self.lengths) - 1
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        drawn = torch.randperm(filler, generator=generator).tolist()
        drawn += [filler] * (len(self) - filler)
        step = math.prod(self.layout)
        for start in range(0, len(drawn), step):
            yield from spread(drawn[start : start + step], self.lengths, self.layout)


def spread(rows: Sequence[int], lengths: Sequence[int], layout: Layout) -> list[int]:
    """The rows of a step, laid out so that processes have about as many tokens, in each micro-batch and as a whole.

    The loader gives `layout.rows` rows at a time to one process after another. len(rows) is a multiple of
    rows x processes.
    """
    batches: list[list[int]] = [[] for _ in range(len(rows) // layout.rows)]
    tokens = [0] * len(batches)
    for row in sorted(rows, key=lambda row: -lengths[row]):
        least = min((at for at, batch in enumerate(batches) if len(batch) < layout.rows), key=tokens.__getitem__)
        batches[least].append(row)
        tokens[least] += lengths[row]
    longest_first = sorted(range(len(batches)), key=lambda at: -tokens[at])
    laid_out = []
    for turn, start in enumerate(range(0, len(batches), layout.processes)):
        side_by_side = longest_first[start : start + layout.processes]
        laid_out += side_by_side[::-1] if turn % 2 else side_by_side
    return [row for at in laid_out for row in batches[at]]


def tokens_per_row(train: datasets.Dataset) -> NDArray[np.int64]:
    """Tokens of each row, from the offsets of the stored columns; the tokens themselves are not read."""
    chunks = train.with_format("arrow")[:]["input_ids"].chunks
    return np.concatenate([chunk.value_lengths().to_numpy() for chunk in chunks]).astype(np.int64)
