"""The canonical dialogue: read back as written, equal content by hash, what is not canonical is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from data_prep.dialogue import (
    Dialogue,
    DialogueError,
    assistant_turns,
    content_hash,
    last_turn_only,
    leaves,
    write_jsonl,
)
from tests.data_prep.made_dialogues import HOSTILE, dialogues

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@settings(max_examples=20)
@given(dialogues(HOSTILE))
def test_a_dialogue_reads_back_from_its_row(dialogue: Dialogue) -> None:
    assert Dialogue.from_dict(dialogue.to_dict()) == dialogue
    assert Dialogue.from_dict(json.loads(json.dumps(dialogue.to_dict()))) == dialogue


@settings(max_examples=20)
@given(dialogues(HOSTILE))
def test_tools_and_arguments_may_be_json_text_as_arrow_holds_them(dialogue: Dialogue) -> None:
    row = dialogue.to_dict()
    row["tools"], row["meta"] = json.dumps(row["tools"]), json.dumps(row["meta"])
    for message in row["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"] = {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}
    assert Dialogue.from_dict(row) == dialogue


@settings(max_examples=20)
@given(dialogues())
def test_the_hash_sees_content_only(dialogue: Dialogue) -> None:
    row = dialogue.to_dict()
    for message in row["messages"]:
        for call in message.get("tool_calls", ()):
            call["id"] = "other" + call["id"]
        if "tool_call_id" in message:
            message["tool_call_id"] = "other" + message["tool_call_id"]
    same = Dialogue.from_dict({**row, "id": "x", "source": "y", "meta": {"z": 1}})
    assert content_hash(same) == content_hash(dialogue)
    longer = {**row, "messages": [*row["messages"], {"role": "user", "content": "more"}]}
    assert content_hash(Dialogue.from_dict(longer)) != content_hash(dialogue)


def test_a_row_without_an_id_is_named_by_its_content() -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}]}
    assert (
        Dialogue.from_dict(row).id == Dialogue.from_dict({**row, "id": ""}).id == content_hash(Dialogue.from_dict(row))
    )


@settings(max_examples=20)
@given(dialogues())
def test_before_a_turn_stands_what_prompts_it(dialogue: Dialogue) -> None:
    for index in assistant_turns(dialogue, trained_only=True):
        prefix = dialogue.before(index)
        assert [*prefix.messages, dialogue.messages[index]] == list(dialogue.messages[: index + 1])
        assert dialogue.messages[index].role == "assistant" and dialogue.messages[index].train
        assert prefix.tools == dialogue.tools and prefix.meta == dialogue.meta


@settings(max_examples=20)
@given(dialogues())
def test_last_turn_only_unmarks_every_trained_turn_but_the_last(dialogue: Dialogue) -> None:
    trained = assistant_turns(dialogue, trained_only=True)
    marked = last_turn_only(dialogue)
    assert assistant_turns(marked, trained_only=True) == trained[-1:]
    for before, after in zip(dialogue.messages, marked.messages, strict=True):
        assert msgspec.structs.replace(after, train=before.train) == before


def test_written_files_hold_one_dialogue_a_line(tmp_path: Path) -> None:
    rows = [Dialogue.from_dict({"messages": [{"role": "user", "content": text}], "tools": [TOOL]})
            for text in ("a\nb", "\u2028 é 🙂", "")]  # fmt: skip
    assert write_jsonl(str(tmp_path / "d.jsonl"), rows) == 3
    lines = (tmp_path / "d.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b"" and [Dialogue.from_dict(msgspec.json.decode(line)) for line in lines] == rows


USER: dict[str, Any] = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ([], "row_type"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi"]}, "message_type"),
        ({"messages": [{"role": "observer", "content": "Hi"}]}, "message_role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "non_text_content"),
        ({"messages": [{"role": "user", "content": "Hi", "thinking": "Hm"}]}, "assistant_keys"),
        ({"messages": [{"role": "user", "content": "Hi", "train": False}]}, "assistant_keys"),
        ({"messages": [{"role": "assistant", "content": "", "thinking": 3}]}, "thinking_type"),
        ({"messages": [{"role": "assistant", "content": "", "train": "no"}]}, "train_type"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": ""}]}]}, "call_name"),
        ({"messages": [{"role": "assistant", "tool_calls": ["f"]}]}, "call_type"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": "f"}]}]}, "call_type"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]}]}, "call_arguments"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]}, "json"),
        ({"messages": [USER], "tools": {"name": "f"}}, "tools"),
        ({"messages": [USER], "tools": [{"type": "function"}]}, "tools"),
        ({"messages": [USER], "tools": "["}, "json"),
        ({"messages": [USER], "meta": [1]}, "meta"),
    ],
)
def test_what_is_not_canonical_is_named_and_its_error_survives_pickling(row: Any, code: str) -> None:
    with pytest.raises(DialogueError) as error:
        Dialogue.from_dict(row)
    assert error.value.code == code
    again = pickle.loads(pickle.dumps(error.value))
    assert (again.code, again.message) == (code, error.value.message)


def test_null_content_is_no_text() -> None:
    assert Dialogue.from_dict({"messages": [{"role": "assistant", "content": None}]}).messages[0].content == ""


def test_a_bare_function_is_wrapped_as_a_tool() -> None:
    assert Dialogue.from_dict({"messages": [USER], "tools": [TOOL["function"]]}).tools == (TOOL,)


def test_the_leaves_of_a_value_are_found_in_order_however_deep_it_is() -> None:
    deep: object = "inmost"
    for _ in range(100_000):
        deep = [deep]
    assert list(leaves({"a": 1, "b": [True, None, {"c": "x"}], "d": deep})) == [1, True, "x", "inmost"]
