"""JSON as models write it: in a fence, with prose around it, with single quotes, a trailing comma, True or None.

    loads("Sure! Here it is:\\n```json\\n{'task': 'Book a table',}\\n```")  ->  {"task": "Book a table"}

Nothing is guessed: text that is cut off, or that holds several values, is an error. A value that is read can be written
again: its texts are Unicode, its numbers fit a float.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

MAX_CHARS = 100_000
MAX_STEPS = 1_000_000  # of the search for closing brackets: a model that loops may write "[a[a[a..." to its limit
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)```", re.DOTALL)
_WORDS = {"true": "True", "false": "False", "null": "None"}
_PART = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b""", re.DOTALL)


def loads(text: str) -> Any:
    """The one JSON object or list in the text. Raises ValueError, worded for the model that wrote it."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"it is longer than {MAX_CHARS:,} characters")
    found = _strict([text]) or _strict(_FENCE.findall(text)) or list(_values(text))
    if len(found) > 1:
        raise ValueError("it holds several JSON values; write one")
    if not found:
        raise ValueError("it holds no complete JSON value")
    _check_writable(found[0])
    return found[0]


def _strict(texts: list[str]) -> list[Any]:
    """The objects and lists among texts that are JSON and nothing else; equal ones once."""
    found: list[Any] = []
    for text in texts:
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, (dict, list)) and value not in found:
            found.append(value)
    return found


def _values(text: str) -> Iterator[Any]:
    """Every outermost bracketed value that can be read."""
    at = steps = 0
    while (start := _next_bracket(text, at)) >= 0:
        end = _closing(text, start)
        steps += (end or len(text)) - start
        if steps > MAX_STEPS:
            raise ValueError("it holds too many brackets that are no JSON")
        value = _read(text[start:end]) if end else None
        if value is None:
            if end is None and _looks_like_json(text[start:]):
                return  # an unclosed value: what stands inside it is only a part
            at = start + 1
        else:
            yield value
            at = end or start + 1


def _next_bracket(text: str, at: int) -> int:
    match = re.compile(r"[\[{]").search(text, at)
    return match.start() if match else -1


def _looks_like_json(text: str) -> bool:
    return re.match(r"""[\[{]\s*(?:["'\[{\]}]|-?\d|true|false|null)""", text) is not None


def _closing(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed, quotes respected; an apostrophe inside a word opens none."""
    depth, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\"
            if char == quote and (quote == '"' or _ends_single(text, at)):
                quote = ""
        elif char == '"' or (char == "'" and text[at - 1] in " [{,:\n\t"):
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return None


def _ends_single(text: str, at: int) -> bool:
    return text[at + 1 :].lstrip()[:1] in ("", ",", ":", "]", "}")


def _read(text: str) -> Any:
    """A bracketed value as JSON, else as a Python literal, or None."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    parts = [(part.start(), part.end()) for part in _PART.finditer(text) if part[0][0] in "'\""]
    if any(not text[end:start].strip() for (_, end), (start, _) in pairwise(parts)):
        return None  # two texts side by side: Python would join them
    literal = _PART.sub(lambda part: _WORDS.get(part[0], part[0]), text)
    try:
        value = ast.literal_eval(literal)
        json.dumps(value, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return json.loads(json.dumps(value)) if isinstance(value, (dict, list)) else None


def _check_writable(value: Any) -> None:
    """Raises ValueError for a number that is no finite float and for half a surrogate pair."""
    if isinstance(value, dict):
        _check_writable(list(value))
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_writable(item)
    elif isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{value[:60]!r} holds half a surrogate pair")
    elif isinstance(value, (int, float)) and not abs(value) <= sys.float_info.max:
        raise ValueError("it holds a number that is too large")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
