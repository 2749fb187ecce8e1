"""GSM8K, grade-school word problems with worked answers, as one user turn and one assistant turn.

    {"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many ...",
     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = <<48+24=72>>72 ...\n#### 72"}

The calculator annotations `<<48/2=24>>` are cut out: they are markup for the authors' calculator, and a chat model
that writes them is wrong. The last line `#### 72` becomes "The answer is 72.": the sentence that the common scorers
of MathChat and GSM8K look for, and one that a person would write. meta["gold"] keeps the number without commas,
meta["seed"] a key of the question for splitting by problem. There is no way back: annotations are not kept.
"""

from __future__ import annotations

import re
from typing import Any

from data_prep.dialogue import Dialogue, DialogueError, Message
from data_prep.sources.common import id_of, seed_key, text_of

ANNOTATION = re.compile(r"<<[^<>]*>>")
GOLD = re.compile(r"\s*\n?####[ \t]*(\S.*?)\s*$")
BENCHMARK_KEYS = ("followup", "error_correction", "new_problem")


def to_dialogue(row: dict[str, Any], row_id: str) -> Dialogue:
    """The row as a dialogue. Raises DialogueError: `row_keys`, `non_text_content`, `no_gold`, `benchmark_row`."""
    if "question" not in row or "answer" not in row:
        raise DialogueError("row_keys", f"wanted keys question, answer; found {', '.join(sorted(map(str, row)))}")
    benchmark = [key for key in BENCHMARK_KEYS if key in row]
    if benchmark:
        raise DialogueError(
            "benchmark_row", f"key '{benchmark[0]}' marks a row of the MathChat benchmark, which is never trained on"
        )
    question, worked = text_of(row["question"], "question"), text_of(row["answer"], "answer")
    gold = GOLD.search(worked)
    if gold is None:
        raise DialogueError("no_gold", f"the answer does not end in a line '#### N': {worked[-60:]!r}")
    steps = ANNOTATION.sub("", worked[: gold.start()]).strip()
    ending = f"The answer is {gold.group(1)}."
    return Dialogue(
        id=id_of(row, row_id),
        source="gsm8k",
        messages=(
            Message(role="user", content=question.strip()),
            Message(role="assistant", content=f"{steps}\n{ending}" if steps else ending),
        ),
        meta={"gold": gold.group(1).replace(",", ""), "seed": seed_key(question)},
    )
