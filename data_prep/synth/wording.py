"""The words of a task: the user's request, and the assistant's turns from the first thought to the answer.

    user:      I'm asking about the driest day in Oslo. Could you book a boat trip on that date?
    assistant: Step 1 of 3: the driest day in Oslo. I use {"name": "driest_day", ...} before book_trip.<call>...

The requests give no plan away, the thoughts state it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any, NamedTuple

from data_prep import button
from data_prep.dialogue import Message, ToolCall
from data_prep.synth import clock
from data_prep.synth.domains import DOMAIN_OF
from data_prep.synth.graph import Link
from data_prep.synth.phrases import CLOSING_SHARE, GRAMMARS, OPENER_SHARE, Grammar, pick, sentence
from data_prep.synth.steps import Fault, Step, Task

LONG = 5  # calls: a request for so many says what it is about in two sentences
Literals = dict[tuple[int, str], str]  # (step, parameter) -> how the user writes what only the user can give


class Request(NamedTuple):
    """The user's message, the id of its template, and the words in it that want each step and each value."""

    text: str
    template: str
    wanted: list[str]
    literals: Literals


class Setting(NamedTuple):
    """What the turns of a row share: the split, the listed tools, the ON or OFF sentence, and today's date if any."""

    split: str
    tools: dict[str, dict[str, Any]]
    parallel: bool
    today: str | None

    @property
    def grammar(self) -> Grammar:
        """The wording of the split."""
        return GRAMMARS[self.split]


def request(rng: Random, setting: Setting, task: Task) -> Request:
    """Every detail, no order of steps, no tool's name."""
    grammar, steps = setting.grammar, task.steps
    literals = _literals(rng, setting, task)
    words = _Words(rng, task, literals)
    if task.plan.first_wave == len(steps):
        parts, form = _separate(rng, grammar, words)
    else:
        parts, form = _composed(rng, grammar, words)
    domains = [task.plan.steps[place] for place in (0, len(steps) - 1)]
    if rng.random() < OPENER_SHARE:
        parts.insert(0, pick(rng, DOMAIN_OF[rng.choice(domains)].openers))
    if rng.random() < CLOSING_SHARE:
        parts.append(pick(rng, grammar.closing))
    text = " ".join(sentence(part) for part in parts if part)
    return Request(text, form, [words.wanted[index] for index in range(len(steps))], literals)


def _literals(rng: Random, setting: Setting, task: Task) -> Literals:
    """How the request writes each value that it gives, and, for one that it leaves open, what stands there."""
    literals: Literals = {}
    for index, step in enumerate(task.steps):
        for param in step.function.params:
            value = step.arguments[param.name]
            if param.name in task.plan.links[index]:
                continue
            if (index, param.name) == task.left_open:
                literals[index, param.name] = setting.grammar.left_open.format(noun=param.kind.noun)
            elif setting.today and clock.is_date(param.kind):
                literals[index, param.name] = clock.say(rng, setting.split, value, setting.today)
            else:
                literals[index, param.name] = param.kind.literal.format(value)
    return literals


class _Words:
    """The noun phrases of a task; notes in `wanted` what wants each step."""

    def __init__(self, rng: Random, task: Task, literals: Literals):
        self.rng, self.plan, self.steps, self.literals = rng, task.plan, task.steps, literals
        self.named: dict[int, str] = {}  # how the rest refers to the result of a step that has its own sentence
        self.wanted: dict[int, str] = {}

    def ask(self, index: int) -> str:
        """A verb phrase for the step."""
        self.wanted[index] = pick(self.rng, self.steps[index].function.asks).format_map(self._slots(index))
        return self.wanted[index]

    def thing(self, index: int) -> str:
        """A noun phrase for what the next step takes from this one."""
        return self._thing(index, self.plan.links[index + 1])

    def noun(self, index: int) -> str:
        """What the result of this step is called: the noun of the kind that the next step takes from it."""
        key = next(key for source, key in self.plan.links[index + 1].values() if source == index)
        return next(result.kind.noun for result in self.steps[index].function.returns if result.name == key)

    def _slots(self, index: int) -> dict[str, str]:
        slots = {}
        for param in self.steps[index].function.params:
            link = self.plan.links[index].get(param.name)
            if link is None:
                slots[param.name] = self.literals[index, param.name]
            elif link[0] in self.named:
                slots[param.name] = self.named[link[0]]
            else:
                slots[param.name] = self._thing(link[0], {param.name: link})
        return slots

    def _thing(self, index: int, links: dict[str, Link]) -> str:
        key = next(key for source, key in links.values() if source == index)
        refer = next(result.refer for result in self.steps[index].function.returns if result.name == key)
        self.wanted[index] = pick(self.rng, refer).format_map(self._slots(index))
        return self.wanted[index]


def _separate(rng: Random, grammar: Grammar, words: _Words) -> tuple[list[str], str]:
    """A sentence for each step, for steps that have nothing to do with each other."""
    numbers = [rng.randrange(len(grammar.ask)) for _ in words.steps]
    parts = [grammar.ask[number].format(ask=words.ask(index)) for index, number in enumerate(numbers)]
    return parts, "apart/" + "".join(f"ask{number}" for number in numbers)


def _composed(rng: Random, grammar: Grammar, words: _Words) -> tuple[list[str], str]:
    """One question that holds the others, with a sentence before or behind it for what it would nest too deeply."""
    last = len(words.steps) - 1
    chain = words.plan.first_wave == 1
    form = rng.choice(("nested", "topic", "topic", "after")) if chain and last < 3 else ("topic" if chain else "nested")
    before = behind = ""
    if form != "nested":
        first_thing = words.thing(0)
        number = rng.randrange(len(grammar.topic if form == "topic" else grammar.after))
        if form == "topic":
            frame, reference = grammar.topic[number]
            before = frame.format(thing=first_thing)
        else:
            reference, frame = grammar.after[number]
            behind = frame.format(thing=first_thing)
        words.named[0] = reference.format(noun=words.noun(0))
        form = f"{form}{number}"
    middle = []
    if last + 1 >= LONG and not (chain and words.noun(0) == words.noun(last - 2)):
        number = rng.randrange(len(grammar.topic))
        frame, reference = grammar.topic[number]
        middle = [frame.format(thing=words.thing(last - 2))]
        words.named[last - 2] = reference.format(noun=words.noun(last - 2))
        form += f"/topic{number}"
    ask_number = rng.randrange(len(grammar.ask))
    asked = grammar.ask[ask_number].format(ask=words.ask(last))
    return [before, *middle, asked, behind], f"{form}/ask{ask_number}"


# ---- the assistant's turns


def declining(rng: Random, setting: Setting, asked: Request) -> list[Message]:
    """The answer to a request that no listed tool serves."""
    ask = asked.wanted[-1]
    answer = pick(rng, setting.grammar.decline).format(ask=ask)
    return [Message(role="assistant", content=answer, thinking=setting.grammar.no_tool.format(ask=ask))]


def clarifying(rng: Random, setting: Setting, task: Task, place: tuple[int, str]) -> list[Message]:
    """The question for the value that the request leaves open, and the user's reply."""
    index, name = place
    grammar, function = setting.grammar, task.steps[index].function
    kind = next(param.kind for param in function.params if param.name == name)
    value = task.steps[index].arguments[name]
    dated = setting.today is not None and clock.is_date(kind)
    literal = clock.say(rng, setting.split, value, setting.today or "") if dated else kind.literal.format(value)
    thought = grammar.unknown.format(param=name, name=function.name)
    return [
        Message(role="assistant", content=pick(rng, grammar.question).format(noun=kind.noun), thinking=thought),
        Message(role="user", content=pick(rng, grammar.reply).format(literal=literal)),
    ]


def turns(rng: Random, setting: Setting, task: Task, asked: Request, first_id: int) -> list[Message]:
    """Thought and calls, results, thought and calls, ..., final answer.

    A thought counts the turns, the answer's among them, and says what this one is for: the first in the words of the
    request, the others by the tools that the thought before named. Then come what the calls before found for it, what
    it calls, with the parameters that the tool list requires, and the tools of the turns after. A turn that makes a
    failed call again counts as the turn that failed.
    """
    grammar, steps = setting.grammar, task.steps
    first_wave = task.plan.first_wave if setting.parallel else 1
    waves = [list(range(first_wave)), *([index] for index in range(first_wave, len(steps)))]
    turn_count = len(waves) + 1
    ids = count(first_id)
    messages: list[Message] = []
    found = ""
    for number, wave in enumerate(waves, 1):
        aims = [asked.wanted[index] if number == 1 else steps[index].function.name for index in wave]
        thought = grammar.plan.format(number=number, count=turn_count, aim=grammar.also.join(aims)) + found
        thought += "".join(_dated(setting, task, asked, wave))
        called = [_with_required(setting.tools[steps[index].function.name]) for index in wave]
        after = "".join(grammar.then + step.function.name for step in steps[wave[-1] + 1 :])
        acts = grammar.step.format(calls=grammar.also.join(called) + after)
        fault = task.fault if task.fault and task.fault.place in wave else None
        messages += _call_turn(ids, thought + acts, steps, wave, fault)
        if fault is not None:
            name = steps[fault.place].function.name
            again = grammar.failed.format(name=name, error=fault.error)
            thought = grammar.plan.format(number=number, count=turn_count, aim=again)
            acts = grammar.step.format(calls=_with_required(setting.tools[name]) + after)
            messages += _call_turn(ids, thought + acts, steps, [fault.place], None)
        found = "".join(grammar.found.format(result=f"{key} {steps[i].results[key]}") for i, key in _used(task, wave))
    said = steps if task.plan.first_wave == len(steps) else steps[-rng.choice((1, 2)) :]
    answer = pick(rng, grammar.answer).format(says=" ".join(step.said for step in said))
    done = grammar.plan.format(number=turn_count, count=turn_count, aim=grammar.done)
    messages.append(Message(role="assistant", content=answer, thinking=done))
    return messages


def _call_turn(
    ids: Iterator[int], thought: str, steps: list[Step], wave: list[int], fault: Fault | None
) -> list[Message]:
    """A turn of calls and their results, one of them failed where there is a fault; untrained if that is its own."""
    calls, results = [], []
    for index in wave:
        step = steps[index]
        failing = fault is not None and index == fault.place
        arguments, result = (
            (fault.arguments, {"error": fault.error}) if failing and fault else (step.arguments, step.results)
        )
        call = ToolCall(f"call_{next(ids)}", step.function.name, arguments)
        calls.append(call)
        results.append(Message(role="tool", tool_call_id=call.id, name=call.name, content=button.dump_json(result)))
    trained = fault is None or not fault.own
    return [Message(role="assistant", content=thought, tool_calls=tuple(calls), train=trained), *results]


def _dated(setting: Setting, task: Task, asked: Request, wave: list[int]) -> Iterator[str]:
    """What the dates that these calls take from the request are."""
    for index in wave:
        for param in task.steps[index].function.params:
            given = (index, param.name) in asked.literals and (index, param.name) != task.left_open
            if setting.today and given and clock.is_date(param.kind):
                words, date = asked.literals[index, param.name], task.steps[index].arguments[param.name]
                yield setting.grammar.dated.format(words=words, date=date)


def _used(task: Task, wave: list[int]) -> list[Link]:
    """The results of these steps that a later step takes."""
    links = [link for taken in task.plan.links for link in taken.values()]
    return [link for link in dict.fromkeys(links) if link[0] in wave]


def _with_required(tool: dict[str, Any]) -> str:
    """A function's name and the parameters it requires, as the tool list writes them."""
    listed = button.to_button_tool(tool)
    return button.dump_json({key: listed[key] for key in ("name", "required")})
