"""How a chat template writes a tool call, derived from what it renders, and the parser that follows from it.

    Qwen2.5:   <tool_call>\\n{"name": "f", "arguments": {"x": 1}}\\n</tool_call>          item = a JSON object
    Mistral:   [TOOL_CALLS][{"name": "f", "arguments": {"x": 1}, "id": "abcdefghi"}]      item = a JSON object
    DeepSeek:  function<sep>f\\n```json\\n{"x": 1}\\n```                                   item = NAME middle JSON

A call turn is `open item (between item)* close`. The same parser proves the training samples and reads generated text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from data_prep.button import TurnParseError
from data_prep.dialogue import ToolCall

DECODER = json.JSONDecoder()


class CallSyntax(NamedTuple):
    """Literals around calls, white space stripped.

    `keys` is (path to the object that holds the call, name key, arguments key) where an item is a JSON object; None
    where the name stands outside of JSON, followed by `middle` and the arguments.
    """

    open: str
    between: str
    close: str
    middle: str
    keys: tuple[tuple[str, ...], str, str] | None

    def parse(self, text: str) -> list[ToolCall]:
        """All calls of a turn's text, which starts with `open`. Raises TurnParseError."""
        cursor = _after(text, 0, self.open, "call_open")
        calls: list[ToolCall] = []
        while True:
            name, arguments, cursor = self._item(text, cursor)
            calls.append(ToolCall(id=f"call_{len(calls)}", name=name, arguments=arguments))
            rest = text[cursor:].lstrip()
            if self.between and rest.startswith(self.between):
                cursor = _after(text, cursor, self.between, "call_between")
            elif not self.between and rest and not self.close:
                continue
            else:
                cursor = _after(text, cursor, self.close, "unclosed")
                if text[cursor:].strip():
                    raise TurnParseError("trailing_text", f"text after the calls: {text[cursor:].strip()[:60]!r}")
                return calls

    def _item(self, text: str, cursor: int) -> tuple[str, dict[str, Any], int]:
        if self.keys is None:
            at = text.find(self.middle, cursor)
            if at < 0:
                raise TurnParseError("call_shape", "no arguments follow the function's name")
            name = text[cursor:at].strip()
            value, cursor = _decode(text, at + len(self.middle))
            return name, _arguments(value), cursor
        value, cursor = _decode(text, cursor)
        path, name_key, arguments_key = self.keys
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(value.get(name_key), str):
            raise TurnParseError("call_shape", f"a call must be an object with {name_key!r}: {str(value)[:80]}")
        return value[name_key], _arguments(value.get(arguments_key, {})), cursor


def derive(single: str, double: str, expected: list[tuple[str, dict[str, Any]]]) -> CallSyntax | None:
    """The syntax by which `single` shows the first expected call and `double` both, or None where there is none.

    `single` and `double` are the rendered text from the first call's markup to before the stop token.
    """
    (name, arguments), (name_2, arguments_2) = expected
    for start, value, end in _objects(single):
        keys = _find_keys(value, name, arguments)
        if keys is None:
            continue
        syntax = CallSyntax(single[:start].strip(), "", single[end:].strip(), "", keys)
        for start_2, value_2, _ in _objects(double, end):
            if _find_keys(value_2, name_2, arguments_2) == keys:
                return _checked(syntax._replace(between=double[end:start_2].strip()), single, double, expected)
    at = single.find(name)
    for start, value, end in _objects(single, at + len(name)) if at >= 0 else ():
        if value != arguments:
            continue
        middle = single[at + len(name) : start].strip()
        syntax = CallSyntax(single[:at].strip(), "", single[end:].strip(), middle, None)
        at_2 = double.find(name_2, end)
        if middle and at_2 >= 0:
            return _checked(syntax._replace(between=double[end:at_2].strip()), single, double, expected)
    return None


def _checked(
    syntax: CallSyntax, single: str, double: str, expected: list[tuple[str, dict[str, Any]]]
) -> CallSyntax | None:
    """The syntax if it reads its own examples back, else None."""
    try:
        read = [[(call.name, call.arguments) for call in syntax.parse(text)] for text in (single, double)]
    except TurnParseError:
        return None
    return syntax if read == [expected[:1], expected] else None


def _objects(text: str, start: int = 0) -> Iterator[tuple[int, dict[str, Any], int]]:
    """Every JSON object in the text, outermost first: (start, value, end)."""
    while (start := text.find("{", start)) >= 0:
        try:
            value, end = DECODER.raw_decode(text, start)
        except ValueError:
            start += 1
            continue
        yield start, value, end
        start += 1


def _find_keys(value: Any, name: str, arguments: dict[str, Any]) -> tuple[tuple[str, ...], str, str] | None:
    """Where in a decoded object the call is: (path, name key, arguments key)."""
    if not isinstance(value, dict):
        return None
    name_key = next((key for key, item in value.items() if item == name), None)
    arguments_key = next((key for key, item in value.items() if _same_arguments(item, arguments)), None)
    if name_key is not None and arguments_key is not None:
        return (), name_key, arguments_key
    for key, item in value.items():
        found = _find_keys(item, name, arguments)
        if found is not None:
            return (key, *found[0]), found[1], found[2]
    return None


def _same_arguments(item: Any, arguments: dict[str, Any]) -> bool:
    return item == arguments  # arguments written as JSON text inside JSON are double encoded: not accepted


def _decode(text: str, cursor: int) -> tuple[Any, int]:
    start = cursor + len(text[cursor:]) - len(text[cursor:].lstrip())
    try:
        return DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise TurnParseError("call_json", f"the call is not JSON: {error}") from error


def _arguments(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TurnParseError("call_shape", f"arguments must be an object, not {type(value).__name__}")
    return value


def _after(text: str, cursor: int, literal: str, code: str) -> int:
    start = cursor + len(text[cursor:]) - len(text[cursor:].lstrip())
    if not text.startswith(literal, start):
        raise TurnParseError(code, f"{literal!r} expected, found {text[start : start + 40]!r}")
    return start + len(literal)
