"""Calls compared by JSON value, schemas as real tool lists write them, answers by words and numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dialogue import ToolCall
from eval.call_scorers import exact_calls, numbers_agree, same_answer, same_json, same_names, schema_error, token_f1
from tests.eval.helpers import TOOL

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


def call(name: str = "forecast", **arguments: Any) -> ToolCall:
    return ToolCall(id="x", name=name, arguments=arguments)


@given(JSON)
def test_a_json_value_equals_itself_with_keys_in_another_order(value: Any) -> None:
    def turned(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: turned(part[key]) for key in reversed(part)}
        return [turned(entry) for entry in part] if isinstance(part, list) else part

    assert same_json(value, turned(value))


def test_json_values_are_compared_as_json_and_not_as_python() -> None:
    assert same_json(1, 1.0)
    assert not same_json(True, 1)
    assert not same_json(0, False)
    assert not same_json(float("nan"), float("nan"))
    assert not same_json("1", 1)
    assert not same_json([1, 2], [2, 1])
    assert not same_json({"a": 1}, {"a": 1, "b": None})


def test_deep_values_compare_without_recursion() -> None:
    left: Any = 1
    for _ in range(200_000):
        left = [left]
    assert same_json(left, left)


def test_parallel_calls_match_in_any_order_but_each_as_often() -> None:
    oslo, bergen = call(city="Oslo"), call(city="Bergen")
    assert exact_calls([oslo, bergen], [bergen, oslo])
    assert not exact_calls([oslo, oslo], [bergen, oslo])
    assert not exact_calls([oslo], [oslo, oslo])
    assert not exact_calls([oslo, bergen], [oslo])
    assert same_names([oslo, bergen], [oslo, oslo])
    assert not same_names([oslo], [oslo, oslo])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (call(city="Oslo"), None),
        (call(city="Oslo", days=2), None),
        (call("weather", city="Oslo"), "unknown_function"),
        (call(city="Oslo", unit="C"), "unknown_argument"),
        (call(), "arguments"),
        (call(city=4), "arguments"),
        (call(city="Oslo", days="two"), "arguments"),
        (call(city="Oslo", days=True), "arguments"),
    ],
)
def test_a_call_that_could_not_be_made_says_why(made: ToolCall, reason: str | None) -> None:
    assert schema_error(made, [TOOL]) == reason


def test_a_schema_that_is_no_json_schema_demands_nothing_there_and_opens_no_address() -> None:
    parameters = {
        "type": "object",
        "properties": {"kind": {"type": "enum", "enum": ["a", "b"]}, "at": {"$ref": "http://localhost:9/x.json"}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert schema_error(call("f", kind="a", at=1), [tool]) is None
    assert schema_error(call("f", kind="c"), [tool]) == "arguments"


def test_answers_agree_by_words_and_by_numbers_apart() -> None:
    gold = "The total is $1,200.00 for 3 nights."
    assert same_answer("the total is $1,200.00, for 3 nights", gold)
    assert token_f1(gold, gold) == 1.0
    assert token_f1("", gold) == 0.0
    assert 0.5 < token_f1("The total is $1,300.00 for 3 nights.", gold) < 1.0
    assert numbers_agree("1200 for 3", gold) is True
    assert numbers_agree("1300 for 3", gold) is False
    assert numbers_agree("1200", gold) is False
    assert numbers_agree("anything", "No number here.") is None
