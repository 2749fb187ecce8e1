"""Requests to live functions: the model's calls are executed on a seeded world, whose state is checked at the end.

    gold: {"kind": "calls", "world": "7/held_out/3/0", "calls": [[{"name": "find_garage", "arguments": {...}}], [...]],
           "answer": "Garage G-17 has 41 free spots.", "states": [41], "failing": null}

Domains, names and phrasings are `synth`'s held-out ones, in its simple form: parameters undescribed, the other tools
listed taken from other domains, 2 to 4 calls a request. Of each four episodes in a row, two are plain, in one the
first call of a needed tool fails once (`error`), and in one no listed tool is of any use (`absent`). The rows are made
here from a seed; an episode is a function of its number alone.

A call is *needed* if the gold policy makes it: same function, same arguments by JSON value. An episode that needs calls
succeeds if it ends in an answer, the world's outcome is the gold policy's (the same things done, in any order, and the
same final state), and each value asked for is found and stated: a call of the last needed function returned it, and
the answer states it. What a last call that changes the world returns (a permit's number) is not asked for: its state
shows that it was made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

from data_prep.dialogue import Dialogue, ToolCall
from data_prep.numbers import MAX_CHARS, clean, numbers
from data_prep.sources.button import to_dialogue
from data_prep.synth.compose import ALL_NAMES, make_row
from data_prep.synth.domains import DOMAIN_OF, FUNCTIONS
from data_prep.synth.options import Options
from data_prep.synth.world import World
from eval import agent
from eval.call_scorers import exact_call
from eval.environments.program import Executed, ProgramEnvironment
from eval.protocol import Item, Loaded, Request, Score, Step, Task

SPLIT, SEED = "held_out", 7
EPISODES = 200  # without --limit; half an interval is then at most 7 points, and more can be asked for
KINDS = ("calls", "calls", "error", "absent")
MAX_TURNS = 8  # the gold policy takes 2 to 5, one more after an error
MAX_NEW_TOKENS = 256  # its turns have about 110 with SmolLM2's tokenizer
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip


class Needed(NamedTuple):
    """Calls of the gold policy, turn by turn, what it does to the world, and the values that the user asked for."""

    turns: list[list[ToolCall]]
    outcome: dict[str, Any]
    asked: dict[str, Any]  # key of the last call's results -> value


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """The first `limit` episodes; no data directory is looked into."""
    return Loaded([make_item(index) for index in range(limit or EPISODES)], {})


def make_item(index: int) -> Item:
    """Episode number `index`."""
    row = make_row(SPLIT, SEED, index, Options(simple=True))
    whole = to_dialogue(row, row["id"])
    block, place = divmod(index, len(KINDS))
    kind = Random(f"{SEED}/kinds/{block}").sample(KINDS, len(KINDS))[place]
    rng = Random(f"{SEED}/episode/{index}")
    turns = [message.tool_calls for message in whole.messages if message.tool_calls]
    calls = [[{"name": call.name, "arguments": call.arguments} for call in turn] for turn in turns]
    needless = kind == "absent"
    gold = {
        "kind": kind,
        "world": row["meta"]["world"],
        "calls": [] if needless else calls,
        "answer": "None of the functions listed can do that." if needless else whole.messages[-1].content,
        "failing": rng.choice(row["meta"]["chain"]) if kind == "error" else None,
    }
    dialogue = Dialogue(
        id=f"program-{index}",
        source="program",
        messages=whole.messages[:1],
        tools=_tools_of_no_use(rng, row["meta"]["domains"], len(whole.tools)) if needless else whole.tools,
        meta=whole.meta,
    )
    gold["states"] = list(needed(gold).asked.values())
    return Item(dialogue.id, dialogue.id, dialogue, gold)


def _tools_of_no_use(rng: Random, domains: list[str], count: int) -> tuple[dict[str, Any], ...]:
    """Tools of domains that the request has nothing to do with."""
    others = [name for name in ALL_NAMES[SPLIT] if DOMAIN_OF[name].name not in domains]
    return tuple(FUNCTIONS[name].tool(terse=True) for name in rng.sample(others, count))


def needed(gold: dict[str, Any]) -> Needed:
    """The gold policy, executed."""
    turns = [[ToolCall("", call["name"], call["arguments"]) for call in turn] for turn in gold["calls"]]
    world = World(gold["world"], SPLIT)
    asked: dict[str, Any] = {}
    for call in (call for turn in turns for call in turn):
        done = len(world.ledger)
        results = world.attempt(call.name, call.arguments)
        acted = len(world.ledger) > done
        asked = {} if acted else {key: value for key, value in results.items() if states(gold["answer"], value)}
    return Needed(turns, world.outcome(), asked)


def states(answer: str, value: Any) -> bool:
    """Whether an answer states a value: a number by its value, text in any case as whole words, a date also in words.

    Only the last MAX_CHARS are read. "1,280.50" states 1280.5, "41 spots" does not state 4.
    """
    answer = answer[-MAX_CHARS:]
    if not isinstance(value, str):
        return any(number.value == Fraction(str(value)) for number in numbers(clean(answer)))
    forms = [re.escape(value)]
    if match := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", value):
        month, day = MONTHS[int(match[2]) - 1], rf"0?{int(match[3])}(?:st|nd|rd|th)?"
        forms += [rf"{day}(?: of)? {month},? {match[1]}", rf"{month} {day},? {match[1]}"]
    return any(re.search(rf"(?<!\w){form}(?!\w)", " ".join(answer.split()), re.IGNORECASE) for form in forms)


def play(item: Item, steps: Sequence[Step]) -> tuple[agent.Episode, ProgramEnvironment]:
    """The episode that the model's turns make, and the environment as they leave it."""
    environment = ProgramEnvironment(World(item.gold["world"], SPLIT), item.dialogue.tools, item.gold["failing"])
    return agent.replay(item.dialogue, [step.reply for step in steps], environment, MAX_TURNS), environment


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    episode, _ = play(item, steps)
    return None if episode.ending else Request(episode.dialogue, MAX_NEW_TOKENS)


def score(item: Item, steps: Sequence[Step]) -> Score:
    """Which metrics apply is fixed by the episode, never by what the model did."""
    episode, environment = play(item, steps)
    kind = item.gold["kind"]
    notes = {"ending": episode.ending or "unfinished", "kind": kind}
    if kind == "absent":
        values = {"abstained": float(_answered(episode) and not environment.executed)}
    else:
        values, counts = _values(item, episode, environment)
        notes |= counts
    if kind == "error":
        notes["injected_error"] = _after_error(environment.executed)
        values["recovered"] = float(notes["injected_error"] == "recovered")
    unread = [name for name, value in values.items() if episode.reason and not value]
    return Score(values, dict.fromkeys(unread, episode.reason or ""), notes)


def _answered(episode: agent.Episode) -> bool:
    return episode.answer is not None and bool(episode.answer.strip())


def _values(
    item: Item, episode: agent.Episode, environment: ProgramEnvironment
) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics of an episode that needs calls, and the counts behind them as notes."""
    gold = needed(item.gold)
    last = gold.turns[-1][-1].name
    made = [done for done in environment.executed if done.fault is None]
    missing = _missing(gold, made)
    wanted = sum(map(len, gold.turns))
    redundant = len(made) - (wanted - missing)
    faults = [done.fault for done in environment.executed if done.fault not in (None, "injected")]
    state_right = environment.world.outcome() == gold.outcome
    returned = [done.results or {} for done in made if done.call.name == last]
    found = all(any(results.get(key) == value for results in returned) for key, value in gold.asked.items())
    stated = _answered(episode) and all(states(episode.answer or "", value) for value in gold.asked.values())
    success = float(state_right and found and stated)
    values = {
        "success": success,
        "success_2_calls" if wanted == 2 else "success_3_or_4_calls": success,
        "progress": 1 - missing / wanted,
        "all_needed_calls": float(not missing),
        "only_needed_calls": float(not missing and not redundant and not faults),
        "useful_calls": (wanted - missing) / len(made) if made else 0.0,
        "valid_calls": len(made) / (len(made) + len(faults)) if made else 0.0,
    }
    if gold.outcome["done"]:
        values["state_right"] = float(state_right)
    if gold.asked:
        values["answer_right"] = float(found and stated)
    counts = {"missing_calls": missing, "redundant_calls": redundant, "faulty_calls": len(faults)}
    return values, {name: str(count) for name, count in counts.items()} | ({"fault": str(faults[0])} if faults else {})


def _missing(gold: Needed, made: Sequence[Executed]) -> int:
    """How many needed calls were never made; a call made twice stands for one."""
    left = [call for turn in gold.turns for call in turn]
    for done in made:
        match = next((index for index, call in enumerate(left) if exact_call(done.call, call)), None)
        if match is not None:
            del left[match]
    return len(left)


def _after_error(executed: Sequence[Executed]) -> str:
    """Whether the tool that failed was called again, and that call executed."""
    at = next((index for index, done in enumerate(executed) if done.fault == "injected"), None)
    if at is None:
        return "not reached"
    again = (done.fault is None and done.call.name == executed[at].call.name for done in executed[at + 1 :])
    return "recovered" if any(again) else "not recovered"


TASK = Task(
    name="program",
    version=2,
    description="requests to live, stateful functions: calls executed, errors injected, the final state checked",
    metrics={
        "success": "needs calls: answered, state as the gold policy leaves it, each value asked for found and stated",
        "success_2_calls": "success where two calls are needed",
        "success_3_or_4_calls": "success where three or four calls are needed",
        "state_right": "something is to be done (booked, lent): just that was done, and the state is right",
        "answer_right": "values are asked for: each was returned by the last needed function and is stated",
        "progress": "needs calls: share of the needed calls made; the others are missing",
        "all_needed_calls": "needs calls: none is missing",
        "only_needed_calls": "needs calls: none is missing, redundant or faulty, errors injected apart",
        "useful_calls": "needs calls: share of executed calls that are needed, each once; the others are redundant",
        "valid_calls": "needs calls: share of the calls that could be executed, 0 if none was; injected errors apart",
        "recovered": "a tool fails once: it was called again and that call executed; 0 where it was never called",
        "abstained": "no listed tool is of use: an answer without any call",
    },
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [],
    load=load,
    next_request=next_request,
    score=score,
)
