"""Hand-made encoded rows, as `python -m data_prep build` writes them, and a tiny Llama to train on them."""

from __future__ import annotations

import random
from typing import Any

VOCABULARY = 97


def encoded_row(seed: int, dialogues: int = 1, low: int = 6, high: int = 24) -> dict[str, Any]:
    """A row of `dialogues` dialogues, each context then a trained tail of kinds 1 to 4, with some untrained tokens."""
    rng = random.Random(seed)
    row: dict[str, Any] = {"input_ids": [], "labels": [], "kinds": [], "seq_lengths": []}
    for _ in range(dialogues):
        length = rng.randint(low, high)
        kinds = [0 if i < length // 2 else rng.choice([0, 1, 2, 3]) for i in range(length - 1)] + [4]
        ids = [rng.randrange(1, VOCABULARY) for _ in range(length)]
        row["input_ids"] += ids
        row["kinds"] += kinds
        row["labels"] += [token if kind else -100 for token, kind in zip(ids, kinds, strict=True)]
        row["seq_lengths"].append(length)
    return {**row, "source": "made", "dialogue_id": f"made-{seed}"}


def split_row(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The dialogues of a packed row as rows of their own."""
    parts, start = [], 0
    for length in row["seq_lengths"]:
        part = {key: row[key][start : start + length] for key in ("input_ids", "labels", "kinds")}
        parts.append({**part, "seq_lengths": [length]})
        start += length
    return parts


def with_beginning(row: dict[str, Any], seed: int, length: int) -> dict[str, Any]:
    """The row with the same `length` tokens of context put before each of its dialogues."""
    rng = random.Random(f"beginning {seed}")
    ids = [rng.randrange(1, VOCABULARY) for _ in range(length)]
    parts = [
        {
            "input_ids": ids + part["input_ids"],
            "labels": [-100] * length + part["labels"],
            "kinds": [0] * length + part["kinds"],
            "seq_lengths": [length + part["seq_lengths"][0]],
        }
        for part in split_row(row)
    ]
    return {**joined_rows(parts), "source": "made", "dialogue_id": row["dialogue_id"]}


def joined_rows(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows packed into one."""
    columns = ("input_ids", "labels", "kinds", "seq_lengths")
    return {column: [value for row in rows for value in row[column]] for column in columns}
