"""What a finished trajectory must hold to before it is exported: nothing of the plan shows, nothing is made up.

The plan is hidden: a thought may not quote a sub-task, name it as one, or know a detail that nobody has mentioned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from data_prep.button import dump_json
from data_prep.dialogue import Message
from data_prep.synth.button.agents import call_key
from data_prep.synth.button.provenance import MONTHS, WEEKDAYS, Known, origin_of
from data_prep.synth.button.switches import Switches
from data_prep.synth.button.tasks import clock_sentence
from data_prep.synth.button.values import Toolbox, Trajectory
from data_prep.synth.endpoint.ask import Ask, Rejected

QUOTED_WORDS = 7
NAMES_OF_THE_PLAN = re.compile(r"\bsub[-_ ]?tasks?\b|\bnotes for you\b|\bthe notes\b", re.IGNORECASE)
WORD = re.compile(r"\w+")
NAME = re.compile(r"(?<=[a-z,;] )[A-Z]\w+")  # not at the beginning of a sentence, where any word has a capital
DETAIL = re.compile(r"[^\s,;:!?\"'()\[\]{}]+")


async def verify(switches: Switches, trajectory: Trajectory, ask: Ask) -> list[Trajectory]:
    """The trajectory, with tags of what was proven. Raises Rejected."""
    check_hidden(trajectory)
    check_outcome(trajectory)
    tags = trajectory.tags
    if ask.rng.random() < switches.provenance:
        check_provenance(trajectory)
        tags = (*tags, "provenance")
    return [Trajectory(trajectory.toolbox, trajectory.messages, trajectory.parallel, tags)]


def check_hidden(trajectory: Trajectory) -> None:
    """Raises Rejected `plan_leaked` where the assistant quotes the plan, names it or knows what only the plan says; or
    where the user says what stands in the plan and not in the composed task; `tool_named` where the
    user names a function."""
    composed = trajectory.toolbox.composed
    plan = " ".join(composed.sub_tasks)
    details = set(_details(plan))
    names = {name for name in NAME.findall(plan) if name.lower() not in (*MONTHS, *WEEKDAYS)}
    seen = _visible_before_all(trajectory.toolbox)
    for message in trajectory.messages:
        if message.role == "user":
            tool = next(
                (f.name for f in trajectory.toolbox.listed if "_" in f.name and f.name in message.content), None
            )
            if tool:
                raise Rejected("tool_named", f"the user names {tool}: {message.content[:200]!r}")
            told = f"{composed.task} {seen}"
            secret = (details - set(_details(told))) & set(_details(message.content))
            secret |= (names - set(WORD.findall(told))) & set(WORD.findall(message.content))
            if secret:
                raise Rejected("plan_leaked", f"the user says {sorted(secret)[0]!r}: {message.content[:200]!r}")
        if message.role == "assistant":
            said = f"{message.thinking or ''}\n{message.content}"
            calls = dump_json([call.arguments for call in message.tool_calls])
            if NAMES_OF_THE_PLAN.search(said):
                raise Rejected("plan_leaked", f"the plan is named: {said[:200]!r}")
            quoted = (_runs(plan) - _runs(seen)) & _runs(said)
            if quoted:
                raise Rejected("plan_leaked", f"the plan is quoted: {sorted(quoted)[0]!r}")
            secret = (details - set(_details(seen))) & set(_details(f"{said} {calls}"))
            secret |= (names - set(WORD.findall(seen))) & set(WORD.findall(f"{said} {calls}"))
            if secret:
                raise Rejected("plan_leaked", f"only the plan says {sorted(secret)[0]!r}: {said[:200]!r}")
        seen = f"{seen}\n{message.content}"


def _visible_before_all(box: Toolbox) -> str:
    functions = " ".join(f"{f.name} {f.description} {json.dumps([f.parameters, f.responses])}" for f in box.listed)
    return f"{functions} {clock_sentence(box.composed.clock)}"


def _runs(text: str) -> set[str]:
    words = WORD.findall(text.lower())
    return {" ".join(words[at : at + QUOTED_WORDS]) for at in range(len(words) - QUOTED_WORDS + 1)}


def _details(text: str) -> Iterator[str]:
    """Words with a digit or with two capitals: codes, amounts, dates, sentinels."""
    for match in DETAIL.finditer(text):
        word = match[0].strip(".-")
        if any(char.isdigit() for char in word) or sum(char.isupper() for char in word) > 1:
            yield word


def check_outcome(trajectory: Trajectory) -> None:
    """Raises Rejected where the dialogue did not come to what it was made for."""
    calls = [call for message in trajectory.messages for call in message.tool_calls]
    if trajectory.toolbox.lacking:
        return  # calls were refused as they were written
    if not calls:
        raise Rejected("no_calls", f"the assistant called nothing: {trajectory.messages[-1].content[:200]!r}")
    failed = [message for message in trajectory.messages if message.role == "tool" and _is_error(message)]
    for message in failed:
        call = next(call for call in calls if call.id == message.tool_call_id)
        tries = [other.id for other in calls if call_key(other) == call_key(call)]
        if not set(tries) - {m.tool_call_id for m in failed}:
            raise Rejected("no_recovery", f"{call.name} failed and was not called again with the same arguments")
    if "tool_errors" in trajectory.tags and not failed:
        raise Rejected("no_error", "the dialogue ended before the call that was to fail")
    done = {message.name for message in trajectory.messages if message.role == "tool" and not _is_error(message)}
    for number, functions in enumerate(trajectory.toolbox.functions, 1):
        if functions and not any(function.name in done for function in functions):
            wanted = ", ".join(function.name for function in functions)
            raise Rejected("sub_task_left_out", f"nothing was called for sub-task {number}, which takes {wanted}")


def _is_error(message: Message) -> bool:
    return message.content.startswith('{"error": ')


def check_provenance(trajectory: Trajectory) -> None:
    """Raises Rejected `made_up_argument`. The calls of one turn are judged by what was known before it, so that
    parallel ones are proven not to need each other's results."""
    schemas = {function.name: function.parameters for function in trajectory.toolbox.listed}
    user = ""
    results: list[Any] = []
    for message in trajectory.messages:
        known = Known(user, results, trajectory.toolbox.composed.clock)
        for call in message.tool_calls:
            for name, value in call.arguments.items():
                if origin_of(value, name, schemas[call.name].get(name, {}), known) is None:
                    raise Rejected("made_up_argument", f"{call.name}: {name}={dump_json(value)[:100]} has no origin")
        if message.role == "user":
            user = f"{user}\n{message.content}"
        elif message.role == "tool":
            results = [*results, json.loads(message.content)]
