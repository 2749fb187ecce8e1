"""The two ways to write tools and calls: `native` (the model's own template) and `button` (the paper's text).

A format turns a canonical dialogue into the messages its template is given, says where the parts of a rendered turn
are, and reads a turn's text back. Which adaptations a template needs is found in data_prep/probe.py, once.
"""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import msgspec

from data_prep import button
from data_prep.calls import CallSyntax
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.template import Markup, Messages, Part, locate

CONTEXT, THOUGHT, CALL, ANSWER, STOP = range(5)
KINDS = ("context", "thought", "call", "answer", "stop")
KIND_OF_PART = {"thought": THOUGHT, "call": CALL, "answer": ANSWER}
ALPHABET = string.ascii_lowercase + string.digits


class Adaptations(NamedTuple):
    """What a template needs messages to be like; each is decided once per template by probing, and recorded."""

    fold_system: bool = False  # the system prompt stands before the first user message
    thinking_key: str | None = (
        None  # the message key under which the template renders thinking; None: before the answer
    )
    arguments_as_text: bool = False  # arguments as JSON text instead of an object
    call_content_absent: bool = False  # a call turn without a thought carries no content key, instead of ""
    nine_character_ids: bool = False  # call ids are made over as nine alphanumeric characters (Mistral)
    results_as_user: bool = False  # BUTTON's tool results are user turns

    def named(self) -> list[str]:
        """The adaptations in force, for manifests and reports."""
        named = [name for name, value in self._asdict().items() if value is True]
        return named + ([f"thinking_key={self.thinking_key}"] if self.thinking_key else ["thinking_before_answer"])


class Adapted(NamedTuple):
    """What the template is given, and at which position of `messages` each canonical assistant turn stands."""

    messages: Messages
    tools: list[dict[str, Any]] | None
    turn_at: dict[int, int]


class PlainFormat:
    """Chat without tools: the same in both formats."""

    def __init__(self, adaptations: Adaptations, markup: Markup):
        self.adaptations = adaptations
        self.markup = markup

    def thinking_of(self, message: Message) -> str:
        """The thinking that the template renders under a key of its own; '' where it goes before the answer."""
        return (message.thinking or "") if self.adaptations.thinking_key else ""

    def content_of(self, message: Message) -> str:
        """The content as it is given to the template."""
        if message.role != "assistant" or self.adaptations.thinking_key:
            return message.content
        return button.plain_content(message)

    def message(self, message: Message) -> dict[str, Any]:
        """One message without calls for the template."""
        row: dict[str, Any] = {"role": message.role, "content": self.content_of(message)}
        if message.role == "assistant" and self.adaptations.thinking_key and message.thinking:
            row[self.adaptations.thinking_key] = message.thinking
        return row

    def adapt(self, dialogue: Dialogue) -> Adapted:
        rows = [self.message(message) for message in dialogue.messages]
        at = {index: index for index, message in enumerate(dialogue.messages) if message.role == "assistant"}
        return self.fold(rows, None, at)

    def fold(self, rows: Messages, tools: list[dict[str, Any]] | None, at: dict[int, int]) -> Adapted:
        """Put the system prompt before the first user message where the template knows no system role."""
        if not self.adaptations.fold_system or not rows or rows[0]["role"] != "system":
            return Adapted(rows, tools, at)
        system = {"role": "user", "content": rows[0]["content"]}
        if len(rows) > 1 and rows[1]["role"] == "user":
            system["content"] += "\n\n" + rows[1]["content"]
            return Adapted([system, *rows[2:]], tools, {index: place - 1 for index, place in at.items()})
        return Adapted([system, *rows[1:]], tools, at)

    def parts(self, body: str, message: Message) -> list[Part]:
        """The parts of a rendered turn; thinking written before the answer is a thought part too."""
        kinds = (THOUGHT, CALL, ANSWER)
        content = self.content_of(message)
        parts = locate(body, self.markup, self.thinking_of(message), content, bool(message.tool_calls), kinds)
        if (
            not self.adaptations.thinking_key
            and message.thinking
            and message.thinking.strip()
            and not message.tool_calls
        ):
            start = parts[-1].start
            shift = body.index(message.thinking.strip(), start) + len(message.thinking.strip())
            answer = [Part(ANSWER, shift)] if body[shift:].strip() else []
            parts[-1:] = [Part(THOUGHT, start), *answer]
        return parts

    def as_parsed(self, message: Message, in_button: bool) -> Message:
        """The message as parsing its turn must give it, white space at the ends of its texts apart."""
        if in_button and message.tool_calls:
            return msgspec.structs.replace(message, content=button.thought_of(message), thinking=None)
        if in_button:
            return message
        return msgspec.structs.replace(message, content=self.content_of(message), thinking=self.thinking_of(message))

    def parse(self, text: str) -> Message:
        """A turn's text as a message; `text` has no stop token."""
        thinking, rest = self.split_thinking(text)
        return Message(role="assistant", content=self.unwrapped(rest), thinking=thinking)

    def split_thinking(self, text: str) -> tuple[str | None, str]:
        """Thinking between the template's markers, and the rest of the turn."""
        close = self.markup.think_close
        if not close or close not in text:
            return None, text
        thinking, rest = text.split(close, 1)
        thinking = thinking.strip().removeprefix(self.markup.think_open).strip()
        return thinking or None, rest.lstrip()

    def unwrapped(self, text: str) -> str:
        """Content without the markup that the template puts around it."""
        opening, closing = self.markup.content_open, self.markup.content_close
        if opening and text.lstrip().startswith(opening):
            text = text.lstrip().removeprefix(opening).lstrip()
        if closing and text.rstrip().endswith(closing):
            text = text.rstrip().removesuffix(closing).rstrip()
        return text


class NativeFormat(PlainFormat):
    """Tools, calls and results through the model's own template."""

    name = "native"

    def __init__(self, adaptations: Adaptations, markup: Markup, syntax: CallSyntax | None):
        super().__init__(adaptations, markup)
        self.syntax = syntax

    @property
    def opens_calls(self) -> bool:
        """Whether a turn's calls begin with markup, by which they are told from what stands before."""
        return self.syntax is not None and bool(self.syntax.open)

    def adapt(self, dialogue: Dialogue) -> Adapted:
        rows: Messages = []
        at: dict[int, int] = {}
        ids = _CallIds(self.adaptations.nine_character_ids)
        for index, message in enumerate(in_call_order(dialogue.messages)):
            if message.role == "assistant":
                at[index] = len(rows)
                rows.append(self._call_turn(message, ids) if message.tool_calls else self.message(message))
            elif message.role == "tool":
                rows.append(
                    {"role": "tool", "tool_call_id": ids.of_result(message), "content": message.content}
                    | ({"name": message.name} if message.name else {})
                )
            else:
                rows.append(self.message(message))
        return self.fold(rows, [dict(tool) for tool in dialogue.tools] or None, at)

    def _call_turn(self, message: Message, ids: _CallIds) -> dict[str, Any]:
        row = self.message(message)
        if self.adaptations.call_content_absent and not row["content"]:
            del row["content"]
        row["tool_calls"] = []
        for call, call_id in zip(message.tool_calls, ids.of_calls(message.tool_calls), strict=True):
            arguments = button.dump_json(call.arguments) if self.adaptations.arguments_as_text else call.arguments
            function = {"name": call.name, "arguments": arguments}
            row["tool_calls"].append({"id": call_id, "type": "function", "function": function})
        return row

    def parse(self, text: str) -> Message:
        thinking, rest = self.split_thinking(text)
        if self.syntax is None:
            return Message(role="assistant", content=self.unwrapped(rest), thinking=thinking)
        at = rest.find(self.syntax.open) if self.syntax.open else (0 if rest.lstrip().startswith("{") else -1)
        if at < 0:
            return Message(role="assistant", content=self.unwrapped(rest), thinking=thinking)
        calls = tuple(self.syntax.parse(rest[at:]))
        return Message(role="assistant", content=self.unwrapped(rest[:at]), thinking=thinking, tool_calls=calls)


class ButtonFormat(PlainFormat):
    """The paper's text: tools in the system prompt, `<call>` and `<final>` in the assistant's content."""

    name = "button"

    def adapt(self, dialogue: Dialogue) -> Adapted:
        if not button.uses_button_prompt(dialogue):
            return super().adapt(dialogue)
        rows: Messages = button.to_messages(
            msgspec.structs.replace(dialogue, messages=in_call_order(dialogue.messages))
        )
        if self.adaptations.results_as_user:
            rows = [row | {"role": "user"} if row["role"] == "tool" else row for row in rows]
        turns = [index for index, message in enumerate(dialogue.messages) if message.role == "assistant"]
        places = [place for place, row in enumerate(rows) if row["role"] == "assistant"]
        return self.fold(rows, None, dict(zip(turns, places, strict=True)))

    def button_parts(self, body: str, message: Message) -> list[Part]:
        """The parts of a turn in BUTTON's text: the thought, then `<call>...` or `<final>...`, markers included."""
        thought, action = button.render_turn(message)
        text = thought + action
        whole = locate(body, self.markup, "", text, False, (THOUGHT, CALL, ANSWER))
        start = body.index(text.strip(), whole[-1].start)
        at = start + len(thought.lstrip()) if thought.strip() else start
        parts = [*whole[:-1], Part(CALL if message.tool_calls else ANSWER, at)]
        return [*whole[:-1], Part(THOUGHT, whole[-1].start), parts[-1]] if thought.strip() else parts

    def parse_button(self, text: str) -> Message:
        """A turn in BUTTON's text as a message. Raises TurnParseError."""
        _, rest = self.split_thinking(text)
        return button.parse_turn(self.unwrapped(rest))


def in_call_order(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Each group of tool results in the order of the calls they answer: templates that print no ids rely on it."""
    ordered: list[Message] = []
    calls: tuple[ToolCall, ...] = ()
    group: list[Message] = []
    for message in messages:
        if message.role == "tool":
            group.append(message)
            continue
        ordered += _sorted_results(calls, group)
        group = []
        ordered.append(message)
        if message.role == "assistant":
            calls = message.tool_calls
    return tuple(ordered + _sorted_results(calls, group))


def _sorted_results(calls: tuple[ToolCall, ...], results: list[Message]) -> list[Message]:
    place = {call.id: position for position, call in enumerate(calls) if call.id}
    if len(results) < 2 or len(place) != len(calls) or any(result.tool_call_id not in place for result in results):
        return results
    return sorted(results, key=lambda result: place[result.tool_call_id or ""])


class _CallIds:
    """Ids of the calls of one dialogue, made where missing or where the template wants nine characters."""

    def __init__(self, nine: bool):
        self.nine = nine
        self.count = 0
        self.current: dict[str, str] = {}
        self.unanswered: list[str] = []

    def of_calls(self, calls: tuple[ToolCall, ...]) -> list[str]:
        made = []
        self.current = {}
        for call in calls:
            call_id = self._nine(self.count) if self.nine else call.id or f"call_{self.count}"
            self.count += 1
            made.append(call_id)
            if call.id:
                self.current.setdefault(call.id, call_id)
        self.unanswered = list(made)
        return made

    def of_result(self, message: Message) -> str:
        call_id = self.current.get(message.tool_call_id or "")
        if call_id is None:
            call_id = self.unanswered[0] if self.unanswered else (message.tool_call_id or "call")
        if call_id in self.unanswered:
            self.unanswered.remove(call_id)
        return call_id

    @staticmethod
    def _nine(number: int) -> str:
        """A nine-character id that depends on nothing but the call's position in the dialogue."""
        text = ""
        for _ in range(5):
            number, digit = divmod(number, len(ALPHABET))
            text = ALPHABET[digit] + text
        return "call" + text
