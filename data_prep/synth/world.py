"""`World("7/train/12", "train").call("get_price", {"product_id": "P-4821"})` -> `{"price": 49.5}`.

A world is the state of every domain, made from a text seed: equal seeds are equal worlds, whichever domain is
touched first. Calls may change it, so a dialogue is replayed in order on a fresh world.
"""

from __future__ import annotations

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


def _neat(value: Any) -> Any:
    """36.0 as 36: whole numbers are written without a fraction, in results as in sentences."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
