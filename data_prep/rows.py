"""The dialogues of a build: read once into a file, chosen by number: held out or trained on, how often, in what order.

    rows.ids[17], rows.hash_of(17), rows.parts[17]     "button-a-18", "9f2c...", 0 (the entry of train_data it is from)

Only content hashes and numbers stay in memory, about 35 bytes a row, so a mixture may be larger than it.
"""

from __future__ import annotations

import os
import pickle
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.compact import Labels, Numbers, Texts
from data_prep.dialogue import Dialogue, content_hash
from data_prep.mixture import MixtureError, draw_samples, mix
from data_prep.progress import progress
from data_prep.quality import Quality, QualityReport
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.split import Grouper, check_overlap, split_held_out
from recipes import DataSource, Recipe

READ_AT_ONCE = 1_000


class RowsFile(NamedTuple):
    """The dialogues' file, as any process may read it."""

    path: Path

    def read(self, starts: NDArray[np.int64]) -> Iterator[Dialogue]:
        """The dialogues that begin at these bytes."""
        with open(self.path, "rb") as file:
            for start in starts.tolist():
                file.seek(start)
                yield pickle.load(file)


class Rows:
    """The dialogues of a build, by number: on disk, as their ids are; content hash, source and part (entry of the
    recipe) in memory. A context manager, which closes the files."""

    def __init__(self, folder: Path):
        self._path = folder / "dialogues.pickle"
        self._file = open(self._path, "wb+")  # noqa: SIM115 - closed by the block, as the next one is
        self._ids_file = open(folder / "ids.utf8", "wb+")  # noqa: SIM115
        self._starts = array("q")
        self._parts = array("i")
        self._hashes = array("Q")
        self.ids = Texts(self._ids_file)
        self.sources = Labels()

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        finally:  # on a full disk the first one can fail
            self._ids_file.close()

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, dialogue: Dialogue, part: int, digest: str) -> None:
        """Append the next dialogue; `digest` is its content hash."""
        self._starts.append(self._file.tell())
        pickle.dump(dialogue, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._parts.append(part)
        self.ids.append(dialogue.id)
        self._hashes.append(int(digest, 16))
        self.sources.append(dialogue.source)

    def read(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, Dialogue]]:
        """(number, dialogue) of these numbers, in their order."""
        for begin in range(0, numbers.size, READ_AT_ONCE):
            some = numbers[begin : begin + READ_AT_ONCE]
            yield from zip(some.tolist(), self.flushed().read(self.starts_of(some)), strict=True)

    def hash_of(self, number: int) -> str:
        """A dialogue's content hash."""
        return f"{self._hashes[number]:016x}"

    def dialogue(self, number: int) -> Dialogue:
        """One dialogue."""
        return next(self.flushed().read(np.array([self._starts[number]])))

    def starts_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these dialogues stand in the file, for RowsFile."""
        return np.array([self._starts[number] for number in numbers.tolist()], dtype=np.int64)

    def flushed(self) -> RowsFile:
        """The file, with every dialogue added so far in it."""
        self._file.flush()
        return RowsFile(self._path)

    @property
    def parts(self) -> NDArray[np.int32]:
        """The part of every dialogue."""
        return np.array(self._parts, dtype=np.int32)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """The content hash of every dialogue."""
        return np.array(self._hashes, dtype=np.uint64)


class BuildQuarantine(Quarantine):
    """A Quarantine that lets a held-out row carry a training row's id, for `check_overlap` to name both."""

    train_ids = Numbers()

    def _claim_id(self, dialogue: Dialogue, file: str, row: int) -> None:
        if dialogue.id not in self.train_ids:
            super()._claim_id(dialogue, file, row)


class Selection(NamedTuple):
    """Numbers of the dialogues in the mixture (shuffled, repeats included) and of those held out (ascending)."""

    mixture: NDArray[np.int64]
    held_out: NDArray[np.int64]


def part_names(recipe: Recipe) -> list[str]:
    """What errors and reports call the entries of train_data, then those of held_out_data."""
    named = [("train_data", recipe.train_data), ("held_out_data", recipe.held_out_data or ())]
    return [
        f"{field}[{index}] ({entry.source}: {', '.join(Path(path).name for path in entry.path)})"
        for field, entries in named
        for index, entry in enumerate(entries)
    ]


def read_all(
    recipe: Recipe, rows: Rows, quarantine: BuildQuarantine, names: Sequence[str]
) -> tuple[NDArray[np.int64], QualityReport]:
    """Read what passes the recipe's `deduplicate` and `decontaminate` of every entry into `rows`.

    Returns the numbers of the rows drawn by `samples`, ascending, and what was set aside. Raises as `build` does.
    """
    entries = (*recipe.train_data, *(recipe.held_out_data or ()))
    _refuse_read_twice(recipe.train_data)
    _refuse_mixing_held_out(recipe.held_out_data or ())
    quality = Quality(recipe, quarantine)
    drawn: list[NDArray[np.int64]] = []
    with progress("reading") as step:
        for part, entry in enumerate(entries):
            first = len(rows)
            if part == len(recipe.train_data):
                quarantine.train_ids = Numbers(rows.ids[number] for number in range(first))
                quality.begin_held_out()
            for path in entry.path:
                name = f"{path}@{entry.revision}" if entry.revision and not Path(path).exists() else path
                for dialogue in iter_dialogues(entry.source, [name], quarantine, split=entry.split):
                    digest = content_hash(dialogue)
                    if quality.admits(dialogue, digest):
                        rows.add(dialogue, part, digest)
                    step()
            drawn.append(first + draw_samples(len(rows) - first, entry.samples, names[part], recipe.seed, part))
    return np.concatenate(drawn), quality.report()


def _refuse_read_twice(entries: Sequence[DataSource]) -> None:
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        for path in entry.path:
            place = (os.path.realpath(path) if Path(path).exists() else path, entry.split)
            if place in seen:
                raise MixtureError(f"train_data: {path} (split {entry.split}) is listed twice; set repeat: 2 instead")
            seen.add(place)


def _refuse_mixing_held_out(entries: Sequence[DataSource]) -> None:
    for index, entry in enumerate(entries):
        if entry.weight is not None or entry.repeat != 1:
            raise MixtureError(
                f"held_out_data[{index}]: weight and repeat are for training; held-out rows are taken once each. Leave "
                "them out, or set samples to take fewer rows"
            )


def select(recipe: Recipe, rows: Rows, drawn: NDArray[np.int64], names: Sequence[str]) -> Selection:
    """Split the drawn rows and mix the training side. Raises SplitError, MixtureError."""
    parts = rows.parts
    train_parts = len(recipe.train_data)
    if recipe.held_out_data is not None:
        train, held_out = drawn[parts[drawn] < train_parts], drawn[parts[drawn] >= train_parts]
        check_overlap(_perhaps_in(held_out, train, rows), _perhaps_in(train, held_out, rows))
    elif recipe.held_out_share:
        groups = _groups(recipe, rows, drawn)
        share, by = recipe.held_out_share, recipe.group_by
        held = split_held_out(groups, parts[drawn], names[:train_parts], share, by, recipe.seed)
        train, held_out = drawn[~held], drawn[held]
    else:
        train, held_out = drawn, drawn[:0]
    by_part = [train[parts[train] == part] for part in range(train_parts)]
    return Selection(mix(by_part, recipe.train_data, recipe.seed), held_out)


def _groups(recipe: Recipe, rows: Rows, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of each drawn row."""
    grouper = Grouper(recipe.group_by)
    for row, dialogue in rows.read(drawn):
        grouper.add(dialogue, rows.hash_of(row))
    return grouper.groups()


def _perhaps_in(other: NDArray[np.int64], side: NDArray[np.int64], rows: Rows) -> dict[str, str]:
    """{id: content hash} of the rows of `side` that share their content hash, or a hash of their id, with `other`."""
    hashes = rows.hashes
    id_keys, other_keys = (np.fromiter((hash(rows.ids[row]) for row in of), np.int64, of.size) for of in (side, other))
    shared = np.isin(id_keys, other_keys) | np.isin(hashes[side], hashes[other])
    return {rows.ids[row]: rows.hash_of(row) for row in side[shared].tolist()}
