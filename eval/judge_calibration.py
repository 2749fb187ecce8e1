"""How far a judge can be believed: graded answers that are known to be good or bad, and its own grades asked for again.

    good          the benchmark's reference turn
    empty_claim   a reply that claims to have done it and does nothing
    other_row     another row's reference (error analysis), or its solution under this row's new problem (generation)

A pair is ranked right where the good answer gets the higher score; a tie is not right, so a judge that always says 4
gets 0 %. References that the checks find doubtful, and rows with nothing to correct, are not planted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console

from data_prep.equations import equations
from data_prep.numbers import gold_numbers, strict
from eval import transcripts
from eval.judge_rubrics import load, prompt
from eval.judge_server import Ask, Judge, Judgement, grade
from eval.stats import wilson
from eval.tasks.mathchat_problem_generation import parts

Record = dict[str, Any]
EMPTY_CLAIMS = {
    "mathchat_error_analysis": "I have checked your solution. Every step is right, and so is the answer. Well done!",
    "mathchat_problem_generation": "Here is a new problem of the same kind, with a detailed and correct solution.",
}


class Pair(NamedTuple):
    """A good and a bad reply to one item, to be graded under one criterion."""

    record: Record
    criterion: str
    kind: str
    good: str
    bad: str


def calibrate(judge: Judge, records: Sequence[Record], console: Console) -> dict[str, Any]:
    """Both checks over the items of one task. Raises EvalError when the server stays down; replies are kept."""
    pairs = planted_pairs(records)
    asks = [Ask(prompt(pair.record, pair.criterion, text)) for pair in pairs for text in (pair.good, pair.bad)]
    judgements = grade(judge, asks, console, "grading planted answers")
    planted: dict[str, dict[str, list[tuple[Judgement, Judgement]]]] = {}
    for pair, good, bad in zip(pairs, judgements[::2], judgements[1::2], strict=True):
        planted.setdefault(pair.criterion, {}).setdefault(pair.kind, []).append((good, bad))
    return {
        "planted": {
            criterion: {kind: ranking(found) for kind, found in kinds.items()} for criterion, kinds in planted.items()
        },
        "again": asked_again(judge, records, console),
    }


def planted_pairs(records: Sequence[Record]) -> list[Pair]:
    """Pairs for every criterion; each item's other row is the next one whose reference is good for something else."""
    good = [record for record in records if reference_is_good(record)]
    pairs = []
    for index, record in enumerate(good):
        task, reference = record["task"], record["gold"]["reference"]
        others = (good[(index + step) % len(good)] for step in range(1, len(good)))
        other = next((row for row in others if row["gold"]["answer"] != record["gold"]["answer"]), None)
        for criterion in load(task).criteria:
            pairs.append(Pair(record, criterion, "empty_claim", reference, EMPTY_CLAIMS[task]))
            bad = _other_row(record, other, criterion) if other else None
            if bad:
                pairs.append(Pair(record, criterion, "other_row", reference, bad))
    return pairs


def reference_is_good(record: Record) -> bool:
    """Whether the published reference can stand for a good answer as far as can be computed."""
    gold = record["gold"]
    if record["task"] == "mathchat_error_analysis":
        golds = gold_numbers(gold["answer"])
        return not gold["attempt_right"] and bool(golds) and strict(gold["reference"], golds[0]).correct
    solution = parts(gold["reference"]).solution
    found = equations(solution) if solution else []
    return bool(found) and all(equation.holds for equation in found)


def _other_row(record: Record, other: Record, criterion: str) -> str | None:
    """Another row's answer, where that is bad under this criterion."""
    if record["task"] == "mathchat_error_analysis":
        return str(other["gold"]["reference"])
    if criterion != "solution":  # a problem made from another seed may be a good problem
        return None
    problem, solution = parts(record["gold"]["reference"]).problem, parts(other["gold"]["reference"]).solution
    return f"New problem: {problem}\n\nSolution: {solution}"


def ranking(pairs: Sequence[tuple[Judgement, Judgement]]) -> dict[str, Any]:
    """Share of pairs, both graded, whose good answer scored higher, with Wilson's 95 % interval."""
    scores = [(good.score, bad.score) for good, bad in pairs if good.score is not None and bad.score is not None]
    right = sum(good > bad for good, bad in scores)
    row: dict[str, Any] = {"n": len(scores), "failed": len(pairs) - len(scores)}
    row["tied"] = sum(good == bad for good, bad in scores)
    if scores:
        low, high = wilson(right, len(scores))
        row |= {"ranked_right": right / len(scores), "low": low, "high": high}
    return row


def asked_again(judge: Judge, records: Sequence[Record], console: Console) -> dict[str, Any]:
    """The run's own answers graded a second time: how often the score is the same, and how far apart they are.

    At temperature 0 this shows only what the server's arithmetic leaves to chance.
    """
    answered = [record for record in records if record["steps"][0]["finish_reason"] != "rejected"]
    again: dict[str, dict[str, float]] = {}
    for criterion in load(records[0]["task"]).criteria:
        prompts = [prompt(record, criterion, transcripts.said(record["steps"][0])) for record in answered]
        asks = [Ask(text, sample) for text in prompts for sample in (0, 1)]
        judgements = grade(judge, asks, console, f"grading {criterion} again")
        pairs = zip(judgements[::2], judgements[1::2], strict=True)
        gaps = [abs(a.score - b.score) for a, b in pairs if a.score is not None and b.score is not None]
        again[criterion] = {"n": len(gaps), "failed": len(answered) - len(gaps)}
        if gaps:
            again[criterion] |= {"same": gaps.count(0) / len(gaps), "mean_difference": sum(gaps) / len(gaps)}
    return again
