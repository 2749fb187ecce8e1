"""A request's plan with its arguments drawn, and executed: `execute(rng, plan, world)` -> the steps, in order.

    Step(get_price, {"product_id": "P-4821"}, {"price": 49.5}, "P-4821 costs 49.5.")

A call that is to go wrong (`Fault`) is tried on the world too: its error is the function's own, unless the tool is
simply not available at that moment.
"""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

from data_prep.synth import clock
from data_prep.synth.domains import FUNCTIONS
from data_prep.synth.functions import Function, Kind, ToolError
from data_prep.synth.graph import Plan
from data_prep.synth.kinds import CITY, CLIENT, DATE, EVENT_DATE, PERSON
from data_prep.synth.phrases import Grammar, pick
from data_prep.synth.world import World

SAME_VALUE_SHARE = 0.7  # "the forecast for Oslo on the driest day in Oslo" rather than two cities in one request
SAME_VALUE_KINDS = (CITY, PERSON, CLIENT, DATE, EVENT_DATE)
MISSPELLINGS = 6  # tried for a value until the function refuses one


class Step(NamedTuple):
    """One executed call; `said` is its report, a sentence over arguments and results."""

    function: Function
    arguments: dict[str, Any]
    results: dict[str, Any]
    said: str


class Fault(NamedTuple):
    """A call that fails where step number `place` was to be done; `own`: by the assistant's mistake."""

    place: int
    arguments: dict[str, Any]
    error: str
    own: bool


class Task(NamedTuple):
    """One request of the user: what is to be called for it, the calls made, and what is out of the ordinary.

    `left_open` is (step, parameter) of the value that the request does not give.
    """

    plan: Plan
    shape: str
    steps: list[Step]
    situation: str | None = None
    fault: Fault | None = None
    left_open: tuple[int, str] | None = None


def execute(rng: Random, plan: Plan, world: World, today: str | None = None) -> list[Step]:
    """The plan's calls with arguments drawn from the world. Raises ToolError where one is refused."""
    steps: list[Step] = []
    given: dict[str, list[Any]] = {}  # what the user has said so far, by kind
    for name, links in zip(plan.steps, plan.links, strict=True):
        function = FUNCTIONS[name]
        arguments: dict[str, Any] = {}
        for param in function.params:
            if param.name in links:
                source, key = links[param.name]
                arguments[param.name] = steps[source].results[key]
            else:
                values = given.setdefault(param.kind.name, [])
                arguments[param.name] = _draw_value(rng, world, function, param.kind, values, bool(links), today)
        results = world.call(name, arguments)
        said = pick(rng, function.says).format_map({**arguments, **results})
        steps.append(Step(function, arguments, results, said))
    return steps


def _draw_value(
    rng: Random, world: World, function: Function, kind: Kind, given: list[Any], repeat: bool, today: str | None
) -> Any:
    """A value of this kind; one that the user has given already only where repeating it reads naturally."""
    if given and repeat and kind in SAME_VALUE_KINDS and rng.random() < SAME_VALUE_SHARE:
        return given[0]
    state = world.state(function.name)
    for _ in range(8):
        value = clock.draw_date(rng, today) if today and clock.is_date(kind) else kind.draw(rng, state)
        if value not in given:
            break
    given.append(value)
    return value


def independent(steps: list[Step], world: World) -> bool:
    """Whether these calls, made in the opposite order, have the same results; the world is left as it was."""
    other = deepcopy(world)
    try:
        return all(other.call(step.function.name, step.arguments) == step.results for step in reversed(steps))
    except ToolError:
        return False


def go_wrong(
    rng: Random, grammar: Grammar, own: bool, plan: Plan, steps: list[Step], world: World, parallel: bool
) -> Fault:
    """The fault of a task: the assistant's `own` mistake where a call of it can be one, else the tool's.

    `world` is as it was before the steps. In a turn of several calls the last fails: made again, it comes after them.
    """
    places = list(range(plan.first_wave - 1 if parallel else 0, len(steps)))
    rng.shuffle(places)
    for place in places if own else ():
        before = deepcopy(world)
        for step in steps[:place]:
            before.call(step.function.name, step.arguments)
        for name, value in steps[place].arguments.items():
            found = _refused(rng, before, steps[place], name, value)
            if found is not None:
                return Fault(place, *found, own=True)
    step = steps[places[0]]
    error = pick(rng, grammar.unavailable).format(name=step.function.name)
    return Fault(places[0], step.arguments, error, own=False)


def _refused(rng: Random, world: World, step: Step, name: str, value: Any) -> tuple[dict[str, Any], str] | None:
    """The step's arguments with a misspelt one that the function does not know, and what it says to that."""
    for _ in range(MISSPELLINGS if isinstance(value, str) else 0):
        wrong = {**step.arguments, name: misspelt(rng, value)}
        try:
            world.attempt(step.function.name, wrong)
        except ToolError as error:
            if str(error).startswith("unknown"):
                return wrong, str(error)
            return None
    return None


def misspelt(rng: Random, text: str) -> str:
    """The text with two neighbours swapped, or one character left out where all are alike."""
    places = [at for at in range(len(text) - 1) if text[at] != text[at + 1] and text[at : at + 2].isalnum()]
    if not places:
        return text[:-1]
    at = rng.choice(places)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def leave_open(rng: Random, plan: Plan, steps: list[Step], today: str | None) -> tuple[int, str] | None:
    """(step, parameter) of a value that only the user can give; None where each stands elsewhere too, if by chance."""
    given = [(index, param.name) for index, step in enumerate(steps) for param in step.function.params
             if param.name not in plan.links[index]]  # fmt: skip
    known = [today or "", *(str(value) for step in steps for value in step.results.values())]
    texts = [str(steps[index].arguments[name]) for index, name in given]
    alone = [at for at, text in zip(given, texts, strict=True) if sum(text in other for other in texts + known) == 1]
    return rng.choice(alone) if alone else None
