"""What a dialogue consists of: each move adds one or two pairs of turns, or raises Rejected.

    await MOVES["follow_up"](talk, ask, sample)  ->  the talk, with a question that builds on it and its answer

The first move poses the problem, so that it is the first paragraph of the dialogue: by that a split by groups knows
which dialogues are about one problem.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from data_prep.mathchat_form import new_problem_text
from data_prep.synth.endpoint.ask import Ask
from data_prep.synth.mathchat import parts
from data_prep.synth.mathchat.talk import Talk

POSE = (
    "{problem}",
    "{problem}\n\nCan you work this out step by step?",
    "{problem}\n\nHow do I solve this?",
    "{problem}\n\nPlease explain the solution to me.",
)
SHOW = (
    "{problem}\n\nThis is how I did it:\n{attempt}\n\nIs that right?",
    "{problem}\n\nMy solution:\n{attempt}\n\nPlease check it and correct it if I made a mistake.",
    "{problem}\n\nI tried: {attempt}\n\nThe book has another result. What did I do wrong?",
)
SHOW_LATER = (
    "A friend of mine worked on the same question and wrote:\n{attempt}\n\nWhere is the mistake?",
    "Let me try it myself: {attempt}\n\nIs that correct?",
    "Somebody online solved it like this:\n{attempt}\n\nThat is not what you said. Who is right, and why?",
)
NEW = (
    "{problem}\n\nI know how to solve this one:\n{solution}\n\nPlease make up a new problem from it and solve it.",
    "{problem}\n\nSolution: {solution}\n\nThis is a seed: write another problem of this kind, with its solution.",
)
NEW_LATER = (
    "Could you give me another problem of this kind to study, with its solution?",
    "Please make up a new problem that needs the same ideas, and solve it.",
    "I want to see that once more in a different setting. Write a new problem and its solution for me.",
)

Move = Callable[[Talk, Ask, int], Awaitable[Talk]]


async def solve(talk: Talk, ask: Ask, sample: int) -> Talk:
    """The problem and its worked solution."""
    text = await parts.worked_solution(ask, talk.task, sample)
    return talk.says(_posed(talk, ask.rng), text, task=talk.task._replace(solution=text))


async def mistake(talk: Talk, ask: Ask, sample: int) -> Talk:
    """The problem, answered wrongly; a doubt, and the correction."""
    return await _corrected(talk, _posed(talk, ask.rng), ask, sample)


async def explain(talk: Talk, ask: Ask, sample: int) -> Talk:
    """A question about the working, and an explanation."""
    said = await parts.explanation(ask, talk.task, talk.text(), sample)
    return talk.says(said.question.strip(), said.explanation.strip())


async def follow_up(talk: Talk, ask: Ask, sample: int) -> Talk:
    """A question that builds on the problem, and its answer."""
    question, task = await parts.follow_up(ask, talk.task, talk.text(), sample)
    return talk.says(question, task.solution, task=task)


async def follow_up_mistake(talk: Talk, ask: Ask, sample: int) -> Talk:
    """A question that builds on the problem, answered wrongly; a doubt, and the correction."""
    question, task = await parts.follow_up(ask, talk.task, talk.text(), sample)
    return await _corrected(talk._replace(task=task), question, ask, sample)


async def analyse(talk: Talk, ask: Ask, sample: int) -> Talk:
    """Somebody's wrong solution, and what is wrong with it."""
    wrong = await parts.attempt(ask, talk.task, sample)
    text = await parts.analysis(ask, talk.task, wrong, sample)
    shown = ask.rng.choice(SHOW_LATER if talk.turns else SHOW)
    return talk.says(shown.format(problem=talk.task.question, attempt=wrong.attempt.strip()), text)


async def generate(talk: Talk, ask: Ask, sample: int) -> Talk:
    """A wish for a new problem, and that problem with its solution."""
    task = await parts.new_problem(ask, talk.task, sample)
    wish = ask.rng.choice(NEW_LATER if talk.turns else NEW)
    wish = wish.format(problem=talk.task.question, solution=talk.task.solution)
    return talk.says(wish, new_problem_text(task.question, task.solution), task=task)


MOVES: dict[str, Move] = {
    "solve": solve,
    "mistake": mistake,
    "explain": explain,
    "follow_up": follow_up,
    "follow_up_mistake": follow_up_mistake,
    "analyse": analyse,
    "generate": generate,
}


def _posed(talk: Talk, rng: Random) -> str:
    return rng.choice(POSE).format(problem=talk.task.question)


async def _corrected(talk: Talk, question: str, ask: Ask, sample: int) -> Talk:
    wrong = await parts.attempt(ask, talk.task, sample)
    right = await parts.correction(ask, talk.task, wrong, sample)
    talk = talk.says(question, wrong.attempt.strip(), trained=False)
    return talk.says(right.hint.strip(), right.correction.strip())
