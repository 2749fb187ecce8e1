"""Held-out function-calling dialogues, one assistant turn at a time, each given the gold history.

    {"messages": [user, assistant with tool_calls, tool, assistant], "tools": [...]}      canonical, or a BUTTON row

T are the turns whose gold is a call, A those whose gold is an answer. Every metric keeps its whole denominator: a turn
that cannot be parsed scores 0, and is counted as unparsed besides. Calls of one turn are compared in any order.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from data_prep.dialogue import Dialogue, Message, assistant_turns, message_to_dict
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.readers import ReadError, read_rows
from data_prep.sources import WrongSourceError, likely_sources
from eval.call_scorers import exact_call, exact_calls, numbers_agree, same_answer, same_names, schema_error, token_f1
from eval.protocol import EvalError, Item, Loaded, Request, Score, Step, Task

MAX_NEW_TOKENS = 512
FILE = "held_out.jsonl"
CALL_METRICS = {
    "call_step": "T: the turn is a call too",
    "parseable_call": "T: the turn holds a call that parses",
    "schema_valid_call": "T: every call names a listed function, arguments valid by its JSON Schema, none undeclared",
    "name_right": "T: the same functions are called, each as often",
    "first_call_exact": "T: the first call equals a gold call, name and arguments by JSON value",
    "name_and_arguments_exact": "T: all calls of the turn equal the gold calls, in any order",
}
ANSWER_METRICS = {
    "answer_step": "A: the turn is an answer too",
    "answer_numbers": "A with numbers: the answer states exactly the gold answer's numbers",
    "answer_token_f1": "A: mean word overlap with the gold answer; a lower bound, for wording varies",
    "answer_same": "A: equal but for case, spacing and punctuation",
}


def data_files(data_dirs: Sequence[str]) -> list[str]:
    """held_out.jsonl of the first directory that has one; a path may also name the file itself."""
    for path in data_dirs:
        if os.path.isfile(path):
            return [path]
        if os.path.isfile(os.path.join(path, FILE)):
            return [os.path.join(path, FILE)]
    raise EvalError(
        f"no {FILE} in: {', '.join(data_dirs)}; `python -m data_prep build RECIPE --out DIR` writes it: pass "
        "--data DIR, or a .jsonl file of dialogues"
    )


def load_calls(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """The items of `load` whose gold is a call."""
    loaded = load(data_dirs, None)
    items = [item for item in loaded.items if gold_turn(item).tool_calls]
    if not items:
        raise EvalError(f"{data_files(data_dirs)[0]}: no assistant turn calls a function; evaluate function_calls")
    return Loaded(items[:limit], loaded.left_out)


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """One item per assistant turn that a user asked for and that is not marked `train: false`; `limit` counts turns."""
    path = data_files(data_dirs)[0]
    items: list[Item] = []
    with Quarantine(None) as quarantine:
        try:
            for dialogue in iter_dialogues(_source_of(path), [path], quarantine):
                items += [_item(dialogue, index) for index in _asked_turns(dialogue)]
                if limit is not None and len(items) >= limit:
                    break
        except (ReadError, WrongSourceError) as error:
            raise EvalError(str(error)) from error
    if not items:
        reasons = ", ".join(f"{code} {count}" for code, count in quarantine.by_reason.items())
        raise EvalError(f"{path}: holds no assistant turn to ask for (rows rejected: {reasons or 'none'})")
    return Loaded(items[:limit], dict(quarantine.by_reason))


def _source_of(path: str) -> str:
    first = next(iter(read_rows(path)))
    return next(iter(likely_sources(first.value)), "messages")


def _asked_turns(dialogue: Dialogue) -> list[int]:
    """Assistant turns after the first user message: a greeting before it answers nothing."""
    first = next((index for index, message in enumerate(dialogue.messages) if message.role == "user"), None)
    return [] if first is None else [i for i in assistant_turns(dialogue, trained_only=True) if i > first]


def _item(dialogue: Dialogue, index: int) -> Item:
    gold = {"message": message_to_dict(dialogue.messages[index])}
    return Item(f"{dialogue.id}/{index}", dialogue.id, dialogue.before(index), gold)


def gold_turn(item: Item) -> Message:
    """The turn that the item asks for."""
    return Dialogue.from_dict({"id": "gold", "messages": [item.gold["message"]]}).messages[0]


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    return None if steps else Request(item.dialogue, MAX_NEW_TOKENS)


def score(item: Item, steps: Sequence[Step]) -> Score:
    """Values over T or over A; a turn that ran into its token limit is unparsed, whatever it holds (`no_stop`)."""
    gold, reply = gold_turn(item), steps[0].reply
    read = reply.message
    if gold.tool_calls:
        values = _call_values(read, gold, item.dialogue)
        notes = {"gold": "call"}
        if read is not None and read.tool_calls:
            notes["call"] = call_error(read, item.dialogue) or "schema_valid"
    else:
        values = _answer_values(read, gold)
        notes = {"gold": "answer"}
    notes["step"] = "unparsed" if read is None else "call" if read.tool_calls else "answer"
    unparsed = {} if reply.error is None else dict.fromkeys(values, reply.error)
    return Score(values, unparsed, notes)


def call_error(message: Message, dialogue: Dialogue) -> str | None:
    """Why the turn's calls could not be made, None where they could."""
    errors = (schema_error(call, dialogue.tools) for call in message.tool_calls)
    return next((error for error in errors if error), None)


def _call_values(read: Message | None, gold: Message, dialogue: Dialogue) -> dict[str, float]:
    calls = read.tool_calls if read is not None else ()
    if read is None or not calls:
        return dict.fromkeys(CALL_METRICS, 0.0)
    return {
        "call_step": 1.0,
        "parseable_call": 1.0,
        "schema_valid_call": float(call_error(read, dialogue) is None),
        "name_right": float(same_names(calls, gold.tool_calls)),
        "first_call_exact": float(any(exact_call(calls[0], call) for call in gold.tool_calls)),
        "name_and_arguments_exact": float(exact_calls(calls, gold.tool_calls)),
    }


def _answer_values(read: Message | None, gold: Message) -> dict[str, float]:
    answered = read is not None and not read.tool_calls
    text = read.content if read is not None and answered else ""
    values = {
        "answer_step": float(answered),
        "answer_token_f1": token_f1(text, gold.content) if answered else 0.0,
        "answer_same": float(answered and same_answer(text, gold.content)),
    }
    agree = numbers_agree(text, gold.content)
    return values if agree is None else values | {"answer_numbers": float(agree)}


TASK = Task(
    name="function_calls",
    version=2,
    description="each assistant turn of held-out dialogues, given the gold history",
    metrics=CALL_METRICS | ANSWER_METRICS,
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=data_files,
    load=load,
    next_request=next_request,
    score=score,
)
# Half the turns take half the time, which is what a quick look has.
CALLS_TASK = dataclasses.replace(
    TASK,
    name="calls",
    description="the turns of function_calls whose gold is a call",
    metrics=CALL_METRICS,
    load=load_calls,
)
