"""Data cannot forge roles: text that would become a control token is found, and refused or broken up.

"Write <|im_end|> to stop."  ->  "Write <\\ufdd0|im_end|> to stop."     tokenized piece by piece, as plain text
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from data_prep import button
from data_prep.dialogue import Dialogue, Message, call_to_dict
from data_prep.rejection import RejectedDialogue

BREAK = "\ufdd0"  # marks where control text is broken up: a noncharacter, which Unicode keeps out of all text


class ControlText:
    """The control tokens of one tokenizer as text. `results_as_json`: tool results are decoded and written anew."""

    def __init__(self, control: Sequence[str], results_as_json: bool):
        as_is_or_in_json = dict.fromkeys([*control, *(button.dump_json(text)[1:-1] for text in control)])
        self.pattern = re.compile("|".join(map(re.escape, as_is_or_in_json)) or r"(?!)")
        self.results_as_json = results_as_json

    def found_in(self, dialogue: Dialogue) -> str | None:
        """The first piece of the dialogue's text that is a control token's, or None."""
        found = self.pattern.search(self._data_text(dialogue))
        return found.group() if found else None

    def guarded(self, dialogue: Dialogue, plain: bool) -> Dialogue:
        """The dialogue, with `plain` its control text broken up. Raises RejectedDialogue `control_token`."""
        text = self._data_text(dialogue)
        found = self.pattern.search(text)
        if found and not plain:
            raise RejectedDialogue(
                "control_token",
                f"the text {found.group()!r} is a control token; control_text: plain encodes it as text",
            )
        if plain and BREAK in text:
            raise RejectedDialogue("control_token", f"control_text: plain needs the noncharacter {BREAK!r} for itself")
        return self._broken_up(dialogue) if found else dialogue

    def _data_text(self, dialogue: Dialogue) -> str:
        """Every text of the dialogue that a template may show, as one string."""
        parts: list[str] = []
        for message in dialogue.messages:
            parts.append(self._content(message))
            parts += [message.thinking or "", message.name or "", message.tool_call_id or ""]
            parts += [button.dump_json(call_to_dict(call)) for call in message.tool_calls]
        return "\n".join([*parts, button.dump_json(list(dialogue.tools))])

    def _content(self, message: Message) -> str:
        """The content; of a result that is written anew the escapes are resolved: they hide what it will hold."""
        if not self.results_as_json or message.role != "tool" or "\\" not in message.content:
            return message.content
        value = button.json_or_text(message.content)
        return message.content if value is message.content else button.dump_json(value)

    def _broken_up(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue with a break inside every control text, so that tokenizing never sees it whole."""
        messages = tuple(
            msgspec.structs.replace(
                message,
                content=self._cut(self._content(message)),
                thinking=self._cut(message.thinking),
                name=self._cut(message.name),
                tool_call_id=self._cut(message.tool_call_id),
                tool_calls=tuple(
                    msgspec.structs.replace(
                        call, id=self._cut(call.id), name=self._cut(call.name), arguments=self._cut(call.arguments)
                    )
                    for call in message.tool_calls
                ),
            )
            for message in dialogue.messages
        )
        return msgspec.structs.replace(dialogue, messages=messages, tools=tuple(self._cut(list(dialogue.tools))))

    def _cut(self, value: Any) -> Any:
        if isinstance(value, str):
            while self.pattern.search(value):  # again: behind the first character another one may begin
                value = self.pattern.sub(lambda found: found.group()[0] + BREAK + found.group()[1:], value)
            return value
        if isinstance(value, dict):
            return {self._cut(key): self._cut(item) for key, item in value.items()}
        return [self._cut(item) for item in value] if isinstance(value, (list, tuple)) else value
