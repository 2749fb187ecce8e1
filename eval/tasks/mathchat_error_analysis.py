"""MathChat error analysis. Row: {"question", "answer": "... #### 18", "error_correction": "A: ...\\nB: ...\\nA: ..."}

The model is asked for a problem, poses it (A's first turn, as its own), sees a solution (B's), and is to say what is
wrong with it; no system prompt, greedy, 500 new tokens. Scored here is only whether the analysis states the
right final number; the rest is a judge's, `python -m eval judge`. Some "wrong" solutions are right: reported apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.dialogue import Dialogue, Message
from eval.protocol import Item, Loaded, Task
from eval.tasks.common import BY_ATTEMPT, asked_once, attempt_right, data_file, one_claim, score_attempt, two_a_turns

MAX_NEW_TOKENS = 500
FILE = "mathchat/error_analysis.jsonl"
DOWNLOAD = "mathchat"
OPENING = (  # the published script's
    "Please give me a math problem and I will answer that. You need to analyze my solution and correct it if I make "
    "errors."
)


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """Rows with exactly two A turns, as the published script keeps them: 1,221 of 1,319."""
    kept, left_out = two_a_turns(data_file(data_dirs, FILE, DOWNLOAD), "error_correction", 1, limit)
    items: list[Item] = []
    for index, row, turns in kept:
        messages = (
            Message(role="user", content=OPENING),
            Message(role="assistant", content=turns.a[0]),
            Message(role="user", content=turns.b[0]),
        )
        dialogue = Dialogue(id=f"error_analysis-{index}", source="mathchat", messages=messages)
        gold = {
            "problem": turns.a[0],
            "attempt": turns.b[0],
            "answer": row["answer"],
            "reference": turns.a[1],
            "attempt_right": attempt_right(turns.b[0], row["answer"]),
        }
        items.append(Item(dialogue.id, dialogue.id, dialogue, gold))
    return Loaded(items, left_out)


def feed(item: Item) -> list[Message]:
    """The reference turn, for known-answer tests and the judge's calibration."""
    return [Message(role="assistant", content=item.gold["reference"])]


TASK = Task(
    name="mathchat_error_analysis",
    version=2,
    description="MathChat error analysis: find and correct the error in a solution, 1,221 dialogues",
    metrics=BY_ATTEMPT,
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [data_file(data_dirs, FILE, DOWNLOAD)],
    load=load,
    next_request=asked_once(MAX_NEW_TOKENS),
    score=score_attempt,
    claims=one_claim,
)
