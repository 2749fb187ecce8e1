"""math-verify's opinion: asked apart, listed where it differs, and never able to hold up a report."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from eval import second_opinion
from eval.report import _second_opinion
from eval.second_opinion import Worker, summarize
from eval.tasks import TASKS


def record(number: int, said: str, strict: float) -> dict[str, Any]:
    step = {"message": {"content": said}, "text": said}
    gold = {"answer": "... #### 1234"}
    return {"item": f"gsm8k-{number}", "gold": gold, "values": {"strict": strict}, "unparsed": {}, "steps": [step]}


def test_agreement_is_counted_and_differences_are_listed() -> None:
    forms = (
        "1,234",
        "$1,234",
        r"\boxed{1234}",
        r"\ANSWER{1234 dollars}",
        r"\boxed{1234\text{ km}}",
        "1234.0",
        "2468/2",
    )
    records = [record(number, f"So 1 + 1 = 2. The answer is {form}.", 1.0) for number, form in enumerate(forms)]
    records += [record(7, "The answer is 1235.", 0.0), record(8, "I \x1b[31m<script> cannot say", 0.0),
                record(9, "The answer is 1235.", 1.0)]  # fmt: skip
    opinion = summarize(TASKS["gsm8k"], records)
    assert opinion["metrics"] == {
        "strict": {"n": 10, "agree": 9, "verdicts": {"right": 7, "wrong": 2, "unparsed": 1}}
    }  # fmt: skip
    (case,) = opinion["disagreements"]
    assert (case["item"], case["strict"], case["math_verify"], case["gold"]) == ("gsm8k-9", "right", "wrong", "1234")
    lines = _second_opinion(opinion)
    assert "agree on 9 of 10" in lines[0] and "gsm8k-9: strict right, math-verify wrong" in lines[1]


@pytest.mark.slow
def test_hostile_answers_end_in_a_verdict_and_run_nothing(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    hostile = [
        "The answer is 9^9^9^9.",
        r"The answer is \boxed{9^{9^{9^{9}}}}.",
        "9" * 1_000_000,
        "(" * 900 + ")" * 900,
        f"The answer is __import__('os').system('touch {planted}')",
        r"\boxed{99999999!}",
        "\ud800",
    ]
    with Worker() as worker:
        verdicts = [worker.ask([Fraction(5)], text) for text in hostile]
        assert worker.ask([Fraction(5)], "The answer is 5.") == "right"
    assert set(verdicts) <= {"wrong", "unparsed", "timeout", "failed"}, verdicts
    assert not planted.exists()


def test_after_many_time_outs_the_rest_goes_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    with Worker() as worker:
        worker.slow = second_opinion.MAX_SLOW
        assert worker.ask([Fraction(5)], "The answer is 5.") == "not_asked"
        assert worker.process is None


def test_without_math_verify_the_report_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion.sys, "executable", "/bin/false")
    opinion = summarize(TASKS["gsm8k"], [record(0, "The answer is 5.", 0.0), record(1, "The answer is 5.", 0.0)])
    assert opinion["metrics"] == {"strict": {"n": 0, "agree": 0, "verdicts": {"unavailable": 2}}}
    assert opinion["disagreements"] == []
