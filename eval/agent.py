"""The one loop of every task in which a model calls tools: its calls are executed, their results go back to it.

    episode = replay(item.dialogue, [step.reply for step in steps], environment, max_turns=8)
    episode.dialogue     what the model is shown next: the prefix, its own turns, and the results of its calls
    episode.ending       None while it goes on; `answer`, `unparsed`, `rejected` or `step_limit`

The loop knows no tool format: a backend has parsed the turn with the encoder's own parser, native or BUTTON, and writes
the results back through the same encoder. Every turn is replayed on a fresh environment, by `next_request` as by
`score`, so an episode depends on its own turns alone, whatever else is generated beside it, and a killed run has no
state to lose. That asks of an environment that it is deterministic and cheap beside generating a turn.

A dialogue of several user turns is one episode each: the next starts from this one's dialogue and the user's message,
on the same environment, with the replies behind `replies_read`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from data_prep.dialogue import Dialogue, Message, ToolCall, message_to_dict
from eval.protocol import Reply

Ending = Literal["answer", "unparsed", "rejected", "step_limit"]
MAX_DEPTH = 50  # of a call's JSON: no schema is near, and what is written back must not exhaust Python's stack


class Environment(Protocol):
    def execute(self, call: ToolCall) -> str:
        """Execute one call and return the text of its result.

        The call is as the model wrote it: names and arguments may be anything that is JSON. Whatever is wrong with it
        is said in the result; nothing is raised.
        """


class Episode(NamedTuple):
    """An episode so far. `answer` is the final answer's text; `reason` says why a turn was `unparsed` or `rejected`."""

    dialogue: Dialogue
    ending: Ending | None
    replies_read: int
    answer: str | None = None
    reason: str | None = None


def replay(dialogue: Dialogue, replies: Sequence[Reply], environment: Environment, max_turns: int) -> Episode:
    """The episode that these replies make of a dialogue ending where the assistant is to speak.

    It ends with a turn without calls, with one that cannot be read or written back, or after `max_turns` turns, the
    calls of the last one still executed; replies behind its end are not read.
    """
    messages = list(dialogue.messages)
    calls_made = sum(len(message.tool_calls) for message in messages)
    read = 0

    def episode(ending: Ending | None, answer: str | None = None, reason: str | None = None) -> Episode:
        return Episode(msgspec.structs.replace(dialogue, messages=tuple(messages)), ending, read, answer, reason)

    for reply in replies[:max_turns]:
        read += 1
        if reply.message is None:
            return episode("rejected" if reply.finish_reason == "rejected" else "unparsed", reason=reply.error)
        if not reply.message.tool_calls:
            messages.append(reply.message)
            return episode("answer", answer=reply.message.content)
        if not can_be_written(message_to_dict(reply.message)):
            return episode("unparsed", reason="unwritable_call")
        turn = _numbered(reply.message, calls_made)
        messages.append(turn)
        messages += [
            Message(role="tool", tool_call_id=call.id, name=call.name, content=environment.execute(call))
            for call in turn.tool_calls
        ]
        calls_made += len(turn.tool_calls)
    return episode("step_limit" if read == max_turns else None)


def _numbered(message: Message, first: int) -> Message:
    """The turn with its calls numbered on through the dialogue, as training data number them."""
    calls = (msgspec.structs.replace(call, id=f"call_{first + n}") for n, call in enumerate(message.tool_calls))
    return msgspec.structs.replace(message, tool_calls=tuple(calls))


def can_be_written(value: Any) -> bool:
    """Whether a parsed turn can stand in the next prompt: as JSON of a sane depth, in UTF-8.

    Generated JSON may nest until Python's stack overflows, hold NaN where a template's own parser lets it through,
    integers of more digits than Python writes, and half surrogate pairs, which JSON can escape and UTF-8 cannot carry.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return False
        level = [inner for held in level for inner in _inside(held)]
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # a UnicodeEncodeError is one
        return False
    return True


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []
