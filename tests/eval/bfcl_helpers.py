"""BFCL's gold as a model's replies: what the tests of its task share."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from typing import Any

import pytest

from data_prep.dialogue import Message, ToolCall, function_of
from eval.environments import bfcl
from eval.protocol import Item, Reply, Score, Step
from eval.tasks import bfcl_multi_turn as task

HERE = importlib.util.find_spec("bfcl_eval") is not None
needs_bfcl = pytest.mark.skipif(not HERE, reason=f"bfcl-eval is not installed: {bfcl.INSTALL}")
ANSWER = Message(role="assistant", content="Done.", thinking="I answer.")
GARBLED = Reply("<call>[{", None, "call_json", "stop", "", "", 1, 1)


@cache
def all_items() -> list[Item]:
    return task.load([], None).items


def calling(*calls: ToolCall) -> Message:
    return Message(role="assistant", content="I call.", tool_calls=calls)


def gold_calls(item: Item, turn: int) -> list[ToolCall]:
    """The published gold of a user turn as a model's calls; positional arguments by the order of the function's doc."""
    added = [tool for tools in item.gold["added_tools"].values() for tool in tools]
    functions = {function_of(tool)["name"]: function_of(tool) for tool in (*item.dialogue.tools, *added)}
    calls = []
    for number, text in enumerate(item.gold["calls"][turn]):
        written: Any = ast.parse(text, mode="eval").body
        names = functions[written.func.id]["parameters"]["properties"]
        arguments = dict(zip(names, map(ast.literal_eval, written.args), strict=False))
        arguments |= {keyword.arg: ast.literal_eval(keyword.value) for keyword in written.keywords}
        calls.append(ToolCall(f"call_{number}", written.func.id, arguments))
    return calls


def replies_of(turns: list[list[ToolCall]]) -> list[Reply]:
    """Each user turn's calls in one turn of the model's, and an answer."""
    said = [message for calls in turns for message in ([calling(*calls)] if calls else []) + [ANSWER]]
    return [Reply("", message, None, "stop", "", "", 1, 1) for message in said]


def play(item: Item, replies: list[Reply]) -> tuple[list[Step], Score]:
    """The replies said for as long as the task asks, and the score."""
    steps: list[Step] = []
    for reply in replies:
        request = task.next_request(item, steps)
        if request is None:
            break
        steps.append(Step(request.dialogue, reply))
    return steps, task.score(item, steps)


def gold(item: Item) -> list[list[ToolCall]]:
    return [gold_calls(item, turn) for turn in range(len(item.gold["calls"]))]


def without_the_last_call(item: Item) -> list[list[ToolCall]]:
    turns = gold(item)
    next(calls for calls in reversed(turns) if calls).pop()
    return turns
