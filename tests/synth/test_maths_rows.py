"""Laws of synthetic maths dialogues."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.sources.gsm8k import to_dialogue as read_gsm8k
from data_prep.sources.mathchatsync import to_dialogue as read_mathchatsync
from data_prep.synth.maths.dialogues import CORRECTIONS, STORIES, make_gsm8k_row, make_row
from data_prep.synth.maths.expressions import Constant, Expression, Operation
from data_prep.synth.maths.verify import calculate, check_row

ROWS = {split: [make_row(split, 2, index) for index in range(250)] for split in ("train", "held_out")}
BOTH = pytest.mark.parametrize("split", ["train", "held_out"])

trees = st.recursive(
    st.integers(1, 99).map(Constant),
    lambda inner: st.builds(Operation, st.sampled_from("+-*"), inner, inner),
    max_leaves=6,
)


@given(trees)
def test_a_trees_text_has_the_trees_value(tree: Expression):
    assert calculate(tree.text({})) == tree.value({})


@BOTH
def test_every_row_is_proven_by_the_independent_checker(split):
    problems = {row["id"]: check_row(row) for row in ROWS[split]}
    assert not {key: found for key, found in problems.items() if found}


@pytest.mark.parametrize("change", [lambda t: t.replace(" = ", " = 7", 1), lambda t: "It was 99991. " + t])
def test_the_checker_notices_a_wrong_or_unfounded_number(change):
    row = copy.deepcopy(next(row for row in ROWS["train"] if row["meta"]["form"] == "follow_up"))
    row["conversations"][1]["value"] = change(row["conversations"][1]["value"])
    assert check_row(row)


@BOTH
def test_all_forms_occur_and_follow_ups_build_on_the_problem(split):
    forms = {row["meta"]["form"] for row in ROWS[split]}
    assert forms == {"follow_up", "correction", "self_correction"}
    for row in ROWS[split]:
        assert len(row["conversations"]) == (6 if row["meta"]["form"] == "follow_up" else 4)
        trained = [turn for turn in row["conversations"] if turn["from"] == "gpt" and turn.get("train", True)]
        assert len(row["meta"]["answers"]) == len(trained)


def test_a_wrong_attempt_reaches_another_answer_and_its_correction_the_right_one():
    for row in (row for rows in ROWS.values() for row in rows if row["meta"]["form"] == "correction"):
        attempt = row["conversations"][0]["value"].split("\n\n")[1]
        results = re.findall(r"= (\d+)", attempt)
        answer = str(row["meta"]["answers"][0])
        assert results[-1] != answer
        assert row["conversations"][1]["value"].endswith(f"The answer is {answer}.")


@BOTH
def test_a_wrong_attempt_of_gpt_is_marked_and_nothing_else_is(split):
    marked = {}
    for row in ROWS[split]:
        dialogue = read_mathchatsync(row, "fallback")
        untrained = [index for index, message in enumerate(dialogue.messages) if not message.train]
        marked.setdefault(row["meta"]["form"], set()).add(tuple(untrained))
        for index in untrained:
            attempt, answer = row["conversations"][index]["value"], row["meta"]["answers"][-1]
            assert re.search(r"The answer is \d+\.$", attempt) and not attempt.endswith(f" {answer}.")
    assert marked == {"follow_up": {()}, "correction": {()}, "self_correction": {(1,)}}


def test_the_checker_notices_an_attempt_that_is_marked_and_right():
    row = copy.deepcopy(next(row for row in ROWS["train"] if row["meta"]["form"] == "self_correction"))
    assert not check_row(row)
    row["conversations"][1]["value"] += f" The answer is {row['meta']['answers'][0]}."
    assert check_row(row) == [
        f"the attempt that is not trained on says {row['meta']['answers'][0]}, the right answer or none"
    ]


def test_the_splits_share_no_family_and_no_run_of_four_words():
    assert not {s.name for s in STORIES["train"]} & {s.name for s in STORIES["held_out"]}
    runs = {}
    for split, rows in ROWS.items():
        runs[split] = set()
        for row in rows:
            for turn in row["conversations"][::2]:
                words = re.findall(r"[a-z']+", turn["value"].lower())
                runs[split] |= {tuple(words[i : i + 4]) for i in range(len(words) - 3)}
    assert not runs["train"] & runs["held_out"]
    frames = [{frame for field in correction for frame in field} for correction in CORRECTIONS.values()]
    assert not frames[0] & frames[1]


@BOTH
def test_rows_are_read_by_the_sources_they_are_written_for(split):
    for index, row in enumerate(ROWS[split][:40]):
        assert len(read_mathchatsync(row, "fallback").messages) == len(row["conversations"])
        single = make_gsm8k_row(split, 2, index)
        dialogue = read_gsm8k(single, "fallback")
        assert dialogue.meta["gold"] == single["answer"].rsplit("#### ", 1)[1]
        for tree, value in re.findall(r"<<(.*?)=(\d+)>>", single["answer"]):
            assert calculate(tree) == int(value)


def test_every_story_can_be_drawn_with_every_follow_up():
    for stories in STORIES.values():
        for story in stories:
            assert len(story.follow_ups) >= 2 and story.problems and story.steps
    asked = {row["meta"]["family"] for rows in ROWS.values() for row in rows}
    assert asked == {story.name for stories in STORIES.values() for story in stories}
