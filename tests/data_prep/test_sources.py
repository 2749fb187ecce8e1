"""Each raw format is read whole, and what has a way back comes back as it was."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import button as button_text
from data_prep.checks import check_dialogue
from data_prep.dialogue import Dialogue, DialogueError
from data_prep.sources import SOURCES, button, gsm8k, likely_sources, mathchatsync, messages, sharegpt

TOOL = {
    "name": "forecast",
    "description": "Weather of a day.",
    "parameters": {"city": {"type": "string"}, "day": {"type": "integer"}},
    "required": ["city"],
    "responses": {"temp_c": {"type": "number"}},
}

WORDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip() != "")
# A turn's parts can't hold the markers that end them; such dialogues are rejected before they are written.
FREE_TEXT = WORDS.filter(lambda text: "<" not in text)
NO_TAGS = WORDS.filter(lambda text: not re.search(r"</?(tool|call|final)>", text))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | FREE_TEXT,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(FREE_TEXT, part, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(FREE_TEXT, JSON_VALUES, max_size=3)
CALLS = st.lists(st.builds(lambda name, arguments: {"name": name, "arguments": arguments}, FREE_TEXT, ARGUMENTS),
                 min_size=1, max_size=3)  # fmt: skip


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def system_text(tools: list[dict[str, Any]], parallel: bool = True, own: str = "") -> str:
    sentence = button_text.PARALLEL_ON if parallel else button_text.PARALLEL_OFF
    head, middle, tail = button_text.SYSTEM_HEAD, button_text.SYSTEM_MIDDLE, button_text.SYSTEM_TAIL
    return f"{head}{dump(tools)}{middle}{sentence}{tail}" + (f"\n\n{own}" if own else "")


def results_of(calls: list[dict[str, Any]], values: list[Any]) -> str:
    return dump([{**call, "results": value} for call, value in zip(calls, values, strict=True)])


def by_value(row: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """A BUTTON row's messages cut at their tags, JSON parts as values: key order and spacing are no content."""
    pieces = [(m["role"], re.split(r"(</?(?:tool|call)>)", m["content"])) for m in row["messages"]]
    return [(role, [button_text.json_or_text(piece) for piece in texts]) for role, texts in pieces]


def weather_row(call: str, results: str | None = None, system: str | None = None) -> dict[str, Any]:
    """A BUTTON row about one tool, with this text as its calling turn and its tool message."""
    calls = [{"name": "forecast", "arguments": {"city": "Oslo"}}]
    return {
        "messages": [
            {"role": "system", "content": system_text([TOOL]) if system is None else system},
            {"role": "user", "content": "Weather in Oslo?"},
            {"role": "assistant", "content": call},
            {"role": "tool", "content": results or results_of(calls, [{"temp_c": 4}])},
            {"role": "assistant", "content": "So it is.<final>4 degrees.</final>"},
        ]
    }


CALL = '<call>[{"name": "forecast", "arguments": {"city": "Oslo"}}]</call>'


def read(source: str, row: dict[str, Any]) -> Dialogue:
    dialogue = SOURCES[source].to_dialogue(row, f"{source}-file-1")
    check_dialogue(dialogue)
    return dialogue


@st.composite
def button_rows(draw: st.DrawFn) -> dict[str, Any]:
    """Rows in the published form, whatever their functions are called."""
    flat = st.fixed_dictionaries(
        {
            "name": FREE_TEXT,
            "description": st.just("") | NO_TAGS,
            "parameters": st.dictionaries(FREE_TEXT, st.just({"type": "string"}), max_size=2),
            "required": st.lists(FREE_TEXT, max_size=2),
            "responses": st.dictionaries(FREE_TEXT, st.just({"type": "number"}), max_size=2),
        }
    )
    own = draw(st.just("") | NO_TAGS)
    rows = [{"role": "system", "content": system_text(draw(st.lists(flat, max_size=3)), draw(st.booleans()), own)}]
    for _ in range(draw(st.integers(1, 3))):
        rows.append({"role": "user", "content": draw(WORDS)})
        for calls in draw(st.lists(CALLS, max_size=2)):
            thought = draw(st.just("") | FREE_TEXT)
            values = draw(st.lists(JSON_VALUES, min_size=len(calls), max_size=len(calls)))
            rows.append({"role": "assistant", "content": f"{thought}<call>{dump(calls)}</call>"})
            rows.append({"role": "tool", "content": results_of(calls, values)})
        thought = draw(st.just("") | FREE_TEXT)
        rows.append({"role": "assistant", "content": f"{thought}<final>{draw(NO_TAGS)}</final>"})
    return {"messages": rows}


@given(button_rows())
def test_published_button_rows_come_back_identical(row: dict[str, Any]):
    assert by_value(button.to_row(button.to_dialogue(row, "button-x-1"))) == by_value(row)


@given(button_rows())
def test_canonical_rows_of_button_survive_the_messages_source(row: dict[str, Any]):
    dialogue = button.to_dialogue(row, "button-x-1")
    assert messages.to_dialogue(dialogue.to_dict(), "messages-x-1") == dialogue


SHAREGPT_TURNS = st.lists(
    st.tuples(st.just("human"), WORDS) | st.tuples(st.just("gpt"), WORDS) | st.tuples(st.just("calls"), CALLS),
    min_size=1,
    max_size=6,
)


@given(SHAREGPT_TURNS, st.just("") | WORDS, st.booleans())
def test_sharegpt_rows_come_back_identical(turns: list[tuple[str, Any]], system: str, with_tools: bool):
    conversations = []
    for speaker, value in turns:
        if speaker != "calls":
            conversations.append({"from": speaker, "value": value})
            continue
        conversations.append({"from": "function_call", "value": dump(value if len(value) > 1 else value[0])})
        conversations += [{"from": "observation", "value": f"result {k}"} for k in range(len(value))]
    row: dict[str, Any] = {"conversations": conversations}
    if with_tools:
        row["tools"] = dump([{"name": "f", "parameters": {"type": "object", "properties": {}}}])
    if system:
        row["system"] = system
    assert sharegpt.to_row(sharegpt.to_dialogue(row, "sharegpt-x-1")) == row


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=16))
def test_mathchatsync_rows_come_back_identical(pairs: list[tuple[str, str]]):
    turns = [{"from": who, "value": text} for pair in pairs for who, text in zip(("human", "gpt"), pair, strict=True)]
    row = {"conversations": turns}
    assert mathchatsync.to_row(mathchatsync.to_dialogue(row, "mathchatsync-x-1")) == row


@given(st.sampled_from(sorted(SOURCES)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["user", "gpt", "<call>{}"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "conversations", "role", "from", "content", "value", "tools", "tool_calls", "id",
                         "function", "name", "arguments", "parameters", "question", "answer", "meta", "system", "train",
                         "weight"]),
        part, max_size=4,
    ), max_leaves=12,
).filter(lambda value: isinstance(value, dict)))  # fmt: skip
def test_any_json_object_is_read_or_refused_by_a_dialogue_error(source: str, row: Any):
    try:
        check_dialogue(SOURCES[source].to_dialogue(row, "x-1"))
    except DialogueError as error:
        assert error.code and error.message


def test_the_parallel_sentence_is_kept_as_a_fact():
    for parallel in (True, False):
        dialogue = read("button", weather_row(CALL, system=system_text([TOOL], parallel)))
        assert dialogue.meta == {"parallel_calls": parallel}
        assert dialogue.messages[0].role == "user"
        assert dialogue.tools[0]["function"]["parameters"]["required"] == ["city"]


TWO = [{"name": "forecast", "arguments": {"city": "Oslo"}}, {"name": "forecast", "arguments": {"city": "Rome"}}]
PUBLISHED = system_text([TOOL])
LIST_WITHOUT_OPENING_TAG = PUBLISHED.replace("<tool>\n", "")
LIST_WITHOUT_CLOSING_TAG = PUBLISHED.replace("\n</tool>", "")
LIST_WITHOUT_TAGS = LIST_WITHOUT_OPENING_TAG.replace("\n</tool>", "")
ONE_TOOL_NO_LIST = PUBLISHED.replace(dump([TOOL]), dump(TOOL))
ONE_RESULT_NO_LIST = dump({"name": "forecast", "arguments": {"city": "Oslo"}, "results": {"temp_c": 4}})
VARIANTS = {
    "role systems": {**weather_row(CALL), "messages": [
        {"role": "systems", "content": PUBLISHED}, *weather_row(CALL)["messages"][1:]]},
    "several call blocks": weather_row(
        f"Both.<call>[{dump(TWO[0])}]</call>\n<call>[{dump(TWO[1])}]</call>", results_of(TWO, [1, 2])),
    "an object instead of a list of calls": weather_row(f"Look.<call>{dump(TWO[0])}</call>"),
    "an object instead of a list of results": weather_row(CALL, ONE_RESULT_NO_LIST),
    "an object instead of a list of tools": weather_row(CALL, system=ONE_TOOL_NO_LIST),
    "no <tool> tag": weather_row(CALL, system=LIST_WITHOUT_OPENING_TAG),
    "no </tool> tag": weather_row(CALL, system=LIST_WITHOUT_CLOSING_TAG),
    "neither tag": weather_row(CALL, system=LIST_WITHOUT_TAGS),
    "no thought": weather_row(CALL),
    "results in another order": weather_row(
        f"<call>{dump(TWO)}</call>", results_of([TWO[1], TWO[0]], [2, 1])),
    "trailing white space": weather_row(CALL, system=PUBLISHED + "\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_tolerated_button_variants_are_written_back_in_the_published_form(name: str):
    dialogue = read("button", VARIANTS[name])
    assert dialogue.messages[0].content == "Weather in Oslo?", "nothing of the prompt is left as the row's own text"
    row = button.to_row(dialogue)
    assert row["messages"][0] == {"role": "system", "content": PUBLISHED}
    assert button.to_row(read("button", row)) == row
    assert read("button", row).messages == dialogue.messages


def test_several_call_blocks_are_one_turn_with_all_calls():
    turn = read("button", VARIANTS["several call blocks"]).messages[1]
    assert [call.arguments["city"] for call in turn.tool_calls] == ["Oslo", "Rome"]
    assert turn.content == "Both."


def test_results_in_another_order_still_meet_their_call():
    dialogue = read("button", VARIANTS["results in another order"])
    assert [message.content for message in dialogue.messages if message.role == "tool"] == ["1", "2"]


def test_identical_repeated_calls_pair_by_order():
    calls = [TWO[0], TWO[0]]
    dialogue = read("button", weather_row(f"<call>{dump(calls)}</call>", results_of(calls, ["first", "second"])))
    results = [message for message in dialogue.messages if message.role == "tool"]
    assert [result.content for result in results] == ["first", "second"]
    assert [result.tool_call_id for result in results] == ["call_0", "call_1"]


@pytest.mark.parametrize("schema", [
    {"type": "enum", "enum": ["Oslo", "Rome"]},
    {"type": "anyOf", "anyOf": [{"type": "string"}, {"type": "null"}]},
    {"type": "str"},
])  # fmt: skip
def test_enum_and_any_of_as_a_type_are_accepted_and_kept_as_they_are(schema: dict[str, Any]):
    tool = {**TOOL, "parameters": {"city": schema}}
    row = weather_row(CALL, system=system_text([tool]))
    dialogue = read("button", row)
    assert dialogue.tools[0]["function"]["parameters"]["properties"]["city"] == schema
    assert button.to_row(dialogue) == row


def test_text_after_the_published_prompt_is_the_rows_own_system_message():
    row = weather_row(CALL, system=system_text([TOOL], own="Be brief."))
    dialogue = read("button", row)
    assert (dialogue.messages[0].role, dialogue.messages[0].content) == ("system", "Be brief.")
    assert button.to_row(dialogue) == row


def test_another_prompt_around_the_tool_list_is_kept_as_text():
    dialogue = read("button", weather_row(CALL, system=f"You are Ada.\n<tool>{dump([TOOL])}</tool>\nBe brief."))
    assert dialogue.messages[0].content == "You are Ada.\n\nBe brief."
    assert dialogue.tools[0]["function"]["name"] == "forecast"


def test_several_user_turns_and_a_last_unanswered_call_are_read():
    row = weather_row(CALL)
    row["messages"] += [{"role": "user", "content": "And Rome?"}, {"role": "assistant", "content": CALL}]
    assert read("button", row).messages[-1].tool_calls[0].name == "forecast"
    assert button.to_row(read("button", row)) == row


@pytest.mark.parametrize("text", ["4", "null", '"quoted"', "[1, 2]", "plain", '{"a": 1}', "NaN", ""])
def test_a_text_result_that_looks_like_json_stays_text(text: str):
    row = weather_row(CALL, results_of([TWO[0]], [text]))
    assert button.to_row(read("button", row)) == row


@pytest.mark.parametrize(("row", "code"), [
    (weather_row("I will look."), "no_action"),
    (weather_row('<call>[{"name": "forecast"'), "unclosed"),
    (weather_row('<call>[{"name": forecast}]</call>'), "call_json"),
    (weather_row('<call>["forecast"]</call>'), "call_shape"),
    (weather_row(f"{CALL} and more"), "trailing_text"),
    (weather_row(CALL, "4 degrees"), "result_json"),
    (weather_row(CALL, '["4 degrees"]'), "result_shape"),
    (weather_row(CALL, results_of(TWO, [1, 2])), "result_count"),
    (weather_row(CALL, results_of([TWO[1]], [1])), "result_of_other_call"),
    (weather_row(CALL, system="You are Ada."), "no_tool_list"),
    (weather_row(CALL, system=PUBLISHED.replace('"required"', "required")), "tools"),
    ({"messages": weather_row(CALL)["messages"][1:]}, "no_tool_list"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "non_text_content"),
    ({"messages": [{"role": "bot", "content": "x"}]}, "message_role"),
    ({"messages": []}, "no_messages"),
    ({"message": []}, "row_keys"),
])  # fmt: skip
def test_a_broken_button_row_is_refused_for_its_true_reason(row: dict[str, Any], code: str):
    with pytest.raises(DialogueError) as refused:
        read("button", row)
    assert refused.value.code == code


def test_one_observation_that_lists_all_parallel_results_is_split():
    row = {"conversations": [
        {"from": "human", "value": "Oslo and Rome?"},
        {"from": "function_call", "value": dump(TWO)},
        {"from": "observation", "value": '[{"temp_c": 4}, {"temp_c": 20}]'},
        {"from": "gpt", "value": "4 and 20."},
    ], "tools": dump([{"name": "forecast"}])}  # fmt: skip
    results = [m.content for m in read("sharegpt", row).messages if m.role == "tool"]
    assert results == ['{"temp_c": 4}', '{"temp_c": 20}']


def test_an_openhermes_row_is_a_sharegpt_row():
    row = {"id": None, "system_prompt": None, "source": "airoboros2.2", "category": "orca", "conversations": [
        {"from": "system", "value": "You are an AI.", "weight": None},
        {"from": "human", "value": "Hello", "weight": 0.0},
        {"from": "gpt", "value": "Hi", "weight": 0.0},
        {"from": "human", "value": "Well?", "weight": None},
        {"from": "gpt", "value": "Well.", "weight": 1.0}]}  # fmt: skip
    dialogue = read("sharegpt", row)
    assert dialogue.id == "sharegpt-file-1"
    assert [message.train for message in dialogue.messages if message.role == "assistant"] == [False, True]


def marked_row(source: str, marks: dict[str, Any], of: str = "assistant") -> dict[str, Any]:
    """A row with two answers; the first one, or the request before it where `of` is user, carries `marks`."""
    if source == "button":
        row = weather_row(CALL)
        at = {"user": 1, "assistant": 2}[of]
        row["messages"][at] |= marks
        return row
    key, who, text, speakers = (
        ("messages", "role", "content", ("user", "assistant"))
        if source == "messages" else ("conversations", "from", "value", ("human", "gpt"))
    )  # fmt: skip
    turns: list[dict[str, Any]] = [{who: speaker, text: f"turn {k}"} for k, speaker in enumerate(speakers * 2)]
    turns[("user", "assistant").index(of)] |= marks
    return {key: turns}


MARKED_SOURCES = pytest.mark.parametrize("source", ["messages", "sharegpt", "mathchatsync", "button"])


@MARKED_SOURCES
@pytest.mark.parametrize(
    ("marks", "trained"),
    [
        ({}, True),
        ({"train": None}, True),
        *(({key: mark}, bool(mark)) for key in ("train", "training", "weight") for mark in (False, 0, 0.0, True, 1)),
        ({"train": False, "weight": 0}, False),
    ],
)  # fmt: skip
def test_a_message_is_trained_on_unless_its_row_marks_it(source: str, marks: dict[str, Any], trained: bool):
    dialogue = read(source, marked_row(source, marks))
    assert [m.train for m in dialogue.messages if m.role == "assistant"] == [trained, True]
    to_row = SOURCES[source].to_row
    assert to_row is None or read(source, to_row(dialogue)).messages == dialogue.messages


@MARKED_SOURCES
@pytest.mark.parametrize("marks", [
    {"train": "false"}, {"train": 2}, {"training": [False]}, {"weight": 0.5}, {"weight": -1}, {"weight": float("nan")},
    {"train": True, "weight": 0},
])  # fmt: skip
def test_a_mark_that_is_no_yes_or_no_or_contradicts_another_is_refused(source: str, marks: dict[str, Any]):
    with pytest.raises(DialogueError, match=r"must be true, false, 1 or 0|contradict each other") as refused:
        read(source, marked_row(source, marks))
    assert refused.value.code == "train_type"


@pytest.mark.parametrize("source", ["messages", "sharegpt", "mathchatsync"])
@pytest.mark.parametrize("mark", [False, True])
def test_a_mark_on_a_message_that_is_never_trained_on_says_nothing(source: str, mark: bool):
    dialogue = read(source, marked_row(source, {"train": mark}, of="user"))
    assert dialogue.messages == read(source, marked_row(source, {})).messages


def test_a_call_behind_a_thought_that_is_not_trained_on_is_not_either():
    thought = {"from": "gpt", "value": "I need it.", "weight": 0}
    call = {"from": "function_call", "value": '{"name": "forecast", "arguments": {}}'}
    row = {"conversations": [{"from": "human", "value": "Hi"}, thought, call], "tools": dump([{"name": "forecast"}])}
    turn = read("sharegpt", row).messages[1]
    assert (turn.content, len(turn.tool_calls), turn.train) == ("I need it.", 1, False)


def test_gsm8k_answers_lose_their_calculator_marks_and_end_in_a_sentence():
    row = {"question": "How many?", "answer": "2*600 = $<<2*600=1200>>1200.\nSo 1200.\n#### 1,200"}
    dialogue = read("gsm8k", row)
    assert dialogue.messages[1].content == "2*600 = $1200.\nSo 1200.\nThe answer is 1,200."
    assert dialogue.meta["gold"] == "1200"
    assert dialogue.meta["seed"] == gsm8k.seed_key("how  MANY")


def test_mathchat_benchmark_rows_are_never_training_rows():
    with pytest.raises(DialogueError, match="never trained on"):
        read("gsm8k", {"question": "q", "answer": "1\n#### 1", "followup": "A: ..."})


def test_dialogues_about_one_problem_share_their_seed():
    problem = "Problem: Ann has three apples and buys two more in the shop. How many?"
    rows = [{"conversations": [{"from": "human", "value": f"{problem}\n\nMy solution: {k}"},
                               {"from": "gpt", "value": "Let us see."}]} for k in range(2)]  # fmt: skip
    first, second = (read("mathchatsync", row).meta["seed"] for row in rows)
    assert first == second


def test_a_carried_id_is_kept_and_a_bare_number_is_told_apart_by_its_file():
    row = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]}
    ids = [mathchatsync.to_dialogue({**row, "id": carried}, "mathchatsync-f-7").id for carried in (None, "", "a1", 7)]
    assert ids == ["mathchatsync-f-7", "mathchatsync-f-7", "a1", "mathchatsync-f-id7"]


def test_each_row_looks_like_its_own_source():
    plain = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]}
    assert likely_sources(weather_row(CALL)) == ("button",)
    assert likely_sources({"messages": [{"role": "user", "content": "Hi"}]}) == ("messages",)
    assert likely_sources({"question": "q", "answer": "a"}) == ("gsm8k",)
    assert likely_sources(plain) == ("mathchatsync", "sharegpt")
    assert likely_sources({**plain, "tools": "[]"}) == ("sharegpt",)
    assert likely_sources({"traj": []}) == ()
    assert likely_sources({"conversations": [{"from": ["human"], "value": "Hello"}]}) == ("sharegpt",)
