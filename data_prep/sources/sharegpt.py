"""ShareGPT dialogues, with function_call and observation turns and `tools` as JSON text (LLaMA-Factory's form).

    {"conversations": [{"from": "human", "value": "A recipe with rice?"},
                       {"from": "function_call", "value": "{\"name\": \"search\", \"arguments\": {\"q\": \"rice\"}}"},
                       {"from": "observation", "value": "{\"recipes\": [...]}"},
                       {"from": "gpt", "value": "I found one."}],
     "tools": "[{\"name\": \"search\", \"description\": \"...\", \"parameters\": {...}}]",
     "system": "You are a cook."}                                                    <- tools and system may be absent

A function_call turn holds one call, or a list of parallel ones; it is answered by one observation per call, in order,
or by one observation that is a JSON list of as many results. A gpt turn right before a function_call is its thought, or
what stands before `<tool_call>...</tool_call>` inside it (LLaMA-Factory's way).
OpenHermes-2.5 rows are of this form: `system_prompt` is read as `system`. A gpt or function_call turn with `weight: 0`,
`train: false` or `training: false` is not trained on, and neither is the call behind a thought that is marked so.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from data_prep.button import plain_content
from data_prep.dialogue import Dialogue, DialogueError, Message, Role, ToolCall
from data_prep.sources.common import call_of, count_calls, id_of, is_trained, json_of, list_of, text_of, text_or_json

ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}
SPEAKERS: dict[str, str] = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def to_dialogue(row: dict[str, Any], row_id: str) -> Dialogue:
    """The row as a dialogue. Raises DialogueError: `row_keys`, `message_role`, `call_json`, `call_shape`, ..."""
    turns = list_of(row, "conversations", "a key 'conversations' with a list of {from, value}")
    messages: list[Message] = []
    system = row.get("system") or row.get("system_prompt")
    if system:
        messages.append(Message(role="system", content=text_of(system, "the system prompt")))
    waiting: list[ToolCall] = []
    for index, turn in enumerate(turns):
        speaker = speaker_at(turns, index)
        if speaker not in ROLES:
            raise DialogueError("message_role", f"turn {index} is from {speaker!r}; wanted one of {', '.join(ROLES)}")
        value = text_of(turn.get("value"), f"turn {index} ({speaker})")
        if speaker == "function_call":
            _add_calls(messages, value, index, after_gpt=speaker_at(turns, index - 1) in ("gpt", "assistant"))
            waiting = list(messages[-1].tool_calls)
        elif ROLES[speaker] == "tool":
            alone = speaker_at(turns, index - 1) == "function_call" and speaker_at(turns, index + 1) != speaker
            results = _results(value, waiting, alone)
            messages += results
            waiting = waiting[len(results) :]
        else:
            messages.append(Message(role=ROLES[speaker], content=value))
        if not is_trained(turn, f"turn {index} ({speaker})") and messages[-1].role == "assistant":
            messages[-1] = msgspec.structs.replace(messages[-1], train=False)
    return Dialogue(id=id_of(row, row_id), source="sharegpt", messages=tuple(messages), tools=_tools(row.get("tools")))


def to_row(dialogue: Dialogue) -> dict[str, Any]:
    """The way back: the system prompt under `system`, calls as function_call turns, thinking before its answer."""
    turns: list[dict[str, Any]] = []
    messages = list(dialogue.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else None
    for message in messages:
        weight = {} if message.train else {"weight": 0}
        text = plain_content(message)
        if text or not message.tool_calls:
            turns.append({"from": SPEAKERS[message.role], "value": text, **weight})
        if message.tool_calls:
            calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
            value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
            turns.append({"from": "function_call", "value": value, **weight})
    row: dict[str, Any] = {"conversations": turns}
    if dialogue.tools:
        row["tools"] = json.dumps([tool["function"] for tool in dialogue.tools], ensure_ascii=False)
    if system is not None:
        row["system"] = system
    return row


def _add_calls(messages: list[Message], value: str, index: int, after_gpt: bool) -> None:
    where = f"turn {index} (function_call)"
    inside, value = _split_thought(value)
    entries = json_of(value, "call_json", where)
    entries = entries if isinstance(entries, list) else [entries]
    if not entries:
        raise DialogueError("call_shape", f"{where} holds an empty list of calls")
    first = count_calls(messages)
    calls = tuple(call_of(entry, first + position, where) for position, entry in enumerate(entries))
    before = messages.pop() if after_gpt and not messages[-1].tool_calls else Message(role="assistant")
    thoughts = [text for text in (before.content, inside) if text]
    messages.append(msgspec.structs.replace(before, content="\n\n".join(thoughts), tool_calls=calls))


def _split_thought(value: str) -> tuple[str, str]:
    """(thought, calls) of a function_call turn; no thought where it holds calls alone."""
    thought, opening, rest = value.partition("<tool_call>")
    if not opening or value.lstrip()[:1] in "[{" or not rest.rstrip().endswith("</tool_call>"):
        return "", value
    return thought.removesuffix("\n"), rest.rstrip().removesuffix("</tool_call>")


def speaker_at(turns: list[Any], index: int) -> str:
    """Who speaks in turn `index`; '' where there is no such turn or it does not say."""
    turn = turns[index] if 0 <= index < len(turns) else None
    speaker = turn.get("from") if isinstance(turn, dict) else None
    return speaker if isinstance(speaker, str) else ""


def _results(value: str, waiting: list[ToolCall], alone: bool) -> list[Message]:
    """The result messages in one observation: one, or one per waiting call where a lone one is a list of as many."""
    if alone and len(waiting) > 1 and value.lstrip().startswith("["):
        try:
            results = msgspec.json.decode(value)
        except msgspec.DecodeError:
            results = None
        if isinstance(results, list) and len(results) == len(waiting):
            return [
                Message(role="tool", content=text_or_json(result), tool_call_id=call.id, name=call.name)
                for call, result in zip(waiting, results, strict=True)
            ]
    if not waiting:
        return [Message(role="tool", content=value)]
    return [Message(role="tool", content=value, tool_call_id=waiting[0].id, name=waiting[0].name)]


def _tools(value: Any) -> tuple[dict[str, Any], ...]:
    tools = json_of(value, "tools", "'tools'") if isinstance(value, str) and value.strip() else value or []
    if isinstance(tools, dict):
        tools = [tools]
    # One place knows what a tool in the OpenAI form is: the canonical reader, which also wraps bare functions.
    return Dialogue.from_dict({"messages": [{"role": "user"}], "tools": tools, "id": "-"}).tools
