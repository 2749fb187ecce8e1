"""What a dialogue must hold to before anything is trained on it: `check_dialogue(dialogue)`.

Strict where the data is wrong, tolerant where only a schema is loose: a tool whose schema is no JSON Schema
(`{"type": "enum"}`, `{"type": "float"}`) is read for what it can only mean, and what means nothing is not enforced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonschema

from data_prep.dialogue import Dialogue, DialogueError, Message, ToolCall, function_of

# Every code a row can be rejected with, and what it means to someone who reads quarantine.jsonl.
REASONS: dict[str, str] = {
    # the row can't be read
    "unreadable_json": "the line is not JSON",
    "row_type": "the row is not a JSON object",
    "row_keys": "the row lacks the keys of its source, or they hold something else",
    "messages": "'messages' is no list",
    "no_messages": "the row has no turns",
    "message_type": "a message is not an object",
    "message_role": "a turn's role is none of the source's",
    "non_text_content": "a turn's content is not text",
    "thinking_type": "'thinking' is not text, or stands there twice with different texts",
    "train_type": "'train' is not true or false",
    "assistant_keys": "a turn that is not the assistant's carries calls, thinking or train",
    "meta": "'meta' is not an object",
    "json": "JSON text inside the row is broken",
    "tools": "the tool list is broken",
    "no_tool_list": "a BUTTON row without a tool list",
    "benchmark_row": "the row belongs to a benchmark and must not be trained on",
    "no_gold": "a GSM8K answer without its final number",
    # calls and results as they are written
    "no_action": "a BUTTON turn has neither <call> nor <final>",
    "unclosed": "a BUTTON turn opens a tag and never closes it",
    "trailing_text": "a BUTTON turn goes on after its closing tag",
    "call_json": "a call is not JSON",
    "call_type": "a call is not an object",
    "call_shape": "a call is not {name, arguments}",
    "call_name": "a call has no function name",
    "call_arguments": "a call's arguments are not a JSON object",
    "result_json": "a BUTTON tool message is not JSON",
    "result_shape": "a BUTTON tool message is not a list of {name, arguments, results}",
    "result_count": "more or fewer results than calls",
    "result_of_other_call": "a result belongs to a call that was not made",
    # the dialogue as a whole
    "system_not_first": "a system turn after the first message",
    "no_assistant": "no assistant turn: nothing to train on",
    "no_request": "the assistant acts before any user or system turn",
    "empty_turn": "a user's or the assistant's turn is empty",
    "orphan_result": "a tool turn that answers no call",
    "unanswered_call": "a call in the middle of the dialogue is never answered",
    "unknown_function": "a call of a function that is not in the tool list",
    "arguments_schema": "a call's arguments break the tool's JSON Schema, or name a parameter that it does not declare",
    "not_unicode": "text holds half a surrogate pair, which no tokenizer can read",
    "too_deep": "JSON nested too deeply to be read",
    "over_long": "more characters than allowed",
    "duplicate_id": "another row has the same id",
    # good rows that a recipe sets aside (data_prep/quality.py)
    "duplicate": "an earlier row has the same messages and tools",
    "near_duplicate": "an earlier row has nearly the same text",
    "contaminated": "the row holds text of an evaluation set",
    "export": "the format asked for can't carry the dialogue",
}


def check_dialogue(dialogue: Dialogue, max_chars: int | None = None) -> None:
    """Raise DialogueError with a code of REASONS unless the dialogue can be trained on.

    Accepted: several user or assistant turns in a row, a tail of user or tool turns, a last call without an answer
    (the tail is context), an assistant that opens with a greeting, a tool result that is empty (a function may return
    nothing: 92 results of tau-bench's airline agent). `max_chars` limits
    the characters of all contents, thinking and call arguments together.
    """
    _check_tools(dialogue.tools)
    _check_order(dialogue.messages)
    _check_pairs(dialogue.messages)
    for index, message in enumerate(dialogue.messages):
        for call in message.tool_calls:
            _check_call(call, dialogue.tools, index)
    _check_text(dialogue)
    if max_chars is not None and (length := count_chars(dialogue)) > max_chars:
        raise DialogueError("over_long", f"{length:,} characters; at most {max_chars:,} are allowed")


def count_chars(dialogue: Dialogue) -> int:
    """Characters of everything that is said: contents, thinking, and calls as JSON."""
    return sum(
        len(message.content)
        + len(message.thinking or "")
        + sum(len(call.name) + len(json.dumps(call.arguments, ensure_ascii=False)) for call in message.tool_calls)
        for message in dialogue.messages
    )


def _check_order(messages: tuple[Message, ...]) -> None:
    asked = False
    answered = False
    for index, message in enumerate(messages):
        if message.role == "system" and index > 0:
            raise DialogueError("system_not_first", f"message {index} is 'system'; only the first may be")
        if message.role == "user" and not message.content.strip():
            raise DialogueError("empty_turn", f"message {index} (user) is empty")
        if message.role == "assistant":
            if not message.content.strip() and not message.tool_calls:
                raise DialogueError("empty_turn", f"message {index} (assistant) has neither text nor a call")
            if message.tool_calls and not asked:
                raise DialogueError("no_request", f"message {index} calls a function before anyone asked for anything")
            answered = asked
        asked = asked or message.role in ("user", "system")
    if all(message.role != "assistant" for message in messages):
        raise DialogueError("no_assistant", "no assistant turn: nothing to train on")
    if not answered:
        raise DialogueError("no_request", "the assistant speaks before any user or system turn, and never again")


def _check_pairs(messages: tuple[Message, ...]) -> None:
    """Each result answers a waiting call, by id where it has one, else in order; no call but the last is left over."""
    waiting: list[ToolCall] = []
    made_by = 0
    for index, message in enumerate(messages):
        if message.role == "tool":
            call = next((c for c in waiting if message.tool_call_id in (None, "", c.id)), None)
            if call is None:
                asked = f" with id {message.tool_call_id!r}" if waiting else ""
                raise DialogueError("orphan_result", f"message {index} is 'tool' but answers no open call{asked}")
            if message.name and message.name != call.name:
                raise DialogueError(
                    "result_of_other_call", f"message {index} is a result of {message.name!r}; {call.name!r} was called"
                )
            waiting.remove(call)
            continue
        if waiting:
            raise DialogueError(
                "unanswered_call",
                f"message {made_by} calls {waiting[0].name!r}, but message {index} is {message.role!r}, not its result",
            )
        waiting, made_by = list(message.tool_calls), index


def _check_text(dialogue: Dialogue) -> None:
    try:
        for message in dialogue.messages:
            message.content.encode()
            (message.thinking or "").encode()
            for call in message.tool_calls:
                json.dumps([call.name, call.arguments], ensure_ascii=False, allow_nan=False).encode()
        json.dumps([dialogue.tools, dialogue.meta, dialogue.id], ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise DialogueError("not_unicode", f"half a surrogate pair: {error.object[error.start]!r}") from error
    except (ValueError, TypeError) as error:
        raise DialogueError("call_arguments", f"calls, tools or meta are not JSON: {error}") from error


def _check_tools(tools: tuple[dict[str, Any], ...]) -> None:
    for position, tool in enumerate(tools):
        function = function_of(tool)
        if not isinstance(function.get("name"), str):
            raise DialogueError("tools", f"tool {position}: the name must be text, not {function.get('name')!r:.60}")
        schema = function.get("parameters") or {}
        if not isinstance(schema, dict):
            raise DialogueError("tools", f"tool {position} ({function['name']}): 'parameters' must be an object")
        if not isinstance(schema.get("properties") or {}, dict):
            raise DialogueError("tools", f"tool {position} ({function['name']}): 'properties' must be an object")
        if not isinstance(schema.get("required") or [], list):
            raise DialogueError("tools", f"tool {position} ({function['name']}): 'required' must list parameter names")


def _check_call(call: ToolCall, tools: tuple[dict[str, Any], ...], index: int) -> None:
    schemas = [function_of(tool).get("parameters") or {} for tool in tools if function_of(tool)["name"] == call.name]
    if not schemas:
        listed = ", ".join(function_of(tool)["name"] for tool in tools)[:200] or "none"
        raise DialogueError("unknown_function", f"message {index} calls {call.name!r}; listed tools: {listed}")
    problems = [_schema_problem(schema, call.arguments) for schema in schemas]
    if all(problems):  # a list may hold one name twice: either definition will do
        raise DialogueError("arguments_schema", f"message {index} calls {call.name!r}: {problems[0]}")


def _schema_problem(schema: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    error = next(_validator(json.dumps(schema, default=repr)).iter_errors(arguments), None)
    if error is not None:
        return f"{error.json_path}: {error.message[:200]}"
    # JSON Schema lets undeclared properties pass, but nobody calls a function with a parameter that it does not have.
    # A schema that declares nothing, or says itself what else may come, is taken at its word.
    declared = schema.get("properties")
    if isinstance(declared, dict) and declared and not OPEN_KEYWORDS & schema.keys():
        undeclared = [name for name in arguments if name not in declared]
        if undeclared:
            return f"$.{undeclared[0]}: the tool declares no such parameter, only {', '.join(declared)[:200]}"
    return None


@lru_cache(maxsize=4096)  # BUTTONInstruct has about 23,000 distinct tools, most used by one row
def _validator(schema_text: str) -> Any:
    return jsonschema.Draft202012Validator(loosened(json.loads(schema_text)))


JSON_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
TYPE_NAMES = {"str": "string", "int": "integer", "float": "number", "double": "number", "bool": "boolean",
              "list": "array", "dict": "object"}  # fmt: skip
SCHEMA_MAPS = ("properties", "patternProperties")
SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
OPEN_KEYWORDS = {"additionalProperties", "patternProperties", "propertyNames", "anyOf", "oneOf", "allOf", "$ref"}
SCHEMA_VALUES = ("items", "additionalProperties", "not")


def loosened(schema: Any) -> Any:
    """The schema with every keyword that is not JSON Schema left out, for validation only; never what is stored.

    Generated tools use `enum` and `anyOf` as a *type* (`{"type": "enum", "enum": [...]}`): that type is dropped and
    the keyword beside it decides. Python's type names are read as JSON's. Other unknown types (`date`, `any`), a
    `required: true` inside a parameter, broken patterns and `$ref` mean nothing enforceable and are dropped. `format`
    is an annotation in JSON Schema.
    """
    if not isinstance(schema, dict):
        return schema if isinstance(schema, bool) else {}
    kept: dict[str, Any] = {}
    types = schema.get("type")
    names = [TYPE_NAMES.get(name, name) if isinstance(name, str) else None for name in _as_list(types)]
    if names and all(name in JSON_TYPES for name in names):
        kept["type"] = names
    for key, value in schema.items():
        if key in SCHEMA_MAPS and isinstance(value, dict):
            parts = value if key == "properties" else {name: part for name, part in value.items() if _is_pattern(name)}
            kept[key] = {name: loosened(part) for name, part in parts.items()}
        elif key in SCHEMA_LISTS and isinstance(value, list) and value:
            kept[key] = [loosened(part) for part in value]
        elif key in SCHEMA_VALUES and isinstance(value, (dict, bool)):
            kept[key] = loosened(value)
        elif key in VALID_KEYWORDS and VALID_KEYWORDS[key](value):
            kept[key] = value
    return kept


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_pattern(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError, RecursionError):
        return False
    return True


VALID_KEYWORDS: dict[str, Callable[[Any], bool]] = {
    "enum": lambda value: isinstance(value, list) and bool(value),
    "const": lambda value: True,
    "required": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "pattern": _is_pattern,
    "uniqueItems": lambda value: isinstance(value, bool),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        _is_count,
    ),
}
