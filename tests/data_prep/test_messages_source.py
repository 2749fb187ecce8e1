"""OpenAI's and TRL's conversational rows: each spelling is read as one canonical dialogue or refused for its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data_prep.dialogue import DialogueError
from tests.data_prep.test_sources import dump, read

OPENAI_ROW: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": "Weather in Oslo and Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "forecast", "arguments": '{"city": "Oslo"}'}},
            {"id": "b", "type": "function", "function": {"name": "forecast", "arguments": {"city": "Rome"}}},
        ]},
        {"role": "tool", "tool_call_id": "b", "content": "20"},
        {"role": "tool", "tool_call_id": "a", "content": "4"},
        {"role": "assistant", "content": "4 and 20.", "reasoning_content": "Both are there."},
    ],
    "tools": [{"type": "function", "function": {"name": "forecast", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}],
}  # fmt: skip


def test_openai_rows_are_read_with_parallel_calls_null_content_and_text_arguments():
    dialogue = read("messages", OPENAI_ROW)
    assert dialogue.messages[0].role == "system" and dialogue.messages[0].content == "Be brief."
    call_turn = dialogue.messages[2]
    assert call_turn.content == ""
    assert [(call.id, call.arguments["city"]) for call in call_turn.tool_calls] == [("a", "Oslo"), ("b", "Rome")]
    assert [(m.tool_call_id, m.name) for m in dialogue.messages if m.role == "tool"] == [
        ("b", "forecast"), ("a", "forecast")]  # fmt: skip
    assert dialogue.messages[-1].thinking == "Both are there."


@pytest.mark.parametrize("key", ["thinking", "reasoning_content", "reasoning"])
def test_a_thought_is_read_under_each_of_its_names(key: str):
    question, answer = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4.", key: "I add."}
    assert read("messages", {"messages": [question, answer]}).messages[-1].thinking == "I add."


def test_a_thought_under_two_names_is_one_text_or_refused():
    question = {"role": "user", "content": "2 + 2?"}
    answer = {"role": "assistant", "content": "4.", "reasoning_content": "I add.", "reasoning": "I add."}
    assert read("messages", {"messages": [question, answer]}).messages[-1].thinking == "I add."
    with pytest.raises(DialogueError, match="another text under 'reasoning'"):
        read("messages", {"messages": [question, {**answer, "reasoning": "I guess."}]})


def test_tools_as_json_text_and_bare_functions_are_the_same_tools():
    bare = [tool["function"] for tool in OPENAI_ROW["tools"]]
    for tools in (dump(OPENAI_ROW["tools"]), bare, dump(bare)):
        assert read("messages", {**OPENAI_ROW, "tools": tools}) == read("messages", OPENAI_ROW)


@pytest.mark.parametrize("tools", [None, "null", [], "[]"])
def test_no_tools_may_be_written_in_any_way(tools: Any):
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    assert read("messages", {**row, "tools": tools}).tools == ()


@pytest.mark.parametrize("calls", ["3", "{}x", '{"name": "f"}', 3, {"name": "f"}])
def test_calls_that_are_no_list_are_refused(calls: Any):
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x", "tool_calls": calls}]}
    with pytest.raises(DialogueError, match="tool_calls") as refused:
        read("messages", row)
    assert refused.value.code in ("call_type", "json")


def test_calls_and_tools_in_openais_older_form_are_refused_and_not_lost():
    call = {"name": "forecast", "arguments": "{}"}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Let me see.", "function_call": call},
    ]
    with pytest.raises(DialogueError, match="message 1 has a 'function_call'"):
        read("messages", {"messages": messages})
    messages[1] = {"role": "assistant", "content": "Hello.", "function_call": None}
    assert read("messages", {"messages": messages, "functions": None}).messages[1].content == "Hello."
    with pytest.raises(DialogueError, match="'functions'"):
        read("messages", {"messages": messages, "functions": [{"name": "forecast"}]})


def test_calls_without_ids_get_ids_that_their_results_take_in_order():
    row = json.loads(dump(OPENAI_ROW))
    for call in row["messages"][2]["tool_calls"]:
        del call["id"]
    for message in row["messages"][3:5]:
        del message["tool_call_id"]
    results = [m for m in read("messages", row).messages if m.role == "tool"]
    assert [(m.tool_call_id, m.content) for m in results] == [("call_0", "20"), ("call_1", "4")]


def test_an_image_part_is_refused_as_non_text():
    row = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}
    with pytest.raises(DialogueError, match="image_url") as refused:
        read("messages", row)
    assert refused.value.code == "non_text_content"
