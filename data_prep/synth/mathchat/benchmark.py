"""MathChat's four tasks from your own questions and answers, in the benchmark's file form, for `eval`.

    python -m data_prep synth mathchat_benchmark --seeds mine.jsonl --out mine/items.jsonl --rows 100 \
        --base-url http://localhost:8000/v1 --model NAME
    python -m eval run MODEL --tasks mathchat_follow_up,mathchat_error_correction --data mine --out report

    {"question", "answer": "... #### 18", "followup": "A: ...\\nB: ...\\n\\nA: ...\\nB: ...",
     "error_correction": "A: ...", "error_analysis": "A: ...", "new_problem": "New Problem: ..."}    <- items.jsonl

Beside it `mathchat/follow_up.jsonl`, `error_correction.jsonl`, `error_analysis.jsonl` and `P2P_Generation.jsonl` are
written. As in the published files, all four hold the same problems in the same order: a problem of which one task could
not be made is in none.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.mathchat_form import new_problem_text, split_turns
from data_prep.outfile import OutFile
from data_prep.readers import RawRow
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.pipeline import Stage
from data_prep.synth.endpoint.run import Pipeline
from data_prep.synth.mathchat import parts
from data_prep.synth.mathchat.pipeline import SEEDS, TRIES, in_tries, moved, read_seeds
from data_prep.synth.mathchat.plan import Plan
from data_prep.synth.mathchat.problems import EXAMPLE, Problem, read_problem
from data_prep.synth.mathchat.talk import Talk

THREE_ROUNDS = Plan("follow_up", 3, ("solve", "follow_up", "follow_up"))
# File, the key of its dialogue in it, and in items.jsonl: the published error_analysis.jsonl says `error_correction`.
FILES = {
    "follow_up.jsonl": ("followup", "followup"),
    "error_correction.jsonl": ("error_correction", "error_correction"),
    "error_analysis.jsonl": ("error_correction", "error_analysis"),
    "P2P_Generation.jsonl": ("new_problem", "new_problem"),
}


class Items(NamedTuple):
    """A problem and what was made of it so far, by key of items.jsonl."""

    problem: Problem
    made: dict[str, str]

    def with_part(self, key: str, text: str) -> Items:
        """With one more part."""
        return Items(self.problem, {**self.made, key: text})

    def with_dialogue(self, key: str, said: list[str]) -> Items:
        """With one more dialogue, A and B in turn. Raises Rejected `speaker_marks` where it would not be read back."""
        said = [text.strip() for text in said]
        marked = [f"{'AB'[place % 2]}: {text}" for place, text in enumerate(said)]
        text = "\n\n".join("\n".join(marked[start : start + 2]) for start in range(0, len(marked), 2))
        if split_turns(text) != (said[::2], said[1::2]):
            raise Rejected("speaker_marks", f"'A:' or 'B:' stands inside a turn: {text[:120]!r}")
        return self.with_part(key, text)

    def row(self) -> dict[str, str]:
        """The row; its answer ends in GSM8K's `#### N`, whatever the source's did."""
        worked = self.problem.solution.removesuffix(f"The answer is {self.problem.answer}.").strip()
        answer = f"{worked}\n#### {self.problem.answer}".strip()
        return {"question": self.problem.question, "answer": answer, **self.made}


def build(args: argparse.Namespace) -> Pipeline:
    """The pipeline of these options. Raises ReadError."""
    stages = [
        Stage("read", read),
        Stage("follow_up", follow_up),
        Stage("error_correction", error_correction),
        Stage("error_analysis", error_analysis),
        Stage("problem_generation", problem_generation),
    ]
    rows = [RawRow("example", 1, EXAMPLE)] if args.dry_run else read_seeds(args.seeds or SEEDS)
    series: Iterator[tuple[str, Any]] = ((f"{Path(raw.file).name}:{raw.row}", raw) for raw in rows)
    settings = {"seeds": args.seeds or SEEDS}
    return Pipeline(
        "mathchat_benchmark", stages, series, parts.PROMPTS, lambda row: row.value.row(), settings, write_files
    )


def write_files(out: str, rows: Sequence[dict[str, Any]]) -> None:
    """The rows of items.jsonl as the benchmark's four files, in the folder `mathchat` beside it."""
    for name, (key, made) in FILES.items():
        with OutFile(Path(out).parent / "mathchat" / name) as file:
            for row in rows:
                entry = {"question": row["question"], "answer": row["answer"], key: row[made]}
                file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")


async def read(raw: RawRow, ask: Ask) -> list[Items]:
    """Stage: a row of the file as a problem."""
    return [Items(read_problem(raw), {})]


async def follow_up(items: Items, ask: Ask) -> list[Items]:
    """Stage: two further rounds of question and answer."""
    talk = Talk(THREE_ROUNDS, items.problem).says(items.problem.question, items.problem.solution)
    for _ in range(2):
        talk = await moved(talk, "follow_up", ask)
    return [items.with_dialogue("followup", [turn.text for turn in talk.turns[2:]])]


async def error_correction(items: Items, ask: Ask) -> list[Items]:
    """Stage: a wrong attempt, a hint, a correction."""

    async def make(sample: int) -> Items:
        wrong = await parts.attempt(ask, items.problem, sample)
        right = await parts.correction(ask, items.problem, wrong, sample)
        said = [items.problem.question, wrong.attempt, right.hint, right.correction]
        return items.with_dialogue("error_correction", said)

    return [await in_tries(make, "error_correction", 0, ask)]


async def error_analysis(items: Items, ask: Ask) -> list[Items]:
    """Stage: another wrong attempt, and what is wrong with it."""

    async def make(sample: int) -> Items:
        wrong = await parts.attempt(ask, items.problem, sample)
        text = await parts.analysis(ask, items.problem, wrong, sample)
        return items.with_dialogue("error_analysis", [items.problem.question, wrong.attempt, text])

    return [await in_tries(make, "error_analysis", TRIES, ask)]


async def problem_generation(items: Items, ask: Ask) -> list[Items]:
    """Stage: a new problem, the reference of the task."""

    async def make(sample: int) -> Items:
        new = await parts.new_problem(ask, items.problem, sample)
        return items.with_part("new_problem", new_problem_text(new.question, new.solution))

    return [await in_tries(make, "problem_generation", 0, ask)]
