"""BUTTON's text format: written and read back, by value; what is not well-formed is named."""

from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings

from data_prep import button
from data_prep.dialogue import Dialogue, Message, ToolCall
from tests.data_prep.made_dialogues import HOSTILE, dialogues

CALL = ToolCall(id="call_0", name="f", arguments={"x": 1})


@settings(max_examples=20)
@given(dialogues(HOSTILE, with_tools=True))
def test_a_written_turn_reads_back_to_its_thought_and_action(dialogue: Dialogue) -> None:
    for message in dialogue.messages:
        if message.role != "assistant":
            continue
        thought, action = button.render_turn(message)
        held = "</call>" if message.tool_calls else "</final>"
        assume(not any(marker in thought for marker in button.MARKERS) and action.count(held) == 1)
        read = button.parse_turn(thought + action)
        assert [(c.name, c.arguments) for c in read.tool_calls] == [(c.name, c.arguments) for c in message.tool_calls]
        assert (read.content if message.tool_calls else read.thinking or "") == thought == button.thought_of(message)
        assert message.tool_calls or read.content == message.content


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<call>{"name": "f", "arguments": {"x": 1}}</call>', [("f", {"x": 1})]),
        ('<call>[{"name": "f", "arguments": {}}]</call>\n<call>[{"name": "g"}]</call>', [("f", {}), ("g", {})]),
        (
            'So. <call>[{"name": "f", "arguments": {"t": "</final> <call>"}}]</call>  ',
            [("f", {"t": "</final> <call>"})],
        ),
    ],
)
def test_tolerated_forms_of_a_call_are_read(text: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert [(call.name, call.arguments) for call in button.parse_turn(text).tool_calls] == calls


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I would call f.", "no_action"),
        ("</call>", "no_action"),
        ("<final>It is 4.", "unclosed"),
        ('<call>[{"name": "f"}]', "unclosed"),
        ("<call>f(x=1)</call>", "call_json"),
        ('<call>[{"name": "f", "arguments": {"x": NaN}}]</call>', "call_json"),
        ('<call>[{"name": "f", "arguments": {"x": 1e999}}]</call>', "call_json"),
        ("<call>[]</call>", "call_shape"),
        ('<call>["f"]</call>', "call_shape"),
        ('<call>[{"name": "", "arguments": {}}]</call>', "call_shape"),
        ('<call>[{"name": "f", "arguments": "x"}]</call>', "call_shape"),
        ("<final>4</final> or so", "trailing_text"),
        ('<call>[{"name": "f"}]</call> and then', "trailing_text"),
        ("<call>" + "[" * 100_000 + "</call>", "call_json"),
    ],
)
def test_a_malformed_turn_is_named(text: str, code: str) -> None:
    with pytest.raises(button.TurnParseError) as error:
        button.parse_turn(text)
    assert error.value.code == code


def test_parse_errors_survive_pickling() -> None:
    error = button.TurnParseError("unclosed", "<final> is never closed")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.message) == (error.code, error.message)


def test_results_are_embedded_as_json_in_the_order_of_their_calls() -> None:
    calls = (CALL, ToolCall(id="call_1", name="g", arguments={}))
    results = [
        Message(role="tool", tool_call_id="call_0", name="f", content='{"a": 1.5, "é": [null]}'),
        Message(role="tool", tool_call_id="call_1", name="g", content="no JSON: {"),
    ]
    assert json.loads(button.render_results(calls, results)) == [
        {"name": "f", "arguments": {"x": 1}, "results": {"a": 1.5, "é": [None]}},
        {"name": "g", "arguments": {}, "results": "no JSON: {"},
    ]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"x": -1e999}', "", "{", "[" * 100_000])
def test_what_is_no_json_stays_text(text: str) -> None:
    assert button.json_or_text(text) == text


def test_results_without_an_id_belong_to_the_calls_in_order() -> None:
    results = [Message(role="tool", content="1"), Message(role="tool", content="2")]
    entries = json.loads(button.render_results((CALL, ToolCall(id="c", name="g", arguments={})), results))
    assert [(entry["name"], entry["results"]) for entry in entries] == [("f", 1), ("g", 2)]


@pytest.mark.parametrize("required", [["city"], []])
def test_a_button_tool_survives_the_way_to_json_schema_and_back(required: list[str]) -> None:
    tool = {
        "name": "forecast",
        "description": "Weather.",
        "parameters": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
        "required": required,
        "responses": {"temp": {"type": "number"}},
    }
    assert button.to_button_tool(button.from_button_tool(tool)) == tool


def test_null_in_a_tool_is_written_as_no_parameters() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": None, "required": None}}}
    flat = button.to_button_tool(tool)
    assert (flat["parameters"], flat["required"]) == ({}, [])


def test_a_parameter_that_is_called_type_is_a_parameter() -> None:
    tool = {
        "name": "f",
        "description": "",
        "parameters": {"type": {"type": "string"}, "properties": {"type": "object"}},
        "required": ["type"],
        "responses": {},
    }
    assert button.to_button_tool(button.from_button_tool(tool)) == tool


def test_the_system_prompt_holds_the_tools_between_its_tags_and_one_sentence_about_parallel_calls() -> None:
    tools = (button.from_button_tool({"name": "f", "parameters": {"x": {"type": "integer"}}, "required": ["x"]}),)
    for parallel, sentence, other in (
        (True, button.PARALLEL_ON, button.PARALLEL_OFF),
        (False, button.PARALLEL_OFF, button.PARALLEL_ON),
    ):
        prompt = button.system_prompt(tools, parallel)
        listed = prompt[prompt.index("<tool>\n") + 7 : prompt.index("\n</tool>")]
        assert [tool["name"] for tool in json.loads(listed)] == ["f"]
        assert sentence in prompt and other not in prompt and "fountion calling" in prompt


def test_an_own_system_prompt_follows_the_published_one_after_a_blank_line() -> None:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Hi"))
    dialogue = Dialogue(id="d", source="t", messages=messages, meta={"parallel_calls": True})
    rows = button.to_messages(dialogue)
    assert rows[0] == {"role": "system", "content": button.system_prompt((), True) + "\n\nBe brief."}
    assert rows[1:] == [{"role": "user", "content": "Hi"}]


@settings(max_examples=20)
@given(dialogues())
def test_every_assistant_turn_and_every_group_of_results_becomes_one_message(dialogue: Dialogue) -> None:
    with_prompt = msgspec.structs.replace(dialogue, meta={"parallel_calls": True})
    rows = button.to_messages(with_prompt)[1:]
    own = [m for k, m in enumerate(dialogue.messages) if m.role != "system" and not (
        m.role == "tool" and k and dialogue.messages[k - 1].role == "tool")]  # fmt: skip
    assert [row["role"] for row in rows] == [message.role for message in own]


def test_without_tools_a_dialogue_is_plain_chat_with_thinking_before_the_answer() -> None:
    messages = (Message(role="user", content="Hi"), Message(role="assistant", content=" Hello.", thinking=" Greet. "))
    rows = button.to_messages(Dialogue(id="d", source="t", messages=messages))
    assert rows[1]["content"] == "Greet.\n\n Hello."
