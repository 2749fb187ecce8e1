"""One micro-batch is one flat row: rows [a b][c] become input_ids (1, a+b+c) with positions restarting at a, b and c.

    >>> collate([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "kinds": [0, 3, 4], "seq_lengths": [3]},
    ...          {"input_ids": [5, 8], "labels": [-100, 8], "kinds": [0, 4], "seq_lengths": [2]}])
    input_ids [[5 6 7 5 8]]  position_ids [[0 1 2 0 1]]  labels [[-100 6 7 -100 8]]  dialogue_lengths [3, 2]

Packed and unpacked rows take the same path, nothing is padded, and there is no attention mask: restarting positions
without one give exact block-diagonal attention, while an all-ones mask beside them leaks across borders (DESIGN 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from data_prep.samples import UNTRAINED

# A row that trains nothing. It fills the last micro-batches of an epoch where the rows do not divide evenly among the
# processes: every process must take part in every step, and no dialogue may be trained twice to arrange that.
FILLER: dict[str, list[int]] = {"input_ids": [0], "labels": [UNTRAINED], "kinds": [0], "seq_lengths": [1]}


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Flatten encoded rows: input_ids, position_ids, labels, kinds (1, tokens) int64; dialogue_lengths list[int].

    A dialogue's first token is never trained, since nothing stands before it to predict it from. Raises ValueError
    where the seq_lengths of a row do not add up to its tokens.
    """
    lengths: list[int] = []
    for row in rows:
        if sum(row["seq_lengths"]) != len(row["input_ids"]) or min(row["seq_lengths"], default=0) < 1:
            raise ValueError(
                f"dialogue {row.get('dialogue_id')!r}: seq_lengths {list(row['seq_lengths'])} do not add up to "
                f"{len(row['input_ids'])} tokens; build the data again"
            )
        lengths.extend(row["seq_lengths"])
    positions = torch.cat([torch.arange(length) for length in lengths])
    labels = _joined(rows, "labels")
    labels[positions == 0] = UNTRAINED
    return {
        "input_ids": _joined(rows, "input_ids")[None],
        "position_ids": positions[None],
        "labels": labels[None],
        "kinds": _joined(rows, "kinds")[None],
        "dialogue_lengths": lengths,
    }


def _joined(rows: Sequence[Mapping[str, Any]], column: str) -> Tensor:
    return torch.cat([torch.as_tensor(row[column], dtype=torch.int64) for row in rows])
