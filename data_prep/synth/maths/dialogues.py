"""`make_row("train", seed=0, index=3)` -> one maths dialogue in MathChatsync's ShareGPT form.

    {"id": "synth-mathchat-train-0-3", "conversations": [{"from": "human", "value": "Ben buys 5 boxes ..."},
      {"from": "gpt", "value": "The boxes hold 5 * 12 = 60 pencils. ... The answer is 52."}, ...],
     "meta": {"split", "family", "form", "answers": [52, 13, 90]}}

Three forms: a problem with two follow-ups that build on it, a wrong attempt of the human with its correction, and one
of gpt, marked `train: false` so that only its correction is trained on. The mistake is a wrong operation or a slip in
one step.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from data_prep.synth.kinds import NAMES
from data_prep.synth.maths import held_out_stories, train_stories
from data_prep.synth.maths.expressions import Numbers, Operation
from data_prep.synth.maths.stories import FollowUp, Step, Story

STORIES = {"train": train_stories.STORIES, "held_out": held_out_stories.STORIES}
CORRECTION_SHARE = 0.35
OWN_SHARE = 0.5  # of the corrections, those of gpt's own attempt
ATTEMPTS = 400
LARGEST = 100_000


class Correction(NamedTuple):
    """The wording of one split around a wrong attempt."""

    attempt: tuple[str, ...]
    wrong_operation: tuple[str, ...]
    slip: tuple[str, ...]
    thanks: tuple[tuple[str, str], ...]
    doubt: tuple[str, ...]


CORRECTIONS = {
    "train": Correction(
        ("Here is my attempt: {attempt} Is that right?", "I tried it like this: {attempt} Can you check my work?"),
        ("Step {n} is not right: {who} computed {wrong}, but it has to be {right}.",
         "There is a mistake in step {n}: instead of {wrong} it should be {right}."),
        ("Step {n} has a slip: {right}, not {wrong_value}.",
         "Checking step {n} again gives {right}, so {wrong_value} is wrong."),
        (("Thanks! So what should I write as my result?", "You should write {answer}. The answer is {answer}."),
         ("I see. What is the correct result then?", "The correct result is {answer}. The answer is {answer}.")),
        ("I think your solution has a mistake. Can you find and correct it?",
         "That result looks wrong to me. Where is the mistake?"),
    ),
    "held_out": Correction(
        ("My own solution goes: {attempt} Please point out any error.",),
        ("Line {n} goes astray: where {who} put {wrong}, the story calls for {right}.",),
        ("Line {n} is miscalculated: {right} rather than {wrong_value}.",),
        (("Got it. Which number should I have reached?", "The number to reach is {answer}. The answer is {answer}."),),
        ("My teacher has another number. Which of your lines is off?",),
    ),
}  # fmt: skip


class Mistake(NamedTuple):
    """A wrong attempt: what is wrong in step number `place`, how to say so, and the answer that it leads to."""

    place: int
    attempt: str
    frames: tuple[str, ...]
    wrong: str
    wrong_value: int
    answer: int


class Solved(NamedTuple):
    """A story with its numbers drawn: `follow_ups` are those asked, in order."""

    story: Story
    words: dict[str, Any]
    problem: str
    follow_ups: tuple[FollowUp, ...]


def make_row(split: str, seed: int, index: int) -> dict[str, Any]:
    """One dialogue, a function of (split, seed, index) alone."""
    rng = Random(f"maths/{seed}/{split}/{index}")
    solved = draw(rng, split)
    correcting = rng.random() < CORRECTION_SHARE
    form, turns, answers = _correct(rng, split, solved) if correcting else _follow_up(rng, solved)
    speakers = ("human", "gpt") * len(turns)
    conversations: list[dict[str, Any]] = [
        {"from": who, "value": text} for who, text in zip(speakers, turns, strict=False)
    ]
    if form == "self_correction":
        conversations[1]["train"] = False
    return {
        "id": f"synth-mathchat-{split}-{seed}-{index}",
        "conversations": conversations,
        "meta": {"split": split, "family": solved.story.name, "form": form, "answers": answers},
    }


def make_gsm8k_row(split: str, seed: int, index: int) -> dict[str, Any]:
    """The problem alone in GSM8K's form: steps with calculator annotations, then `#### N`."""
    rng = Random(f"maths/{seed}/{split}/{index}")
    solved = draw(rng, split)
    numbers = solved.words
    lines = []
    for step in solved.story.steps:
        text, value = step.tree.text(numbers), step.tree.value(numbers)
        lines.append(step.text.format(calc=f"{text} = <<{text.replace(' ', '')}={value}>>{value}", **numbers))
    answer = solved.story.steps[-1].tree.value(numbers)
    return {
        "id": f"synth-gsm8k-{split}-{seed}-{index}",
        "question": solved.problem,
        "answer": "\n".join([*lines, f"#### {answer}"]),
        "meta": {"split": split, "family": solved.story.name},
    }


def draw(rng: Random, split: str) -> Solved:
    """A story, two of its follow-ups, and numbers that make every result a positive whole number."""
    story = rng.choice(STORIES[split])
    chosen = tuple(rng.sample(story.follow_ups, 2))
    ranges = {**story.numbers}
    steps = [*story.steps]
    for follow_up in chosen:
        ranges |= follow_up.numbers
        steps += follow_up.steps
    name = rng.choice(NAMES[split].people).split()[0]
    for _ in range(ATTEMPTS):
        numbers = {key: rng.choice(values) for key, values in ranges.items()}
        if _solve(steps, numbers):
            words = {"name": name, **numbers}
            return Solved(story, words, rng.choice(story.problems).format(**words), chosen)
    raise ValueError(f"story {story.name!r}: no whole results in {ATTEMPTS} draws of its numbers; widen its ranges")


def _solve(steps: list[Step] | tuple[Step, ...], numbers: Numbers) -> bool:
    """Add the result of every step to the numbers; False where one is not a positive whole number."""
    for step in steps:
        value = step.tree.value(numbers)
        if value.denominator != 1 or not 0 < value <= LARGEST:
            return False
        numbers[step.name] = int(value)
    return True


def worked(steps: tuple[Step, ...], numbers: Numbers) -> str:
    """The solution's text, one sentence a step, ending in the answer."""
    lines = [step.text.format(calc=step.tree.calculation(numbers), **numbers) for step in steps]
    return " ".join([*lines, f"The answer is {numbers[steps[-1].name]}."])


def _follow_up(rng: Random, solved: Solved) -> tuple[str, list[str], list[int]]:
    """(form, turns, the answers of the trained ones), as `_correct`."""
    turns = [solved.problem, worked(solved.story.steps, solved.words)]
    answers = [solved.words[solved.story.steps[-1].name]]
    for follow_up in solved.follow_ups:
        turns += [rng.choice(follow_up.questions).format(**solved.words), worked(follow_up.steps, solved.words)]
        answers.append(solved.words[follow_up.steps[-1].name])
    return "follow_up", turns, answers


def _correct(rng: Random, split: str, solved: Solved) -> tuple[str, list[str], list[int]]:
    wording = CORRECTIONS[split]
    steps = solved.story.steps
    made = _mistake(rng, wording, solved)
    frame, (asked, reply), shown = rng.choice(made.frames), rng.choice(wording.thanks), rng.choice(wording.attempt)
    own = rng.random() < OWN_SHARE
    answer = solved.words[steps[-1].name]
    diagnosis = frame.format(
        n=made.place + 1, who="I" if own else "you", wrong=made.wrong, wrong_value=made.wrong_value,
        right=steps[made.place].tree.calculation(solved.words),
    )  # fmt: skip
    after = steps[made.place + 1 :]
    corrected = f"{diagnosis} {worked(after, solved.words) if after else f'The answer is {answer}.'}"
    if own:
        attempt = f"{made.attempt} The answer is {made.answer}."
        return "self_correction", [solved.problem, attempt, rng.choice(wording.doubt), corrected], [answer]
    problem = f"{solved.problem}\n\n{shown.format(attempt=made.attempt)}"
    return "correction", [problem, corrected, asked, reply.format(answer=answer)], [answer, answer]


def _mistake(rng: Random, wording: Correction, solved: Solved) -> Mistake:
    """A step done wrong, everything after it followed through, to another answer than the right one."""
    steps = solved.story.steps
    while True:
        place = rng.randrange(len(steps))
        tree = steps[place].tree
        numbers = dict(solved.words)
        if rng.random() < 0.5:
            tree = Operation(rng.choice([s for s in "+-*" if s != tree.symbol]), tree.left, tree.right)
            frames, value = wording.wrong_operation, tree.value(numbers)
        else:
            frames, value = wording.slip, tree.value(numbers) + rng.choice((-10, -2, -1, 1, 2, 10))
        if value.denominator != 1 or not 0 < value <= LARGEST or value == numbers[steps[place].name]:
            continue
        numbers[steps[place].name] = int(value)
        if not _solve(steps[place + 1 :], numbers) or numbers[steps[-1].name] == solved.words[steps[-1].name]:
            continue
        wrong = f"{tree.text(numbers)} = {value}"
        lines = [
            step.text.format(calc=wrong if k == place else step.tree.calculation(numbers), **numbers)
            for k, step in enumerate(steps)
        ]
        attempt = " ".join(f"{k}) {line}" for k, line in enumerate(lines, 1))
        return Mistake(place, attempt, frames, wrong, int(value), numbers[steps[-1].name])
