"""Raw formats, one file each. A new one is a file with `to_dialogue(row, row_id)` and a line in SOURCES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from data_prep.dialogue import Dialogue
from data_prep.sources import button, gsm8k, mathchatsync, messages, sharegpt
from data_prep.sources.common import TRAIN_KEYS


class Source(NamedTuple):
    """`to_dialogue` raises DialogueError for a bad row; `to_row` is None where the format can't be written back.

    `turns` is the key of a row's list of turns and `reads` the keys of a turn that are read: others are reported.
    """

    to_dialogue: Callable[[dict[str, Any], str], Dialogue]
    to_row: Callable[[Dialogue], dict[str, Any]] | None = None
    turns: str = ""
    reads: frozenset[str] = frozenset()

    def unread(self, row: dict[str, Any]) -> Iterator[str]:
        """The keys that hold something and that `to_dialogue` passed over, of each turn of a row that it could read."""
        for turn in row.get(self.turns, ()):
            for key in turn.keys() - self.reads:
                if turn[key] not in (None, "", [], {}):
                    yield key


BUTTON_KEYS = frozenset(("role", "content", *TRAIN_KEYS))
SHAREGPT_KEYS = frozenset(("from", "value", *TRAIN_KEYS))
SOURCES: dict[str, Source] = {
    "button": Source(button.to_dialogue, button.to_row, "messages", BUTTON_KEYS),
    "mathchatsync": Source(mathchatsync.to_dialogue, mathchatsync.to_row, "conversations", SHAREGPT_KEYS),
    "sharegpt": Source(sharegpt.to_dialogue, sharegpt.to_row, "conversations", SHAREGPT_KEYS),
    "messages": Source(messages.to_dialogue, None, "messages", messages.READS),
    "gsm8k": Source(gsm8k.to_dialogue),
}


class WrongSourceError(ValueError):
    """The file holds rows of another source; the message names it."""


def likely_sources(row: Any) -> tuple[str, ...]:
    """The sources whose rows look like this one, likeliest first; empty where nothing fits."""
    if not isinstance(row, dict):
        return ()
    turns = row.get("conversations")
    if isinstance(turns, list):
        speakers = {str(turn.get("from")) for turn in turns if isinstance(turn, dict)}
        plain = speakers <= {"human", "gpt"} and "tools" not in row
        return ("mathchatsync", "sharegpt") if plain else ("sharegpt",)
    if isinstance(row.get("messages"), list):
        return ("button",) if _has_button_marks(row["messages"]) else ("messages",)
    if "question" in row and "answer" in row:
        return ("gsm8k",)
    return ()


def _has_button_marks(rows: list[Any]) -> bool:
    texts = [row.get("content") for row in rows if isinstance(row, dict) and row.get("role") != "user"]
    return any(mark in text for text in texts if isinstance(text, str) for mark in ("<call>", "<final>", "</tool>"))
