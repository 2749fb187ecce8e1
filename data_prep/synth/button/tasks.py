"""Tasks: atomic ones of a scenario, composed bottom-up, filtered.

atomic "Find the first train ..." -> sequential: + "Book a seat on it", composed "Book a seat on the first train ..."
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from data_prep.synth.button.switches import Switches
from data_prep.synth.button.values import (
    Composed,
    ConsistencyReply,
    ParallelReply,
    RealismReply,
    Scenario,
    SequentialReply,
    Task,
    TaskReply,
)
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.prompts import Prompts

SEQUENTIAL_SHARE = 0.5  # ours: the paper's ratio is not published
LONG_CHAIN = (4, 6)
LEAST_SCORE = 4
FIRST_MINUTE, MINUTES = datetime(2024, 1, 1), 3 * 365 * 24 * 60


async def atomic_task(prompts: Prompts, switches: Switches, scenario: Scenario, ask: Ask) -> list[Task]:
    """One task of the scenario, at a time drawn for it."""
    clock = None
    if ask.rng.random() < switches.clock:
        clock = (FIRST_MINUTE + timedelta(minutes=ask.rng.randrange(MINUTES))).isoformat(timespec="minutes")
    reply = await ask.json(prompts.fill("atomic_task", scenario=scenario.text, clock=clock_sentence(clock)), TaskReply)
    return [Task(reply.task.strip(), scenario.text, clock)]


def clock_sentence(clock: str | None) -> str:
    """The time as prompts and rows say it, "" without one."""
    if clock is None:
        return ""
    at = datetime.fromisoformat(clock)
    return f"It is {at:%A}, {at.day} {at:%B} {at.year}, {at:%H:%M}."


async def compose(prompts: Prompts, switches: Switches, task: Task, ask: Ask) -> list[Composed]:
    """The task composed with one that follows, or with one beside it and one that follows both."""
    long = ask.rng.random() < switches.long_chains
    if ask.rng.random() < SEQUENTIAL_SHARE:
        kind = "sequential"
        sub_tasks, composed, before = [task.text], task.text, ""
    else:
        kind = "parallel"
        reply = await ask.json(prompts.fill("parallel", task=task.text), ParallelReply)
        sub_tasks = [task.text, reply.parallel_task.strip(), reply.subsequent_task.strip()]
        composed, before = reply.composed_task.strip(), ""
    shortest = 2 if kind == "sequential" else 3
    length = ask.rng.randint(*LONG_CHAIN) if long else shortest
    while len(sub_tasks) < length:
        following = await ask.json(prompts.fill("sequential", task=composed), SequentialReply)
        sub_tasks.append(following.subsequent_task.strip())
        before, composed = composed, following.composed_task.strip()
    tags = (("long_chains",) if long else ()) + (("clock",) if task.clock else ())
    return [Composed(composed, tuple(sub_tasks), before, f"{kind}-{length}", task.scenario, task.clock, tags)]


async def filter_consistent(prompts: Prompts, composed: Composed, ask: Ask) -> list[Composed]:
    """The composed task, if its parts make it up."""
    prompt = prompts.fill("consistency", composed_task=composed.task, sub_tasks=numbered(composed))
    reply = await ask.json(prompt, ConsistencyReply)
    if not reply.consistent:
        raise Rejected("inconsistent", f"{composed.task[:100]!r}: {reply.thought[:200]}")
    return [composed]


async def filter_realistic(prompts: Prompts, switches: Switches, composed: Composed, ask: Ask) -> list[Composed]:
    """The composed task, if a judge finds that people ask such things."""
    if ask.rng.random() >= switches.realism:
        return [composed]
    reply = await ask.json(prompts.fill("realism", composed_task=composed.task), RealismReply)
    if reply.score < LEAST_SCORE:
        raise Rejected("unrealistic", f"score {reply.score}, {composed.task[:100]!r}: {reply.thought[:200]}")
    return [msgspec.structs.replace(composed, tags=(*composed.tags, "realism"))]


def numbered(composed: Composed) -> str:
    """The sub-tasks as a prompt lists them."""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(composed.sub_tasks, 1))
