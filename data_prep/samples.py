"""Encoded samples on disk: collected in flat files, labelled by `train_on`, written as an Arrow data set.

    {"input_ids": [...], "labels": [-100, ..., 318, 2], "kinds": [0, ..., 3, 4], "seq_lengths": [412, 87],
     "source": "button", "dialogue_id": "button-a-3 button-a-9"}                <- one row, two dialogues packed into it

Where the dialogues of a row come from several sources, `source` names that of each: "button openhermes button".

Samples go through flat files, so a build holds one chunk of them in memory, however many there are, and no token
becomes a Python integer twice. `datasets.load_from_disk` reads the result.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from datasets import DatasetInfo, Features, List, Value
from numpy.typing import NDArray

from data_prep import proofs
from data_prep.compact import ByNumber
from data_prep.formats import KIND_OF_PART, STOP

UNTRAINED = proofs.UNTRAINED
FEATURES = Features(
    {
        "input_ids": List(Value("int32")),
        "labels": List(Value("int32")),
        "kinds": List(Value("int8")),
        "seq_lengths": List(Value("int32")),
        "source": Value("string"),
        "dialogue_id": Value("string"),
    }
)
BATCH_TOKENS = 1_000_000
Scalar = TypeVar("Scalar", bound=np.generic)


def trained_tokens(kinds: NDArray[np.int8], lengths: NDArray[np.integer], train_on: Sequence[str]) -> NDArray[np.bool_]:
    """Which tokens are trained, for samples of `lengths` tokens laid end to end in `kinds`.

    A token is trained where its part is in `train_on`; a turn's stop token wherever any token of that turn is. A turn
    is a run of tokens that are no context, and ends with its stop token or its sample.
    """
    starts = np.zeros(kinds.size, dtype=bool)
    starts[(np.cumsum(lengths) - lengths)[np.asarray(lengths) > 0]] = True
    before = np.concatenate([np.zeros(1, dtype=np.int8), kinds[:-1]])
    starts |= (before == 0) | ((before == STOP) & (kinds != STOP))
    turn = np.cumsum(starts & (kinds != 0))
    wanted = np.isin(kinds, [KIND_OF_PART[part] for part in train_on])
    turn_is_trained = np.bincount(turn[wanted], minlength=int(turn[-1]) + 1 if turn.size else 1) > 0
    return wanted | ((kinds == STOP) & turn_is_trained[turn])


def labels_of(
    input_ids: NDArray[np.int32], kinds: NDArray[np.int8], lengths: NDArray[np.integer], train_on: Sequence[str]
) -> NDArray[np.int32]:
    """The ids of trained tokens, -100 elsewhere."""
    return np.where(trained_tokens(kinds, lengths, train_on), input_ids, np.int32(UNTRAINED))


class SampleStore:
    """Samples appended to two flat files (int32 ids, int8 kinds); read back after `close`."""

    def __init__(self, folder: Path):
        self._ids_path = folder / "input_ids.int32"
        self._kinds_path = folder / "kinds.int8"
        self._ids_file = open(self._ids_path, "wb")  # noqa: SIM115 - closed by close(), or by the block
        self._kinds_file = open(self._kinds_path, "wb")  # noqa: SIM115
        self._lengths = array("q")
        self._rows = array("q")

    def __enter__(self) -> SampleStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ids_file.close()
        self._kinds_file.close()

    def add(
        self, ids: NDArray[np.int32], kinds: NDArray[np.int8], lengths: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        """Append samples laid end to end; of each its length in tokens and the number of its dialogue."""
        self._ids_file.write(ids.data)
        self._kinds_file.write(kinds.data)
        self._lengths.frombytes(lengths.tobytes())
        self._rows.frombytes(rows.tobytes())

    def close(self) -> StoredSamples:
        """End writing; the samples, on file."""
        self._ids_file.close()
        self._kinds_file.close()
        lengths = np.frombuffer(self._lengths, dtype=np.int64)
        rows = np.frombuffer(self._rows, dtype=np.int64)
        return StoredSamples(self._ids_path, self._kinds_path, np.cumsum(lengths) - lengths, lengths, rows)


class StoredSamples(NamedTuple):
    """All samples: files of flat ids and kinds, and for each sample its start, length and its dialogue's number.

    The files are read and not mapped: what is mapped counts as the process's memory once it is touched.
    """

    input_ids: Path
    kinds: Path
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rows: NDArray[np.int64]

    def of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the samples of these dialogues, in the order given; a dialogue without samples gives none."""
        size = int(max(rows.max(initial=-1), self.rows.max(initial=-1))) + 1
        counts = np.bincount(self.rows, minlength=size)
        firsts = np.cumsum(counts) - counts  # samples are stored dialogue by dialogue, in ascending order
        wanted = counts[rows]
        within = np.arange(wanted.sum()) - np.repeat(np.cumsum(wanted) - wanted, wanted)
        return np.repeat(firsts[rows], wanted) + within

    def in_batches(self, samples: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """These samples in groups of about BATCH_TOKENS tokens."""
        batch = np.cumsum(self.lengths[samples]) // BATCH_TOKENS
        return np.split(samples, np.flatnonzero(np.diff(batch)) + 1)

    def gather(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Ids and kinds of these samples, end to end."""
        starts, lengths = self.starts[samples], self.lengths[samples]
        return _read(self.input_ids, np.int32, starts, lengths), _read(self.kinds, np.int8, starts, lengths)


def _read(path: Path, dtype: type[Scalar], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[Scalar]:
    """The values of so many `lengths` from `starts` on, end to end."""
    values = np.empty(lengths.sum(), dtype=dtype)
    ends = np.cumsum(lengths)
    with open(path, "rb", buffering=0) as file:
        for start, begin, end in zip(starts.tolist(), (ends - lengths).tolist(), ends.tolist(), strict=True):
            file.seek(start * values.itemsize)
            place = values[begin:end].data
            if file.readinto(place) != place.nbytes:
                raise OSError(f"{path}: is shorter than what was written to it")
    return values


def write_split(
    folder: Path,
    stored: StoredSamples,
    bins: Iterable[NDArray[np.int64]],
    ids: ByNumber,
    sources: ByNumber,
    train_on: Sequence[str],
    fingerprint: str,
) -> None:
    """Write one split as `load_from_disk` reads it; a row per bin, `ids` and `sources` by dialogue number."""
    folder.mkdir(parents=True)
    file_name = "data-00000-of-00001.arrow"
    schema = FEATURES.arrow_schema
    with pa.OSFile(str(folder / file_name), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in _batches(bins, stored.lengths):
            writer.write_batch(_record_batch(batch, stored, ids, sources, train_on, schema))
    DatasetInfo(features=FEATURES).write_to_directory(str(folder))
    state: dict[str, Any] = {
        "_data_files": [{"filename": file_name}],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": folder.name,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2, sort_keys=True), encoding="utf-8")


def write_index(folder: Path, splits: Iterable[str]) -> None:
    """The file that makes a folder of splits a DatasetDict."""
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}), encoding="utf-8")


def _batches(bins: Iterable[NDArray[np.int64]], lengths: NDArray[np.int64]) -> Iterator[list[NDArray[np.int64]]]:
    """Bins in groups of about BATCH_TOKENS tokens."""
    batch: list[NDArray[np.int64]] = []
    tokens = 0
    for samples in bins:
        batch.append(samples)
        tokens += int(lengths[samples].sum())
        if tokens >= BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch


def _record_batch(
    bins: list[NDArray[np.int64]],
    stored: StoredSamples,
    ids: ByNumber,
    sources: ByNumber,
    train_on: Sequence[str],
    schema: pa.Schema,
) -> pa.RecordBatch:
    samples = np.concatenate(bins)
    lengths = stored.lengths[samples]
    input_ids, kinds = stored.gather(samples)
    labels = labels_of(input_ids, kinds, lengths, train_on)
    proofs.labels_follow_kinds(input_ids, labels, kinds, lengths, [KIND_OF_PART[part] for part in train_on])
    per_bin = np.array([part.size for part in bins])
    sample_ends = np.cumsum(per_bin)
    token_ends = np.cumsum(lengths)[sample_ends - 1]
    dialogues = [stored.rows[part].tolist() for part in bins]
    columns = [
        _lists(input_ids, token_ends),
        _lists(labels, token_ends),
        _lists(kinds, token_ends),
        _lists(lengths.astype(np.int32), sample_ends),
        pa.array([_source_names([sources[row] for row in rows]) for rows in dialogues]),
        pa.array([" ".join(ids[row] for row in rows) for rows in dialogues]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _source_names(names: list[str]) -> str:
    """The one source of a row's dialogues, or the source of each."""
    return names[0] if len(set(names)) == 1 else " ".join(names)


def _lists(values: NDArray[np.generic], ends: NDArray[np.int64]) -> pa.ListArray:
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
