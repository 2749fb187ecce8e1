"""Raw rows from files and hub data sets, one at a time: a file larger than memory works.

rows.jsonl  rows.json (one list)  rows.parquet  rows.jsonl.gz  rows.json.gz
org/name  org/name:config  org/name:config@revision          (hub data sets, or a folder of data files)

for raw in read_rows("data/button_instruct.jsonl"):
    raw.file, raw.row, raw.value          # row counts from 1: the line of a .jsonl, else the position in the list
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

SUFFIXES = (".jsonl", ".json", ".parquet", ".jsonl.gz", ".json.gz")
CHUNK_CHARS = 1 << 20
MAX_ROW_CHARS = 1 << 28  # a row that has not ended by then is an unclosed quote or bracket, not a dialogue
HUB_ID = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?")


class ReadError(ValueError):
    """An input that can't be read as a whole: missing, empty, cut off, or not the format its name says."""


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for the row where one line of a .jsonl is not JSON; the reader goes on after it."""

    message: str
    text: str


class RawRow(NamedTuple):
    """One row as it was read; `value` is the decoded JSON, or Unreadable."""

    file: str
    row: int
    value: Any


def read_rows(name: str, split: str = "train", revision: str | None = None) -> Iterator[RawRow]:
    """Rows of a file, or of the `split` of a hub data set pinned to `revision` (also written `org/name@revision`).

    Raises ReadError naming the file, the cause and the remedy. An unreadable line of a .jsonl is a row of its own.
    """
    path = Path(name)
    if path.is_file():
        yield from _read_file(path, name)
    elif not path.is_dir() and (name.endswith((".gz", *SUFFIXES)) or not HUB_ID.fullmatch(name)):
        raise ReadError(f"{name}: no such file (looked in {Path.cwd()})")
    else:
        yield from _read_hub(name, split, revision)


def stem_of(file: str) -> str:
    """The name that stands for a file in ids: without folder and suffix; a hub id with '-' for '/'."""
    if not Path(file).exists() and not file.endswith(SUFFIXES):
        return file.split("@")[0].replace("/", "-").replace(":", "-")
    name = Path(file).name
    suffix = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), "")
    return name.removesuffix(suffix) or name


def _read_file(path: Path, name: str) -> Iterator[RawRow]:
    if not path.name.endswith(SUFFIXES):
        raise ReadError(f"{name}: unknown file type; wanted one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise ReadError(f"{name}: the file is empty")
    try:
        if path.name.endswith(".parquet"):
            yield from _read_parquet(path, name)
        elif path.name.endswith((".jsonl", ".jsonl.gz")):
            yield from _read_jsonl(path, name)
        else:
            yield from _read_json_list(path, name)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ReadError(f"{name}: broken or cut-off gzip ({error}); fetch or compress the file again") from error
    except OSError as error:
        raise ReadError(f"{name}: {error.strerror or error}") from error


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else open(path, "rb")  # type: ignore[return-value]


def _read_jsonl(path: Path, name: str) -> Iterator[RawRow]:
    decoder = msgspec.json.Decoder()
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip() == b"[":
                    raise ReadError(f"{name}: one JSON list, not JSON Lines; rename it to .json")
            if not line.strip():
                continue
            try:
                value = decoder.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                text = line.decode("utf-8", errors="replace").rstrip("\n")
                value = Unreadable(f"the line is not JSON ({error}): {text[:80]!r}", text)
            yield RawRow(name, number, value)


def _read_json_list(path: Path, name: str) -> Iterator[RawRow]:
    with _open(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig")
        try:
            for row, value in enumerate(_JsonList(text, name).elements(), start=1):
                yield RawRow(name, row, value)
        except UnicodeDecodeError as error:
            raise ReadError(f"{name}: not UTF-8 text ({error.reason}); convert the file to UTF-8") from error


class _JsonList:
    """The elements of a JSON list, holding no more of it than one element and one chunk."""

    def __init__(self, file: IO[str], name: str):
        self.file = file
        self.name = name
        self.buffer = ""
        self.at = 0  # next character of the buffer
        self.dropped = 0  # characters before the buffer
        self.rows = 0
        self.decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)

    def elements(self) -> Iterator[Any]:
        """Each element in turn; raises ReadError with the position of the first thing that is not JSON."""
        if self.next_character() != "[":
            if not self.buffer.strip():
                raise ReadError(f"{self.name}: the file is empty")
            raise self.broken("a .json file must hold one list '[ ... ]'; JSON Lines are read from .jsonl")
        self.at += 1
        if self.next_character() != "]":
            while True:
                yield self.element()
                separator = self.next_character()
                if separator == "]":
                    break
                if separator != ",":
                    raise self.broken(f"expected ',' or ']', found {separator!r}")
                self.at += 1
        self.at += 1
        if self.next_character() != "":
            raise self.broken("text after the list's end")

    def element(self) -> Any:
        """The value that starts at the next character."""
        while True:
            if self.next_character() == "":
                raise self.broken("the file ends inside the list")
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                broken = self.broken(error.msg, error.pos)
                too_long = len(self.buffer) - self.at > MAX_ROW_CHARS
                if too_long or not _may_be_cut(error, len(self.buffer)) or not self.read_more():
                    raise broken from error
                continue
            except (ValueError, RecursionError) as error:
                raise self.broken(str(error), self.at) from error
            length = end - self.at
            if isinstance(value, (int, float)) and end + len(".e+") >= len(self.buffer) and self.read_more():
                continue  # a number may go on in the next chunk
            self.at += length
            self.rows += 1
            return value

    def next_character(self) -> str:
        """The next character that is not white space, '' at the end of the file."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.buffer) or not self.read_more():
                return self.buffer[self.at : self.at + 1]

    def read_more(self) -> bool:
        """Read on; whether there was more. Doubling keeps a row of many chunks from being parsed again per chunk."""
        chunk = self.file.read(max(CHUNK_CHARS, len(self.buffer) - self.at))
        self.buffer, self.dropped, self.at = self.buffer[self.at :] + chunk, self.dropped + self.at, 0
        return bool(chunk)

    def broken(self, what: str, at: int | None = None) -> ReadError:
        """The error for what stands at buffer position `at`, by default the next character."""
        position = self.dropped + (self.at if at is None else at)
        return ReadError(
            f"{self.name}: broken JSON list at character {position:,}, after {self.rows:,} whole rows: {what}; "
            "fetch or write the file again (a .jsonl would lose only the broken row)"
        )


def _may_be_cut(error: json.JSONDecodeError, length: int) -> bool:
    # The decoder says where it stopped: at the text's end (or in the literal or escape just before it), or at the
    # opening quote of a string that has not ended yet. Anything else is broken whatever follows.
    return error.msg.startswith("Unterminated string") or error.pos >= length - len("Infinity")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text} is out of range")
    return value


def _read_parquet(path: Path, name: str) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                kinds = {field.name: field.type for field in batch.schema}
                for values in batch.to_pylist():
                    row += 1
                    yield RawRow(name, row, {key: _from_arrow(item, kinds[key], True) for key, item in values.items()})
    except (pa.ArrowException, msgspec.DecodeError) as error:
        raise ReadError(f"{name}: not a readable parquet file, after {row:,} rows ({error})") from error


def _from_arrow(value: Any, kind: Any, json_is_text: bool) -> Any:
    """The value without the nulls that Arrow put where a struct lacked a key that another row has.

    `json_is_text`: cells of Arrow's JSON type are still text, as pyarrow gives them; `datasets` decodes them itself,
    and the nulls in them are the author's own.
    """
    import pyarrow as pa

    if isinstance(value, dict) and pa.types.is_struct(kind):
        kinds = {field.name: field.type for field in kind}
        return {key: _from_arrow(item, kinds[key], json_is_text) for key, item in value.items() if item is not None}
    if isinstance(value, list) and isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        return [_from_arrow(item, kind.value_type, json_is_text) for item in value]
    if isinstance(value, str) and json_is_text and isinstance(kind, pa.JsonType):
        return msgspec.json.decode(value)
    return value


def _read_hub(name: str, split: str, revision: str | None) -> Iterator[RawRow]:
    """Stream one split of a hub data set, or of a folder of data files, through `datasets`."""
    import datasets

    folder = os.path.isdir(name)
    match = HUB_ID.fullmatch(name)
    where, config = name, None
    if not folder and match:
        where, config = match["name"], match["config"]
        revision = revision or match["revision"]
    try:
        rows = datasets.load_dataset(where, config, split=split, revision=revision, streaming=True)
        kinds = {field.name: field.type for field in rows.features.arrow_schema} if rows.features else {}
        for number, values in enumerate(rows, start=1):
            plain = {key: _from_arrow(item, kinds.get(key), json_is_text=False) for key, item in values.items()}
            yield RawRow(name, number, plain)
    except Exception as error:  # the client raises what its HTTP library, its parsers and its file systems raise
        raise ReadError(
            f"{name}: no such file, and not readable as a hub data set's split {split!r} "
            f"({type(error).__name__}: {error}); check the name, and the network or HF_HUB_OFFLINE"
        ) from error
