"""`make_row("train", seed=0, index=12)` -> one BUTTON row: plan, arguments, execution, words, tool list.

    {"id": "synth-button-train-0-12", "messages": [system, user, assistant, tool, ..., assistant],
     "meta": {"split", "domain", "domains", "shape", "chain", "template", "parallel_calls", "world"}}

The row is a function of (split, seed, index) and the options alone; a switch that acted on it is a further key of meta,
`situation` or `today`. With SmolLM2's tokenizer a row has about 1,050 tokens (5-95 %: 840-1320), 550 of them the system
prompt with its tools; an assistant turn has about 100.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

from data_prep.dialogue import Dialogue, Message
from data_prep.sources.button import to_row
from data_prep.synth import clock, wording
from data_prep.synth.domains import DOMAIN_OF, DOMAINS, FUNCTIONS
from data_prep.synth.functions import ToolError
from data_prep.synth.graph import SHAPES, Plan, length_of, plans, plans_within, side_by_side, single_steps
from data_prep.synth.kinds import DATE
from data_prep.synth.options import MISSING, NO_TOOL, OWN_ERROR, TOOL_ERROR, Options
from data_prep.synth.steps import Task, execute, go_wrong, independent, leave_open
from data_prep.synth.world import World

TOOL_COUNTS = ((4, 0.8), (5, 0.15), (6, 0.05))
NEAR_SHARE = 0.5
ALL_NAMES = {split: [f.name for domain in domains for f in domain.functions] for split, domains in DOMAINS.items()}
PARALLEL_ON_SHARE = 0.5
PLANS_PER_DOMAIN = 8  # a domain with fewer plans of a shape is drawn less often
ATTEMPTS = 50
SINGLE_LENGTHS = {2: 0.6, 3: 0.35, 4: 0.05, 5: 0.1, 6: 0.1}  # those of SHAPES up to 4 calls, as near as can be
DEFAULT = Options()
Drawn = tuple[Plan, str]  # a plan and its shape


class Listing(NamedTuple):
    """What rows of one application share: the tools, the ON or OFF sentence, and the plans the tools allow."""

    tools: dict[str, dict[str, Any]]  # definitions by name, in the order listed
    parallel: bool
    plans: list[Drawn]  # first the one the tools were listed for, then those unlike it


def make_row(split: str, seed: int, index: int, options: Options = DEFAULT) -> dict[str, Any]:
    """One exported row, as the options say.

    It lists 4 to `max_tools` tools, or one more than its first plan uses. Each `rows_per_list` rows in a row share
    their list and take turns between the requests that it allows. Raises ToolError if no attempt at this index could
    be executed (a fault of a domain file).
    """
    row_id = f"synth-button-{split}-{seed}-{index}"
    rng = Random(f"{seed}/{split}/{index}")
    number, place = divmod(index, options.rows_per_list)
    listing = _draw_listing(Random(f"{seed}/{split}/list/{number}"), split, number, options)
    for attempt in range(ATTEMPTS):
        if (
            attempt == ATTEMPTS // 2
        ):  # the list may allow no request in which a value stands alone: the row is plain then
            options = options._replace(missing=0.0, no_tool=0.0)
        drawn = [listing.plans[(place + attempt) % len(listing.plans)]]
        drawn += [rng.choice(listing.plans) for _ in range(options.user_turns - 1)]
        world = World(f"{seed}/{split}/{index}/{attempt}", split)
        chance = Random(f"{world.seed}/situation")  # its own, so that a switch leaves the other rows as they are
        today = clock.draw_today(chance, world.names.year) if options.clock else None
        setting = wording.Setting(split, listing.tools, listing.parallel, today)
        try:
            tasks = _act(rng, chance, drawn, world, setting, options)
        except ToolError as error:
            failure = error
            continue
        return _row(rng, row_id, tasks, world, setting)
    raise ToolError(f"row {index} of {split}, seed {seed}: {ATTEMPTS} attempts failed, the last with: {failure}")


# ---- plans and tools


def _draw_listing(rng: Random, split: str, number: int, options: Options) -> Listing:
    """List number `number`; simple ones go through the domains in turn: few cover them all."""
    simple = options.simple
    first = _draw_plan(rng, split, options, number if simple else None)
    needed = _with_other_plans(rng, split, first[0], options) if simple else first[0].steps
    fewest = min(options.max_tools, rng.choices([n for n, _ in TOOL_COUNTS], [share for _, share in TOOL_COUNTS])[0])
    fewest = max(fewest, len(set(first[0].steps)) + 1)
    tools = _list_tools(rng, split, needed, fewest, near_share=0.0 if simple else NEAR_SHARE)
    others = [found for found in _plans_of(split, tools, options) if found != first]
    rng.shuffle(others)
    others.sort(key=lambda found: not set(found[0].steps).isdisjoint(first[0].steps))
    definitions = {name: FUNCTIONS[name].tool(terse=simple) for name in tools}
    on = rng.random() < PARALLEL_ON_SHARE
    return Listing(definitions, on if options.parallel == "mixed" else options.parallel == "on", [first, *others])


def _draw_plan(rng: Random, split: str, options: Options, number: int | None = None) -> Drawn:
    """A plan; of domain number `number` in turn where one is given."""
    if not options.bottom_up:
        return _draw_single_steps(rng, split, options, number)
    by_shape = plans(split)
    shapes = [shape for shape in SHAPES if by_shape[shape] and options.allows(length_of(shape))]
    shape = rng.choices(shapes, [SHAPES[shape] for shape in shapes])[0]
    by_domain = by_shape[shape]
    if number is not None:
        return rng.choice(list(by_domain.values())[number % len(by_domain)]), shape
    weights = [min(len(found), PLANS_PER_DOMAIN) for found in by_domain.values()]
    return rng.choice(rng.choices(list(by_domain.values()), weights)[0]), shape


def _draw_single_steps(rng: Random, split: str, options: Options, number: int | None) -> Drawn:
    """As many functions as a composed plan would have, each for its own sake."""
    lengths = [length for length in SINGLE_LENGTHS if options.allows(length)]
    length = rng.choices(lengths, [SINGLE_LENGTHS[length] for length in lengths])[0]
    by_domain = list(single_steps(split).values())
    first = rng.choice(by_domain[number % len(by_domain)] if number is not None else rng.choice(by_domain))
    names = [first]
    while len(names) < length:
        name = rng.choice(rng.choice(by_domain))
        if name not in names:
            names.append(name)
    return side_by_side(names)


def _plans_of(split: str, tools: list[str], options: Options) -> list[Drawn]:
    """Every plan of the options that needs no other tools."""
    if options.bottom_up:
        return [found for found in plans_within(split, tools) if options.allows(len(found[0].steps))]
    known = {name for names in single_steps(split).values() for name in names}
    alone = [name for name in tools if name in known]
    lengths = [length for length in SINGLE_LENGTHS if options.allows(length)]
    return [side_by_side(names) for length in lengths for names in combinations(alone, length)]


def _with_other_plans(rng: Random, split: str, plan: Plan, options: Options) -> tuple[str, ...]:
    """The tools of the plan and of plans of other domains while there is room: the request decides which are called."""
    chosen = dict.fromkeys(plan.steps)
    for _ in range(ATTEMPTS):
        other = _draw_plan(rng, split, options)[0].steps
        taken = {DOMAIN_OF[name].name for name in chosen}
        if len(chosen) + len(set(other)) <= options.max_tools and taken.isdisjoint(DOMAIN_OF[n].name for n in other):
            chosen |= dict.fromkeys(other)
    return tuple(chosen)


def _list_tools(rng: Random, split: str, needed: tuple[str, ...], fewest: int, near_share: float) -> list[str]:
    """The tools needed and, up to `fewest`, distractors, `near_share` of them of the same domains; shuffled."""
    chosen = list(dict.fromkeys(needed))
    near = [f.name for f in DOMAIN_OF[rng.choice(needed)].functions if f.name not in chosen]
    rng.shuffle(near)
    domains = {DOMAIN_OF[name].name for name in needed}
    far = [name for name in ALL_NAMES[split] if near_share or DOMAIN_OF[name].name not in domains]
    while len(chosen) < fewest:
        name = near.pop() if near and rng.random() < near_share else rng.choice(far)
        if name not in chosen:
            chosen.append(name)
    rng.shuffle(chosen)
    return chosen


# ---- what is done


def _act(
    rng: Random, chance: Random, drawn: list[Drawn], world: World, setting: wording.Setting, options: Options
) -> list[Task]:
    """The row's tasks, executed in order, one of them in the situation that was drawn."""
    situation = options.draw_situation(chance)
    place = 0 if situation == MISSING else chance.randrange(len(drawn))  # what is asked for can't have been said before
    tasks = []
    for number, (plan, shape) in enumerate(drawn):
        if situation == NO_TOOL and number == place:
            plan, shape = _draw_unserved(chance, setting, options)
            steps = execute(chance, plan, World(f"{world.seed}/unserved", setting.split), setting.today)
            tasks.append(Task(plan, shape, steps, NO_TOOL))
            continue
        before = deepcopy(world) if number == place and situation in (OWN_ERROR, TOOL_ERROR) else None
        start = deepcopy(world) if plan.first_wave > 1 else None
        task = Task(plan, shape, execute(rng, plan, world, setting.today))
        if start is not None and not independent(task.steps[: plan.first_wave], start):
            raise ToolError(f"the first calls of {', '.join(plan.steps)} depend on each other")
        if setting.today and not _lies_ahead(task, setting.today):
            raise ToolError(f"a date that comes out is before {setting.today}")
        if number == place:
            task = _in_situation(chance, task, situation, setting, before)
        tasks.append(task)
    return tasks


def _lies_ahead(task: Task, today: str) -> bool:
    """Whether no result is a day in the past: worlds know nothing of the clock, and a next opening is yet to come."""
    return all(
        step.results[result.name] >= today
        for step in task.steps
        for result in step.function.returns
        if result.kind.feeds(DATE)
    )


def _draw_unserved(rng: Random, setting: wording.Setting, options: Options) -> Drawn:
    """A plan whose last function, what the user is after, is not listed. Raises ToolError if none is found."""
    for _ in range(ATTEMPTS):
        plan, shape = _draw_plan(rng, setting.split, options)
        if set(plan.steps[-1:] if options.bottom_up else plan.steps).isdisjoint(setting.tools):
            return plan, shape
    raise ToolError("every request drawn can be served")


def _in_situation(
    rng: Random, task: Task, situation: str | None, setting: wording.Setting, before: World | None
) -> Task:
    if before is not None:
        fault = go_wrong(rng, setting.grammar, situation == OWN_ERROR, task.plan, task.steps, before, setting.parallel)
        return task._replace(situation=OWN_ERROR if fault.own else TOOL_ERROR, fault=fault)
    if situation == MISSING:
        left_open = leave_open(rng, task.plan, task.steps, setting.today)
        if left_open is None:
            raise ToolError("no value of the request stands alone")
        return task._replace(situation=MISSING, left_open=left_open)
    return task


def _row(rng: Random, row_id: str, tasks: list[Task], world: World, setting: wording.Setting) -> dict[str, Any]:
    messages: list[Message] = []
    if setting.today:
        now = setting.grammar.today.format(date=setting.today, weekday=clock.weekday(setting.today))
        messages.append(Message(role="system", content=now))
    templates: list[str] = []
    for task in tasks:
        asked = wording.request(rng, setting, task)
        messages.append(Message(role="user", content=asked.text))
        templates.append(asked.template)
        if task.situation == NO_TOOL:
            messages += wording.declining(rng, setting, asked)
            continue
        if task.left_open is not None:
            messages += wording.clarifying(rng, setting, task, task.left_open)
        made = sum(len(message.tool_calls) for message in messages)
        messages += wording.turns(rng, setting, task, asked, made)
    chain = [name for task in tasks for name in task.plan.steps]
    dialogue = Dialogue(
        id=row_id,
        source="button",
        messages=tuple(messages),
        tools=tuple(setting.tools.values()),
        meta={"parallel_calls": setting.parallel},
    )
    situations = [task.situation for task in tasks if task.situation]
    meta = {
        "split": setting.split,
        "domain": tasks[0].plan.domain,
        "domains": sorted({DOMAIN_OF[name].name for name in chain}),
        "shape": "+".join(task.shape for task in tasks),
        "chain": chain,
        "template": "+".join(templates),
        "parallel_calls": setting.parallel,
        "world": world.seed,
        **({"today": setting.today} if setting.today else {}),
        **({"situation": situations[0]} if situations else {}),
    }
    return {"id": row_id, **to_row(dialogue), "meta": meta}
