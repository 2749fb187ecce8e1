"""A dialogue is refused for what is wrong with it, and only for that."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.checks import REASONS, check_dialogue, loosened
from data_prep.dialogue import Dialogue, DialogueError, Message, ToolCall


def user(text: str = "Weather?") -> Message:
    return Message(role="user", content=text)


def says(text: str = "Fine.") -> Message:
    return Message(role="assistant", content=text)


def calls(*names: str, **arguments: Any) -> Message:
    made = tuple(ToolCall(id=f"call_{k}", name=name, arguments=arguments) for k, name in enumerate(names))
    return Message(role="assistant", tool_calls=made)


def result(call_id: str | None = "call_0", name: str | None = None, text: str = "4") -> Message:
    return Message(role="tool", content=text, tool_call_id=call_id, name=name)


def system(text: str = "Be brief.") -> Message:
    return Message(role="system", content=text)


def tool(name: str = "f", **schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **schema}}}


def dialogue(*messages: Message, tools: tuple[dict[str, Any], ...] | None = None) -> Dialogue:
    return Dialogue(id="x", source="t", messages=messages, tools=(tool("f"), tool("g")) if tools is None else tools)


def code_of(checked: Dialogue, max_chars: int | None = None) -> str | None:
    try:
        check_dialogue(checked, max_chars=max_chars)
    except DialogueError as error:
        assert error.code in REASONS, f"{error.code} has no meaning in REASONS"
        return error.code
    return None


@pytest.mark.parametrize("messages", [
    (user(), says()),
    (system(), user(), says()),
    (system(""), user(), says()),
    (user(), user("And?"), says(), says("More.")),
    (says("Hello, how can I help?"), user(), says()),
    (system(), says()),
    (user(), calls("f"), result(), says()),
    (user(), calls("f"), result(None), says()),
    (user(), calls("f"), result(text=""), says()),
    (user(), calls("f", "g"), result("call_1", "g"), result("call_0", "f"), says()),
    (user(), calls("f", "f"), result(None), result(None), says()),
    (user(), calls("f")),
    (user(), calls("f"), result()),
    (user(), calls("f", "g"), result()),
    (user(), says(), user("Thanks.")),
    (user(), calls("f"), result(), calls("f"), result(), says()),
])  # fmt: skip
def test_sound_dialogues_pass(messages: tuple[Message, ...]):
    assert code_of(dialogue(*messages)) is None


@pytest.mark.parametrize(("messages", "code"), [
    ((user(), system(), says()), "system_not_first"),
    ((system(), system(), user(), says()), "system_not_first"),
    ((user(),), "no_assistant"),
    ((system(), user()), "no_assistant"),
    ((says(), user()), "no_request"),
    ((calls("f"), result(), user(), says()), "no_request"),
    ((user(" \n"), says()), "empty_turn"),
    ((user(), says("\n")), "empty_turn"),
    ((user(), Message(role="assistant", thinking="Hm.")), "empty_turn"),
    ((user(), result(), says()), "orphan_result"),
    ((user(), calls("f"), result(), result(), says()), "orphan_result"),
    ((user(), calls("f"), result("call_9"), says()), "orphan_result"),
    ((user(), calls("f"), result(name="g"), says()), "result_of_other_call"),
    ((user(), calls("f"), says()), "unanswered_call"),
    ((user(), calls("f"), user("Well?")), "unanswered_call"),
    ((user(), calls("f", "g"), result(), says()), "unanswered_call"),
    ((user(), calls("h"), result(), says()), "unknown_function"),
    ((user(), calls("f", x="\ud83d"), result(), says()), "not_unicode"),
    ((user("\udc00"), says()), "not_unicode"),
    ((user(), calls("f", x=float("nan")), result(), says()), "call_arguments"),
])  # fmt: skip
def test_each_defect_has_its_own_reason(messages: tuple[Message, ...], code: str):
    assert code_of(dialogue(*messages)) == code


def test_over_long_counts_everything_that_is_said():
    checked = dialogue(user("1234"), Message(role="assistant", content="12", thinking="123"))
    assert code_of(checked, max_chars=9) is None
    assert code_of(checked, max_chars=8) == "over_long"


PERSON = {"properties": {"age": {"type": "integer"}, "name": {"type": "string"}}, "required": ["age"]}


@pytest.mark.parametrize(("schema", "arguments", "code"), [
    (PERSON, {"age": 3}, None),
    (PERSON, {"age": 3.0}, None),
    (PERSON, {"age": "3"}, "arguments_schema"),
    (PERSON, {"name": "Ann"}, "arguments_schema"),
    (PERSON, {"age": 3, "agee": 4}, "arguments_schema"),
    ({**PERSON, "additionalProperties": True}, {"age": 3, "agee": 4}, None),
    ({**PERSON, "additionalProperties": False}, {"age": 3, "agee": 4}, "arguments_schema"),
    ({}, {"anything": 1}, None),
    ({"properties": {}}, {"anything": 1}, None),
    ({"properties": {"u": {"type": "enum", "enum": ["C", "F"]}}}, {"u": "C"}, None),
    ({"properties": {"u": {"type": "enum", "enum": ["C", "F"]}}}, {"u": "K"}, "arguments_schema"),
    ({"properties": {"u": {"type": "anyOf", "anyOf": [{"type": "string"}]}}}, {"u": "K"}, None),
    ({"properties": {"u": {"type": "anyOf", "anyOf": [{"type": "string"}]}}}, {"u": 1}, "arguments_schema"),
    ({"properties": {"u": {"type": "float"}}}, {"u": 1.5}, None),
    ({"properties": {"u": {"type": "float"}}}, {"u": "1.5"}, "arguments_schema"),
    ({"properties": {"u": {"type": "date"}}}, {"u": "2024-01-01"}, None),
    ({"properties": {"u": {"type": "string", "required": True}}}, {"u": "x"}, None),
    ({"properties": {"u": {"type": "string", "pattern": "("}}}, {"u": "x"}, None),
    ({"properties": {"u": {"$ref": "#/nowhere"}}}, {"u": 1}, None),
    ({"properties": {"u": "a string"}}, {"u": "x"}, None),
    ({"properties": {"u": {"type": ["string", "null"]}}}, {"u": None}, None),
])  # fmt: skip
def test_arguments_are_held_to_what_the_schema_can_mean(schema: dict, arguments: dict, code: str | None):
    checked = dialogue(user(), calls("f", **arguments), result(), says(), tools=(tool("f", **schema),))
    assert code_of(checked) == code


@pytest.mark.parametrize("schema", [{"properties": ["x"]}, {"required": "x"}, {"required": 3}])
def test_a_tool_whose_parameters_cannot_be_listed_is_refused(schema: dict):
    assert code_of(dialogue(user(), says(), tools=(tool(**schema),))) == "tools"


@pytest.mark.parametrize("schema", [{"properties": None}, {"required": None}, {"properties": {}, "required": []}])
def test_null_lists_of_parameters_are_none(schema: dict):
    assert code_of(dialogue(user(), calls("f"), tools=(tool(**schema),))) is None


def test_either_of_two_tools_of_one_name_will_do():
    tools = (tool("f", required=["a"]), tool("f", required=["b"]))
    assert code_of(dialogue(user(), calls("f", b=1), tools=tools)) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["string", "enum", "(", "a"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "properties", "items", "enum", "anyOf", "required", "pattern", "minimum", "minItems",
                         "additionalProperties", "patternProperties", "not", "$ref", "uniqueItems", "const"]),
        part, max_size=4,
    ), max_leaves=15,
)  # fmt: skip


@given(VALUES, VALUES)
def test_any_loosened_schema_is_json_schema_and_can_validate(schema: Any, value: Any):
    loose = loosened(schema)
    jsonschema.Draft202012Validator.check_schema(loose)
    list(jsonschema.Draft202012Validator(loose).iter_errors(value))


GOOD_SCHEMAS = st.sampled_from([
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2}}, "required": ["a"]},
    {"type": "array", "items": {"enum": [1, "x"]}, "minItems": 1, "uniqueItems": True},
    {"anyOf": [{"type": "string", "pattern": "^a"}, {"type": "null"}]},
    {"type": ["string", "integer"], "not": {"const": 3}},
])  # fmt: skip


@given(GOOD_SCHEMAS, VALUES)
def test_a_sound_schema_means_the_same_after_loosening(schema: dict, value: Any):
    strict = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert jsonschema.Draft202012Validator(loosened(schema)).is_valid(value) == strict
