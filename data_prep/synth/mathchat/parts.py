"""What a model is asked for: one piece of a dialogue each, checked before it is given back.

Every function takes the task (question, solution, answer) and raises Rejected; `checks.py` says what for.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from data_prep.mathchat_form import copied
from data_prep.numbers import Number, gold_numbers
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.prompts import Prompts
from data_prep.synth.mathchat import checks
from data_prep.synth.mathchat.problems import Problem, number_text
from data_prep.synth.mathchat.talk import NOTHING_YET

PROMPTS = Prompts(Path(__file__).parent / "prompts")
DIRECTIONS = (
    "going deeper into the same topic",
    "using the same principles in another context",
)  # of MathChat's problem generation


class Explained(msgspec.Struct, frozen=True):
    """A question about the working, and the tutor's explanation."""

    question: str
    explanation: str


class Asked(msgspec.Struct, frozen=True):
    """A further question, with the calculation that answers it."""

    question: str
    calculation: str
    answer: int | float | str


class Attempt(msgspec.Struct, frozen=True):
    """A wrong solution, and what is wrong in it."""

    attempt: str
    mistake: str


class Corrected(msgspec.Struct, frozen=True):
    """A remark that something is wrong, and the correction."""

    hint: str
    correction: str


class NewProblem(msgspec.Struct, frozen=True):
    """A problem and its solution."""

    problem: str
    solution: str


class Thought(msgspec.Struct, frozen=True):
    """What a tutor thinks before a turn."""

    thought: str


async def worked_solution(ask: Ask, task: Problem, sample: int) -> str:
    """The tutor's answer to a task whose solution is known."""
    prompt = PROMPTS.fill("solution", problem=task.question, solution=task.solution)
    return await ask.text(prompt, partial(checks.final_answer, gold=task.gold), sample)


async def explanation(ask: Ask, task: Problem, dialogue: str, sample: int) -> Explained:
    """A question about the working and its explanation."""
    prompt = PROMPTS.fill("explanation", problem=task.question, solution=task.solution, dialogue=dialogue)

    def check(said: Explained) -> None:
        checks.new(checks.asked(said.question), dialogue)
        checks.agrees(said.explanation, task.gold)

    return await ask.json(prompt, Explained, check, sample)


async def follow_up(ask: Ask, task: Problem, dialogue: str, sample: int) -> tuple[str, Problem]:
    """A further question and, as a task that stands on its own, that question with an answer proven twice.

    The answer is computed from the model's own expression; then the question is answered from the dialogue alone.
    """
    prompt = PROMPTS.fill("follow_up", problem=task.question, solution=task.solution, dialogue=dialogue)

    def check(said: Asked) -> None:
        checks.new(checks.asked(said.question), dialogue)
        checks.recomputed(said.calculation, str(said.answer))

    said = await ask.json(prompt, Asked, check, sample)
    answer = checks.recomputed(said.calculation, str(said.answer))
    text = await _answered(ask, dialogue, said.question, gold_numbers(f"#### {answer}")[0], sample)
    asked = said.question.strip()
    return asked, Problem(f"{task.question}\n\nFollow-up: {asked}", text, answer)


async def _answered(ask: Ask, dialogue: str, question: str, gold: Number, sample: int) -> str:
    """The tutor's answer to a question whose number is known here but not to the model."""
    prompt = PROMPTS.fill("answer", dialogue=dialogue, question=question)
    return await ask.text(prompt, partial(checks.final_answer, gold=gold), sample)


async def attempt(ask: Ask, task: Problem, sample: int) -> Attempt:
    """A solution with a mistake."""
    prompt = PROMPTS.fill("attempt", problem=task.question, solution=task.solution)
    return await ask.json(prompt, Attempt, lambda said: checks.wrong_attempt(said.attempt, task.gold), sample)


async def correction(ask: Ask, task: Problem, wrong: Attempt, sample: int) -> Corrected:
    """The student's doubt about the tutor's attempt, and the tutor's correction."""
    prompt = PROMPTS.fill(
        "correction", problem=task.question, solution=task.solution, attempt=wrong.attempt, mistake=wrong.mistake
    )

    def check(said: Corrected) -> None:
        checks.hint(said.hint, task.question, task.gold)
        checks.final_answer(said.correction, task.gold, quoted=wrong.attempt)

    return await ask.json(prompt, Corrected, check, sample)


async def analysis(ask: Ask, task: Problem, wrong: Attempt, sample: int) -> str:
    """The tutor's finding of the mistake in a student's attempt."""
    prompt = PROMPTS.fill(
        "analysis", problem=task.question, solution=task.solution, attempt=wrong.attempt, mistake=wrong.mistake
    )
    return await ask.text(prompt, partial(checks.final_answer, gold=task.gold, quoted=wrong.attempt), sample)


async def new_problem(ask: Ask, task: Problem, sample: int) -> Problem:
    """A new problem in the seed's manner; its solution computes, and a second one from the problem alone agrees."""
    direction = ask.rng.choice(DIRECTIONS)
    prompt = PROMPTS.fill("new_problem", problem=task.question, solution=task.solution, direction=direction)

    def check(said: NewProblem) -> None:
        checks.two_parts(said.problem, said.solution)
        if copied(said.problem, task.question):
            raise Rejected("copied", f"the new problem repeats the seed: {said.problem[:80]!r}")

    said = await ask.json(prompt, NewProblem, check, sample)
    gold = gold_numbers(said.solution)[0]
    await _answered(ask, NOTHING_YET, said.problem, gold, sample)
    return Problem(said.problem.strip(), said.solution.strip(), number_text(gold))


async def rationale(ask: Ask, dialogue: str, message: str, sample: int) -> str:
    """What the tutor thinks before a turn."""
    prompt = PROMPTS.fill("rationale", dialogue=dialogue, message=message)
    said = await ask.json(prompt, Thought, lambda said: checks.thought(said.thought), sample)
    return said.thought.strip()
