"""What each switch puts into the rows, on rows that the rule-based model made without a server."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from itertools import islice
from typing import Any

from data_prep.sources.button import to_dialogue
from data_prep.synth.button.pipeline import button_pipeline
from data_prep.synth.button.switches import FAITHFUL, Switches
from data_prep.synth.endpoint.client import Budget
from data_prep.synth.endpoint.funnel import Funnel
from data_prep.synth.endpoint.pipeline import Row, Runner
from data_prep.synth.endpoint.prompts import Prompt
from data_prep.synth.endpoint.store import Reply
from tests.synth.endpoint.button_model import SENTINEL, say
from tests.synth.endpoint.test_button_pipeline import validate

ALL = Switches(tool_errors=0.25, missing_parameter=0.25, no_suitable_tool=0.25, user_turns=0.25)


class Rule:
    """The rule-based model in this process."""

    model = "rule"

    async def answer(self, prompt: Prompt, messages: Any, sample: int, schema: Any) -> Reply:
        return Reply("key", say({"messages": messages, "seed": sample}), "stop", 1, 1)


@cache
def made(switches: Switches, seeds: int = 110) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The exported rows and the funnel."""
    pipeline = button_pipeline(switches)
    funnel = Funnel([stage.name for stage in pipeline.stages], Budget())
    runner = Runner(pipeline.stages, Rule(), 0, funnel, 1)
    batch = [Row((n,), name, seed) for n, (name, seed) in enumerate(islice(pipeline.seeds, seeds))]
    return [pipeline.to_row(row) for row in asyncio.run(runner.run(batch))], funnel.report()


def tagged(name: str) -> list[dict[str, Any]]:
    rows = [row for row in made(ALL)[0] if name in row["meta"]["tags"]]
    assert rows, f"no row shows {name}"
    return rows


def roles(row: dict[str, Any]) -> list[str]:
    return [message["role"] for message in row["messages"]]


def test_no_exported_row_shows_the_hidden_plan_though_the_model_leaked_it() -> None:
    for switches in (ALL, FAITHFUL):
        rows, funnel = made(switches)
        assert rows and SENTINEL not in json.dumps(rows)
        verified = next(entry for entry in funnel if entry["stage"] == "verify")
        assert verified["rejected"]["plan_leaked"] > 0


def test_every_row_is_well_formed_by_a_validator_of_its_own() -> None:
    for switches in (ALL, FAITHFUL):
        for row in made(switches)[0]:
            validate(row["messages"], results_fit=switches == ALL)  # the paper does not check results


def test_faithful_rows_are_the_published_form_and_nothing_else() -> None:
    rows, funnel = made(FAITHFUL)
    assert all(list(row) == ["messages"] for row in rows)
    stages = {entry["stage"] for entry in funnel}
    assert not stages & {"realism", "reuse_functions", "list_tools"}
    assert {len(to_dialogue(row, "x").tools) for row in rows} <= {2, 3}
    assert not any(text in json.dumps(rows) for text in ("It is Monday", '"error\\": '))


def test_a_clock_stands_in_the_system_prompt() -> None:
    for row in tagged("clock"):
        assert "\n\nIt is " in row["messages"][0]["content"]


def test_an_injected_error_is_followed_by_the_same_call_and_a_result() -> None:
    for row in tagged("tool_errors"):
        entries = [entry for m in row["messages"] if m["role"] == "tool" for entry in json.loads(m["content"])]
        (failed,) = [entry for entry in entries if "error" in entry["results"]]
        again = [e for e in entries if (e["name"], e["arguments"]) == (failed["name"], failed["arguments"])]
        assert len(again) == 2 and "error" not in again[1]["results"]


def test_a_forgotten_detail_is_asked_for_before_any_call_and_used_afterwards() -> None:
    for row in tagged("missing_parameter"):
        assert roles(row)[:5] == ["system", "user", "assistant", "user", "assistant"]
        question, answer = row["messages"][2]["content"], row["messages"][3]["content"]
        assert "<call>" not in question and "?" in question
        detail = answer.removeprefix("I mean ").rstrip(".")
        assert detail not in row["messages"][1]["content"]
        assert any(detail in m["content"] for m in row["messages"][4:] if "<call>" in m["content"])


def test_where_no_tool_is_suitable_nothing_is_called() -> None:
    for row in tagged("no_suitable_tool"):
        assert roles(row) == ["system", "user", "assistant"] and "<call>" not in row["messages"][2]["content"]


def test_a_second_user_turn_comes_after_the_first_answer() -> None:
    for row in tagged("user_turns"):
        second = roles(row).index("user", 2)
        assert (
            "<final>" in row["messages"][second - 1]["content"] and "<call>" in row["messages"][second + 1]["content"]
        )


def test_distractors_are_listed_and_never_called() -> None:
    for row in tagged("distractors"):
        dialogue = to_dialogue(row, "x")
        called = {call.name for message in dialogue.messages for call in message.tool_calls}
        assert len(called) < len(dialogue.tools)


def test_long_chains_have_four_to_six_steps() -> None:
    assert {row["meta"]["shape"].split("-")[1] for row in tagged("long_chains")} <= {"4", "5", "6"}


def test_the_same_call_returns_the_same_within_a_dialogue() -> None:
    for row in tagged("consistent_tools"):
        results: dict[str, Any] = {}
        for message in row["messages"]:
            for entry in json.loads(message["content"]) if message["role"] == "tool" else ():
                if "error" not in entry["results"]:
                    key = json.dumps([entry["name"], entry["arguments"]], sort_keys=True)
                    assert results.setdefault(key, entry["results"]) == entry["results"]
