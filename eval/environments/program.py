"""The synthesised functions, live: a model's calls are checked against the listed tools and executed on a seeded world.

    environment = ProgramEnvironment(World("7/held_out/3/0", "held_out"), tools, failing="get_tariff")
    environment.execute(ToolCall("call_0", "get_tariff", {"provider": "Helio"}))    -> '{"error": "get_tariff is ..."}'
    environment.execute(ToolCall("call_1", "get_tariff", {"provider": "Helio"}))    -> '{"price_per_kwh": 0.31}'

Nothing that a model writes is code here: a name is looked up in a dict, arguments are values that have passed the
tool's JSON schema. The result of a call that fails is {"error": "..."}, as data_prep.synth.verify writes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from data_prep import button
from data_prep.dialogue import ToolCall, function_of
from data_prep.synth.functions import ToolError
from data_prep.synth.world import World
from eval.call_scorers import schema_error

MAX_ERROR_CHARS = 300  # an error may quote an argument, and an argument may be a whole turn long
JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class Executed(NamedTuple):
    """A call and what came of it: `results`, or in `fault` why there are none.

    fault: `unknown_function`, `unknown_argument`, `arguments` (by the tool's schema), `refused` (by the function), or
    `injected`.
    """

    call: ToolCall
    results: dict[str, Any] | None
    fault: str | None = None


class ProgramEnvironment:
    """One episode's world behind one tool list; implements eval.agent.Environment.

    failing: the tool whose first well-formed call fails once, whatever its arguments, and changes nothing.
    """

    def __init__(self, world: World, tools: Sequence[dict[str, Any]], failing: str | None = None):
        self.world = world
        self.tools = tools
        self.failing = failing
        self.executed: list[Executed] = []

    def execute(self, call: ToolCall) -> str:
        """The result as JSON text; every call is noted in `executed`."""
        results, fault, error = None, schema_error(call, self.tools), ""
        if fault is not None:
            error = self._complaint(call)
        elif call.name == self.failing:
            self.failing = None
            fault, error = "injected", f"{call.name} is temporarily unavailable; nothing was done, please try again"
        else:
            try:
                results = self.world.attempt(call.name, call.arguments)
            except ToolError as refusal:
                fault, error = "refused", str(refusal)
        self.executed.append(Executed(call, results, fault))
        return button.dump_json({"error": error[:MAX_ERROR_CHARS]} if results is None else results)

    def _complaint(self, call: ToolCall) -> str:
        """What is wrong with a call, in names and types: `get_fee takes garage_id (string); got hours (integer)`."""
        functions = {function["name"]: function for function in map(function_of, self.tools)}
        if call.name not in functions:
            return f"unknown function {call.name!r}"
        wanted = functions[call.name]["parameters"]["properties"]
        takes = ", ".join(f"{name} ({schema['type']})" for name, schema in wanted.items())
        got = ", ".join(f"{name} ({JSON_TYPES.get(type(value), 'null')})" for name, value in call.arguments.items())
        return f"{call.name} takes {takes}; got {got or 'nothing'}"
