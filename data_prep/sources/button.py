"""BUTTONInstruct and what is written in its row format: text-only messages, calls and tools as JSON inside tags.

    {"messages": [
      {"role": "system", "content": "You are an expert in using functions ... <tool>\n[{\"name\": \"forecast\",
         \"description\": \"...\", \"parameters\": {\"city\": {\"type\": \"string\"}}, \"required\": [\"city\"],
         \"responses\": {...}}]\n</tool> ..."},
      {"role": "user", "content": "Weather in Oslo?"},
      {"role": "assistant", "content": "I need it.<call>[{\"name\": \"forecast\", \"arguments\": {...}}]</call>"},
      {"role": "tool", "content": "[{\"name\": \"forecast\", \"arguments\": {...}, \"results\": {...}}]"},
      {"role": "assistant", "content": "That settles it.<final>4 degrees.</final>"}]}

Read as well, and written back in the published form: role "systems", several <call> blocks, one object instead of a
list (tools, calls, results), a missing <tool> or </tool> tag, no thought, several user turns, results in another
order than their calls. Text beside the published prompt becomes a system message. An assistant message with
`train: false` (or `weight: 0`), for instance a call that met an error only, is not trained on.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from data_prep import button
from data_prep.dialogue import Dialogue, DialogueError, Message, ToolCall, assistant_turns
from data_prep.sources.common import count_calls, id_of, is_trained, json_of, list_of, text_of

# The published prompt cut at its tags, longest piece first: what is left of a system text is the row's own.
_TAIL_OF_MIDDLE = button.SYSTEM_MIDDLE.partition("</tool>")[2].strip()
PROMPT_PIECES = (
    _TAIL_OF_MIDDLE,
    button.SYSTEM_TAIL.strip(),
    button.SYSTEM_HEAD.partition("<tool>")[0].strip(),
    button.PARALLEL_ON,
    button.PARALLEL_OFF,
    "<tool>",
    "</tool>",
)


def to_dialogue(row: dict[str, Any], row_id: str) -> Dialogue:
    """The row as a dialogue. Raises DialogueError: `row_keys`, `no_tool_list`, `tools`, the codes of
    `button.parse_turn`, `result_json`, `result_shape`, `result_count`, `result_of_other_call`, ...
    """
    rows = list_of(row, "messages", "a key 'messages' with a list of {role, content}")
    messages: list[Message] = []
    tools: tuple[dict[str, Any], ...] | None = None
    meta: dict[str, Any] = {}
    for index, entry in enumerate(rows):
        role = entry.get("role") if isinstance(entry, dict) else None
        text = text_of(entry.get("content"), f"message {index}") if isinstance(entry, dict) else ""
        if role in ("system", "systems"):
            if index == 0:
                tools, meta["parallel_calls"], own = read_system(text)
                messages += [Message(role="system", content=own)] if own else []
            else:
                messages.append(Message(role="system", content=text))
        elif role == "user":
            messages.append(Message(role="user", content=text))
        elif role == "assistant":
            turn = _read_turn(text, index, count_calls(messages))
            messages.append(msgspec.structs.replace(turn, train=is_trained(entry, f"message {index}")))
        elif role == "tool":
            calls = messages[-1].tool_calls if messages else ()
            messages += _read_results(text, index, calls)
        else:
            raise DialogueError(
                "message_role", f"message {index} has role {role!r}; wanted system, user, assistant or tool"
            )
    if tools is None:
        raise DialogueError("no_tool_list", "the first message is no system prompt with BUTTON's tool list")
    return Dialogue(id=id_of(row, row_id), source="button", messages=tuple(messages), tools=tools, meta=meta)


def to_row(dialogue: Dialogue) -> dict[str, Any]:
    """The way back: the row in the published form, with `train: false` where a turn is not trained on."""
    rows: list[dict[str, Any]] = [*button.to_messages(dialogue)]
    turns = [row for row in rows if row["role"] == "assistant"]
    for row, index in zip(turns, assistant_turns(dialogue), strict=True):
        if not dialogue.messages[index].train:
            row["train"] = False
    return {"messages": rows}


def read_system(text: str) -> tuple[tuple[dict[str, Any], ...], bool, str]:
    """BUTTON's system prompt as (tools, parallel calls allowed, the row's own text beside the published prompt)."""
    start, end, listed = _find_tool_list(text)
    tools = tuple(_read_tool(entry, position) for position, entry in enumerate(listed))
    before, after = text[:start], text[end:]
    parallel = button.PARALLEL_OFF not in after
    sentence = button.PARALLEL_ON if parallel else button.PARALLEL_OFF
    published = f"{button.SYSTEM_MIDDLE}{sentence}{button.SYSTEM_TAIL}"
    if before == button.SYSTEM_HEAD and after.startswith(published):
        own = after.removeprefix(published)
        return tools, parallel, own.removeprefix("\n\n") if own.strip() else ""
    for piece in PROMPT_PIECES:
        before, after = before.replace(piece, ""), after.replace(piece, "")
    return tools, parallel, "\n\n".join(part for part in (before.strip(), after.strip()) if part)


def _find_tool_list(text: str) -> tuple[int, int, list[Any]]:
    """Where the tool list's JSON starts and ends in the prompt, and its entries."""
    decoder = json.JSONDecoder()
    tag = text.find("<tool>")
    starts = [tag + len("<tool>")] if tag >= 0 else [at for at, char in enumerate(text) if char == "["]
    for start in starts:
        while start < len(text) and text[start].isspace():
            start += 1
        try:
            listed, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            if tag >= 0:
                raise DialogueError("tools", f"the tool list after <tool> is not JSON: {error}") from error
            continue
        if isinstance(listed, dict):
            listed = [listed]
        if isinstance(listed, list) and (tag >= 0 or all(isinstance(tool, dict) and "name" in tool for tool in listed)):
            return start, end, listed
    raise DialogueError("no_tool_list", "the system prompt holds no JSON list of tools")


def _read_tool(entry: Any, position: int) -> dict[str, Any]:
    if isinstance(entry, dict) and isinstance(entry.get("function"), dict):
        entry = entry["function"]
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise DialogueError("tools", f"tool {position} has no name: {str(entry)[:80]}")
    tool = dict(entry)
    for key in ("parameters", "responses"):
        if not isinstance(tool.get(key) or {}, dict):
            raise DialogueError("tools", f"tool {position} ({tool['name']}): '{key}' must be an object")
    required = tool.get("required") or []
    if isinstance(required, str):
        required = [required]
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise DialogueError("tools", f"tool {position} ({tool['name']}): 'required' must list parameter names")
    return button.from_button_tool({**tool, "required": required})


def _read_turn(text: str, index: int, first_call: int) -> Message:
    try:
        turn = button.parse_turn(text)
    except button.TurnParseError as error:
        raise DialogueError(error.code, f"message {index}: {error.message}") from error
    calls = tuple(
        ToolCall(id=f"call_{first_call + position}", name=call.name, arguments=call.arguments)
        for position, call in enumerate(turn.tool_calls)
    )
    return Message(role="assistant", content=turn.content, tool_calls=calls, thinking=turn.thinking)


def _read_results(text: str, index: int, calls: tuple[ToolCall, ...]) -> list[Message]:
    """The tool message as one result message per call."""
    entries = json_of(text, "result_json", f"message {index} (tool)")
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "results" in entry for entry in entries):
        raise DialogueError(
            "result_shape", f"message {index} must list {{name, arguments, results}}, not {text[:80]!r}"
        )
    if not calls:
        raise DialogueError("orphan_result", f"message {index} is 'tool' but no call stands right before it")
    if len(entries) != len(calls):
        raise DialogueError("result_count", f"message {index} has {len(entries)} results for {len(calls)} calls")
    if not all(_answers(entry, call) for entry, call in zip(entries, calls, strict=True)):
        entries = _in_call_order(entries, calls, index)
    return [
        Message(role="tool", content=_result_text(entry["results"]), tool_call_id=call.id, name=call.name)
        for entry, call in zip(entries, calls, strict=True)
    ]


def _answers(entry: dict[str, Any], call: ToolCall) -> bool:
    same_name = entry.get("name", call.name) == call.name
    return same_name and entry.get("arguments", call.arguments) == call.arguments


def _in_call_order(entries: list[Any], calls: tuple[ToolCall, ...], index: int) -> list[Any]:
    ordered = []
    left = list(entries)
    for call in calls:
        entry = next((entry for entry in left if _answers(entry, call)), None)
        if entry is None:
            raise DialogueError(
                "result_of_other_call",
                f"message {index} has no result for {call.name}({json.dumps(call.arguments)[:80]}); "
                f"it has {json.dumps(left[0])[:120]}",
            )
        left.remove(entry)
        ordered.append(entry)
    return ordered


def _result_text(results: Any) -> str:
    # A text result that happens to be JSON ("4", "null") stays text on the way back only if quoted once more.
    if isinstance(results, str) and button.json_or_text(results) is results:
        return results
    return button.dump_json(results)
