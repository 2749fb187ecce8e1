"""GSM8K test. Row: {"question": "Janet's ducks lay 16 eggs ...", "answer": "Janet sells 16 - 3 - 4 ...\\n#### 18"}

Zero-shot, no system prompt, greedy, 400 new tokens: the first round of MathChat's follow-up protocol, so
that the two compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.dialogue import Dialogue, Message
from eval.protocol import Item, Loaded, Score, Step, Task
from eval.tasks.common import asked_once, data_file, number_values, one_claim, question_prompt, read_rows, spoken

MAX_NEW_TOKENS = 400
FILE = "gsm8k/test.jsonl"
DOWNLOAD = "gsm8k"


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """One item a row; every published gold parses, so all rows are scored."""
    path = data_file(data_dirs, FILE, DOWNLOAD)
    items: list[Item] = []
    for index, row in enumerate(read_rows(path, ("question", "answer"), limit)):
        dialogue = Dialogue(id=f"gsm8k-{index}", source="gsm8k", messages=(question_prompt(row["question"]),))
        items.append(Item(dialogue.id, dialogue.id, dialogue, {"answer": row["answer"]}))
    return Loaded(items, {})


def score(item: Item, steps: Sequence[Step]) -> Score:
    return number_values(one_claim(item.gold, spoken(steps)), [step.reply for step in steps])


def feed(item: Item) -> list[Message]:
    """The reference turns, for known-answer tests: fed as output they must score 100 %."""
    return [Message(role="assistant", content=item.gold["answer"])]


TASK = Task(
    name="gsm8k",
    version=2,
    description="GSM8K test, zero-shot, 1,319 grade-school problems",
    metrics={
        "strict": "stated final answer equals the gold number",
        "paper_like": "lenient scorer of later work: a number read from any text, decimals within 4 %",
    },
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [data_file(data_dirs, FILE, DOWNLOAD)],
    load=load,
    next_request=asked_once(MAX_NEW_TOKENS),
    score=score,
    claims=one_claim,
)
