"""A dialogue in the making: its turns, and the task that it is about now."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from data_prep.synth.mathchat.plan import Plan
from data_prep.synth.mathchat.problems import Problem

NOTHING_YET = "(nothing yet)"
NAMES = {"human": "Student", "gpt": "Tutor"}


class Turn(NamedTuple):
    """What one side says. A wrong attempt of gpt is not trained on; `thinking` is its rationale."""

    speaker: str
    text: str
    trained: bool = True
    thinking: str = ""


class Talk(NamedTuple):
    """`task` is the question that was answered last, worded so that it stands on its own.

    `sample` is the first sample index of its requests: dialogues from one seed that ask the same get other replies.
    """

    plan: Plan
    task: Problem
    turns: tuple[Turn, ...] = ()
    sample: int = 0

    def says(self, human: str, gpt: str, trained: bool = True, task: Problem | None = None) -> Self:
        """With one more pair of turns, and the task that it is about from then on."""
        pair = (Turn("human", human), Turn("gpt", gpt, trained))
        return self._replace(turns=(*self.turns, *pair), task=task or self.task)

    def text(self, turns: int | None = None) -> str:
        """The first `turns` turns as prompts show them."""
        said = "\n\n".join(f"{NAMES[turn.speaker]}: {turn.text}" for turn in self.turns[:turns])
        return said or NOTHING_YET


def to_row(talk: Talk, marked: bool = True) -> dict[str, Any]:
    """MathChatsync's ShareGPT row. `marked`: `train: false` on a wrong turn of gpt, and `thinking` where there is any.

    Without marks it is the published form to the letter, in which gpt's wrong attempts are trained on as well.
    """
    turns = []
    for turn in talk.turns:
        said: dict[str, Any] = {"from": turn.speaker, "value": turn.text}
        if marked and not turn.trained:
            said["train"] = False
        if marked and turn.thinking:
            said["thinking"] = turn.thinking
        turns.append(said)
    return {"conversations": turns}
