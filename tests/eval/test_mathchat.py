"""MathChat's open-ended tasks on the real rows: protocol, filters, and references fed as output."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from data_prep.dialogue import Message
from data_prep.mathchat_form import copied, parts
from eval.protocol import Item, Score, Step
from eval.tasks import TASKS, mathchat_error_analysis, mathchat_problem_generation
from tests.eval.helpers import reply_of


def play(task_name: str, item: Item, text: str) -> Score:
    """The score when the model says this."""
    task = TASKS[task_name]
    request = task.next_request(item, [])
    assert request is not None
    step = Step(request.dialogue, reply_of(text))
    assert task.next_request(item, [step]) is None
    return task.score(item, [step])


def totals(scores: list[Score], metric: str) -> tuple[int, int]:
    """(right, scored)"""
    values = [score.values[metric] for score in scores if metric in score.values]
    return int(sum(values)), len(values)


def generation_item(tmp_path: Path) -> Item:
    """One row of our own in the published schema."""
    row = {
        "question": "Tom has 3 boxes of 4 pens and gives 2 pens away. How many pens does he have left in the end?",
        "answer": "He has 3 * 4 = <<3*4=12>>12 pens.\n#### 10",
        "new_problem": "New Problem: ...\n\nSolution: ...",
    }
    path = tmp_path / "mathchat" / "P2P_Generation.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(row) + "\n")
    return mathchat_problem_generation.load([str(tmp_path)], None).items[0]


def test_error_analysis_keeps_the_published_rows_and_scores_its_references(real_data_dir: Path) -> None:
    loaded = mathchat_error_analysis.load([str(real_data_dir)], None)
    assert len(loaded.items) == 917 and loaded.left_out == {"not_two_a_turns": 83}
    scores = [play("mathchat_error_analysis", item, item.gold["reference"]) for item in loaded.items]
    assert totals(scores, "strict") == (907, 917)  # one reference is wrong, six state two numbers, three state none
    assert totals(scores, "paper_like") == (914, 917)
    assert totals(scores, "strict_attempt_right")[1] == 179
    assert totals(scores, "strict_attempt_wrong")[1] == 917 - 179
    assert Counter(score.unparsed.get("strict") for score in scores) == {
        None: 908, "several_numbers": 6, "no_stated_answer": 3,
    }  # fmt: skip


def test_error_analysis_poses_the_problem_as_the_models_own_turn(real_data_dir: Path) -> None:
    item = mathchat_error_analysis.load([str(real_data_dir)], 1).items[0]
    request = mathchat_error_analysis.TASK.next_request(item, [])
    assert request is not None and request.max_new_tokens == 500
    first, problem, attempt = request.dialogue.messages
    assert [message.role for message in (first, problem, attempt)] == ["user", "assistant", "user"]
    assert first.content.startswith("Please give me a math problem") and first.content.endswith("if I make errors.")
    assert problem.content.startswith("Janet's ducks") and "makes $16 daily" in attempt.content
    assert problem.content == item.gold["problem"] and attempt.content == item.gold["attempt"]


def test_problem_generation_references_are_new_and_their_arithmetic_holds(real_data_dir: Path) -> None:
    loaded = mathchat_problem_generation.load([str(real_data_dir)], None)
    assert len(loaded.items) == 1000 and loaded.left_out == {}
    scores = [play("mathchat_problem_generation", item, item.gold["reference"]) for item in loaded.items]
    assert totals(scores, "two_parts") == totals(scores, "new") == (1000, 1000)
    notes = Counter(score.notes["equations"] for score in scores)
    assert notes == {"all hold": 939, "some do not hold": 7, "none": 54}  # a few are miscalculated or loosely written
    assert totals(scores, "answer_computed") == (890, 1000)


def test_problem_generation_gives_the_seed_with_its_solution(real_data_dir: Path) -> None:
    item = mathchat_problem_generation.load([str(real_data_dir)], 1).items[0]
    request = mathchat_problem_generation.TASK.next_request(item, [])
    assert request is not None and request.max_new_tokens == 1024
    first, consent, seed = request.dialogue.messages
    assert [message.role for message in (first, consent, seed)] == ["user", "assistant", "user"]
    assert consent == Message(role="assistant", content="Understood, please give me the seed problem.")
    assert seed.content.startswith("Seed problem: Janet") and " Solution: Janet sells" in seed.content
    assert seed.content.endswith("#### 18\n")


NEW = "**New Problem:** Ann bakes 5 trays of 6 rolls and eats 4. How many are left?\n\n### Solution\n"


@pytest.mark.parametrize(
    ("text", "right", "unparsed"),
    [
        (NEW + "5 * 6 = 30\n30 - 4 = 26\nThe answer is 26.", "two_parts new arithmetic answer_computed", None),
        (NEW + "5 * 6 = 32\n32 - 4 = 28\nThe answer is 28.", "two_parts new answer_computed", None),
        (NEW + "5 * 6 = 30\n30 - 4 = 26\nThe answer is 27.", "two_parts new arithmetic", None),
        (NEW + "It is twenty-six.", "two_parts new", "no_equation"),
        ("Ann has 5 * 6 = 30 rolls.", "new", "no_solution"),
        ("", "", "no_solution"),
        ("Tom has 3 boxes of 4 pens and gives 2 pens away. How many pens does he have left in the end?\n"
         "Solution: 3 * 4 = 12\n#### 12", "two_parts arithmetic answer_computed", None),
        ("Solution: " * 50_000, "", "no_equation"),
        (NEW + "9^9^9^9 = " + "9" * 1_000_000, "two_parts new", "no_equation"),
        (NEW + "<script>\x1b[2J NaN = Infinity \ud800", "two_parts new", "no_equation"),
    ],
)  # fmt: skip
def test_what_a_generated_problem_computes_is_checked(
    tmp_path: Path, text: str, right: str, unparsed: str | None
) -> None:
    score = play("mathchat_problem_generation", generation_item(tmp_path), text)
    assert set(score.values) == set(mathchat_problem_generation.METRICS)
    assert [name for name, value in score.values.items() if value] == right.split()
    assert set(score.unparsed.values()) == ({unparsed} if unparsed else set())


def test_a_rejected_prompt_is_unparsed_and_its_reason_is_no_answer(tmp_path: Path, real_data_dir: Path) -> None:
    refusal = reply_of("status 400: at most 18 tokens")._replace(
        message=None, error="refused_by_server", finish_reason="rejected"
    )
    analysis = mathchat_error_analysis.load([str(real_data_dir)], 1).items[0]
    for name, item in (
        ("mathchat_problem_generation", generation_item(tmp_path)),
        ("mathchat_error_analysis", analysis),
    ):
        score = TASKS[name].score(item, [Step(item.dialogue, refusal)])
        assert not any(score.values.values())
        assert set(score.unparsed.values()) == {"refused_by_server"}


def test_headings_of_many_kinds_part_problem_and_solution() -> None:
    for heading in ("Solution:", "**Solution:**", "### Detailed Solution", "Step-by-step solution:", "Answer:"):
        assert parts(f"Problem: How many?\n{heading}\nTwo.") == ("How many?", parts(f"x\n{heading}\nTwo.").solution)
        assert (parts(f"x\n{heading}\nTwo.").solution or "").endswith("Two.")
    assert parts("The solution is a liquid. How much?").solution is None


def test_a_copied_problem_is_not_new() -> None:
    seed = "Tom has 3 boxes of 4 pens and gives 2 pens away. How many pens does he have left?"
    assert copied(seed, seed) and copied("Problem: " + seed, seed)
    assert not copied("Ann bakes 5 trays of 6 rolls and eats 4 of them. How many rolls are left?", seed)
