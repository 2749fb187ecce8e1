"""BFCL's multi-turn categories: each user turn is worked off in calls to simulators, and the published checker decides.

    {"id": "multi_turn_base_0", "question": [[{"role": "user", "content": "Move 'final_report.pdf' ..."}], ...],
     "initial_config": {"GorillaFileSystem": {...}}, "involved_classes": ["GorillaFileSystem", "TwitterAPI"], ...}
    {"id": "multi_turn_base_0", "ground_truth": [["cd(folder='document')", "mkdir(dir_name='temp')", ...], ...]}

Entries, answers and function docs are those of the package bfcl-eval, and so is the protocol, its runner's for models
with function calling: no system prompt; a user turn ends with a model's turn that makes no call or cannot be read, and
the next user turn follows; with calls in more than 20 turns the entry has failed. A `miss_func` entry withholds a
function until an empty user turn, in whose place a fixed text announces it. The checker compares the simulators' states
after each user turn with those that the gold calls make, and looks for the gold calls' results among the model's.

Items come scenario by scenario, its four categories one after another, so that a `--limit` takes all categories.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from data_prep.dialogue import Dialogue, Message, function_of
from eval import agent
from eval.environments.bfcl import BfclEnvironment, executor, package_folder
from eval.protocol import EvalError, Item, Loaded, Request, Score, Step, Task

CATEGORIES = ("base", "miss_func", "miss_param", "long_context")
MAX_STEPS = 20  # turns with calls in a user turn (bfcl_eval/constants/default_prompts.py)
MAX_NEW_TOKENS = 512
MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"  # the same file
PYTHON_HINT = " Note that the provided function is in Python 3 syntax."  # bfcl_eval/utils.py
FLOAT_HINT = " This is a float type value."  # bfcl_eval/model_handler/utils.py, as is the table
JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "any": "string"}
DOCS = {
    "GorillaFileSystem": "gorilla_file_system.json",
    "MathAPI": "math_api.json",
    "MessageAPI": "message_api.json",
    "TwitterAPI": "posting_api.json",
    "TicketAPI": "ticket_api.json",
    "TradingBot": "trading_bot.json",
    "TravelAPI": "travel_booking.json",
    "VehicleControlAPI": "vehicle_control.json",
}


class Played(NamedTuple):
    """An entry so far. `turns` are the user turns begun, each a list of steps, each a list of call texts.

    unread: by user turn, why the model's last turn in it could not be read. ending: None while it goes on; `all_turns`,
    `step_limit` or `rejected`.
    """

    dialogue: Dialogue
    turns: list[list[list[str]]]
    unread: list[str | None]
    ending: str | None
    environment: BfclEnvironment


def data_files(data_dirs: Sequence[str]) -> list[str]:
    """Entries, answers and docs, all of the package."""
    data = package_folder() / "data"
    files = [folder / _file(category) for category in CATEGORIES for folder in (data, data / "possible_answer")]
    return [str(file) for file in files] + [str(data / "multi_turn_func_doc" / name) for name in DOCS.values()]


def _file(category: str) -> str:
    return f"BFCL_v4_multi_turn_{category}.json"


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """The first `limit` entries; no data directory is looked into. Raises EvalError where bfcl-eval is missing."""
    data = package_folder() / "data"
    docs = {name: _rows(data / "multi_turn_func_doc" / file) for name, file in DOCS.items()}
    scenarios = None if limit is None else -(-limit // len(CATEGORIES))
    by_category = []
    for category in CATEGORIES:
        entries, answers = _rows(data / _file(category)), _rows(data / "possible_answer" / _file(category))
        if [entry["id"] for entry in entries] != [answer["id"] for answer in answers]:
            raise EvalError(f"{data}: entries and answers of {category} differ; install bfcl-eval again")
        pairs = zip(entries[:scenarios], answers[:scenarios], strict=True)
        by_category.append([make_item(category, entry, answer["ground_truth"], docs) for entry, answer in pairs])
    items = [item for scenario in zip(*by_category, strict=True) for item in scenario]
    return Loaded(items[:limit], {})


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def make_item(category: str, entry: dict[str, Any], answer: list[list[str]], docs: dict[str, Any]) -> Item:
    """One entry. Its four categories are one scenario told four ways, so they are resampled together."""
    tools = {doc["name"]: as_tool(doc) for name in entry["involved_classes"] for doc in docs[name]}
    withheld = entry.get("missed_function", {})
    turns = [turn or [{"role": "user", "content": MORE_FUNCTIONS}] for turn in entry["question"]]
    added = {at: [tools[name] for name in names] for at, names in withheld.items()}
    gold = {
        "category": category,
        "entry": {key: entry[key] for key in ("id", "initial_config", "involved_classes")},
        "turns": turns,
        "added_tools": added,
        "calls": answer,
    }
    dialogue = Dialogue(
        id=entry["id"],
        source="bfcl",
        messages=tuple(Message(**message) for message in turns[0]),
        tools=tuple(tool for name, tool in tools.items() if not any(name in names for names in withheld.values())),
    )
    return Item(entry["id"], f"multi_turn_{entry['id'].rpartition('_')[2]}", dialogue, gold)


def as_tool(doc: dict[str, Any]) -> dict[str, Any]:
    """A function doc as a tool: JSON schema's names of types, the runner's hints, no schema of the result."""
    function = {
        "name": doc["name"],
        "description": doc["description"] + PYTHON_HINT,
        "parameters": _schema(doc["parameters"]),
    }
    return {"type": "function", "function": function}


def _schema(doc: dict[str, Any]) -> dict[str, Any]:
    schema = doc | {"type": JSON_TYPES.get(doc["type"], doc["type"])}
    if doc["type"] == "float":
        schema |= {"format": "float", "description": doc.get("description", "") + FLOAT_HINT}
    if "properties" in doc:
        schema["properties"] = {name: _schema(inner) for name, inner in doc["properties"].items()}
    if "items" in doc:
        schema["items"] = _schema(doc["items"])
    return schema


def play(item: Item, steps: Sequence[Step]) -> Played:
    """The entry that the model's turns make, replayed on fresh simulators."""
    gold, replies = item.gold, [step.reply for step in steps]
    added = [tool for tools in gold["added_tools"].values() for tool in tools]
    names = {function_of(tool)["name"] for tool in (*item.dialogue.tools, *added)}
    environment = BfclEnvironment(gold["entry"], names)
    dialogue = item.dialogue
    turns: list[list[list[str]]] = []
    unread: list[str | None] = []
    for number, asked in enumerate(gold["turns"]):
        if number:
            tools = (*dialogue.tools, *gold["added_tools"].get(str(number), ()))
            messages = (*dialogue.messages, *(Message(**message) for message in asked))
            dialogue = msgspec.structs.replace(dialogue, messages=messages, tools=tools)
        begun, calls_made = len(dialogue.messages), len(environment.calls)
        episode = agent.replay(dialogue, replies, environment, MAX_STEPS + 1)  # one more, to end the turn
        dialogue = episode.dialogue
        lengths = [len(message.tool_calls) for message in dialogue.messages[begun:] if message.tool_calls]
        turns.append(_in_steps(environment.calls[calls_made:], lengths))
        unread.append(episode.reason)
        if episode.ending == "unparsed":
            said = Message(role="assistant", content=replies[episode.replies_read - 1].text)
            dialogue = msgspec.structs.replace(dialogue, messages=(*dialogue.messages, said))
        elif episode.ending != "answer":
            return Played(dialogue, turns, unread, episode.ending, environment)
        replies = replies[episode.replies_read :]
    return Played(dialogue, turns, unread, "all_turns", environment)


def _in_steps(calls: list[str], lengths: list[int]) -> list[list[str]]:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    return [calls[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    played = play(item, steps)
    return None if played.ending else Request(played.dialogue, MAX_NEW_TOKENS)


def score(item: Item, steps: Sequence[Step]) -> Score:
    """Which metrics apply is fixed by the entry, never by what the model did."""
    played, gold = play(item, steps), item.gold
    finished = played.turns if played.ending == "all_turns" else played.turns[:-1]
    passed, error = executor().check(gold["entry"], finished, gold["calls"]) if finished else (0, None)
    executor().forget(gold["entry"]["id"])
    success = float(passed == len(gold["calls"]))
    values = {
        "success": success,
        f"success_{gold['category']}": success,
        "turns": passed / len(gold["calls"]),
        f"turns_{gold['category']}": passed / len(gold["calls"]),
    }
    to_wait = [number for number, calls in enumerate(gold["calls"]) if not calls]
    if to_wait:
        values["waited"] = float(all(n < len(finished) and not finished[n] and not played.unread[n] for n in to_wait))
    # A turn that could not be read is why only up to the first turn that failed; later ones change nothing.
    reasons = [reason for reason in played.unread[: passed + 1] if reason]
    unread = {name: reasons[0] for name, value in values.items() if reasons and not success and not value}
    environment = played.environment
    notes = {
        "category": gold["category"],
        "ending": played.ending or "unfinished",
        "failure": error or ("none" if success else played.ending or "unfinished"),
        "unread_turns": str(sum(reason is not None for reason in played.unread)),
        "refused_calls": str(environment.refused),
        "stopped_calls": str(len(environment.stopped)),
    }
    return Score(values, unread, notes)


TASK = Task(
    name="bfcl_multi_turn",
    version=1,
    description="BFCL's multi-turn categories: calls executed on its simulators, judged by its checker",
    metrics={
        "success": "every user turn passes the published checker",
        "success_base": "success, plain entries",
        "success_miss_func": "success where a needed function is given only later",
        "success_miss_param": "success where a needed value is given only later",
        "success_long_context": "success where simulators hold and return far more data",
        "turns": "share of user turns that pass before the first that fails",
        "turns_base": "turns, plain entries",
        "turns_miss_func": "turns where a needed function is given only later",
        "turns_miss_param": "turns where a needed value is given only later",
        "turns_long_context": "turns where simulators hold and return far more data",
        "waited": "a needed function or value is missing: an answer without any call",
    },
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=data_files,
    load=load,
    next_request=next_request,
    score=score,
)
