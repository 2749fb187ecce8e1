"""Known answers on the real benchmark rows: gold fed as output scores as the gold's form predicts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from data_prep.dialogue import Dialogue, Message, write_jsonl
from data_prep.mathchat_form import split_turns
from eval.protocol import EvalError, Item, Score, Step
from eval.tasks import TASKS, function_calls, gsm8k, mathchat_error_correction, mathchat_follow_up
from tests.eval.helpers import ask, gold_speaker, reply_of


def play(task_name: str, item: Item, turns: list[Message]) -> Score:
    """The score when the model says these turns."""
    task, steps = TASKS[task_name], list[Step]()
    while (request := task.next_request(item, steps)) is not None:
        steps.append(Step(request.dialogue, reply_of(turns[len(steps)].content)))
    assert len(steps) == len(turns)
    return task.score(item, steps)


def totals(scores: list[Score], metric: str) -> tuple[int, int]:
    """(right, scored)"""
    values = [score.values[metric] for score in scores if metric in score.values]
    return int(sum(values)), len(values)


def test_the_calls_task_holds_the_turns_of_function_calls_whose_gold_is_a_call(real_data_dir: Path) -> None:
    path = [str(real_data_dir / "button" / "glaive.jsonl")]
    every, calls = (TASKS[name].load(path, None).items for name in ("function_calls", "calls"))
    assert calls == [item for item in every if item.gold["message"].get("tool_calls")]
    assert 0 < len(calls) < len(every)
    assert TASKS["calls"].load(path, 7).items == calls[:7]


def test_gsm8k_gold_as_output_scores_all_right(real_data_dir: Path) -> None:
    items = gsm8k.load([str(real_data_dir)], None).items
    scores = [play("gsm8k", item, gsm8k.feed(item)) for item in items]
    assert totals(scores, "strict") == (1319, 1319)
    assert totals(scores, "paper_like") == (1319, 1319)


def test_gsm8k_gold_changed_by_one_scores_all_wrong_and_none_unparsed(real_data_dir: Path) -> None:
    items = gsm8k.load([str(real_data_dir)], None).items
    for item in items:
        gold = int(item.gold["answer"].rpartition("####")[2].replace(",", ""))
        score = play("gsm8k", item, [Message(role="assistant", content=f"The answer is {gold + 1}.")])
        assert set(score.values.values()) == {0.0}
        assert not score.unparsed


def test_follow_up_references_as_output_score_as_their_parse_counts_predict(real_data_dir: Path) -> None:
    loaded = mathchat_follow_up.load([str(real_data_dir)], None)
    assert len(loaded.items) == 1000 and loaded.left_out == {}
    scores = [play("mathchat_follow_up", item, mathchat_follow_up.feed(item)) for item in loaded.items]
    kinds = {key: Counter(score.notes[key] for score in scores) for key in ("gold_r1", "gold_r2", "gold_r3")}
    assert kinds["gold_r1"] == {"one": 1000}
    assert kinds["gold_r2"] == {"one": 972, "several": 26, "none": 2}
    assert kinds["gold_r3"] == {"one": 973, "several": 25, "none": 2}
    assert [totals(scores, f"strict_r{k}") for k in (1, 2, 3)] == [(1000, 1000), (972, 972), (973, 973)]
    # The lenient scorer reads the wrong number where the text goes on behind a gold without "The answer is".
    assert [totals(scores, f"paper_like_r{k}") for k in (1, 2, 3)] == [(1000, 1000), (970, 972), (971, 973)]


def test_a_round_that_could_not_be_asked_stays_in_its_denominator(real_data_dir: Path) -> None:
    item = mathchat_follow_up.load([str(real_data_dir)], 1).items[0]
    request = mathchat_follow_up.next_request(item, [])
    assert request is not None
    answered = Step(request.dialogue, reply_of(item.gold["answers"][0]))
    too_long = reply_of("")._replace(message=None, error="prompt_too_long", finish_reason="rejected")
    score = mathchat_follow_up.score(item, [answered, Step(request.dialogue, too_long)])
    for scorer in ("strict", "paper_like"):
        assert [score.values[f"{scorer}_r{number}"] for number in (1, 2, 3)] == [1, 0, 0]
        assert [score.unparsed.get(f"{scorer}_r{number}") for number in (2, 3)] == ["prompt_too_long"] * 2


def test_error_correction_keeps_the_rows_the_published_script_keeps(real_data_dir: Path) -> None:
    loaded = mathchat_error_correction.load([str(real_data_dir)], None)
    assert len(loaded.items) == 994 and loaded.left_out == {"not_two_a_turns": 6}
    scores = [play("mathchat_error_correction", i, mathchat_error_correction.feed(i)) for i in loaded.items]
    assert totals(scores, "strict") == (992, 994)  # one reference states 240 for 150, one states two numbers
    assert totals(scores, "paper_like") == (993, 994)
    assert totals(scores, "strict_attempt_right")[1] == 143
    assert totals(scores, "strict_attempt_wrong")[1] == 994 - 143


def test_each_round_sees_the_models_own_answers_and_no_system_prompt(real_data_dir: Path) -> None:
    item = mathchat_follow_up.load([str(real_data_dir)], 1).items[0]
    steps: list[Step] = []
    while (request := mathchat_follow_up.next_request(item, steps)) is not None:
        assert request.max_new_tokens == 400
        steps.append(Step(request.dialogue, reply_of(f"own answer {len(steps)}")))
    messages = steps[-1].dialogue.messages
    assert [message.role for message in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert messages[0].content.startswith("Solve this problem: Janet")
    assert [messages[1].content, messages[3].content] == ["own answer 0", "own answer 1"]
    assert messages[4].content.startswith("On Wednesdays, Janet")


def test_error_correction_shows_the_wrong_attempt_as_the_models_own(real_data_dir: Path) -> None:
    item = mathchat_error_correction.load([str(real_data_dir)], 1).items[0]
    request = mathchat_error_correction.TASK.next_request(item, [])
    assert request is not None and request.max_new_tokens == 300
    assert [message.role for message in request.dialogue.messages] == ["user", "assistant", "user"]
    assert "she must make $20" in request.dialogue.messages[1].content


def test_turns_split_as_the_published_scripts_split() -> None:
    assert split_turns("A preamble.\nA: one\nB: two\n\nA:three B: four") == (["one", "three"], ["two", "four"])


@pytest.mark.parametrize("name", ["airline", "glaive"])
def test_function_calls_gold_as_output_is_all_exact(real_data_dir: Path, name: str) -> None:
    path = str(real_data_dir / "button" / f"{name}.jsonl")
    items = function_calls.load([path], 400).items
    say = gold_speaker(items)
    scores = [function_calls.score(i, [Step(i.dialogue, reply_of(say(i.dialogue), True))]) for i in items]
    turns = Counter(score.notes["gold"] for score in scores)
    for metric in function_calls.CALL_METRICS:
        assert totals(scores, metric) == (turns["call"], turns["call"]), metric
    assert totals(scores, "answer_same") == (turns["answer"], turns["answer"])
    right, scored = totals(scores, "answer_numbers")
    assert right == scored > 0


def weather_item(which: int) -> Item:
    dialogue = ask("Oslo", 0)
    return function_calls._item(dialogue, which)


@pytest.mark.parametrize(
    ("said", "right", "unparsed"),
    [
        ('x<call>[{"name": "forecast", "arguments": {"city": "Oslo"}}]</call>', 6, None),
        ('<call>[{"name": "forecast", "arguments": {"city": "Bergen"}}]</call>', 4, None),
        ('<call>[{"name": "weather", "arguments": {"city": "Oslo"}}]</call>', 2, None),
        ('<call>[{"name": "forecast", "arguments": {}}]</call>', 3, None),
        ("It is warm.<final>4</final>", 0, None),
        ('<call>[{"name": "forecast", "arguments": {"city": "Oslo"}</call>', 0, "call_json"),
        ('<call>[{"name": "forecast"', 0, "unclosed"),
        ("", 0, "no_action"),
        ('<call>[{"name": "forecast", "arguments": {"city": NaN}}]</call>', 0, "call_json"),
        ("<call>" + "[" * 100_000 + "</call>", 0, "call_json"),
        ('<call>[{"name": "forecast", "arguments": {"city": ' + "9" * 1_000_000 + "}}]</call>", 0, "call_json"),
        ('<call>[{"name": "forecast", "arguments": {"city": "__import__(\'os\').abort()"}}]</call>', 4, None),
    ],
)
def test_wrong_and_unparsed_differ_for_calls(said: str, right: int, unparsed: str | None) -> None:
    item = weather_item(1)
    score = function_calls.score(item, [Step(item.dialogue, reply_of(said, True))])
    assert set(score.values) == set(function_calls.CALL_METRICS)
    assert sum(score.values.values()) == right
    assert set(score.unparsed.values()) == ({unparsed} if unparsed else set())


def test_a_call_where_an_answer_is_due_scores_nothing() -> None:
    item = weather_item(3)
    reply = reply_of('<call>[{"name": "forecast", "arguments": {"city": "Oslo"}}]</call>', True)
    score = function_calls.score(item, [Step(item.dialogue, reply)])
    assert set(score.values) == set(function_calls.ANSWER_METRICS)
    assert not any(score.values.values())
    assert not score.unparsed


def test_untrained_turns_and_greetings_are_not_asked_for(tmp_path: Path) -> None:
    rows = [
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Add 1 and 1."},
        {"role": "assistant", "content": "3", "train": False},
        {"role": "user", "content": "No."},
        {"role": "assistant", "content": "2"},
    ]
    path = tmp_path / "held_out.jsonl"
    write_jsonl(str(path), [Dialogue.from_dict({"id": "d", "messages": rows})])
    assert [item.id for item in function_calls.load([str(tmp_path)], None).items] == ["d/4"]


@pytest.mark.parametrize(("task", "command"), [("gsm8k", "download gsm8k"), ("mathchat_follow_up", "download mathchat"),
                                               ("function_calls", "data_prep build")])  # fmt: skip
def test_missing_data_names_the_command_that_fetches_it(tmp_path: Path, task: str, command: str) -> None:
    with pytest.raises(EvalError, match=command):
        TASKS[task].load([str(tmp_path)], None)


def test_a_file_without_a_row_of_the_protocol_is_an_error_and_no_empty_report(tmp_path: Path) -> None:
    (tmp_path / "mathchat").mkdir()
    (tmp_path / "mathchat" / "follow_up.jsonl").write_text(
        '{"question": "q", "answer": "#### 1", "followup": "A: x"}\n'
    )
    with pytest.raises(EvalError, match="no row holds a dialogue of two A turns"):
        mathchat_follow_up.load([str(tmp_path)], None)


def test_a_broken_benchmark_file_names_file_and_row(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    path = tmp_path / "gsm8k" / "test.jsonl"
    path.write_text(json.dumps({"question": "?", "answer": "#### 1"}) + "\n{broken\n")
    with pytest.raises(EvalError, match=r"test\.jsonl:2: not JSON"):
        gsm8k.load([str(tmp_path)], None)
    path.write_text("")
    with pytest.raises(EvalError, match="is empty"):
        gsm8k.load([str(tmp_path)], None)
