"""The encode step of a build as a Ray Data map, for corpora beyond one machine (extra `ray`).

    lines = ray.data.read_text("dialogues/")             # canonical dialogues, one a line, as `convert` writes them
    encoded_by_ray(lines, recipe, encoder, workers=64).write_parquet("samples/")

    {"dialogue_id": "button-a-3", "source": "button", "input_ids": [...], "labels": [...], "kinds": [...],
     "refused": ""}

A row for each sample, with the ids, labels and kinds that `build` gives it; a dialogue that does not encode is a row
without ids whose `refused` says why. Choosing dialogues and packing need the whole corpus and are not done here.
"""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pyarrow as pa

from data_prep.dialogue import Dialogue
from data_prep.encode import Encoder
from data_prep.fit import CHUNK_DIALOGUES, Fit
from data_prep.samples import labels_of
from recipes import Recipe

SCHEMA = pa.schema(
    {
        "dialogue_id": pa.string(),
        "source": pa.string(),
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.int32()),
        "kinds": pa.list_(pa.int8()),
        "refused": pa.string(),
    }
)


class EncodeLines:
    """What each of Ray's workers does with a batch: a table with the column `text` in, SCHEMA out."""

    def __init__(self, setup: bytes):
        self.fit: Fit = pickle.loads(setup)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """One batch. Raises DialogueError for a line that is no canonical dialogue."""
        dialogues = [Dialogue.from_dict(msgspec.json.decode(line)) for line in batch["text"].to_pylist()]
        made = self.fit.encode(dialogues)
        labels = labels_of(made.input_ids, made.kinds, made.lengths, self.fit.recipe.train_on)
        rows: list[dict[str, Any]] = []
        begin = 0
        for position, length in zip(made.positions.tolist(), made.lengths.tolist(), strict=True):
            span = slice(begin, begin + length)
            columns = {"input_ids": made.input_ids[span], "labels": labels[span], "kinds": made.kinds[span]}
            rows.append(_row(dialogues[position], "", columns))
            begin += length
        rows += [_row(dialogues[position], f"{code}: {why}", {}) for position, code, why in made.refused]
        return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(dialogue: Dialogue, refused: str, columns: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, list[int]] = {"input_ids": [], "labels": [], "kinds": []}
    return {"dialogue_id": dialogue.id, "source": dialogue.source, "refused": refused, **empty, **columns}


def encoded_by_ray(lines: Any, recipe: Recipe, encoder: Encoder, workers: int) -> Any:
    """A ray.data.Dataset with the column `text` as one with SCHEMA's columns, by so many workers."""
    return lines.map_batches(
        EncodeLines,
        fn_constructor_args=(pickle.dumps(Fit(recipe, encoder)),),
        batch_size=CHUNK_DIALOGUES,
        batch_format="pyarrow",
        concurrency=workers,
    )
