"""MathChat error correction. Row: {"question", "answer": "... #### 18", "error_correction": "A: ...\\n\\nB: ..."}

The model sees the problem, a wrong attempt as its own turn, and the hint that it is wrong; no system prompt, greedy,
300 new tokens. Some of the "wrong" attempts are right already: scored with the rest as published, and apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.dialogue import Dialogue, Message
from eval.protocol import Item, Loaded, Task
from eval.tasks.common import BY_ATTEMPT, asked_once, attempt_right, data_file, one_claim, score_attempt, two_a_turns

MAX_NEW_TOKENS = 300
FILE = "mathchat/error_correction.jsonl"
DOWNLOAD = "mathchat"


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """Rows with exactly two A turns, as the published script keeps them: 1,313 of 1,319."""
    kept, left_out = two_a_turns(data_file(data_dirs, FILE, DOWNLOAD), "error_correction", 1, limit)
    items: list[Item] = []
    for index, row, turns in kept:
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
    return Loaded(items, left_out)


def feed(item: Item) -> list[Message]:
    """The reference turns, for known-answer tests."""
    return [Message(role="assistant", content=turn) for turn in item.gold["reference"]]


TASK = Task(
    name="mathchat_error_correction",
    version=2,
    description="MathChat error correction: a wrong attempt and a hint, 1,313 dialogues",
    metrics=BY_ATTEMPT,
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [data_file(data_dirs, FILE, DOWNLOAD)],
    load=load,
    next_request=asked_once(MAX_NEW_TOKENS),
    score=score_attempt,
    claims=one_claim,
)
