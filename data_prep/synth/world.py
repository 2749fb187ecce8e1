"""`World("7/train/12", "train").call("get_price", {"product_id": "P-4821"})` -> `{"price": 49.5}`.

A world is the state of every domain, made from a text seed: equal seeds are equal worlds, whichever domain is
touched first. Calls may change it, so a dialogue is replayed in order on a fresh world. `attempt` is `call` for
arguments that a model wrote, and `outcome` is what two worlds are compared by.
"""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

from data_prep.synth.domains import DOMAIN_OF, FUNCTIONS
from data_prep.synth.functions import State, ToolError
from data_prep.synth.kinds import NAMES


class World:
    """Seeded state per domain, built when first touched."""

    def __init__(self, seed: str, split: str):
        self.seed = seed
        self.names = NAMES[split]
        self._states: dict[str, State] = {}
        self.ledger: list[tuple[str, dict[str, Any]]] = []  # the attempted calls that changed something, in order

    def state(self, function_name: str) -> State:
        """The state that this function works on."""
        domain = DOMAIN_OF[function_name]
        if domain.name not in self._states:
            state = domain.build(Random(f"{self.seed}/{domain.name}"), self.names)
            state["names"] = self.names
            self._states[domain.name] = state
        return self._states[domain.name]

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Execute one call. Raises ToolError: unknown function, wrong argument names, or what the tool refuses."""
        function = FUNCTIONS.get(name)
        if function is None:
            raise ToolError(f"unknown function {name!r}")
        if set(arguments) != {param.name for param in function.params}:
            wanted = ", ".join(param.name for param in function.params)
            raise ToolError(f"{name} takes {wanted}; got {', '.join(arguments) or 'nothing'}")
        results = function.run(self.state(name), *(arguments[param.name] for param in function.params))
        return {key: _neat(value) for key, value in results.items()}

    def attempt(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Execute a call whose arguments nobody has checked; a call that changes the state is entered in the ledger.

        Raises ToolError, and nothing else, for whatever goes wrong; the world is then as it was.
        """
        if name not in FUNCTIONS:
            raise ToolError(f"unknown function {name!r}")
        state = self.state(name)
        before = _frozen(state)
        try:
            results = self.call(name, arguments)
            json.dumps(results, allow_nan=False)
        except Exception as error:  # a date that is none, a number too large to write: the functions check for neither
            _restore(state, before)
            raise error if isinstance(error, ToolError) else ToolError("the arguments cannot be used") from error
        if (_facts(state), _positions(state)) != before:
            self.ledger.append((name, {key: _neat(value) for key, value in arguments.items()}))
        return results

    def outcome(self) -> dict[str, Any]:
        """What the attempted calls have made of the world: what was done, in any order, and the states it was done to.

        Random generators are left out: what they give next depends on the order of calls that do not depend on it.
        """
        done = sorted(json.dumps(entry, sort_keys=True) for entry in self.ledger)
        touched = {DOMAIN_OF[name].name for name, _ in self.ledger}
        return {"done": done, "states": {name: _facts(self._states[name]) for name in touched}}


def _facts(state: State) -> State:
    return {key: value for key, value in state.items() if not isinstance(value, Random)}


def _frozen(state: State) -> tuple[State, dict[str, Any]]:
    """A copy of the state's facts, and where its random generators stand."""
    return deepcopy(_facts(state)), _positions(state)


def _positions(state: State) -> dict[str, Any]:
    return {key: rng.getstate() for key, rng in state.items() if isinstance(rng, Random)}


def _restore(state: State, frozen: tuple[State, dict[str, Any]]) -> None:
    facts, generators = frozen
    state.update(facts)
    for key, position in generators.items():
        state[key].setstate(position)


def _neat(value: Any) -> Any:
    """36.0 as 36: whole numbers are written without a fraction, in results as in sentences."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
