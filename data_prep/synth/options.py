"""What a row of `synth button` may hold: `Options(max_calls=6, errors=0.2, clock=True)`; the defaults are BUTTON's.

A switch that acted on a row is a tag in the row's meta: `situation`, `today`, or a shape that says `single`.
"""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple

Parallel = Literal["mixed", "on", "off"]
# What may be out of the ordinary with one request of a row.
TOOL_ERROR, OWN_ERROR, MISSING, NO_TOOL = "tool_error", "own_error", "missing", "no_tool"
OWN_ERROR_SHARE = 0.5  # of the errors, those the assistant makes


class Options(NamedTuple):
    """Switches of a row; `errors`, `missing` and `no_tool` are shares of rows, 0 to 1, and together at most 1.

    min_calls, max_calls: of one request. max_tools: listed, unless a plan needs more. user_turns: requests in a row.
    rows_per_list: rows in a row that share a tool list, as the dialogues of one application do.
    simple: for small models; parameters undescribed, other tools of other domains, domains in turn.
    parallel: whether the system prompt allows parallel calls; mixed is one half each.
    bottom_up: False for the ablation: requests of single steps side by side instead of composed ones.
    clock: today's date stands in the system prompt, and requests name dates relative to it.
    errors: a call meets an error, by the tool's fault or (untrained, then) by the assistant's, and is made again.
    missing: the first request leaves a value open; the assistant asks for it before it calls.
    no_tool: a request that no listed tool serves; the assistant says so and calls nothing.
    """

    min_calls: int = 2
    max_calls: int = 4
    max_tools: int = 6
    user_turns: int = 1
    rows_per_list: int = 1
    simple: bool = False
    parallel: Parallel = "mixed"
    bottom_up: bool = True
    clock: bool = False
    errors: float = 0.0
    missing: float = 0.0
    no_tool: float = 0.0

    def allows(self, calls: int) -> bool:
        """Whether a request may take this many calls."""
        return self.min_calls <= calls <= self.max_calls

    def draw_situation(self, rng: Random) -> str | None:
        """What is out of the ordinary in a row; None for most."""
        errors = OWN_ERROR if rng.random() < OWN_ERROR_SHARE else TOOL_ERROR
        plain = max(0.0, 1 - self.errors - self.missing - self.no_tool)
        shares = (plain, self.errors, self.missing, self.no_tool)
        return rng.choices((None, errors, MISSING, NO_TOOL), shares)[0]
