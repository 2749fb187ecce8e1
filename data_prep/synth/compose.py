"""`make_row("train", seed=0, index=12)` -> one BUTTON row: plan, arguments, execution, words, tool list.

    {"id": "synth-button-train-0-12", "messages": [system, user, assistant, tool, ..., assistant],
     "meta": {"split", "domain", "domains", "shape", "chain", "template", "parallel_calls", "world"}}

The row is a function of (split, seed, index) and the options alone. The requests give no plan away, the assistant's
thoughts state it. With SmolLM2's tokenizer a row has about 1,050 tokens (5-95 %: 840-1320), 550 of them the system
prompt with its tools; an assistant turn has about 100.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from data_prep import button
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.synth.domains import DOMAIN_OF, DOMAINS, FUNCTIONS
from data_prep.synth.functions import Function, Kind, ToolError
from data_prep.synth.graph import SHAPES, Link, Plan, plans
from data_prep.synth.kinds import CITY, CLIENT, DATE, EVENT_DATE, PERSON
from data_prep.synth.phrases import CLOSING_SHARE, GRAMMARS, OPENER_SHARE, Grammar, pick, sentence
from data_prep.synth.world import World

TOOL_COUNTS = ((4, 0.8), (5, 0.15), (6, 0.05))
NEAR_SHARE = 0.5
ALL_NAMES = {split: [f.name for domain in domains for f in domain.functions] for split, domains in DOMAINS.items()}
PARALLEL_ON_SHARE = 0.5
SAME_VALUE_SHARE = 0.7  # "the forecast for Oslo on the driest day in Oslo" rather than two cities in one request
SAME_VALUE_KINDS = (CITY, PERSON, CLIENT, DATE, EVENT_DATE)
PLANS_PER_DOMAIN = 8  # a domain with fewer plans of a shape is drawn less often
ATTEMPTS = 50


class Step(NamedTuple):
    """One executed call; `said` is its report, a sentence over arguments and results."""

    function: Function
    arguments: dict[str, Any]
    results: dict[str, Any]
    said: str


class Task(NamedTuple):
    """One request of the user: what is to be called for it, and the calls made."""

    plan: Plan
    shape: str
    steps: list[Step]


class Listing(NamedTuple):
    """What rows of one application share: the tools, the ON or OFF sentence, and the plans the tools allow."""

    tools: dict[str, dict[str, Any]]  # definitions by name, in the order listed
    parallel: bool
    plans: list[tuple[Plan, str]]  # with their shapes: first the one the tools were listed for, then those unlike it


def make_row(
    split: str,
    seed: int,
    index: int,
    max_calls: int = 4,
    max_tools: int = 6,
    user_turns: int = 1,
    rows_per_list: int = 1,
    simple: bool = False,
) -> dict[str, Any]:
    """One exported row of `user_turns` requests, each of 2 to `max_calls` calls.

    It lists 4 to `max_tools` tools, or one more than its first plan uses. `simple`, for small models, leaves parameters
    undescribed, goes through the domains in turn, and fills a list with what requests of other domains need. Each
    `rows_per_list` rows in a row share their list, as the dialogues of one application do, and take turns between the
    requests that it allows. Raises ToolError if no attempt at this index could be executed
    (a fault of a domain file).
    """
    row_id = f"synth-button-{split}-{seed}-{index}"
    rng = Random(f"{seed}/{split}/{index}")
    number, place = divmod(index, rows_per_list)
    rng_of_list = Random(f"{seed}/{split}/list/{number}")
    listing = _draw_listing(rng_of_list, split, number if simple else None, max_calls, max_tools)
    for attempt in range(ATTEMPTS):
        drawn = [listing.plans[(place + attempt) % len(listing.plans)]]
        drawn += [rng.choice(listing.plans) for _ in range(user_turns - 1)]
        world = World(f"{seed}/{split}/{index}/{attempt}", split)
        try:
            tasks = [Task(plan, shape, _execute(rng, plan, world)) for plan, shape in drawn]
        except ToolError as error:
            failure = error
            continue
        return _row(rng, split, row_id, tasks, world, listing)
    raise ToolError(f"row {index} of {split}, seed {seed}: {ATTEMPTS} attempts failed, the last with: {failure}")


def _draw_listing(rng: Random, split: str, number: int | None, max_calls: int, max_tools: int) -> Listing:
    """A list of tools; with its `number` a simple one, and these go through the domains in turn: few cover them all."""
    simple = number is not None
    first = _draw_plan(rng, split, max_calls, number)
    needed = _with_other_plans(rng, split, first[0], max_calls, max_tools) if simple else first[0].steps
    fewest = min(max_tools, rng.choices([n for n, _ in TOOL_COUNTS], [share for _, share in TOOL_COUNTS])[0])
    fewest = max(fewest, len(set(first[0].steps)) + 1)
    tools = _list_tools(rng, split, needed, fewest, near_share=0.0 if simple else NEAR_SHARE)
    others = [found for found in _plans_within(split, tools, max_calls) if found != first]
    rng.shuffle(others)
    others.sort(key=lambda found: not set(found[0].steps).isdisjoint(first[0].steps))
    definitions = {name: FUNCTIONS[name].tool(terse=simple) for name in tools}
    return Listing(definitions, rng.random() < PARALLEL_ON_SHARE, [first, *others])


def _draw_plan(rng: Random, split: str, max_calls: int, number: int | None = None) -> tuple[Plan, str]:
    by_shape = plans(split)
    shapes = [shape for shape in SHAPES if by_shape[shape] and int(shape.split("-")[1]) <= max_calls]
    shape = rng.choices(shapes, [SHAPES[shape] for shape in shapes])[0]
    by_domain = by_shape[shape]
    if number is not None:
        return rng.choice(list(by_domain.values())[number % len(by_domain)]), shape
    weights = [min(len(found), PLANS_PER_DOMAIN) for found in by_domain.values()]
    return rng.choice(rng.choices(list(by_domain.values()), weights)[0]), shape


def _execute(rng: Random, plan: Plan, world: World) -> list[Step]:
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
                arguments[param.name] = _draw_value(rng, world, function, param.kind, values, repeat=bool(links))
        results = world.call(name, arguments)
        said = pick(rng, function.says).format_map({**arguments, **results})
        steps.append(Step(function, arguments, results, said))
    return steps


def _draw_value(rng: Random, world: World, function: Function, kind: Kind, given: list[Any], repeat: bool) -> Any:
    """A value of this kind; one that the user has given already only where repeating it reads naturally."""
    if given and repeat and kind in SAME_VALUE_KINDS and rng.random() < SAME_VALUE_SHARE:
        return given[0]
    state = world.state(function.name)
    for _ in range(8):
        value = kind.draw(rng, state)
        if value not in given:
            break
    given.append(value)
    return value


def _plans_within(split: str, tools: list[str], max_calls: int) -> list[tuple[Plan, str]]:
    """Every plan that needs no other tools, with its shape."""
    return [
        (plan, shape)
        for shape, by_domain in plans(split).items()
        if int(shape.split("-")[1]) <= max_calls
        for found in by_domain.values()
        for plan in found
        if set(plan.steps) <= set(tools)
    ]


def _row(rng: Random, split: str, row_id: str, tasks: list[Task], world: World, listing: Listing) -> dict[str, Any]:
    grammar = GRAMMARS[split]
    messages: list[Message] = []
    templates: list[str] = []
    for task in tasks:
        request, template, wanted = _request(rng, grammar, task.plan, task.steps)
        made = sum(len(message.tool_calls) for message in messages)
        messages.append(Message(role="user", content=request))
        messages += _turns(rng, grammar, task, wanted, listing, made)
        templates.append(template)
    chain = [name for task in tasks for name in task.plan.steps]
    dialogue = Dialogue(
        id=row_id,
        source="button",
        messages=tuple(messages),
        tools=tuple(listing.tools.values()),
        meta={"parallel_calls": listing.parallel},
    )
    meta = {
        "split": split,
        "domain": tasks[0].plan.domain,
        "domains": sorted({DOMAIN_OF[name].name for name in chain}),
        "shape": "+".join(task.shape for task in tasks),
        "chain": chain,
        "template": "+".join(templates),
        "parallel_calls": listing.parallel,
        "world": world.seed,
    }
    return {"id": row_id, "messages": button.to_messages(dialogue), "meta": meta}


def _with_other_plans(rng: Random, split: str, plan: Plan, max_calls: int, max_tools: int) -> tuple[str, ...]:
    """The tools of the plan and of plans of other domains while there is room: the request decides which are called."""
    chosen = dict.fromkeys(plan.steps)
    for _ in range(ATTEMPTS):
        other = _draw_plan(rng, split, max_calls)[0].steps
        taken = {DOMAIN_OF[name].name for name in chosen}
        if len(chosen) + len(set(other)) <= max_tools and taken.isdisjoint(DOMAIN_OF[name].name for name in other):
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


# ---- words


def _request(rng: Random, grammar: Grammar, plan: Plan, steps: list[Step]) -> tuple[str, str, list[str]]:
    """The user's message: every detail, no order of steps, no tool's name. With the id of its template, and the words
    in it that want each step."""
    wanted: dict[int, str] = {}
    last = len(steps) - 1
    nouns = {0: _noun(plan, steps)} if plan.first_wave == 1 else {}
    form = rng.choice(("nested", "topic", "topic", "after")) if nouns and last < 3 else ("topic" if nouns else "nested")
    named: dict[int, str] = {}
    before = behind = ""
    if form != "nested":
        first_thing = _thing(rng, plan, steps, 0, plan.links[1], {}, wanted)
        if form == "topic":
            number = rng.randrange(len(grammar.topic))
            frame, reference = grammar.topic[number]
            before = frame.format(thing=first_thing)
        else:
            number = rng.randrange(len(grammar.after))
            reference, frame = grammar.after[number]
            behind = frame.format(thing=first_thing)
        named[0] = reference.format(noun=nouns[0])
        form = f"{form}{number}"
    ask_number = rng.randrange(len(grammar.ask))
    ask = pick(rng, steps[last].function.asks).format_map(_slots(rng, plan, steps, last, named, wanted))
    wanted[last] = ask
    asked = grammar.ask[ask_number].format(ask=ask)
    parts = [before, asked, behind]
    if rng.random() < OPENER_SHARE:
        parts.insert(0, pick(rng, DOMAIN_OF[plan.steps[rng.choice((0, last))]].openers))
    if rng.random() < CLOSING_SHARE:
        parts.append(pick(rng, grammar.closing))
    request = " ".join(sentence(part) for part in parts if part)
    return request, f"{form}/ask{ask_number}", [wanted[index] for index in range(len(steps))]


def _noun(plan: Plan, steps: list[Step]) -> str:
    """What the first result is called: the noun of the kind that the second step takes from it."""
    ((_, key),) = plan.links[1].values()
    return next(result.kind.noun for result in steps[0].function.returns if result.name == key)


def _slots(
    rng: Random, plan: Plan, steps: list[Step], index: int, named: dict[int, str], wanted: dict[int, str]
) -> dict[str, str]:
    """How the request writes each argument of a step: as the user's literal, or as where it comes from."""
    slots = {}
    for param in steps[index].function.params:
        link = plan.links[index].get(param.name)
        if link is None:
            slots[param.name] = param.kind.literal.format(steps[index].arguments[param.name])
        elif link[0] in named:
            slots[param.name] = named[link[0]]
        else:
            slots[param.name] = _thing(rng, plan, steps, link[0], {param.name: link}, named, wanted)
    return slots


def _thing(
    rng: Random, plan: Plan, steps: list[Step], index: int, links: dict, named: dict[int, str], wanted: dict[int, str]
) -> str:
    """A noun phrase for the result of step `index` that `links` points at; noted in `wanted`."""
    key = next(key for source, key in links.values() if source == index)
    refer = next(result.refer for result in steps[index].function.returns if result.name == key)
    wanted[index] = pick(rng, refer).format_map(_slots(rng, plan, steps, index, named, wanted))
    return wanted[index]


def _turns(
    rng: Random, grammar: Grammar, task: Task, wanted: list[str], listing: Listing, first_id: int
) -> list[Message]:
    """Thought and calls, results, thought and calls, ..., final answer.

    A thought counts the turns, the answer's among them, and says what this one is for: the first in the words of the
    request, the others by the tools that the thought before named. Then come what the calls before found for it, what
    it calls, with the parameters that the tool list requires, and the tools of the turns after.
    """
    steps, first_wave = task.steps, task.plan.first_wave if listing.parallel else 1
    waves = [list(range(first_wave)), *([index] for index in range(first_wave, len(steps)))]
    count = len(waves) + 1
    messages: list[Message] = []
    found = ""
    for number, wave in enumerate(waves, 1):
        aims = [wanted[index] if number == 1 else steps[index].function.name for index in wave]
        thought = grammar.plan.format(number=number, count=count, aim=grammar.also.join(aims)) + found
        called = [_with_required(listing.tools[steps[index].function.name]) for index in wave]
        after = "".join(grammar.then + step.function.name for step in steps[wave[-1] + 1 :])
        thought += grammar.step.format(calls=grammar.also.join(called) + after)
        calls = tuple(ToolCall(f"call_{first_id + i}", steps[i].function.name, steps[i].arguments) for i in wave)
        messages.append(Message(role="assistant", content=thought, tool_calls=calls))
        messages += [_result(call, steps[index]) for call, index in zip(calls, wave, strict=True)]
        found = "".join(grammar.found.format(result=f"{key} {steps[i].results[key]}") for i, key in _used(task, wave))
    says = " ".join(step.said for step in steps[-rng.choice((1, 2)) :])
    answer = pick(rng, grammar.answer).format(says=says)
    done = grammar.plan.format(number=count, count=count, aim=grammar.done)
    messages.append(Message(role="assistant", content=answer, thinking=done))
    return messages


def _used(task: Task, wave: list[int]) -> list[Link]:
    """The results of these steps that a later step takes."""
    links = [link for taken in task.plan.links for link in taken.values()]
    return [link for link in dict.fromkeys(links) if link[0] in wave]


def _with_required(tool: dict[str, Any]) -> str:
    """A function's name and the parameters it requires, as the tool list writes them."""
    listed = button.to_button_tool(tool)
    return button.dump_json({key: listed[key] for key in ("name", "required")})


def _result(call: ToolCall, step: Step) -> Message:
    return Message(role="tool", tool_call_id=call.id, name=call.name, content=button.dump_json(step.results))
