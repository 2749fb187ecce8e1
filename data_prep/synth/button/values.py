"""What flows between BUTTON's stages, and the replies its prompts ask for.

Seed -> Scenario -> Task -> Composed -> Toolbox -> Trajectory -> row
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from data_prep.dialogue import Message

MAX_SCENARIO_WORDS = 10
MAX_TASK_WORDS = 30
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class Seed(msgspec.Struct, frozen=True):
    """A seed dialogue as text. In round 0 its own scenario is used, in each later round another expansion of it."""

    name: str
    dialogue: str
    round: int


class Scenario(msgspec.Struct, frozen=True):
    """A situation in a few words, the seed it came from, and the seed's round."""

    text: str
    seed: str
    round: int


class Task(msgspec.Struct, frozen=True):
    """One atomic task of a scenario, and the time (ISO, minutes) at which the dialogue will take place."""

    text: str
    scenario: str
    clock: str | None


class Composed(msgspec.Struct, frozen=True):
    """A composed task. `sub_tasks` is the hidden plan; `shape` is `sequential-3`, `parallel-3`, ...

    `before_last` is the composed task without the last sub-task, "" where that is no task of its own.
    """

    task: str
    sub_tasks: tuple[str, ...]
    before_last: str
    shape: str
    scenario: str
    clock: str | None
    tags: tuple[str, ...] = ()


class Function(msgspec.Struct, frozen=True):
    """A generated function in BUTTON's flat form."""

    name: str
    description: str
    parameters: dict[str, dict[str, Any]]
    required: list[str]
    responses: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name[:60]!r} is no function name in snake_case")
        if not self.description.strip():
            raise ValueError(f"{self.name} has no description")
        if not self.responses:
            raise ValueError(f"{self.name} returns nothing: give it responses")
        unknown = [name for name in self.required if name not in self.parameters]
        if unknown:
            raise ValueError(f"{self.name} requires {unknown[0]!r}, which is none of its parameters")


class Toolbox(msgspec.Struct, frozen=True):
    """A composed task with the functions of each sub-task, and the listed tools, distractors and order included."""

    composed: Composed
    functions: tuple[tuple[Function, ...], ...]
    listed: tuple[Function, ...]
    lacking: bool = False  # none of the listed tools can do the task


class Trajectory(msgspec.Struct, frozen=True):
    """A finished simulation: canonical messages, and what is to be verified and exported."""

    toolbox: Toolbox
    messages: tuple[Message, ...]
    parallel: bool
    tags: tuple[str, ...]


# ------------------------------------------------------------------------------------------- the replies of the model


class ScenarioReply(msgspec.Struct):
    scenario: str

    def __post_init__(self) -> None:
        _check_line("the scenario", self.scenario, MAX_SCENARIO_WORDS)


class TaskReply(msgspec.Struct):
    task: str

    def __post_init__(self) -> None:
        _check_line("the task", self.task, MAX_TASK_WORDS)


class SequentialReply(msgspec.Struct):
    subsequent_task: str
    composed_task: str

    def __post_init__(self) -> None:
        _check_line("subsequent_task", self.subsequent_task)
        _check_line("composed_task", self.composed_task)


class ParallelReply(msgspec.Struct):
    parallel_task: str
    subsequent_task: str
    composed_task: str

    def __post_init__(self) -> None:
        _check_line("parallel_task", self.parallel_task)
        _check_line("subsequent_task", self.subsequent_task)
        _check_line("composed_task", self.composed_task)


class ConsistencyReply(msgspec.Struct):
    thought: str
    consistent: bool


class RealismReply(msgspec.Struct):
    thought: str
    score: int

    def __post_init__(self) -> None:
        if self.score not in (1, 2, 3, 4, 5):
            raise ValueError(f"the score must be 1, 2, 3, 4 or 5, not {self.score}")


class FunctionsReply(msgspec.Struct):
    functions: list[list[Function]]


class MessageReply(msgspec.Struct):
    message: str

    def __post_init__(self) -> None:
        if not self.message.strip():
            raise ValueError("the message is empty")


class WithholdingReply(msgspec.Struct):
    message: str
    withheld: str

    def __post_init__(self) -> None:
        if not self.message.strip() or not self.withheld.strip():
            raise ValueError("the message or the withheld detail is empty")
        if self.withheld.lower() in self.message.lower():
            raise ValueError(f"the message still gives {self.withheld!r}")


class Call(msgspec.Struct):
    name: str
    arguments: dict[str, Any]


class TurnReply(msgspec.Struct):
    observation: str
    thought: str
    calls: list[Call] = []
    final: str = ""

    def __post_init__(self) -> None:
        if bool(self.calls) == bool(self.final.strip()):
            raise ValueError("write either calls or a final answer, and not both")
        if not self.thought.strip():
            raise ValueError("the thought is empty")


def _check_line(what: str, text: str, max_words: int = 80) -> None:
    words = len(text.split())
    if not words or "\n" in text.strip():
        raise ValueError(f"{what} must be one line of text")
    if words > max_words:
        raise ValueError(f"{what} has {words} words; at most {max_words} are wanted")
