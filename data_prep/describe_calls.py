"""What an argument rests on: `Trail().take(message)` over a dialogue's messages -> the calls' depths and origins.

A call is one deeper than the calls whose results it needs: it passes on a value that one of them returned and that no
user turn holds. A dialogue's chain depth is that of its deepest call.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from data_prep import button
from data_prep.dialogue import Message, ToolCall, leaves

TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Trail:
    """The values seen so far in one dialogue; `depth` is that of its deepest call, `origins` counts argument values."""

    def __init__(self) -> None:
        self.depth = 0
        self.origins: Counter[str] = Counter()
        self._said = ""
        self._numbers: set[float] = set()  # that were said
        self._returned: dict[str, int] = {}  # value -> depth of the call that returned it first
        self._depths: dict[str, int] = {}  # call id -> depth

    def take(self, message: Message) -> None:
        """Take in the next message."""
        if message.role in ("user", "system"):
            self._said += "\n" + message.content.casefold()
            self._numbers |= {float(number) for number in NUMBER.findall(message.content.replace(",", ""))}
        elif message.role == "tool":
            depth = self._depths.get(message.tool_call_id or "", 1)
            for value in leaves(button.json_or_text(message.content)):
                self._returned.setdefault(_text(value), depth)
        for call in message.tool_calls:
            self._depths[call.id] = depth = 1 + max(
                (self._depth_of(value) for value in leaves(call.arguments)), default=0
            )
            self.depth = max(self.depth, depth)

    def _depth_of(self, value: Any) -> int:
        """Of the call that the value comes from; 0 where it does not come from a call. Counts the value's origin."""
        origin, depth = "elsewhere", 0
        if self._was_said(value):
            origin = "user"
        elif (found := self._returned.get(_text(value))) is not None:
            origin, depth = "result", found
        self.origins[origin] += 1
        return depth

    def _was_said(self, value: Any) -> bool:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) in self._numbers
        return isinstance(value, str) and value.casefold() in self._said


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    return TYPES.get(type(value), "null")


def argument_entries(call: ToolCall) -> Iterator[tuple[str, str]]:
    """(parameter with its function, value as text) of a call."""
    for name, value in call.arguments.items():
        yield f"{call.name}.{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.casefold()
    return button.dump_json(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)
