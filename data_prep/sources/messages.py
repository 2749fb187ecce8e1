"""OpenAI / TRL "conversational" rows with `tools`, and the canonical files that `convert` writes.

    {"messages": [{"role": "user", "content": "Weather in Oslo?"},
                  {"role": "assistant", "content": null, "tool_calls": [{"id": "call_9", "type": "function",
                     "function": {"name": "forecast", "arguments": "{\"city\": \"Oslo\"}"}}]},
                  {"role": "tool", "tool_call_id": "call_9", "name": "forecast", "content": "4"},
                  {"role": "assistant", "content": "4 degrees."}],
     "tools": [{"type": "function", "function": {"name": "forecast", "parameters": {...}}}]}

`arguments` may be an object or its JSON text, `tools` a list or its JSON text, `content` null. A call without an id
gets one; a result without `tool_call_id` or `name` takes them from the call it answers, in order. `developer`, the
newer name of the system role, is read as system; `reasoning_content` and `reasoning`, as servers call it, as thinking;
a list of text parts as their text.
An assistant message with `train: false`, axolotl's `training: false` or OpenAI's `weight: 0` is context and not trained
on; on other messages, which never are, such a mark says nothing.
A canonical row keeps its `id`, `source` and `meta`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from data_prep.dialogue import Dialogue, DialogueError, Message, ToolCall
from data_prep.sources.common import TRAIN_KEYS, id_of, is_trained, list_of

SERVERS_THINKING = ("reasoning_content", "reasoning")
READS = frozenset(("role", "content", "tool_calls", "tool_call_id", "name", "thinking", *SERVERS_THINKING, *TRAIN_KEYS))


def to_dialogue(row: dict[str, Any], row_id: str) -> Dialogue:
    """The row as a dialogue. Raises DialogueError with the codes of `Dialogue.from_dict` and of `common`."""
    messages = list_of(row, "messages", "a key 'messages' with a list of {role, content}")
    if row.get("functions") and not row.get("tools"):
        raise DialogueError(
            "tools", "the row has 'functions', OpenAI's older form of a tool list; give them as 'tools'"
        )
    plain = [_plain(index, message) for index, message in enumerate(messages)]
    dialogue = Dialogue.from_dict({**row, "messages": plain, "id": id_of(row, row_id)})
    return msgspec.structs.replace(dialogue, messages=tuple(pair_results(dialogue.messages)))


def pair_results(messages: tuple[Message, ...]) -> list[Message]:
    """The messages with every id and name present that order alone can tell; pairs that don't fit stay as they are."""
    paired: list[Message] = []
    number = 0
    waiting: list[ToolCall] = []
    for message in messages:
        if message.tool_calls:
            calls = tuple(
                call if call.id else msgspec.structs.replace(call, id=f"call_{number + position}")
                for position, call in enumerate(message.tool_calls)
            )
            number += len(calls)
            message = msgspec.structs.replace(message, tool_calls=calls)
            waiting = list(calls)
        elif message.role == "tool" and waiting:
            by_id = [call for call in waiting if call.id == message.tool_call_id]
            if by_id or not message.tool_call_id:
                call = (by_id or waiting)[0]
                waiting.remove(call)
                message = msgspec.structs.replace(message, tool_call_id=call.id, name=message.name or call.name)
        paired.append(message)
    return paired


def _plain(index: int, message: Any) -> Any:
    """The message with OpenAI's newer spellings in the canonical ones; what is odd is left for the reader to refuse."""
    if not isinstance(message, dict):
        return message
    message = dict(message)
    if message.get("role") == "developer":
        message["role"] = "system"
    for key in SERVERS_THINKING:
        reasoning = message.pop(key, None)
        if message.get("role") == "assistant" and reasoning:
            if message.get("thinking", reasoning) not in (None, reasoning):
                raise DialogueError("thinking_type", f"message {index} has another text under '{key}' than before it")
            message["thinking"] = reasoning
    trained = is_trained(message, f"message {index}")
    for key in TRAIN_KEYS:
        message.pop(key, None)
    if message.get("role") == "assistant":
        message["train"] = trained
    if message.get("function_call"):
        raise DialogueError(
            "call_type", f"message {index} has a 'function_call', OpenAI's older form; give it as 'tool_calls'"
        )
    for key in ("tool_call_id", "name"):
        if not isinstance(message.get(key), (str, type(None))):
            message[key] = str(message[key])
    if isinstance(message.get("content"), list):
        message["content"] = _joined_parts(message["content"])
    return message


def _joined_parts(parts: list[Any]) -> Any:
    if all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        texts = [part.get("text") for part in parts]
        if all(isinstance(text, str) for text in texts):
            return "".join(texts)
    kinds = ", ".join(str(part.get("type")) if isinstance(part, dict) else type(part).__name__ for part in parts)
    raise DialogueError("non_text_content", f"content has parts other than text ({kinds}); only text is read")
