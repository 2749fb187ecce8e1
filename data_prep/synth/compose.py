"""`make_row("train", seed=0, index=12)` -> one BUTTON row: plan, arguments, execution, words, tool list.

    {"id": "synth-button-train-0-12", "messages": [system, user, assistant, tool, ..., assistant],
     "meta": {"split", "domain", "domains", "shape", "chain", "template", "parallel_calls", "world"}}

The row is a function of (split, seed, index) alone. The plan is hidden: the row shows requests and calls only.
With SmolLM2's tokenizer a row has about 950 tokens (5-95 %: 770-1200), 550 of them the system prompt with its tools;
an assistant turn has about 68.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from data_prep import button
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.synth.domains import DOMAIN_OF, DOMAINS, FUNCTIONS
from data_prep.synth.functions import Function, Kind, ToolError
from data_prep.synth.graph import SHAPES, Plan, plans
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


def make_row(split: str, seed: int, index: int) -> dict[str, Any]:
    """One exported row. Raises ToolError if no attempt at this index could be executed (a fault of a domain file)."""
    world_seed = f"{seed}/{split}/{index}"
    rng = Random(world_seed)
    for attempt in range(ATTEMPTS):
        plan, shape = _draw_plan(rng, split)
        world = World(f"{world_seed}/{attempt}", split)
        try:
            steps = _execute(rng, plan, world)
        except ToolError as error:
            failure = error
            continue
        return _row(rng, split, f"synth-button-{split}-{seed}-{index}", plan, shape, steps, world)
    raise ToolError(f"row {index} of {split}, seed {seed}: {ATTEMPTS} attempts failed, the last with: {failure}")


def _draw_plan(rng: Random, split: str) -> tuple[Plan, str]:
    by_shape = plans(split)
    shapes = [shape for shape in SHAPES if by_shape[shape]]
    shape = rng.choices(shapes, [SHAPES[shape] for shape in shapes])[0]
    by_domain = by_shape[shape]
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


def _row(
    rng: Random, split: str, row_id: str, plan: Plan, shape: str, steps: list[Step], world: World
) -> dict[str, Any]:
    grammar = GRAMMARS[split]
    parallel = rng.random() < PARALLEL_ON_SHARE
    request, template = _request(rng, grammar, plan, steps)
    dialogue = Dialogue(
        id=row_id,
        source="button",
        messages=(Message(role="user", content=request), *_turns(rng, grammar, plan, steps, parallel)),
        tools=tuple(_list_tools(rng, split, plan)),
        meta={"parallel_calls": parallel},
    )
    meta = {
        "split": split,
        "domain": plan.domain,
        "domains": sorted({DOMAIN_OF[name].name for name in plan.steps}),
        "shape": shape,
        "chain": list(plan.steps),
        "template": template,
        "parallel_calls": parallel,
        "world": world.seed,
    }
    return {"id": row_id, "messages": button.to_messages(dialogue), "meta": meta}


def _list_tools(rng: Random, split: str, plan: Plan) -> list[dict[str, Any]]:
    """The tools of the plan and distractors, half of them of its own domains, shuffled; never fewer than four."""
    chosen = list(dict.fromkeys(plan.steps))
    count = rng.choices([n for n, _ in TOOL_COUNTS], [share for _, share in TOOL_COUNTS])[0]
    near = [f.name for f in DOMAIN_OF[rng.choice(plan.steps)].functions if f.name not in chosen]
    rng.shuffle(near)
    while len(chosen) < max(count, len(set(plan.steps)) + 1):
        name = near.pop() if near and rng.random() < NEAR_SHARE else rng.choice(ALL_NAMES[split])
        if name not in chosen:
            chosen.append(name)
    rng.shuffle(chosen)
    return [FUNCTIONS[name].tool() for name in chosen]


# ---- words


def _request(rng: Random, grammar: Grammar, plan: Plan, steps: list[Step]) -> tuple[str, str]:
    """The user's message and the id of its template: every detail, no order of steps, no tool's name."""
    last = len(steps) - 1
    nouns = {0: _noun(plan, steps)} if plan.first_wave == 1 else {}
    form = (
        rng.choice(("nested", "nested", "topic", "after")) if nouns and last < 3 else ("topic" if nouns else "nested")
    )
    named: dict[int, str] = {}
    before = behind = ""
    if form != "nested":
        first_thing = _thing(rng, plan, steps, 0, plan.links[1], {})
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
    asked = grammar.ask[ask_number].format(ask=_ask(rng, plan, steps, last, named))
    parts = [before, asked, behind]
    if rng.random() < OPENER_SHARE:
        parts.insert(0, pick(rng, DOMAIN_OF[plan.steps[rng.choice((0, last))]].openers))
    if rng.random() < CLOSING_SHARE:
        parts.append(pick(rng, grammar.closing))
    return " ".join(sentence(part) for part in parts if part), f"{form}/ask{ask_number}"


def _noun(plan: Plan, steps: list[Step]) -> str:
    """What the first result is called: the noun of the kind that the second step takes from it."""
    ((_, key),) = plan.links[1].values()
    return next(result.kind.noun for result in steps[0].function.returns if result.name == key)


def _slots(rng: Random, plan: Plan, steps: list[Step], index: int, named: dict[int, str]) -> dict[str, str]:
    """How the request writes each argument of a step: as the user's literal, or as where it comes from."""
    slots = {}
    for param in steps[index].function.params:
        link = plan.links[index].get(param.name)
        if link is None:
            slots[param.name] = param.kind.literal.format(steps[index].arguments[param.name])
        elif link[0] in named:
            slots[param.name] = named[link[0]]
        else:
            slots[param.name] = _thing(rng, plan, steps, link[0], {param.name: link}, named)
    return slots


def _thing(rng: Random, plan: Plan, steps: list[Step], index: int, links: dict, named: dict[int, str]) -> str:
    """A noun phrase for the result of step `index` that `links` points at."""
    key = next(key for source, key in links.values() if source == index)
    refer = next(result.refer for result in steps[index].function.returns if result.name == key)
    return pick(rng, refer).format_map(_slots(rng, plan, steps, index, named))


def _ask(rng: Random, plan: Plan, steps: list[Step], index: int, named: dict[int, str]) -> str:
    return pick(rng, steps[index].function.asks).format_map(_slots(rng, plan, steps, index, named))


def _values(rng: Random, step: Step) -> str:
    """The verb phrase of a step with the values it will pass, as the thought before the call states them."""
    literals = {param.name: param.kind.literal.format(step.arguments[param.name]) for param in step.function.params}
    return pick(rng, step.function.asks).format_map(literals)


def _turns(rng: Random, grammar: Grammar, plan: Plan, steps: list[Step], parallel: bool) -> list[Message]:
    """Thought and calls, results, thought and calls, ..., final answer."""
    together = parallel and plan.first_wave > 1
    waves = [list(range(plan.first_wave))] if together else []
    waves += [[index] for index in range(plan.first_wave if together else 0, len(steps))]
    messages: list[Message] = []
    seen: list[Step] = []
    for number, wave in enumerate(waves):
        if number == 0:
            thought = _plan_thought(rng, grammar, plan, steps, together)
        else:
            last = wave[-1] == len(steps) - 1
            frames = grammar.other if wave[0] < plan.first_wave else grammar.last if last else grammar.next
            report = " ".join(step.said for step in seen)
            thought = pick(rng, frames).format(seen=report, ask=_values(rng, steps[wave[0]]))
        calls = tuple(ToolCall(f"call_{i}", steps[i].function.name, steps[i].arguments) for i in wave)
        messages.append(Message(role="assistant", content=thought, tool_calls=calls))
        messages += [_result(call, steps[index]) for call, index in zip(calls, wave, strict=True)]
        seen = [steps[index] for index in wave]
    says = " ".join(step.said for step in steps[-rng.choice((1, 2)) :])
    answer = pick(rng, grammar.answer).format(says=says)
    messages.append(Message(role="assistant", content=answer, thinking=pick(rng, grammar.done)))
    return messages


def _result(call: ToolCall, step: Step) -> Message:
    return Message(role="tool", tool_call_id=call.id, name=call.name, content=button.dump_json(step.results))


def _plan_thought(rng: Random, grammar: Grammar, plan: Plan, steps: list[Step], together: bool) -> str:
    """The first thought: everything to do, with the values known so far."""
    names = {}
    for index, step in enumerate(steps):
        result = next((r for links in plan.links for source, key in links.values() if source == index
                       for r in step.function.returns if r.name == key), None)  # fmt: skip
        if result is not None:
            names[index] = f"that {result.kind.noun}"
    if plan.first_wave > 1 and names[0] == names[1]:
        del names[0], names[1]
    asks = [_ask(rng, plan, steps, index, names) for index in range(len(steps))]
    if plan.first_wave == 1:
        frames = {2: grammar.plan_2, 3: grammar.plan_3, 4: grammar.plan_4}[len(steps)]
        return pick(rng, frames).format(**dict(zip("abcd", asks, strict=False)))
    rest = " and ".join(asks[2:])
    thought = pick(rng, grammar.plan_parallel).format(a=asks[0], b=asks[1], rest=rest)
    return f"{thought} {pick(rng, grammar.together if together else grammar.one_by_one)}"
