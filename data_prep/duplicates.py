"""Dialogues that occur again: `deduplicate: none | exact | near`.

    exact   the same messages and tools (by content hash, whatever ids, source and meta say)
    near    also dialogues whose text is four fifths the same: MinHash of runs of three words, Jaccard 0.8 or more

The first one stays; a later one goes to the quarantine as `duplicate` or `near_duplicate`, naming the first. Memory:
for exact about 45 bytes and the id for each row that stays, for near about 1 KB.

Training and held-out data are two sides. A near copy across them is set aside on the held-out side; an exact copy
across them is left to `check_overlap`, which refuses it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, NamedTuple

import msgspec

from data_prep.compact import Numbers, Texts
from data_prep.dialogue import JSON, Dialogue, function_of

Deduplicate = Literal["none", "exact", "near"]

SIMILAR = 0.8
SHINGLE = 3
# 20 bands of 6: a pair of similarity 0.8 is looked at with probability 0.998, one of 0.5 with 0.27.
PERMUTATIONS, BANDS = 120, 20
MINHASH_SEED = 42
WORD = re.compile(r"\w+")


class Duplicate(NamedTuple):
    """Why a dialogue is set aside: the quarantine's code and message."""

    code: str
    message: str


class ToolCounts(msgspec.Struct, frozen=True):
    """Tool definitions of a build: different ones, and how many of these nearly repeat an earlier one."""

    distinct: int
    near_duplicates: int


class NearIndex:
    """Texts by number, and the first earlier one that a text nearly repeats, by runs of `shingle` words."""

    def __init__(self, shingle: int = SHINGLE) -> None:
        # Needed for near duplicates alone, so that a build without them does not load it.
        from rensa import RMinHash, RMinHashLSH

        self._sketch_of = RMinHash
        self._shingle = shingle
        self._bands = RMinHashLSH(SIMILAR, PERMUTATIONS, BANDS)
        self._sketches: dict[int, RMinHash] = {}

    def find_or_add(self, number: int, text: str) -> tuple[int, float] | None:
        """(number, similarity) of the first text that `text` nearly repeats; where there is none, it is added."""
        sketch = self._sketch_of(PERMUTATIONS, MINHASH_SEED)
        sketch.update(shingles(text, self._shingle))
        for candidate in sorted(self._bands.query(sketch)):
            similarity = self._sketches[candidate].jaccard(sketch)
            if similarity >= SIMILAR:
                return candidate, similarity
        self._bands.insert(number, sketch)
        self._sketches[number] = sketch
        return None


def shingles(text: str, length: int = SHINGLE) -> list[str]:
    """Every run of `length` words, in lower case and without punctuation; a shorter text is one shingle."""
    words = WORD.findall(text.lower())
    return [" ".join(words[at : at + length]) for at in range(max(1, len(words) - length + 1))]


class Duplicates:
    """Looks each dialogue up among those before it; call it once per dialogue, in order."""

    def __init__(self, mode: Deduplicate):
        self._mode = mode
        self._ids = Texts()  # of the dialogues that stayed
        self._seen = Numbers()  # the content hashes of those on this side, which begins at number `_side`
        self._side = 0
        self._trained = Numbers()
        self._near = NearIndex() if mode == "near" else None
        self._tools = ToolIndex() if mode == "near" else None

    def begin_held_out(self) -> None:
        """What follows is held out: a side of its own for exact copies."""
        self._trained, self._seen, self._side = self._seen, Numbers(), len(self._ids)

    def find_or_add(self, dialogue: Dialogue, content_hash: str) -> Duplicate | None:
        """What the dialogue repeats; None where it is new, or new to its side."""
        if self._mode == "none":
            return None
        same = self._seen.find(content_hash)
        if same is not None:
            first = self._ids[self._side + same]
            return Duplicate("duplicate", f"the same messages and tools as {first!r}")
        number = len(self._ids)
        if self._near is not None and content_hash not in self._trained:
            found = self._near.find_or_add(number, text_of(dialogue))
            if found:
                first = self._ids[found[0]]
                return Duplicate("near_duplicate", f"about {found[1]:.0%} of its word runs are those of {first!r}")
        self._seen.add(content_hash)
        self._ids.append(dialogue.id)
        if self._tools is not None:
            self._tools.add(dialogue)
        return None

    def tool_counts(self) -> ToolCounts | None:
        """Counts of the tool definitions of the dialogues that stayed; None unless near."""
        return self._tools.counts() if self._tools is not None else None


class ToolIndex:
    """Tool definitions, each looked at once. Nothing is set aside for them: a dialogue needs the tools it lists."""

    def __init__(self) -> None:
        self._distinct: set[bytes] = set()  # hashes, not the text
        self._near = NearIndex()
        self._near_duplicates = 0

    def add(self, dialogue: Dialogue) -> None:
        """Take in the dialogue's tools."""
        for tool in dialogue.tools:
            definition = JSON.encode(function_of(tool))
            digest = hashlib.sha256(definition).digest()[:8]
            if digest not in self._distinct:
                self._distinct.add(digest)
                if self._near.find_or_add(len(self._distinct), definition.decode()):
                    self._near_duplicates += 1

    def counts(self) -> ToolCounts:
        """The counts so far."""
        return ToolCounts(len(self._distinct), self._near_duplicates)


def text_of(dialogue: Dialogue) -> str:
    """What is said and called, one part a line. Tools and system prompt are left out: many dialogues share them."""
    parts: list[str] = []
    for message in dialogue.messages:
        if message.role != "system":
            parts += [message.thinking or "", message.content]
            parts += [f"{call.name} {JSON.encode(call.arguments).decode()}" for call in message.tool_calls]
    return "\n".join(parts)
