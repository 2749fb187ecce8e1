"""JSON as models write it: in a fence, with prose around it, with single quotes, a trailing comma, True or None.

    loads("Sure! Here it is:\\n```json\\n{'task': 'Book a table',}\\n```")  ->  {"task": "Book a table"}

Nothing is guessed: text that is cut off, or that holds several values, is an error.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

MAX_CHARS = 100_000
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)```", re.DOTALL)
_WORDS = {"true": "True", "false": "False", "null": "None"}
_PART = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b""", re.DOTALL)


def loads(text: str) -> Any:
    """The one JSON object or list in the text. Raises ValueError, worded for the model that wrote it."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"it is longer than {MAX_CHARS:,} characters")
    for candidate in (text, *_FENCE.findall(text)):
        try:
            value = json.loads(candidate, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, (dict, list)) and _is_finite(value):
            return value
    found = list(_values(text))
    if len(found) == 1 and _is_finite(found[0]):
        return found[0]
    raise ValueError("it holds several JSON values; write one" if found else "it holds no complete JSON value")


def _values(text: str) -> Iterator[Any]:
    """Every outermost bracketed value that can be read."""
    at = 0
    while (start := _next_bracket(text, at)) >= 0:
        end = _closing(text, start)
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


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
