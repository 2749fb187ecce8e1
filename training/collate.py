"""One micro-batch is one flat row: rows [a b][c] become input_ids (1, a+b+c) with positions restarting at a, b and c.

    >>> collate([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "kinds": [0, 3, 4], "seq_lengths": [3]},
    ...          {"input_ids": [5, 8], "labels": [-100, 8], "kinds": [0, 4], "seq_lengths": [2]}])
    input_ids [[5 6 7 5 8]]  position_ids [[0 1 2 0 1]]  labels [[-100 6 7 -100 8]]  runs [[3], [2]]

Packed and unpacked rows take the same path, nothing is padded, and there is no attention mask: restarting positions
without one give exact block-diagonal attention, while an all-ones mask beside them leaks across borders.
With `share_prefixes`, neighbours that begin alike become one run [prefix, branch, branch, ...] (data_prep/prefixes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_prep.prefixes import Run, beginning_of, runs
from data_prep.samples import UNTRAINED

# A row that trains nothing. It fills the last micro-batches of an epoch where the rows do not divide evenly among the
# processes: every process must take part in every step, and no dialogue may be trained twice to arrange that.
FILLER: dict[str, list[int]] = {"input_ids": [0], "labels": [UNTRAINED], "kinds": [0], "seq_lengths": [1]}


class Piece(NamedTuple):
    """Tokens `start` to `stop` of dialogue `number` of a micro-batch; they stand at these positions in the dialogue."""

    number: int
    start: int
    stop: int


def collate(rows: Sequence[Mapping[str, Any]], share_prefixes: bool = False) -> dict[str, Any]:
    """Flatten encoded rows: input_ids, position_ids, labels, kinds (1, tokens) int64; runs list[list[int]].

    A run is [length] of one dialogue, or [prefix, branch, ...] of dialogues that share their first `prefix` tokens. A
    dialogue's first token is never trained, since nothing stands before it to predict it from. Raises ValueError where
    the seq_lengths of a row do not add up to its tokens.
    """
    dialogues = [dialogue for row in rows for dialogue in _dialogues(row)]
    found = _runs(dialogues) if share_prefixes else [Run(0, [number]) for number in range(len(dialogues))]
    layout = [_pieces(run, dialogues) for run in found]
    pieces = [piece for run in layout for piece in run]
    labels = _joined(dialogues, "labels", pieces)
    positions = torch.cat([torch.arange(piece.start, piece.stop) for piece in pieces])
    labels[positions == 0] = UNTRAINED
    return {
        "input_ids": _joined(dialogues, "input_ids", pieces)[None],
        "position_ids": positions[None],
        "labels": labels[None],
        "kinds": _joined(dialogues, "kinds", pieces)[None],
        "runs": [[piece.stop - piece.start for piece in run] for run in layout],
    }


def _dialogues(row: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """The dialogues of a row, as tensors of their columns."""
    lengths = row["seq_lengths"]
    if sum(lengths) != len(row["input_ids"]) or min(lengths, default=0) < 1:
        raise ValueError(
            f"dialogue {row.get('dialogue_id')!r}: seq_lengths {list(lengths)} do not add up to "
            f"{len(row['input_ids'])} tokens; build the data again"
        )
    columns = ("input_ids", "labels", "kinds")
    cut = [torch.as_tensor(row[column], dtype=torch.int64).split(list(lengths)) for column in columns]
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*cut, strict=True)]


def _runs(dialogues: Sequence[Mapping[str, Tensor]]) -> list[Run]:
    beginnings = (
        beginning_of(dialogue["input_ids"].numpy().astype(np.int32), dialogue["kinds"].numpy().astype(np.int8))
        for dialogue in dialogues
    )
    return list(runs(beginnings))


def _pieces(run: Run, dialogues: Sequence[Mapping[str, Tensor]]) -> list[Piece]:
    lengths = {number: len(dialogues[number]["input_ids"]) for number in run.members}
    if not run.prefix:
        return [Piece(number, 0, length) for number, length in lengths.items()]
    branches = [Piece(number, run.prefix, length) for number, length in lengths.items()]
    return [Piece(run.members[0], 0, run.prefix), *branches]


def _joined(dialogues: Sequence[Mapping[str, Tensor]], column: str, pieces: Sequence[Piece]) -> Tensor:
    return torch.cat([dialogues[piece.number][column][piece.start : piece.stop] for piece in pieces])
