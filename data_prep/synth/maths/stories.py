"""What a story file holds: a problem, its solution step by step, and follow-ups that build on it.

Story("pencils", {"boxes": range(3, 10), "per_box": range(4, 13), "given": range(5, 12)},
      problems=("{name} buys {boxes} boxes of {per_box} pencils and gives {given} away. How many are left?",),
      steps=(Step("total", v.boxes * v.per_box, "The boxes hold {calc} pencils."),
             Step("left", v.total - v.given, "After the gift, {calc} are left.")),
      follow_ups=(...))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from data_prep.synth.maths.expressions import Operation


class Step(NamedTuple):
    """One line of a solution: `{calc}` becomes `5 * 12 = 60`, and the value is known as `name` from then on."""

    name: str
    tree: Operation
    text: str


class FollowUp(NamedTuple):
    """A further question; its steps may use every number and result so far."""

    questions: tuple[str, ...]
    steps: tuple[Step, ...]
    numbers: dict[str, range] = {}  # noqa: RUF012  (never written to)


@dataclass(frozen=True)
class Story:
    """A family of problems; `numbers` gives the range of each, values that make a result odd are drawn again."""

    name: str
    numbers: dict[str, range]
    problems: tuple[str, ...]
    steps: tuple[Step, ...]
    follow_ups: tuple[FollowUp, ...] = field(default=())
