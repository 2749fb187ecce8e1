"""Rows in, good dialogues out, the rest on file with a true reason; kept + rejected = read, always.

`raw` is the row as it was read; of one that was given out and rejected later, the dialogue that it was read as.

{"file": "data/button.jsonl", "row": 17, "code": "unknown_function", "message": "message 2 calls 'f', ...",
 "raw": {"messages": [...]}}                                          <- one line of quarantine.jsonl
"""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from data_prep.checks import check_dialogue
from data_prep.compact import Numbers
from data_prep.dialogue import Dialogue, DialogueError
from data_prep.outfile import OutFile
from data_prep.readers import RawRow, ReadError, Unreadable, read_rows, stem_of
from data_prep.sources import SOURCES, WrongSourceError, likely_sources

# Rejected because the recipe does not want them twice or at all; nothing is wrong with the rows or their reading.
SET_ASIDE = ("duplicate", "near_duplicate", "contaminated")
FILES = 1 << 20  # more than one read has


class TooManyRejected(ValueError):
    """More rows were rejected than the caller allows."""


class Quarantine:
    """Rejected rows on file and the counts of a read; use it as a context manager.

    `path` is written beside itself as `<path>.part` and renamed when the block ends without an exception, so that
    the file is whole or absent; None counts only. `read`, `rejected` and `by_reason` are counts of rows,
    `kept` is what remains. One Quarantine may serve several sources: ids are unique across all of them.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self.path = Path(path) if path is not None else None
        self.read = 0
        self.by_reason: Counter[str] = Counter()
        self.by_file: dict[str, Counter[str]] = {}  # file -> {"read": n, reason: n, ...}
        self.examples: dict[str, str] = {}  # reason -> "file:row: message" of the first
        self.unread: Counter[str] = Counter()  # key of a turn that is not read -> turns with something under it
        self._ids = Numbers()  # of the dialogues given out
        self._origins = array("q")  # by the id's number: row * FILES + the file's number
        self._files: dict[str, int] = {}
        self._labels: dict[str, str] = {}  # file -> its name in ids
        self._out: OutFile | None = None

    @property
    def rejected(self) -> int:
        """Rows rejected so far, whatever the reason."""
        return sum(self.by_reason.values())

    @property
    def kept(self) -> int:
        """Rows read and not rejected."""
        return self.read - self.rejected

    def __enter__(self) -> Self:
        if self.path is not None:
            self._out = OutFile(self.path)
            self._out.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._out is not None:
            self._out.__exit__(kind, error, trace)
        self._ids, self._origins = Numbers(), array("q")  # no row comes or goes any more

    def add(self, file: str, row: int, code: str, message: str, raw: Any) -> None:
        """Reject one row that was counted as read; `row` counts from 1, `raw` is the row as it was read."""
        self.by_reason[code] += 1
        self._count(file, code)
        self.examples.setdefault(code, f"{file}:{row}: {message}")
        if self._out is not None:
            entry = {"file": file, "row": row, "code": code, "message": message, "raw": raw}
            self._out.write(_line(entry))

    def reject(self, dialogue: Dialogue, code: str, message: str) -> None:
        """Reject a dialogue that `iter_dialogues` gave out already, for instance because it does not encode."""
        number = self._ids.find(dialogue.id)
        assert number is not None, "not a dialogue that was given out"
        file, row = self._place(self._origins[number])
        self.add(file, row, code, message, dialogue.to_dict())

    def check(self, max_rejected: float) -> None:
        """Raise TooManyRejected where the share of bad rows is over `max_rejected` (0 to 1); SET_ASIDE are not bad."""
        bad = self.rejected - sum(self.by_reason[code] for code in SET_ASIDE)
        if self.read and bad / self.read > max_rejected:
            raise TooManyRejected(
                f"{bad:,} of {self.read:,} rows rejected ({bad / self.read:.1%}), "
                f"at most {max_rejected:.1%} allowed: {self.reasons()}; "
                f"fix the rows{f' listed in {self.path}' if self.path else ''} or allow more with max_rejected"
            )

    def reasons(self) -> str:
        """`over_long 42, unknown_function 3`, most frequent first."""
        return ", ".join(f"{code} {count:,}" for code, count in self.by_reason.most_common())

    def summary(self) -> str:
        """`kept 7,431 of 7,473 (over_long 42) -> quarantine.jsonl`."""
        line = f"kept {self.kept:,} of {self.read:,}"
        if self.rejected:
            line += f" ({self.reasons()})" + (f" -> {self.path}" if self.path else "")
        return line

    def notes(self) -> list[str]:
        """What was passed over in the rows kept, a sentence each: rename a key that holds text to train on."""
        return [f"{count:,} turns have a key '{key}', which is not read" for key, count in self.unread.most_common()]

    def report(self) -> dict[str, Any]:
        """The counts as JSON-able values."""
        return {
            "read": self.read,
            "kept": self.kept,
            "rejected": self.rejected,
            "by_reason": dict(self.by_reason.most_common()),
            "examples": self.examples,
            "unread_keys": dict(self.unread.most_common()),
            "by_file": {file: dict(counts) for file, counts in self.by_file.items()},
        }

    def _count(self, file: str, what: str) -> None:
        self.by_file.setdefault(file, Counter())[what] += 1

    def _saw_row(self, file: str) -> None:
        self.read += 1
        self._count(file, "read")

    def _claim_id(self, dialogue: Dialogue, file: str, row: int) -> None:
        number = self._ids.add(dialogue.id)
        if number < len(self._origins):
            other, other_row = self._place(self._origins[number])
            raise DialogueError("duplicate_id", f"id {dialogue.id!r} was used by {other}:{other_row} already")
        self._origins.append(row * FILES + self._files.setdefault(file, len(self._files)))

    def _place(self, origin: int) -> tuple[str, int]:
        row, number = divmod(origin, FILES)
        return next(file for file, known in self._files.items() if known == number), row

    def _label(self, file: str) -> str:
        """The file's name in ids: its stem, with parent folders before it where another file has that stem."""
        if file not in self._labels:
            taken = set(self._labels.values())
            label = stem_of(file)
            for parent in Path(file).resolve().parents:
                if label not in taken:
                    break
                label = f"{parent.name}.{label}"
            self._labels[file] = label
        return self._labels[file]


def _line(entry: dict[str, Any]) -> bytes:
    if isinstance(entry["raw"], Unreadable):
        entry["raw"] = entry["raw"].text
    try:
        text = json.dumps(entry, ensure_ascii=False, default=repr)
    except (RecursionError, ValueError):  # nested too deeply to be written: the file and row still say where it is
        text = json.dumps({**entry, "raw": None})
    return text.encode("utf-8", errors="backslashreplace") + b"\n"  # half a surrogate pair becomes its JSON escape


def guess_source(path: str) -> str:
    """The source that the first row of a file looks like; `messages` where nothing fits."""
    first = next(iter(read_rows(path)), None)
    return next(iter(likely_sources(first.value if first else None)), "messages")


def iter_dialogues(
    source: str, inputs: Sequence[str], quarantine: Quarantine, split: str = "train", max_chars: int | None = None
) -> Iterator[Dialogue]:
    """Checked dialogues of `inputs` (files or hub ids) read as `source`, in order; bad rows go to `quarantine`.

    Ids are `<source>-<file stem>-<row>` unless the row carries one. Streams: one row is in memory at a time.
    Raises ReadError (missing, empty, broken file), WrongSourceError (the file is of another source's form) and
    KeyError with the valid names for an unknown source.
    """
    if source not in SOURCES:
        raise WrongSourceError(f"unknown source {source!r}; known sources: {', '.join(SOURCES)}")
    for name in inputs:
        rows = 0
        kept_here = False
        for raw in read_rows(name, split=split):
            rows += 1
            quarantine._saw_row(raw.file)
            try:
                dialogue = _read_row(source, raw, quarantine, max_chars)
            except DialogueError as error:
                if not kept_here:
                    _refuse_wrong_source(source, raw, error)
                quarantine.add(raw.file, raw.row, error.code, error.message, raw.value)
                continue
            kept_here = True
            yield dialogue
        if not rows:
            raise ReadError(f"{name}: holds no rows; give a file with at least one")


def _read_row(source: str, raw: RawRow, quarantine: Quarantine, max_chars: int | None) -> Dialogue:
    if isinstance(raw.value, Unreadable):
        raise DialogueError("unreadable_json", raw.value.message)
    if not isinstance(raw.value, dict):
        raise DialogueError("row_type", f"a row must be a JSON object, not {type(raw.value).__name__}")
    row_id = f"{source}-{quarantine._label(raw.file)}-{raw.row}"
    try:
        dialogue = SOURCES[source].to_dialogue(raw.value, row_id)
        check_dialogue(dialogue, max_chars=max_chars)
    except RecursionError as error:
        raise DialogueError("too_deep", "JSON nested too deeply to be read") from error
    quarantine._claim_id(dialogue, raw.file, raw.row)
    quarantine.unread.update(SOURCES[source].unread(raw.value))
    return dialogue


def _refuse_wrong_source(source: str, raw: RawRow, error: DialogueError) -> None:
    likely = likely_sources(raw.value)
    if likely and source not in likely:
        raise WrongSourceError(
            f"{raw.file}:{raw.row}: not a row of source '{source}' ({error.message}); it looks like '{likely[0]}': "
            f"use --source {likely[0]} (in a recipe: source: {likely[0]})"
        ) from error
