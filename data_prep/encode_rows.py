"""The selected dialogues of a build to stored samples, in the order read, in one process or in several.

    stored = Encoding(Fit(recipe, encoder), quarantine, num_proc=4).run(work, rows, selection, held_out_path)

How many processes share the work changes nothing: each dialogue is encoded on its own and results are taken in order.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from data_prep.fit import CHUNK_DIALOGUES, Fit, Fitted, Tally
from data_prep.progress import progress
from data_prep.quarantine import Quarantine
from data_prep.rows import Rows, RowsFile, Selection
from data_prep.samples import SampleStore, StoredSamples
from data_prep.workers import Workers, processes_for

Chunk = NDArray[np.int64]


class FromFile:
    """What a worker does: dialogues by where they stand in the rows' file, encoded."""

    def __init__(self, fit: Fit, file: RowsFile):
        self.fit = fit
        self.file = file

    def __call__(self, starts: Chunk) -> Fitted:
        return self.fit.encode(list(self.file.read(starts)))


def wanted_by(selection: Selection) -> NDArray[np.int64]:
    """The dialogues to encode, ascending."""
    return np.flatnonzero(np.bincount(np.concatenate([selection.mixture, selection.held_out])))


class Encoding:
    """Encodes the selected dialogues once each; the rejected go to the quarantine, the rest is counted in `tally`.

    `joined` gives back what so many chunks became where shards of the build hold that.
    """

    def __init__(
        self,
        fit: Fit,
        quarantine: Quarantine,
        num_proc: int | None,
        joined: Callable[[int], Generator[Fitted, None, None]] | None = None,
    ):
        self.fit = fit
        self.quarantine = quarantine
        self.num_proc = num_proc
        self.joined = joined
        self.tally = Tally()

    def run(self, work: Path, rows: Rows, selection: Selection, held_out_path: Path) -> StoredSamples:
        """The samples, stored in the folder `work`; held-out dialogues that pass are written to `held_out_path`."""
        wanted = wanted_by(selection)
        is_held = np.zeros(len(rows), dtype=bool)
        is_held[selection.held_out] = True
        json = msgspec.json.Encoder()
        with (
            SampleStore(work) as store,
            open(held_out_path, "wb") as held_out,
            progress("encoding", total=wanted.size) as step,
            closing(self._fitted(rows, wanted)) as chunks,  # whatever happens here, the processes end
        ):
            for numbers, fitted in chunks:
                store.add(fitted.input_ids, fitted.kinds, fitted.lengths, numbers[fitted.positions])
                for position, code, message in fitted.refused:
                    self.quarantine.reject(rows.dialogue(numbers[position]), code, message)
                held = (fitted.messages > 0) & is_held[numbers]
                kept = zip(rows.read(numbers[held]), fitted.messages[held].tolist(), strict=True)
                for (_, dialogue), count in kept:
                    held_out.write(json.encode(dialogue.before(count).to_dict()) + b"\n")
                self.tally.add(fitted.tally)
                step(numbers.size)
            return store.close()

    def _fitted(self, rows: Rows, wanted: NDArray[np.int64]) -> Generator[tuple[Chunk, Fitted], None, None]:
        """(numbers of a chunk's dialogues, what it became), in order."""
        chunks = in_chunks(wanted)
        made = self.joined(len(chunks)) if self.joined else encoded(self.fit, rows, chunks, self.num_proc)
        with closing(made):
            yield from zip(chunks, made, strict=True)


def in_chunks(wanted: NDArray[np.int64]) -> list[Chunk]:
    """Dialogues' numbers, CHUNK_DIALOGUES together."""
    return [wanted[begin : begin + CHUNK_DIALOGUES] for begin in range(0, wanted.size, CHUNK_DIALOGUES)]


def encoded(fit: Fit, rows: Rows, chunks: list[Chunk], num_proc: int | None) -> Generator[Fitted, None, None]:
    """What each chunk becomes, in order, in `num_proc` processes (None: by rows and CPUs)."""
    tasks = map(rows.starts_of, chunks)
    processes = num_proc or processes_for(sum(chunk.size for chunk in chunks))
    work = FromFile(fit, rows.flushed())
    if processes == 1:
        yield from map(work, tasks)
        return
    with Workers(processes, pickle.dumps(work)) as workers:
        yield from workers.map(tasks)
