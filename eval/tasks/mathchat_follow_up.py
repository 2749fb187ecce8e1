"""MathChat follow-up QA. Row: {"question", "answer": "... #### 18", "followup": "A: ...\\nB: ...\\n\\nA: ...\\nB: ..."}

Three rounds, the model's own answers fed back; no system prompt, greedy, 400 new tokens a turn, as published. Gold of
round 1 is GSM8K's, of rounds 2 and 3 what the reference turns state; a reference that does not state exactly one number
("3 hours and 20 minutes", "Yes") is counted apart and not scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from data_prep.dialogue import Dialogue, Message
from eval.protocol import Claim, Item, Loaded, Request, Score, Step, Task
from eval.tasks.common import data_file, number_values, question_prompt, said, spoken, two_a_turns

MAX_NEW_TOKENS = 400
FILE = "mathchat/follow_up.jsonl"
DOWNLOAD = "mathchat"


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """Rows with exactly two A turns, as the published script keeps them: all 1,319."""
    kept, left_out = two_a_turns(data_file(data_dirs, FILE, DOWNLOAD), "followup", 2, limit)
    items: list[Item] = []
    for index, row, turns in kept:
        dialogue = Dialogue(id=f"follow_up-{index}", source="mathchat", messages=(question_prompt(row["question"]),))
        gold = {"answers": [row["answer"], *turns.b], "questions": turns.a}
        items.append(Item(dialogue.id, dialogue.id, dialogue, gold))
    return Loaded(items, left_out)


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    """Round 1 is the problem; rounds 2 and 3 append the model's own answer and the next question."""
    if not steps:
        return Request(item.dialogue, MAX_NEW_TOKENS)
    if len(steps) == 3:
        return None
    last = steps[-1]
    question = Message(role="user", content=item.gold["questions"][len(steps) - 1])
    messages = (*last.dialogue.messages, said(last.reply), question)
    return Request(msgspec.structs.replace(last.dialogue, messages=messages), MAX_NEW_TOKENS)


def score(item: Item, steps: Sequence[Step]) -> Score:
    """Three rounds always: those that a rejected prompt kept from being asked stay in their denominators, at 0."""
    replies = [step.reply for step in steps]
    rounds = [*spoken(steps), *[""] * (3 - len(steps))]
    return number_values(claims(item.gold, rounds), replies + replies[-1:] * (3 - len(steps)))


def claims(gold: dict[str, Any], texts: Sequence[str]) -> list[Claim]:
    """One answer a round; fewer than three where a prompt was rejected."""
    return [Claim(f"_r{k + 1}", gold["answers"][k], text) for k, text in enumerate(texts)]


def feed(item: Item) -> list[Message]:
    """The reference turns, for known-answer tests."""
    return [Message(role="assistant", content=answer) for answer in item.gold["answers"]]


TASK = Task(
    name="mathchat_follow_up",
    version=2,
    description="MathChat follow-up QA, three rounds, own answers fed back, 1,319 dialogues",
    metrics={
        f"{scorer}_r{number}": f"round {number}, {text}"
        for scorer, text in (("strict", "stated final answer equals the gold"), ("paper_like", "lenient scorer"))
        for number in (1, 2, 3)
    },
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [data_file(data_dirs, FILE, DOWNLOAD)],
    load=load,
    next_request=next_request,
    score=score,
    claims=claims,
)
