"""The checks of a maths turn, one by one: what is refused, what is let through, and what a plan must be."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from data_prep.numbers import gold_numbers
from data_prep.readers import RawRow
from data_prep.synth.cli import main as synth
from data_prep.synth.endpoint.ask import Ask, DryRun, Rejected
from data_prep.synth.mathchat import checks
from data_prep.synth.mathchat.benchmark import Items
from data_prep.synth.mathchat.pipeline import Unique
from data_prep.synth.mathchat.plan import DEEPEST, LATER, OPENINGS, PAIRS, PEAK_SHARE, Plan, plan_for
from data_prep.synth.mathchat.problems import Problem, number_text, read_problem
from data_prep.synth.mathchat.talk import Talk

TEN = gold_numbers("#### 10")[0]


def rejection(check: Any, *arguments: Any) -> str:
    """The code of the rejection, `form` for a ValueError, `` where the check passes."""
    try:
        check(*arguments)
    except Rejected as reason:
        return reason.code
    except ValueError:
        return "form"
    return ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("There are 3 * 4 = 12 pens, so 12 - 2 = 10 stay. The answer is 10.", ""),
        ("So 12 - 2 = 10. The answer is $\\boxed{10}$.", ""),
        ("So 12 - 2 = 10. The answer is 11.", "wrong_final_number"),
        ("So 12 - 2 = 11, or rather ten. The answer is 10.", "wrong_equation"),
        ("So 12 - 2 = 10.", "form"),
        ("It is 10 or 11. The answer is 10 or 11.", "form"),
        ("The answer is 10. Tell me if you need more.\n\nBye.", "form"),
        ("So 12 - 2 = 10. The answer is 10. Bye!", "form"),
        ("Sure, here you go.\n\n12 - 2 = 10. The answer is 10.", "form"),
        ("Tutor: 12 - 2 = 10. The answer is 10.", "form"),
        ("12 - 2 = <<12-2=10>>10. The answer is 10.", "form"),
        ("As the reference solution says, 12 - 2 = 10. The answer is 10.", "form"),
        ("", "form"),
    ],
)
def test_a_tutors_turn_ends_in_the_gold_number_and_computes(text: str, code: str) -> None:
    assert rejection(checks.final_answer, text, TEN) == code


def test_a_wrong_equation_may_be_cited_from_the_attempt_and_only_from_there() -> None:
    text = "You wrote 12 + 2 = 15, but 12 - 2 = 10. The answer is 10."
    assert rejection(checks.final_answer, text, TEN, "12 + 2 = 15. The answer is 15.") == ""
    assert rejection(checks.final_answer, text, TEN, "12 + 2 = 14. The answer is 14.") == "wrong_equation"


@pytest.mark.parametrize(
    ("calculation", "claimed", "wanted"),
    [
        ("(3 + 2) * 4 - 2", "18", "18"),
        ("5 / 2", "2.50", "2.5"),
        ("1,200 - 1", "1199", "1199"),
        ("2 - 5", "-3", "-3"),
        ("3 * 4 = 12", "$12", "12"),
        ("20% * 50", "10", "10"),
        ("3 * 4", "13", "wrong_final_number"),
        ("10 / 3", "3.33", "form"),  # no plain number comes out
        ("x + 4", "7", "form"),
        ("12", "12", "form"),
        ("9 ^ 9 ^ 9", "1", "form"),
        ("__import__('os')", "1", "form"),
        ("3 * 4", "12 or 13", "form"),
    ],
)
def test_a_follow_ups_answer_is_recomputed_exactly(calculation: str, claimed: str, wanted: str) -> None:
    try:
        assert checks.recomputed(calculation, claimed) == wanted
    except (Rejected, ValueError):
        assert rejection(checks.recomputed, calculation, claimed) == wanted


def test_an_attempt_is_wrong_a_hint_keeps_the_answer_and_a_question_states_none() -> None:
    assert rejection(checks.wrong_attempt, "12 + 2 = 14. The answer is 14.", TEN) == ""
    assert rejection(checks.wrong_attempt, "12 - 2 = 10. The answer is 10.", TEN) == "attempt_is_right"
    assert rejection(checks.wrong_attempt, "Perhaps 14.", TEN) == "form"
    assert rejection(checks.hint, "Should it not be 10?", "3 boxes of 4", TEN) == "form"
    assert rejection(checks.hint, "What about the 10 boxes?", "10 boxes, 5 empty", TEN) == ""
    assert rejection(checks.asked, "How many? The answer is 10.") == "form"
    assert rejection(checks.agrees, "Since 3 * 4 = 12.", TEN) == ""
    assert rejection(checks.agrees, "Since 3 * 4 = 12. The answer is 12.", TEN) == "wrong_final_number"


def test_a_new_problem_computes_its_answer_and_can_be_told_from_its_solution() -> None:
    problem = "Ada has 4 boxes of 6. How many is that?"
    assert rejection(checks.two_parts, problem, "4 * 6 = 24. The answer is 24.") == ""
    assert rejection(checks.two_parts, problem, "4 * 6 = 24. The answer is 25.") == "answer_not_computed"
    assert rejection(checks.two_parts, problem, "4 * 6 = 25. The answer is 25.") == "wrong_equation"
    assert rejection(checks.two_parts, problem, "It is plain to see. The answer is 24.") == "answer_not_computed"
    assert rejection(checks.two_parts, f"{problem}\nSolution: none", "4 * 6 = 24. The answer is 24.") == "form"


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"question": "q", "answer": "2 * 600 = <<2*600=1200>>1,200\n#### 1,200"}, "1200"),
        ({"problem": "q", "solution": "So it is $\\boxed{\\frac{2}{3}}$."}, "2/3"),
        ({"question": "q", "answer": "-2.50"}, "-2.50"),
        ({"question": "q", "answer": "The answer is yes."}, "no_gold"),
        ({"question": "q", "answer": "The answer is 3 or 4."}, "several_golds"),
        ({"question": "q", "answer": "#### 1", "followup": "A: ..."}, "benchmark_row"),
        ({"text": "q"}, "row_keys"),
        ({"question": "q", "answer": None}, "row_keys"),
    ],
)
def test_a_problem_is_read_with_one_gold_number_or_refused_by_name(row: dict[str, Any], answer: str) -> None:
    try:
        problem = read_problem(RawRow("f", 1, row))
    except Rejected as reason:
        assert reason.code == answer
    else:
        assert problem.answer == answer == number_text(problem.gold)
        assert "<<" not in problem.solution and problem.solution.endswith(f"The answer is {answer}.")


def test_plans_fill_their_depth_cover_1_to_16_and_peak_at_6() -> None:
    plans = [plan_for(index, Random(index)) for index in range(2000)]
    for plan in plans:
        assert sum(PAIRS[move] for move in plan.moves) == plan.depth
        assert plan.moves[0] in {moves[0] for moves in OPENINGS.values()} and set(plan.moves[1:]) <= {*LATER}
    depths = Counter(plan.depth for plan in plans)
    assert set(depths) == set(range(1, DEEPEST + 1))
    assert abs(depths[6] / len(plans) - PEAK_SHARE) < 0.01
    kinds = Counter(plan.kind for plan in plans)
    assert len(kinds) == 5 and min(kinds.values()) > 0.18 * len(plans)
    assert {plan.depth for plan in plans[:200]} == set(range(1, DEEPEST + 1))


def test_a_near_copy_of_an_earlier_dialogue_and_evaluation_text_are_rejected(tmp_path: Path) -> None:
    from data_prep.contamination import Contamination

    story = "A farmer sells 12 crates of pears on Monday and 7 crates on Tuesday at the market in town"
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"question": f"In the end {story}. How many crates?", "answer": "19"}) + "\n")
    plan = Plan("explanation", 1, ("solve",))
    words = " ".join(f"word{n}" for n in range(60))

    def talk(said: str) -> Talk:
        return Talk(plan, Problem("q", "s", "1")).says(said, "The answer is 1.")

    unique = Unique(Contamination([str(items)]))
    talks = [talk(words), talk(f"{words} once more"), talk(f"Look: in the end {story}. How many crates?")]
    ask = Ask(DryRun("m"), Random(0))
    first, second, third = asyncio.run(unique(talks, ask))
    assert first == [talks[0]]
    assert isinstance(second, Rejected) and second.code == "near_duplicate"
    assert isinstance(third, Rejected) and third.code == "contaminated" and "items.jsonl:1" in third.message


def test_a_speakers_mark_inside_a_turn_keeps_the_item_out_of_the_benchmark() -> None:
    items = Items(Problem("q", "s", "1"), {})
    assert items.with_dialogue("followup", ["q", "a"]).made == {"followup": "A: q\nB: a"}
    with pytest.raises(Rejected, match="speaker_marks"):
        items.with_dialogue("followup", ["What about PIZZA: 3 or 4 slices?", "3"])


def test_a_dry_run_shows_every_prompt_and_asks_nobody(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "rows.jsonl")
    assert synth(["mathchat", "--out", out, "--rows", "10", "--decontaminate", "--rationale", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "not asked for this seed" not in shown and "gives 1 rows\n" in shown
    assert synth(["mathchat_benchmark", "--out", out, "--rows", "10", "--dry-run"]) == 0
    assert "gives 1 rows\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("mathchat --switch realism=0 --dry-run", "--switch is not an option of mathchat"),
        ("mathchat_benchmark --rationale --dry-run", "--rationale is not an option of mathchat_benchmark"),
        ("mathchat_benchmark", "mathchat_benchmark needs a server"),
        ("mathchat --rationale", "--rationale needs --base-url"),
    ],
)
def test_options_of_another_pipeline_are_refused(
    capsys: pytest.CaptureFixture[str], command: str, complaint: str
) -> None:
    with pytest.raises(SystemExit):
        synth([*command.split(), "--out", "rows.jsonl", "--rows", "1"])
    assert complaint in capsys.readouterr().err
