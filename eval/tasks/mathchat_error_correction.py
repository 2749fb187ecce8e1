"""MathChat error correction. Row: {"question", "answer": "... #### 18", "error_correction": "A: ...\\n\\nB: ..."}

The model sees the problem, a wrong attempt as its own turn, and the hint that it is wrong; no system prompt, greedy,
300 new tokens. Some of the "wrong" attempts are right already: scored with the rest as published, and apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_prep.dialogue import Dialogue, Message
from eval.protocol import Claim, Item, Loaded, Request, Score, Step, Task
from eval.tasks.common import (
    BY_ATTEMPT,
    attempt_right,
    by_attempt,
    data_file,
    number_values,
    read_rows,
    split_turns,
    spoken,
)

MAX_NEW_TOKENS = 300
FILE = "mathchat/error_correction.jsonl"
DOWNLOAD = "mathchat"


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """Rows with exactly two A turns, as the published script keeps them: 1,313 of 1,319."""
    path = data_file(data_dirs, FILE, DOWNLOAD)
    items: list[Item] = []
    left_out = 0
    for index, row in enumerate(read_rows(path, ("question", "answer", "error_correction"), None)):
        turns = split_turns(row["error_correction"])
        if len(turns.a) != 2 or not turns.b:
            left_out += 1
            continue
        if limit is not None and len(items) >= limit:
            break
        messages = (
            Message(role="user", content=turns.a[0]),
            Message(role="assistant", content=turns.b[0]),
            Message(role="user", content=turns.a[1]),
        )
        dialogue = Dialogue(id=f"error_correction-{index}", source="mathchat", messages=messages)
        gold = {
            "answer": row["answer"],
            "reference": turns.b[1:],
            "attempt_right": attempt_right(turns.b[0], row["answer"]),
        }
        items.append(Item(dialogue.id, dialogue.id, dialogue, gold))
    return Loaded(items, {"not_two_a_turns": left_out} if left_out else {})


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    return None if steps else Request(item.dialogue, MAX_NEW_TOKENS)


def score(item: Item, steps: Sequence[Step]) -> Score:
    whole = number_values(claims(item.gold, spoken(steps)), [step.reply for step in steps])
    return by_attempt(whole, item.gold["attempt_right"])


def claims(gold: dict[str, Any], texts: Sequence[str]) -> list[Claim]:
    """The one answer."""
    return [Claim("", gold["answer"], texts[0])]


def feed(item: Item) -> list[Message]:
    """The reference turns, for known-answer tests."""
    return [Message(role="assistant", content=turn) for turn in item.gold["reference"]]


TASK = Task(
    name="mathchat_error_correction",
    version=1,
    description="MathChat error correction: a wrong attempt and a hint, 1,313 dialogues",
    metrics=BY_ATTEMPT,
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [data_file(data_dirs, FILE, DOWNLOAD)],
    load=load,
    next_request=next_request,
    score=score,
    claims=claims,
)
