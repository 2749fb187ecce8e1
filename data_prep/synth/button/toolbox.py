"""Functions: generated for the sub-tasks, shared across tasks, listed among others in an order that tells nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import jsonschema
import msgspec

from data_prep.duplicates import NearIndex
from data_prep.synth.button.switches import EXCLUSIVE, Switches
from data_prep.synth.button.tasks import numbered
from data_prep.synth.button.values import Composed, Function, FunctionsReply, Toolbox
from data_prep.synth.endpoint.ask import Ask
from data_prep.synth.endpoint.prompts import Prompts

DISTRACTORS = (1, 3)
POOL = 200  # the latest functions, from which distractors are drawn
JSON_TYPES = {"string", "integer", "number", "boolean", "array", "object"}


async def generate_functions(prompts: Prompts, composed: Composed, ask: Ask) -> list[Toolbox]:
    """A list of functions for each sub-task. Rejects a task that needs none at all."""

    def check(reply: FunctionsReply) -> None:
        if len(reply.functions) != len(composed.sub_tasks):
            raise ValueError(f"there are {len(composed.sub_tasks)} sub-tasks but {len(reply.functions)} lists")
        if not any(reply.functions):
            raise ValueError("no sub-task has a function")
        by_name: dict[str, Function] = {}
        for function in (function for functions in reply.functions for function in functions):
            if by_name.setdefault(function.name, function) != function:
                raise ValueError(f"two different functions are called {function.name}")
            check_schemas(function)

    prompt = prompts.fill(
        "functions", composed_task=composed.task, sub_tasks=numbered(composed), count=len(composed.sub_tasks)
    )
    reply = await ask.json(prompt, FunctionsReply, check)
    functions = tuple(tuple(of_one) for of_one in reply.functions)
    return [Toolbox(composed, functions, _distinct(functions))]


def check_schemas(function: Function) -> None:
    """Raises ValueError for a parameter or response whose schema says nothing that can be checked."""
    for part, schemas in (("parameter", function.parameters), ("response", function.responses)):
        for name, schema in schemas.items():
            if schema.get("type") not in JSON_TYPES and "enum" not in schema and "anyOf" not in schema:
                raise ValueError(f"{function.name}: {part} {name!r} has the type {schema.get('type')!r}")
            if re.search(r'"\$(?:ref|dynamicRef)"', json.dumps(schema)):
                raise ValueError(f"{function.name}: {part} {name!r} refers to another schema; write it out")
            try:
                jsonschema.Draft202012Validator.check_schema(schema)
            except jsonschema.SchemaError as error:
                raise ValueError(
                    f"{function.name}: {part} {name!r} is no JSON schema: {error.message[:120]}"
                ) from error


def result_problem(function: Function, result: object) -> str | None:
    """What is wrong with a result by the function's `responses`, all of which it must have; None where nothing is."""
    problem = _misfit(function.responses, list(function.responses), result)
    if problem is not None:
        return problem
    extra = [name for name in result if name not in function.responses] if isinstance(result, dict) else []
    return f"$.{extra[0]}: {function.name} returns no such key" if extra else None


def arguments_problem(function: Function, arguments: object) -> str | None:
    """What is wrong with a call's arguments by the schemas to the letter; `check_dialogue` reads them loosely."""
    return _misfit(function.parameters, function.required, arguments)


def _misfit(properties: dict[str, dict[str, Any]], required: list[str], value: object) -> str | None:
    schema = {"type": "object", "properties": properties, "required": required}
    error = next(jsonschema.Draft202012Validator(schema).iter_errors(value), None)
    return f"{error.json_path}: {error.message[:150]}" if error is not None else None


class ReuseFunctions:
    """A function that nearly repeats one of an earlier task is replaced by that one, so that tools recur as in a real
    catalogue. Only where parameters and results agree: the plan still works."""

    def __init__(self, switches: Switches):
        self._switches = switches
        self._known: list[Function] = []
        self._near = NearIndex()
        self._by_signature: dict[object, Function] = {}

    async def __call__(self, toolboxes: list[Toolbox], ask: Ask) -> Sequence[Sequence[Toolbox]]:
        return [
            [self._shared(box)] if ask.rng.random() < self._switches.reuse_functions else [box] for box in toolboxes
        ]

    def _shared(self, box: Toolbox) -> Toolbox:
        functions = tuple(tuple(map(self._known_or_new, of_one)) for of_one in box.functions)
        if len(_distinct(functions)) != len(_distinct(box.functions)):  # two functions of this task would become one
            return box
        tagged = (*box.composed.tags, "reuse_functions") if functions != box.functions else box.composed.tags
        composed = msgspec.structs.replace(box.composed, tags=tagged)
        return Toolbox(composed, functions, _distinct(functions))

    def _known_or_new(self, function: Function) -> Function:
        key = _signature(function)
        same = self._by_signature.get(key)
        if same is not None:
            return same
        found = self._near.find_or_add(len(self._known), _described(function))
        if found is not None and _types(self._known[found[0]]) == _types(function):
            return self._known[found[0]]
        if found is None:
            self._known.append(function)
        self._by_signature[key] = function
        return function


class ListTools:
    """Draws what the dialogue lists: its own functions and distractors of other tasks, shuffled; or, for
    `no_suitable_tool`, others alone. Decides which of the exclusive switches the row is tried on."""

    def __init__(self, switches: Switches):
        self._switches = switches
        self._pool: list[Function] = []

    async def __call__(self, toolboxes: list[Toolbox], ask: Ask) -> Sequence[Sequence[Toolbox]]:
        return [[self._listed(box, ask)] for box in toolboxes]

    def _listed(self, box: Toolbox, ask: Ask) -> Toolbox:
        own = list(_distinct(box.functions))
        others = [f for f in self._pool if not _alike(f, own)]
        twist = draw_exclusive(self._switches, ask.rng.random())
        if twist == "user_turns" and not box.composed.before_last:
            twist = None
        tags = box.composed.tags
        lacking = twist == "no_suitable_tool" and len(others) >= DISTRACTORS[1]
        if lacking:
            listed, tags = ask.rng.sample(others, DISTRACTORS[1]), (*tags, "no_suitable_tool")
        elif ask.rng.random() < self._switches.distractors:
            count = min(len(others), ask.rng.randint(*DISTRACTORS))  # none at a run's beginning: shuffled all the same
            listed, tags = own + ask.rng.sample(others, count), (*tags, *(["distractors"] if count else []))
            ask.rng.shuffle(listed)
        else:
            listed = own
        if twist and twist != "no_suitable_tool":
            tags = (*tags, twist)
        known = {f.name for f in self._pool}
        self._pool = [*self._pool, *(f for f in own if f.name not in known)][-POOL:]
        return Toolbox(msgspec.structs.replace(box.composed, tags=tags), box.functions, tuple(listed), lacking)


def draw_exclusive(switches: Switches, number: float) -> str | None:
    """Which of the exclusive switches a number from 0 to 1 falls to."""
    for name in EXCLUSIVE:
        number -= getattr(switches, name)
        if number < 0:
            return name
    return None


def _alike(function: Function, own: list[Function]) -> bool:
    """Whether a function of another task might do the work of one of these: a call of it would not be wrong."""
    return any(
        function.name == f.name or len(_words(function.name) & _words(f.name)) > 1 or _types(function) == _types(f)
        for f in own
    )


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def _types(function: Function) -> object:
    """Names and types of what goes in and comes out."""
    sides = (function.parameters, function.responses)
    return [sorted((name, str(schema.get("type"))) for name, schema in side.items()) for side in sides]


def _signature(function: Function) -> str:
    return f"{function.name} {_types(function)} {sorted(function.required)}"


def _described(function: Function) -> str:
    return f"{function.name.replace('_', ' ')} {function.description} {' '.join(function.parameters)}"


def _distinct(functions: Sequence[Sequence[Function]]) -> tuple[Function, ...]:
    """Each function once, in order."""
    return tuple({f.name: f for of_one in functions for f in of_one}.values())
