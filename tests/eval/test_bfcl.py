"""BFCL's multi-turn task: gold passes, less than gold fails, and a user turn goes on as in the package's own runner.

Tests marked `needs_bfcl` skip without the package. BFCL_ALL=1 plays all 800 entries (2 to 10 minutes), not every 21st.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from data_prep import button
from data_prep.dialogue import Dialogue, ToolCall
from eval import transcripts
from eval.environments import bfcl
from eval.environments.bfcl import executor
from eval.protocol import Item, Loaded, Reply
from eval.run import evaluate
from eval.tasks import TASKS
from eval.tasks import bfcl_multi_turn as task
from tests.eval.bfcl_helpers import (
    ANSWER,
    GARBLED,
    all_items,
    calling,
    gold,
    gold_calls,
    needs_bfcl,
    play,
    replies_of,
    without_the_last_call,
)
from tests.eval.helpers import ScriptedBackend


@pytest.fixture
def items() -> list[Item]:
    return all_items()


# ---- known answers


@needs_bfcl
@pytest.mark.slow
def test_gold_passes_every_entry_and_gold_less_its_last_call_none(items: list[Item]) -> None:
    played = items if os.environ.get("BFCL_ALL") else items[::21]
    assert len(items) == 800 and len({item.gold["category"] for item in played}) == 4
    whole = {item.id: play(item, replies_of(gold(item)))[1] for item in played}
    assert [name for name, score in whole.items() if set(score.values.values()) != {1.0}] == []
    assert {score.notes["failure"] for score in whole.values()} == {"none"}
    less = {item.id: play(item, replies_of(without_the_last_call(item)))[1] for item in played}
    assert [name for name, score in less.items() if score.values["success"] != 0.0] == []
    assert all(score.values["turns"] < 1 and not score.unparsed for score in less.values())


@needs_bfcl
def test_a_limit_takes_all_categories_of_the_first_scenarios() -> None:
    loaded = task.load([], 8)
    assert Counter(item.gold["category"] for item in loaded.items) == dict.fromkeys(task.CATEGORIES, 2)
    assert [item.cluster for item in loaded.items] == ["multi_turn_0"] * 4 + ["multi_turn_1"] * 4


@needs_bfcl
def test_constants_and_hints_are_the_packages_own() -> None:
    package = bfcl.package_folder()
    prompts = (package / "constants/default_prompts.py").read_text()
    assert f"MAXIMUM_STEP_LIMIT = {task.MAX_STEPS}\n" in prompts and task.MORE_FUNCTIONS in prompts
    assert task.PYTHON_HINT in (package / "utils.py").read_text()
    assert task.FLOAT_HINT in (package / "model_handler/utils.py").read_text()
    assert all(Path(file).is_file() for file in task.data_files([]))


# ---- the protocol


@needs_bfcl
def test_a_withheld_function_is_listed_from_the_turn_that_announces_it(items: list[Item]) -> None:
    item = next(item for item in items if item.gold["category"] == "miss_func")
    [(at, [tool])] = item.gold["added_tools"].items()
    steps, _ = play(item, replies_of(gold(item)))
    for step in steps:
        asked = [message for message in step.dialogue.messages if message.role == "user"]
        assert (tool in step.dialogue.tools) == (len(asked) > int(at))
        assert len(asked) <= int(at) or asked[int(at)].content == task.MORE_FUNCTIONS
    ids = [call.id for message in steps[-1].dialogue.messages for call in message.tool_calls]
    assert ids == [f"call_{number}" for number in range(len(ids))]


@needs_bfcl
def test_twenty_steps_and_an_answer_are_a_turn_and_one_step_more_fails_the_entry(items: list[Item]) -> None:
    item = items[0]
    look = replies_of([[ToolCall("call_0", "ls", {})]])[:1]
    _, score = play(item, look * 19 + replies_of(gold(item)))
    assert score.values["success"] == 1.0
    steps, score = play(item, look * 21 + replies_of(gold(item)))
    assert len(steps) == 21 and score.notes["ending"] == "step_limit" and set(score.values.values()) == {0.0}


@needs_bfcl
def test_a_turn_that_cannot_be_read_ends_the_user_turn_and_counts_only_where_something_failed(
    items: list[Item],
) -> None:
    replies = replies_of(gold(items[0]))
    assert replies[1].message == ANSWER
    steps, late = play(items[0], [replies[0], GARBLED, *replies[2:]])
    assert late.values["success"] == 1.0 and not late.unparsed and late.notes["unread_turns"] == "1"
    assert steps[2].dialogue.messages[-2].content == GARBLED.text and steps[2].dialogue.messages[-1].role == "user"
    _, early = play(items[0], [GARBLED, *replies[2:]])
    assert early.values["turns"] == 0.0 and early.unparsed["success"] == "call_json"
    refusal = Reply("", None, "prompt_too_long", "rejected", "", "", 9000, 0)
    _, cut = play(items[0], [*replies[:2], refusal])
    assert cut.values["turns"] == 0.25 and cut.notes["ending"] == "rejected"
    assert cut.unparsed["success"] == "prompt_too_long"


@needs_bfcl
def test_calling_where_a_function_or_a_value_is_missing_is_not_waiting(items: list[Item]) -> None:
    for category in ("miss_func", "miss_param"):
        item = next(item for item in items if item.gold["category"] == category)
        turns = gold(item)
        turns[item.gold["calls"].index([])] = [ToolCall("call_0", "pwd", {})]
        _, score = play(item, replies_of(turns))
        assert score.values["waited"] == 0.0 and score.values["success"] == 1.0  # pwd changes nothing


def gold_text(dialogue: Dialogue) -> str:
    item = next(item for item in all_items() if item.id == dialogue.id)
    turn = sum(message.role == "user" for message in dialogue.messages) - 1
    calls = gold_calls(item, turn) if dialogue.messages[-1].role == "user" else []
    return "".join(button.render_turn(calling(*calls) if calls else ANSWER))


@needs_bfcl
def test_a_killed_run_goes_on_and_ends_with_the_same_report(tmp_path: Path) -> None:
    def run(backend: ScriptedBackend, out: str) -> dict[str, Any]:
        loaded = {"bfcl_multi_turn": Loaded(all_items()[:8], {})}
        with open(os.devnull, "w") as nowhere:
            return evaluate(backend, "model", [TASKS["bfcl_multi_turn"]], loaded, [], tmp_path / out,
                            console=Console(file=nowhere))["tasks"]  # fmt: skip

    whole = run(ScriptedBackend(gold_text), "whole")
    assert whole["bfcl_multi_turn"]["metrics"]["success"]["right"] == 8
    with pytest.raises(KeyboardInterrupt):
        run(ScriptedBackend(gold_text, dies_after=21), "killed")
    executor().stop()
    assert run(ScriptedBackend(gold_text), "killed") == whole
    assert len(transcripts.read(tmp_path / "killed")) == 8
