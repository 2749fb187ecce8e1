"""What several sources share: a row's id, JSON text and marks of what is trained; keys of groups, calls and results."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import msgspec

from data_prep.dialogue import DialogueError, Message, ToolCall

TRAIN_KEYS = ("train", "training", "weight")


def id_of(row: dict[str, Any], row_id: str) -> str:
    """The id that the row carries, else `row_id`; a bare number says nothing outside its file and goes behind it."""
    carried = row.get("id")
    if carried is None or carried == "":
        return row_id
    if isinstance(carried, (dict, list, bool, float)):
        raise DialogueError("row_keys", f"'id' must be text or an integer, not {carried!r:.60}")
    return f"{row_id.rpartition('-')[0]}-id{carried}" if str(carried).isdigit() else str(carried)


def list_of(row: dict[str, Any], key: str, wanted: str) -> list[Any]:
    """The non-empty list under `key`; raises DialogueError saying what the source's rows look like."""
    value = row.get(key)
    if not isinstance(value, list):
        found = f"keys {', '.join(sorted(map(str, row))) or '(none)'}" if key not in row else type(value).__name__
        raise DialogueError("row_keys", f"wanted {wanted}; found {found}")
    if not value:
        raise DialogueError("no_messages", f"'{key}' is an empty list")
    return value


def text_of(value: Any, where: str) -> str:
    """The value if it is text; raises DialogueError `non_text_content`."""
    if not isinstance(value, str):
        raise DialogueError("non_text_content", f"{where} has {type(value).__name__} content; only text is read")
    return value


def json_of(text: str, code: str, where: str) -> Any:
    """The value of strict JSON text (no NaN, no Infinity); raises DialogueError with `code`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DialogueError(code, f"{where} is not JSON ({error}): {text[:80]!r}") from error


def call_of(entry: Any, number: int, where: str) -> ToolCall:
    """One {"name", "arguments"} object as call number `number` of its dialogue; `arguments` may be JSON text."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise DialogueError("call_shape", f"{where}: a call must be an object with a name, not {str(entry)[:80]!r}")
    arguments = entry.get("arguments", {})
    if isinstance(arguments, str):
        arguments = json_of(arguments, "call_json", f"{where}: the arguments of {entry['name']}")
    if not isinstance(arguments, dict):
        raise DialogueError(
            "call_shape", f"{where}: the arguments of {entry['name']} must be an object, not {str(arguments)[:60]!r}"
        )
    return ToolCall(id=f"call_{number}", name=entry["name"], arguments=arguments)


def is_trained(message: dict[str, Any], where: str) -> bool:
    """Whether a message is trained on, by the marks it carries; one without a mark, or with null, is.

    False and 0 under `train`, `training` (axolotl) or `weight` (OpenAI, OpenHermes) say no, true and 1 yes. Raises
    DialogueError `train_type` for any other value, and where two marks contradict each other.
    """
    marks = {key: message[key] for key in TRAIN_KEYS if message.get(key) is not None}
    for key, mark in marks.items():
        if not isinstance(mark, (bool, int, float)) or mark not in (0, 1):
            raise DialogueError("train_type", f"{where}: '{key}' must be true, false, 1 or 0, not {mark!r:.60}")
    if len({bool(mark) for mark in marks.values()}) > 1:
        raise DialogueError("train_type", f"{where}: {marks} contradict each other; keep one of them")
    return all(marks.values())


def text_or_json(value: Any) -> str:
    """A result as message text: text as it is, anything else as JSON with the default separators."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def seed_key(text: str) -> str:
    """A key for splitting by problem: 16 hex digits over the words, whatever their case and spacing."""
    words = " ".join(re.findall(r"\w+", text.lower()))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def count_calls(messages: list[Message]) -> int:
    """Calls made so far, the number of the next call's id."""
    return sum(len(message.tool_calls) for message in messages)
