"""Compare generated calls and answers with the gold turn; pure functions, each documented by the trap it avoids.

exact_calls(message.tool_calls, gold.tool_calls)     names and arguments of the whole turn, JSON by value
schema_error(call, tools)                            None, or why the call could not be made
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jsonschema

from data_prep.checks import loosened
from data_prep.dialogue import ToolCall, function_of
from data_prep.numbers import MAX_CHARS, clean, numbers


def same_json(left: Any, right: Any) -> bool:
    """Equal as JSON values: 1 equals 1.0, but True is not 1 as in Python, and NaN equals nothing.

    Walks with a list instead of recursion, because generated JSON may nest as deep as it likes.
    """
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, bool) or isinstance(b, bool):
            if a is not b:
                return False
        elif isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs += [(a[key], b[key]) for key in a]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def exact_call(call: ToolCall, gold: ToolCall) -> bool:
    """Same function, same arguments by value; ids and the order of keys do not matter."""
    return call.name == gold.name and same_json(call.arguments, gold.arguments)


def exact_calls(calls: Sequence[ToolCall], gold: Sequence[ToolCall]) -> bool:
    """Every call of the turn, none missing and none besides.

    In any order: calls of one turn are made at once, so their order says nothing. A repeated call must be repeated.
    """
    left = list(gold)
    for call in calls:
        match = next((index for index, wanted in enumerate(left) if exact_call(call, wanted)), None)
        if match is None:
            return False
        del left[match]
    return not left


def same_names(calls: Sequence[ToolCall], gold: Sequence[ToolCall]) -> bool:
    """The same functions, each as often as in the gold turn, in any order."""
    return Counter(call.name for call in calls) == Counter(call.name for call in gold)


def schema_error(call: ToolCall, tools: Sequence[dict[str, Any]]) -> str | None:
    """Why this call could not be made with these tools: `unknown_function`, `unknown_argument`, `arguments`; else None.

    An argument that no parameter declares is an error although JSON Schema lets it pass: a function would raise. Where
    the tool's schema itself is broken (real tool lists hold `"type": "enum"`), that part of it demands nothing.
    """
    by_name = {function_of(tool)["name"]: function_of(tool) for tool in tools}
    if call.name not in by_name:
        return "unknown_function"
    schema = by_name[call.name].get("parameters")
    if not isinstance(schema, dict):
        return None
    declared = schema.get("properties")
    closed = "additionalProperties" not in schema and "patternProperties" not in schema
    if closed and isinstance(declared, dict) and set(call.arguments) - set(declared):
        return "unknown_argument"
    return None if arguments_valid(call.arguments, schema) else "arguments"


def arguments_valid(arguments: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Validate by the same reading of a tool's schema that rows are checked by; it holds no `$ref`, so opens no URL."""
    try:
        return jsonschema.Draft202012Validator(loosened(schema)).is_valid(arguments)
    except RecursionError:  # arguments nested deeper than anything could be called with
        return False


def words(text: str) -> list[str]:
    """Lower-case words and numbers, punctuation off; what `token_f1` and `same_answer` compare."""
    return re.findall(r"\d[\d,]*+(?:\.\d+)?|[^\W\d_]+", text.lower())


def same_answer(answer: str, gold: str) -> bool:
    """Equal but for case, white space and punctuation. A right answer worded otherwise fails: read it with token F1."""
    return words(answer) == words(gold)


def token_f1(answer: str, gold: str) -> float:
    """Overlap of the two bags of words, 0 to 1, as in SQuAD; a right answer at twice the length loses a third."""
    left, right = Counter(words(answer)), Counter(words(gold))
    shared = sum((left & right).values())
    if not shared:
        return float(left == right)
    return 2 * shared / (sum(left.values()) + sum(right.values()))


def numbers_agree(answer: str, gold: str) -> bool | None:
    """Whether the answer states exactly the numbers of the gold answer, as sets; None where the gold states none.

    F1 hardly sees a wrong number in a long sentence; this sees nothing else.
    """
    wanted = {number.value for number in numbers(clean(gold))}
    if not wanted:
        return None
    return {number.value for number in numbers(clean(answer[-MAX_CHARS:]))} == wanted
