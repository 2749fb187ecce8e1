"""What keeps a row out: the plan shown, an argument made up, an error not mended; and what the switches put in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from data_prep.dialogue import Message, ToolCall
from data_prep.sources.button import to_dialogue
from data_prep.synth.button.agents import simulate
from data_prep.synth.button.pipeline import PROMPTS, Unique, button_pipeline, export, tagged_row
from data_prep.synth.button.scenarios import Deduplicate, SimilarTexts
from data_prep.synth.button.switches import FAITHFUL, SwitchError, Switches, read_switches
from data_prep.synth.button.toolbox import ListTools, ReuseFunctions, arguments_problem, check_schemas, result_problem
from data_prep.synth.button.values import Composed, Function, Scenario, Toolbox, Trajectory
from data_prep.synth.button.verify import check_hidden, check_outcome, check_provenance
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.pipeline import Row
from data_prep.synth.endpoint.prompts import Prompt, Prompts
from data_prep.synth.endpoint.store import Reply
from tests.synth.endpoint.button_model import say

STRING, NUMBER = {"type": "string"}, {"type": "number"}
FIND = Function("find_train", "Find a train.", {"city": STRING}, ["city"], {"train_id": STRING})
BOOK = Function(
    "book_seat", "Book a seat.", {"train_id": STRING, "name": STRING}, ["train_id", "name"], {"fare": NUMBER}
)
PLAN = ("Find the train to Lyon with the blue code K9 first of all things.", "Book a seat on that train for Ana.")
COMPOSED = Composed("Book Ana a seat to Lyon.", PLAN, PLAN[0], "sequential-2", "travel", None)
BOX = Toolbox(COMPOSED, ((FIND,), (BOOK,)), (BOOK, FIND))


def trajectory(thought: str = "I look first.", name: str = "Ana", tags: tuple[str, ...] = ()) -> Trajectory:
    find, book = ToolCall("call_0", "find_train", {"city": "Lyon"}), ToolCall("call_1", "book_seat", {})
    book = ToolCall("call_1", "book_seat", {"train_id": "T-1", "name": name})
    messages = (
        Message(role="user", content="A seat to Lyon for Ana, please."),
        Message(role="assistant", content=thought, tool_calls=(find,)),
        Message(role="tool", content='{"train_id": "T-1"}', tool_call_id="call_0", name="find_train"),
        Message(role="assistant", content="Now the seat.", tool_calls=(book,)),
        Message(role="tool", content='{"fare": 9.5}', tool_call_id="call_1", name="book_seat"),
        Message(role="assistant", content="Booked for 9.5.", thinking="All done."),
    )
    return Trajectory(BOX, messages, False, tags)


def ask_of(rule: Callable[[dict[str, Any]], str] = say) -> Ask:
    """An Ask whose replies come straight from a rule."""

    class Rule:
        model = "rule"

        async def answer(self, prompt: Prompt, messages: Any, sample: int, schema: Any) -> Reply:
            return Reply("key", rule({"messages": messages, "seed": sample}), "stop", 1, 1)

    return Ask(Rule(), Random(0))


def test_a_clean_trajectory_passes_and_comes_out_in_the_published_form() -> None:
    made = trajectory()
    check_hidden(made)
    check_outcome(made)
    check_provenance(made)
    ((row, _),) = asyncio.run(export(made, ask_of()))
    assert list(row) == ["messages"]
    assert [message["role"] for message in row["messages"]] == [
        "system", "user", "assistant", "tool", "assistant", "tool", "assistant"]  # fmt: skip
    assert to_dialogue(row, "x").messages == made.messages
    tagged = tagged_row(Row((3,), "seed", (row, made)))
    assert tagged["id"] == "synth-button-3" and "Find the train" not in json.dumps(tagged)


@pytest.mark.parametrize(
    "thought",
    [
        "Find the train to Lyon with the blue code comes first.",
        "The sub-task says so.",
        "My notes for you say so.",
        "It has the code K9.",
    ],
)
def test_a_thought_that_shows_the_plan_is_rejected(thought: str) -> None:
    with pytest.raises(Rejected, match="plan_leaked"):
        check_hidden(trajectory(thought))


@pytest.mark.parametrize("name", ["Bob", "T", "An"])
def test_an_argument_that_nobody_gave_is_rejected(name: str) -> None:
    with pytest.raises(Rejected, match="made_up_argument"):
        check_provenance(trajectory(name=name))


def test_a_parallel_call_that_needs_the_other_ones_result_is_rejected() -> None:
    made = trajectory()
    both = made.messages[1].tool_calls + made.messages[3].tool_calls
    messages = (
        made.messages[0],
        Message(role="assistant", content="Both at once.", tool_calls=both),
        made.messages[2],
        made.messages[4],
        made.messages[5],
    )
    with pytest.raises(Rejected, match=r"book_seat: train_id=\"T-1\" has no origin"):
        check_provenance(Trajectory(BOX, messages, True, ()))


def test_an_injected_error_must_be_met_and_mended() -> None:
    made = trajectory(tags=("tool_errors",))
    with pytest.raises(Rejected, match="no_error"):
        check_outcome(made)
    failed = Message(role="tool", content='{"error": "please retry"}', tool_call_id="call_0", name="find_train")
    messages = (*made.messages[:2], failed, *made.messages[3:])
    with pytest.raises(Rejected, match="no_recovery"):
        check_outcome(Trajectory(BOX, messages, False, ("tool_errors",)))


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ({"fare": 9.5}, None),
        ({"fare": "9.5"}, "is not of type"),
        ({}, "is a required property"),
        ({"fare": 9.5, "tip": 1}, "no such key"),
        ([9.5], "is not of type"),
    ],
)
def test_a_result_has_exactly_what_the_function_returns(result: Any, problem: str | None) -> None:
    found = result_problem(BOOK, result)
    assert found is None if problem is None else found is not None and problem in found


def test_a_similar_scenario_is_rejected_and_takes_its_seeds_later_rounds_along() -> None:
    texts = (("booking a train", "a", 0), ("Booking a train!", "b", 0), ("buying a cat", "c", 0), ("x", "b", 1))
    made = asyncio.run(Deduplicate(of_seeds=True)([Scenario(*each) for each in texts], ask_of()))
    assert [isinstance(each, Rejected) for each in made] == [False, True, False, True]


def test_a_function_that_another_task_has_is_taken_from_there_where_it_fits() -> None:
    same = Function("find_train", "Find one train.", {"city": STRING}, ["city"], {"train_id": STRING})
    other = Function("find_train", "Find a train.", {"city": NUMBER}, ["city"], {"train_id": STRING})
    boxes = [Toolbox(COMPOSED, ((f,),), (f,)) for f in (FIND, same, other)]
    made = asyncio.run(ReuseFunctions(Switches())(boxes, ask_of()))
    assert [box.functions[0][0] for (box,) in made] == [FIND, FIND, other]
    assert ["reuse_functions" in box.composed.tags for (box,) in made] == [False, True, False]


def test_the_list_of_tools_does_not_give_the_plan_away() -> None:
    others = [Function(f"{word}_thing", f"It is {word}.", {word: STRING}, [word], {f"{word}_id": STRING})
              for word in ("paint", "wash", "sell", "weigh")]  # fmt: skip
    boxes = [Toolbox(COMPOSED, ((f,),), (f,)) for f in others] + [BOX] * 20
    made = [box for (box,) in asyncio.run(ListTools(Switches(no_suitable_tool=0.0))(boxes, ask_of()))[4:]]
    assert all({FIND.name, BOOK.name} < {f.name for f in box.listed} for box in made)
    assert 5 < sum([f.name for f in box.listed].index("find_train") > 0 for box in made) < 20


def test_no_suitable_tool_lists_none_that_the_plan_needs_and_the_assistant_may_call_nothing() -> None:
    others = [Function(f"{word}_thing", f"It is {word}.", {word: STRING}, [word], {f"{word}_id": STRING})
              for word in ("paint", "wash", "sell", "weigh")]  # fmt: skip
    switches = Switches(tool_errors=0, missing_parameter=0, user_turns=0, no_suitable_tool=1)
    boxes = [Toolbox(COMPOSED, ((f,),), (f,)) for f in others] + [BOX]
    box = asyncio.run(ListTools(switches)(boxes, ask_of()))[-1][0]
    assert box.lacking and not {FIND.name, BOOK.name} & {f.name for f in box.listed}

    def calls(body: dict[str, Any]) -> str:
        if "You are a person" in body["messages"][0]["content"]:
            return json.dumps({"message": "A seat to Lyon for Ana."})
        return json.dumps({"observation": "", "thought": "I try.", "calls": [{"name": "paint_thing", "arguments": {}}]})

    with pytest.raises(Rejected, match="call nothing in this turn"):
        asyncio.run(simulate(Prompts(PROMPTS), switches, box, ask_of(calls)))


def test_switches_are_read_by_name_and_faithful_is_none_of_them() -> None:
    assert read_switches(True, []) == FAITHFUL
    assert read_switches(False, ["realism=0.5"]).realism == 0.5
    for wrong in ("realsim=1", "realism=2", "realism", "tool_errors=0.9"):
        with pytest.raises(SwitchError):
            read_switches(False, [wrong])
    names = [stage.name for stage in button_pipeline(FAITHFUL).stages]
    assert "realism" not in names and "list_tools" not in names and "reuse_functions" not in names


def test_glaive_dialogues_are_seeds_in_both_of_their_forms(real_data_dir: Path) -> None:
    sharegpt = button_pipeline(FAITHFUL, "sharegpt", str(real_data_dir / "glaive" / "glaive_toolcall_en_demo.json"))
    button = button_pipeline(FAITHFUL, "button", str(real_data_dir / "button" / "glaive.jsonl"))
    for pipeline in (sharegpt, button):
        _, seed = next(pipeline.seeds)
        assert "I have some ingredients" in seed.dialogue and "[calls search_recipes]" in seed.dialogue


def test_a_dialogue_that_leaves_a_sub_task_out_is_rejected() -> None:
    whole = trajectory()
    check_outcome(whole)
    short = msgspec.structs.replace(whole, messages=(*whole.messages[:3], whole.messages[-1]))
    with pytest.raises(Rejected, match=r"sub_task_left_out.*sub-task 2, which takes book_seat"):
        check_outcome(short)


def test_a_name_that_only_the_plan_has_may_not_be_known() -> None:
    composed = msgspec.structs.replace(COMPOSED, sub_tasks=(PLAN[0], "Book a seat on that train for Ana Ruizova."))
    whole = msgspec.structs.replace(trajectory(), toolbox=msgspec.structs.replace(BOX, composed=composed))
    check_hidden(whole)
    messages = (whole.messages[0], Message(role="assistant", content="A seat for Ruizova: I look first."))
    with pytest.raises(Rejected, match="only the plan says 'Ruizova'"):
        check_hidden(msgspec.structs.replace(whole, messages=messages))


def test_the_same_requests_and_calls_are_exported_once_whatever_the_clock() -> None:
    first = trajectory()
    later = msgspec.structs.replace(first, messages=(Message(role="system", content="It is Monday."), *first.messages))
    other = trajectory(name="Bo")
    made = asyncio.run(Unique()([first, later, other], ask_of()))
    assert [code.code if isinstance(code, Rejected) else "kept" for code in made] == ["kept", "duplicate_row", "kept"]
    assert "A seat to Lyon for Ana" in str(made[1])


@pytest.mark.parametrize(
    ("one", "other", "similar"),
    [
        ("booking a train for a trip", "train bookings for trips", True),
        ("planning a trip by train", "Planning a weekend trip by train.", True),
        ("booking a kiln for a film", "booking a cabin for a film", False),
        ("planning a party", "planning a garden", False),
        ("料理", "料理", True),
        ("", "", False),
    ],
)
def test_scenarios_are_alike_by_what_they_are_about_and_not_by_their_letters(
    one: str, other: str, similar: bool
) -> None:
    known = SimilarTexts()
    assert known.reject_similar(one) is None
    assert (known.reject_similar(other) is not None) is similar


def test_schemas_hold_to_the_letter_and_none_refers_elsewhere() -> None:
    tens = Function("pay", "Pay.", {"sum": {"type": "integer", "multipleOf": 10}}, ["sum"], {"sum": {"multipleOf": 10}})
    assert arguments_problem(tens, {"sum": 20}) is None
    assert "15 is not a multiple of 10" in str(arguments_problem(tens, {"sum": 15}))
    assert "15 is not a multiple of 10" in str(result_problem(tens, {"sum": 15}))
    elsewhere = {"type": "array", "items": {"$ref": "#/definitions/day"}}
    with pytest.raises(ValueError, match="'days' refers to another schema"):
        check_schemas(Function("plan", "Plan.", {"days": elsewhere}, [], {"ok": STRING}))


def test_a_list_without_distractors_at_hand_does_not_stand_in_the_order_of_the_plan() -> None:
    functions = tuple((Function(f"step_{n}", "One step.", {}, [], {f"part_{n}": STRING}),) for n in range(8))
    box = Toolbox(COMPOSED, functions, tuple(f for (f,) in functions))
    ((listed,),) = asyncio.run(ListTools(Switches())([box], ask_of()))
    names = [function.name for function in listed.listed]
    assert sorted(names) == [function.name for function in box.listed] != names


def test_a_user_who_names_a_function_is_rejected() -> None:
    whole = trajectory()
    messages = (Message(role="user", content="Call find_train for Lyon and seat Ana."), *whole.messages[1:])
    with pytest.raises(Rejected, match="tool_named: the user names find_train"):
        check_hidden(msgspec.structs.replace(whole, messages=messages))
