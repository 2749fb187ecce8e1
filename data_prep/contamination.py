"""Evaluation text in the training data: `decontaminate: [gsm8k, mathchat, path/to/items.jsonl]`, names or files.

    {"question": "Janet's ducks lay 16 eggs per day. She eats ...", "answer": "... #### 18"}       <- an evaluation item

An item's text is cut into passages: its fields or turns, at blank lines and at `A:`/`B:`. Passages and dialogues are
compared as words: lower case, without punctuation and calculator annotations. A dialogue is contaminated where

    13 words in a row are shared with a passage, and in all such runs half of the passage, or 30 words of it
    a passage of 8 to 12 words, too short for that, stands in it whole
    all user turns of an item that has no passage of 8 words stand in it as whole user turns

13 is what GPT-3 was checked with (arXiv 2005.14165, appendix C) and what most published checks use since. Alone it also
meets problems that only share a stock sentence ("... at the same rate, how many additional hours ..."): 7 of GSM8K's
7,473 training rows against its test set and MathChat; with the half, 2 that are the test's problem but for the numbers.
A passage that three unrelated items share is a phrase of its benchmark, and is left out.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from data_prep.dialogue import Dialogue, leaves
from data_prep.published import PUBLISHED
from data_prep.readers import SUFFIXES, Unreadable, read_rows

GRAM = 13
SHORTEST = 8  # words of a passage that says something on its own: "the answer is 72" does not
ENOUGH = 30  # shared words that are a copy however long the passage is
UNRELATED = 3
SHOWN_WORDS = 40
DOWNLOADS = Path("data")  # where `download` puts files unless told otherwise

# The files of a published set that are for evaluation; GSM8K's train.jsonl is there to be trained on.
EVALUATION_SETS: dict[str, tuple[str, ...]] = {
    "gsm8k": ("test.jsonl",),
    "mathchat": tuple(file.name for file in PUBLISHED["mathchat"].files),
}
ANNOTATION = re.compile(r"<<[^<>]*>>")
WORD = re.compile(r"\w+")
BORDER = re.compile(r"\n\s*\n|(?:^|\n)\s*\**[AB]:\**")
TURN_LISTS = ("messages", "conversations", "question", "turns")


class EvaluationSetError(ValueError):
    """An evaluation set that is not there or holds no text; the message says how to get it."""


class Match(NamedTuple):
    """What a dialogue shares with an evaluation item; `words` of the passage's `of_words` words are shared."""

    set_name: str
    item: str
    words: int
    of_words: int
    passage: str

    def message(self) -> str:
        """For the quarantine."""
        return f"shares {self.words} of {self.of_words} words with {self.set_name} item {self.item}: {self.passage!r}"


class Passage(NamedTuple):
    """Where a passage begins among all evaluation words, how long it is, and which item it is of."""

    start: int
    length: int
    item: int


class Item(NamedTuple):
    """An evaluation item: `test.jsonl:17`, its passages, and what its user says (its first text if it has no turns)."""

    name: str
    passages: list[list[str]]
    requests: list[list[str]]


def evaluation_files(names: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each evaluation set. Raises EvaluationSetError for a name that is unknown or not downloaded."""
    files: dict[str, list[Path]] = {}
    for name in names:
        if name in EVALUATION_SETS:
            found = [DOWNLOADS / name / file for file in EVALUATION_SETS[name]]
            remedy = f"fetch it with `python -m data_prep download {name}`, or leave it out of decontaminate"
        else:
            found, remedy = [Path(name)], _no_such_set(name)
        for path in found:
            if not path.is_file():
                raise EvaluationSetError(f"decontaminate: {name}: there is no {path}; {remedy}")
        files[name] = found
    return files


def _no_such_set(name: str) -> str:
    known = ", ".join(EVALUATION_SETS)
    if name.endswith(SUFFIXES):
        return f"give the path of a file, or one of {known}"
    close = difflib.get_close_matches(name, EVALUATION_SETS, n=1)
    return f"did you mean {close[0]}?" if close else f"known sets are {known}; any other is given by its file's path"


def words_of(text: str) -> list[str]:
    """`She's paid $1,200 <<600*2=1200>>` is she, s, paid, 1200: the words that texts are compared by."""
    if "<<" in text:
        text = ANNOTATION.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return WORD.findall(text.replace(",", "").lower())


class Contamination:
    """The passages of all evaluation sets, and the search for them in a dialogue.

    Holds about 10 KB per evaluation item of MathChat's size and nothing per dialogue. `items` counts each set's items.
    """

    def __init__(self, names: Sequence[str]):
        self.items: dict[str, int] = {}
        self._items: list[tuple[str, str]] = []  # (set, item) by number
        self._passages: list[Passage] = []
        self._vocabulary: dict[str, int] = {}
        self._requests: dict[tuple[str, ...], list[tuple[frozenset[tuple[str, ...]], int]]] = defaultdict(list)
        words: list[int] = []
        for passage, item in self._read(evaluation_files(names)):
            self._passages.append(Passage(len(words), len(passage), item))
            words += (self._vocabulary.setdefault(word, len(self._vocabulary) + 1) for word in passage)
            words.append(0)
        # A random number per word; 0 for a word that no passage has, which ends every run.
        self._codes = np.random.default_rng(0).integers(1, 1 << 64, len(self._vocabulary) + 1, dtype=np.uint64)
        self._codes[0] = 0
        self._factors = np.random.default_rng(1).integers(1, 1 << 64, GRAM, dtype=np.uint64) | np.uint64(1)
        self._index(np.array(words, dtype=np.int64))

    def _read(self, files: dict[str, list[Path]]) -> Iterator[tuple[list[str], int]]:
        """(passage, item's number), each passage once; items without a passage go to `_requests`."""
        first: dict[tuple[str, ...], int] = {}
        unrelated: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for set_name, paths in files.items():
            before = len(self._items)
            for item in (item for path in paths for item in read_items(path)):
                number = len(self._items)
                self._items.append((set_name, item.name))
                passages = [tuple(passage) for passage in item.passages]
                for passage in passages:
                    first.setdefault(passage, number)
                    # One problem with several follow-ups is one problem: items are told apart by how they begin.
                    unrelated.setdefault(passage, set()).add(passages[0])
                if not passages and item.requests:
                    requests = [tuple(request) for request in item.requests]
                    self._requests[requests[0]].append((frozenset(requests), number))
            self.items[set_name] = len(self._items) - before
            if not self.items[set_name]:
                raise EvaluationSetError(f"decontaminate: {set_name}: no text was found in it; is it the right file?")
        for passage, number in first.items():
            if len(unrelated[passage]) < UNRELATED:
                yield list(passage), number

    def _index(self, words: NDArray[np.int64]) -> None:
        """Sorted hashes of all runs of GRAM words with their places, and those of each shorter whole passage."""
        starts = np.array([passage.start for passage in self._passages], dtype=np.int64)
        lengths = np.array([passage.length for passage in self._passages], dtype=np.int64)
        # By length: hashes, their places, and the passages they are in.
        self._runs: dict[int, tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]] = {}
        # Most runs of a dialogue are in no passage: the first bits of their hash tell so for nearly all of them.
        self._maybe: dict[int, tuple[np.uint64, NDArray[np.bool_]]] = {}
        for length, hashes, places in self._hashes(words, set(lengths[lengths < GRAM].tolist()) | {GRAM}):
            if length < GRAM:
                whole = np.isin(places, starts[lengths == length])
                hashes, places = hashes[whole], places[whole]
            order = np.argsort(hashes, kind="stable")
            hashes, places = hashes[order], places[order]
            self._runs[length] = hashes, places, np.searchsorted(starts, places, "right") - 1
            bits = 5 + max(1, hashes.size).bit_length()
            self._maybe[length] = np.uint64(64 - bits), np.zeros(1 << bits, dtype=np.bool_)
            self._maybe[length][1][hashes >> self._maybe[length][0]] = True

    def _hashes(
        self, words: NDArray[np.int64], lengths: Iterable[int]
    ) -> Iterator[tuple[int, NDArray[np.uint64], NDArray[np.int64]]]:
        """(length, hashes, places) of the runs of each of these lengths, ascending, that hold known words only."""
        codes = self._codes[words]
        unknown = np.concatenate([[0], np.cumsum(words == 0)])
        hashes = np.zeros(words.size + 1, dtype=np.uint64)
        for length in range(1, min(max(lengths, default=0), words.size) + 1):
            hashes = hashes[:-1] + codes[length - 1 :] * self._factors[length - 1]
            if length in lengths:
                places = (unknown[length:] == unknown[:-length]).nonzero()[0]
                yield length, hashes[places], places

    def find(self, dialogue: Dialogue) -> Match | None:
        """The evaluation passage that the dialogue shares most words with, if that makes it contaminated."""
        texts = [words_of(text) for text in _texts(dialogue)]
        flat = [word for text in texts for word in (*text, "")]
        get = self._vocabulary.get
        words = np.array([get(word, 0) for word in flat], dtype=np.int64)
        shared: dict[int, set[int]] = defaultdict(set)  # passage -> its words' places
        found_at: dict[int, tuple[int, int]] = {}  # passage -> first run in the dialogue
        for length, hashes, places in self._hashes(words, self._runs):
            shift, maybe = self._maybe[length]
            near = maybe[hashes >> shift]
            if near.any():
                self._collect(length, hashes[near], places[near], shared, found_at)
        best = max(
            (p for p in shared if self._is_copy(p, len(shared[p]))), key=lambda p: (len(shared[p]), -p), default=-1
        )
        if best < 0:
            return self._asked_again(dialogue) if self._requests else None
        begin, end = found_at[best]
        item = self._items[self._passages[best].item]
        return Match(*item, len(shared[best]), self._passages[best].length, _shown(flat[begin:end]))

    def _collect(
        self,
        length: int,
        hashes: NDArray[np.uint64],
        places: NDArray[np.int64],
        shared: dict[int, set[int]],
        found_at: dict[int, tuple[int, int]],
    ) -> None:
        """Enter the runs of one length that are in a passage."""
        known, known_places, owners = self._runs[length]
        left, right = known.searchsorted(hashes, "left"), known.searchsorted(hashes, "right")
        for hit in np.flatnonzero(right > left).tolist():
            place = int(places[hit])
            group = slice(left[hit], right[hit])
            for start, passage in zip(known_places[group].tolist(), owners[group].tolist(), strict=True):
                shared[passage].update(range(start, start + length))
                begin, end = found_at.get(passage, (place, place))
                if place <= end:  # goes on from the run before
                    found_at[passage] = begin, place + length

    def _is_copy(self, passage: int, shared: int) -> bool:
        return shared >= min(self._passages[passage].length / 2, ENOUGH)

    def _asked_again(self, dialogue: Dialogue) -> Match | None:
        """The item without a passage whose every request is a user turn of the dialogue."""
        asked = [tuple(words_of(message.content)) for message in dialogue.messages if message.role == "user"]
        for turn in asked:
            for requests, number in self._requests.get(turn, ()):
                if requests.issubset(asked):
                    words = sum(map(len, requests))
                    return Match(*self._items[number], words, words, _shown(turn))
        return None


def _texts(dialogue: Dialogue) -> Iterator[str]:
    for message in dialogue.messages:
        if message.thinking:
            yield message.thinking
        if message.content:
            yield message.content
        for call in message.tool_calls:
            yield from (leaf for leaf in leaves(call.arguments) if isinstance(leaf, str))


def _shown(words: Sequence[str]) -> str:
    return " ".join(words[:SHOWN_WORDS]) + (" ..." if len(words) > SHOWN_WORDS else "")


def read_items(path: Path) -> Iterator[Item]:
    """The evaluation items of a file: any of our sources' rows, or any objects with text under keys of their own.

    Raises EvaluationSetError for a line that is not JSON: an item that was not compared may not pass for one that was.
    """
    for row, value in _rows(path):
        if isinstance(value, Unreadable):
            raise EvaluationSetError(f"decontaminate: {path}:{row}: {value.message}; fetch or write the file again")
        texts, requests = _texts_of(value)
        passages = [words for text in texts for part in BORDER.split(text) if len(words := words_of(part)) >= SHORTEST]
        asked = [words for text in requests if (words := words_of(text))]
        if passages or asked:
            yield Item(f"{path.name}:{row}", passages, asked)


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(row, value); BFCL calls its JSON Lines .json, which is tolerated here."""
    if path.name.endswith(".json"):
        with open(path, "rb") as file:
            if file.read(1) == b"{":
                file.seek(0)
                yield from ((row, _decoded(line)) for row, line in enumerate(file, 1) if line.strip())
                return
    for raw in read_rows(str(path)):
        yield raw.row, raw.value


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Unreadable(f"the line is not JSON ({error})", "")


def _texts_of(row: Any) -> tuple[list[str], list[str]]:
    """(all texts, the user's texts) of an item: turns without the system's, and text under keys of its own."""
    if not isinstance(row, dict):
        return ([row], [row]) if isinstance(row, str) else ([], [])
    turns = [turn for key in TURN_LISTS if isinstance(row.get(key), list) for turn in _turns(row[key])]
    said = [(who, text) for who, text in turns if who != "system"]
    fields = [text for key, text in row.items() if isinstance(text, str) and key not in ("id", "system", "tools")]
    requests = [text for who, text in said if who in ("user", "human")] or fields[:1]
    return [text for _, text in said] + fields, requests


def _turns(value: list[Any]) -> Iterator[tuple[str, str]]:
    """(speaker, text); BFCL's `question` is a list of lists of messages."""
    for turn in value:
        if isinstance(turn, list):
            yield from _turns(turn)
        elif isinstance(turn, dict):
            text = turn.get("content", turn.get("value"))
            if isinstance(text, str):
                yield str(turn.get("role", turn.get("from", ""))), text
        elif isinstance(turn, str):
            yield "user", turn
