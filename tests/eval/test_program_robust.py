"""The task `program` under outputs that mean harm, and beside other episodes: its scores are its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from eval import transcripts
from eval.protocol import Reply, Request, Step
from eval.run import evaluate
from eval.tasks import TASKS, program
from tests.eval import policies
from tests.eval.helpers import ScriptedBackend, reply_of

ITEMS = program.load([], 40).items
ITEMS_BY_ID = {item.id: item for item in ITEMS}
CALL = '<call>[{{"name": {name}, "arguments": {arguments}}}]</call>'
EVIL = "</pre><script>alert(1)</script>\x1b[2J\x1b]0;owned\x07\u202e<|im_end|><img src=x onerror=alert(1)>"
HOSTILE = {
    "prose": EVIL,
    "nothing": "",
    "answer of a million digits": "<final>" + "9" * 1_000_000 + "</final>",
    "number of a million digits": '{"PARAM": ' + "9" * 1_000_000 + "}",
    "number of 4,299 digits": '{"PARAM": ' + "9" * 4_299 + "}",
    "nan": '{"PARAM": NaN}',
    "infinity": '{"PARAM": 1e999}',
    "deep": '{"PARAM": ' + '{"a":' * 900 + "1" + "}" * 900 + "}",
    "deeper": '{"PARAM": ' + "[" * 100_000 + "}",
    "half a surrogate": '{"PARAM": "\\ud800"}',
    "import": """{"PARAM": "__import__('os').abort()"}""",
    "escapes": '{"PARAM": ' + json.dumps(EVIL) + "}",
    "undeclared": json.dumps({EVIL: EVIL}),
    "null": '{"PARAM": null}',
    "true": '{"PARAM": true}',
    "object": '{"PARAM": {"$ref": "http://localhost/"}}',
    "list": "[1, 2]",
    "many": '{"a' + '": 1, "a'.join(map(str, range(300))) + '": 1}',
}


def hostile_text(name: str, tool: dict[str, Any], called: str | None = None) -> str:
    text = HOSTILE[name].replace("PARAM", next(iter(tool["parameters"]["properties"])))
    return CALL.format(name=json.dumps(called or tool["name"]), arguments=text) if text[:1] in ("{", "[") else text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_turn_does_nothing_to_the_world_and_the_episode_ends_scored(name: str) -> None:
    kinds = {item.gold["kind"]: item for item in ITEMS}
    for item in (kinds["calls"], kinds["absent"]):
        tools = [tool["function"] for tool in item.dialogue.tools]
        for tool, called in (
            (tools[0], None),
            (tools[1], None),
            (tools[0], "__import__('os').abort"),
            (tools[0], EVIL),
        ):
            steps: list[Step] = []
            while (request := program.next_request(item, steps)) is not None:
                steps.append(Step(request.dialogue, reply_of(hostile_text(name, tool, called), True)))
            _, environment = program.play(item, steps)
            assert not environment.world.ledger
            assert all(done.fault for done in environment.executed) or name == "number of 4,299 digits"
            score = program.score(item, steps)
            assert score.notes["ending"] != "unfinished" and not score.values.get("success")
            for step in steps:
                json.dumps(step.dialogue.to_dict(), allow_nan=False).encode()


def test_hostile_output_reaches_the_report_counted_and_escaped(tmp_path: Path) -> None:
    names = list(HOSTILE)

    def say(dialogue: Any) -> str:
        name = names[int(dialogue.id.rpartition("-")[2]) % len(names)]
        return hostile_text(name, dialogue.tools[0]["function"])

    report = run_task(ScriptedBackend(say), len(names) * 2, tmp_path)
    summary = report["tasks"]["program"]
    assert summary["n"] == len(names) * 2 and sum(summary["notes"]["ending"].values()) == len(names) * 2
    assert {"unparsed", "step_limit", "answer"} <= set(summary["notes"]["ending"])
    assert summary["metrics"]["success"]["right"] == 0 and summary["metrics"]["success"]["unparsed"] > 0
    assert not {*range(0, 10), *range(11, 32), 127} & set((tmp_path / transcripts.FILE).read_bytes())
    assert "made by the task from its seed" in (tmp_path / "report.md").read_text()


def run_task(backend: Any, limit: int, out: Path) -> dict[str, Any]:
    with open(os.devnull, "w") as nowhere:
        loaded = {"program": program.load([], limit)}
        return evaluate(backend, "model", [TASKS["program"]], loaded, [], out, console=Console(file=nowhere))


# ---- an episode depends on its own outputs alone


def test_which_metrics_apply_is_fixed_by_the_episode_so_that_any_two_runs_pair() -> None:
    for item in ITEMS[:8]:
        assert len({frozenset(policies.run(item, policy).values) for policy in POLICIES}) == 1


POLICIES = [
    policies.gold, policies.answers_at_once, policies.leaves_out_the_last_call, policies.calls_everything_twice,
    policies.gives_up_after_an_error, policies.always_calls, policies.never_stops, policies.parallel_calls_reversed,
]  # fmt: skip


class InterleavedBackend(ScriptedBackend):
    """Answers whichever waiting conversation the random generator picks."""

    def __init__(self, speakers: dict[str, policies.Policy], order: Random):
        super().__init__(lambda dialogue: policies.text_of(speakers[dialogue.id](ITEMS_BY_ID[dialogue.id], dialogue)))
        self.order = order

    def generate(self, requests: Any, follow_up: Any) -> None:
        waiting: dict[int, Request] = dict(enumerate(requests))
        while waiting:
            index = self.order.choice(list(waiting))
            reply: Reply = self._reply(waiting.pop(index))
            following = follow_up(index, reply)
            if following is not None:
                waiting[index] = following


@given(chosen=st.lists(st.sampled_from(POLICIES), min_size=6, max_size=6), order=st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_a_score_depends_on_the_episodes_own_outputs_not_on_batch_mates_or_their_order(
    chosen: list[policies.Policy], order: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    speakers = {item.id: policy for item, policy in zip(ITEMS[:6], chosen, strict=True)}
    out = tmp_path_factory.mktemp("interleaved")
    run_task(InterleavedBackend(speakers, order), 6, out)
    records = {record["item"]: record for record in transcripts.read(out)}
    for item in ITEMS[:6]:
        alone = policies.run(item, speakers[item.id])
        record = records[item.id]
        assert (record["values"], record["unparsed"], record["notes"]) == (alone.values, alone.unparsed, alone.notes)


def test_a_killed_run_goes_on_and_ends_with_the_same_report(tmp_path: Path) -> None:
    def say(dialogue: Any) -> str:
        return policies.text_of(policies.gold(ITEMS_BY_ID[dialogue.id], dialogue))

    whole = run_task(ScriptedBackend(say), 8, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_task(ScriptedBackend(say, dies_after=7), 8, tmp_path / "killed")
    assert run_task(ScriptedBackend(say), 8, tmp_path / "killed") == whole
    assert whole["tasks"]["program"]["metrics"]["success"]["score"] == 1.0
