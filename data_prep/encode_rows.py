"""The selected dialogues of a build to stored samples, in the order read, in one process or in several.

    stored = Encoding(Fit(recipe, encoder), quarantine, num_proc=4).run(work, rows, selection, held_out_path)

How many processes share the work changes nothing: each dialogue is encoded on its own and results are taken in order.
"""

from __future__ import annotations

import pickle
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from data_prep.dialogue import Dialogue
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


class Encoding:
    """Encodes the selected dialogues once each; the rejected go to the quarantine, the rest is counted in `tally`."""

    def __init__(self, fit: Fit, quarantine: Quarantine, num_proc: int | None):
        self.fit = fit
        self.quarantine = quarantine
        self.num_proc = num_proc
        self.tally = Tally()

    def run(self, work: Path, rows: Rows, selection: Selection, held_out_path: Path) -> StoredSamples:
        """The samples, stored in the folder `work`; held-out dialogues that pass are written to `held_out_path`."""
        wanted = np.union1d(selection.mixture, selection.held_out)
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
                kept = fitted.messages > 0
                for position in np.flatnonzero(kept & np.isin(numbers, selection.held_out)).tolist():
                    dialogue: Dialogue = rows.dialogue(numbers[position]).before(int(fitted.messages[position]))
                    held_out.write(json.encode(dialogue.to_dict()) + b"\n")
                self.tally.add(fitted.tally)
                step(numbers.size)
            return store.close()

    def _fitted(self, rows: Rows, wanted: NDArray[np.int64]) -> Generator[tuple[Chunk, Fitted], None, None]:
        """(numbers of a chunk's dialogues, what it became), in order."""
        chunks = [wanted[begin : begin + CHUNK_DIALOGUES] for begin in range(0, wanted.size, CHUNK_DIALOGUES)]
        tasks = map(rows.starts_of, chunks)
        processes = self.num_proc or processes_for(wanted.size)
        work = FromFile(self.fit, rows.flushed())
        if processes == 1:
            yield from zip(chunks, map(work, tasks), strict=True)
            return
        with Workers(processes, pickle.dumps(work)) as workers:
            yield from zip(chunks, workers.map(tasks), strict=True)
