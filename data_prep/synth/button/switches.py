"""What goes beyond the paper, each switch with its default: the share of rows it is tried on, 1 all, 0 none.

--switch tool_errors=0.3 --switch realism=0        --faithful is 0 for all of them: the paper's stages alone
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class SwitchError(ValueError):
    """A switch that there is not, or a share that is none."""


class Switches(msgspec.Struct, frozen=True):
    """Shares of rows. The four from `tool_errors` on exclude each other in one row, and together are at most 1."""

    realism: float = 1.0  # a judge scores the composed task from 1 to 5; below 4 it is rejected
    long_chains: float = 0.2  # 4 to 6 sub-tasks, not 2 or 3
    reuse_functions: float = 1.0  # a function that an earlier task has is taken from there
    distractors: float = 1.0  # 1 to 3 functions of other tasks listed too, and the list shuffled
    clock: float = 1.0  # a date and time in the system prompt, known to all agents
    consistent_tools: float = 1.0  # the tool agent sees earlier results; the same call returns the same
    check_results: float = 1.0  # results must fit the function's `responses`
    # Every argument comes from the user, an earlier result, the clock or a schema default, as of before its turn: so
    # parallel calls are proven not to need each other's results.
    provenance: float = 1.0
    tool_errors: float = 0.12  # one call fails once, and the assistant must recover
    missing_parameter: float = 0.08  # the user forgets a detail, and the assistant must ask
    no_suitable_tool: float = 0.05  # no listed tool can do it, and the assistant must say so
    user_turns: float = 0.15  # the last sub-task is asked for in a second user turn


FAITHFUL = Switches(*(0.0 for _ in Switches.__struct_fields__))
EXCLUSIVE = ("tool_errors", "missing_parameter", "no_suitable_tool", "user_turns")


def read_switches(faithful: bool, settings: Sequence[str]) -> Switches:
    """The defaults, or none of them, with `name=share` settings on top. Raises SwitchError."""
    chosen = FAITHFUL if faithful else Switches()
    for setting in settings:
        name, _, share = setting.partition("=")
        if name not in Switches.__struct_fields__:
            raise SwitchError(f"--switch {setting}: there is no {name!r}; have {', '.join(Switches.__struct_fields__)}")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise SwitchError(f"--switch {setting}: wanted {name}=SHARE with a share from 0 to 1")
        chosen = msgspec.structs.replace(chosen, **{name: value})
    if sum(getattr(chosen, name) for name in EXCLUSIVE) > 1:
        raise SwitchError(f"the shares of {', '.join(EXCLUSIVE)} exclude each other and are more than 1 together")
    return chosen
