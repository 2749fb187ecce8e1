"""`check_row(row)` proves a synthetic maths dialogue from its text: every calculation, every number, every answer."""

from __future__ import annotations

import operator
import re
from typing import Any

NUMBER = re.compile(r"\d+")
CALCULATION = re.compile(r"([\d(][\d ()+*/-]*?) = (\d+)")
ANSWER = re.compile(r"The answer is (\d+)\.$")
WORLD = {"100"}  # percent
_OPERATE = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def check_row(row: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a row; an empty list for a sound one.

    The human's attempt may be wrong, and one of gpt that is marked `train: false` must be.
    """
    problems = []
    turns = row["conversations"]
    if [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        problems.append("human and gpt do not alternate")
    seen: set[str] = set()
    answers = []
    for turn in turns:
        text = turn["value"]
        found = ANSWER.search(text)
        answer = int(found.group(1)) if found else None
        if turn["from"] == "gpt" and turn.get("train", True):
            problems += _check_answer(text, seen, row["meta"]["form"])
            answers.append(answer)
        elif turn["from"] == "gpt" and answer in (None, row["meta"]["answers"][-1]):
            problems.append(f"the attempt that is not trained on says {answer}, the right answer or none")
        seen |= set(NUMBER.findall(text))
    if answers != row["meta"]["answers"]:
        problems.append(f"answers {answers}, meta says {row['meta']['answers']}")
    return problems


def _check_answer(text: str, seen: set[str], form: str) -> list[str]:
    quoted = text.split("but it has to be")[0].split("it should be")[0].split("the story calls for")[0]
    problems = []
    results: set[str] = set()
    for tree, stated in CALCULATION.findall(text):
        results.add(stated)
        blamed = form != "follow_up" and quoted != text and f"{tree} = {stated}" in quoted
        if not blamed and calculate(tree) != int(stated):
            problems.append(f"{tree} = {stated} is wrong")
    found = ANSWER.search(text)
    if found is None:
        problems.append(f"no 'The answer is N.' at the end of {text[-60:]!r}")
    unknown = set(NUMBER.findall(text)) - seen - results - WORLD - _step_numbers(text)
    return problems + [f"number from nowhere: {number}" for number in sorted(unknown)]


def _step_numbers(text: str) -> set[str]:
    return set(re.findall(r"(?:[Ss]tep|Line) (\d)", text))


def calculate(text: str) -> float:
    """The value of whole numbers, + - * / and parentheses: a shunting of its own, no eval and no expression tree."""
    tokens = re.findall(r"\d+|[()+*/-]", text)

    def expression(level: int) -> float:
        if level == 2:
            token = tokens.pop(0)
            if token != "(":
                return int(token)
            value = expression(0)
            tokens.pop(0)
            return value
        value = expression(level + 1)
        while tokens and tokens[0] in ("+-", "*/")[level]:
            symbol, other = tokens.pop(0), expression(level + 1)
            value = _OPERATE[symbol](value, other)
        return value

    return expression(0)
