"""MathChatsync's dialogues from a question/answer file, asked of any OpenAI-compatible server.

    python -m data_prep synth mathchat --seeds data/gsm8k/train.jsonl --out rows.jsonl --rows 200 \
        --base-url http://localhost:8000/v1 --model NAME

read        a row of the file to a problem with one gold number, none of GSM8K test or the MathChat benchmark
open        the first move poses the problem: solved, answered wrongly and corrected, analysed, or a seed of a new one
converse    the other moves, up to the depth that was drawn
rationale   with --rationale: what the tutor thinks before each turn
unique      no near duplicate of an earlier dialogue, no text of an evaluation set
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from data_prep.contamination import Contamination
from data_prep.dialogue import Dialogue, Message, content_hash
from data_prep.duplicates import Duplicates
from data_prep.readers import RawRow, ReadError, read_rows
from data_prep.sources import mathchatsync
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.pipeline import Stage, Together
from data_prep.synth.endpoint.run import Pipeline
from data_prep.synth.mathchat import parts
from data_prep.synth.mathchat.moves import MOVES
from data_prep.synth.mathchat.plan import Plan, plan_for
from data_prep.synth.mathchat.problems import EXAMPLE, Problem, read_problem
from data_prep.synth.mathchat.talk import Talk, to_row

T = TypeVar("T")

SEEDS = "data/gsm8k/train.jsonl"
DECONTAMINATE = ("gsm8k", "mathchat")
TRIES = 3  # samples of a move before the dialogue is given up
ROUNDS = 20  # dialogues from one problem at most; the published set has 19 for each of GSM8K's
# Every prompt once, for a dry run.
SHOWN = Plan("explanation", 7, ("solve", "explain", "follow_up", "follow_up_mistake", "analyse", "generate"))


class Seed(NamedTuple):
    """A row of the question/answer file, and which dialogue is to come of it; `round` counts from 0."""

    raw: RawRow
    plan: Plan
    round: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that only this pipeline has; `--seeds` names its question/answer file."""
    parser.add_argument("--decontaminate", nargs="*", default=list(DECONTAMINATE), metavar="SET",
                        help="mathchat: evaluation sets or files of which no text may occur")  # fmt: skip
    parser.add_argument("--rationale", action="store_true",
                        help="mathchat: also what the tutor thinks before each turn, under `thinking`")  # fmt: skip


def build(args: argparse.Namespace) -> Pipeline:
    """The pipeline of these options. Raises ReadError, EvaluationSetError."""
    contamination = Contamination(args.decontaminate) if args.decontaminate else None
    stages: list[Stage | Together] = [Stage("read", Read(contamination)), Stage("open", first), Stage("converse", rest)]
    if args.rationale:
        stages.append(Stage("rationale", rationales))
    stages.append(Together("unique", Unique(contamination)))
    settings = {
        "seeds": args.seeds or SEEDS,
        "decontaminate": args.decontaminate,
        "rationale": args.rationale,
        "faithful": args.faithful,
        "tries": TRIES,
    }
    series = iter([("example", Seed(RawRow("example", 1, EXAMPLE), SHOWN, 0))]) if args.dry_run else seeds(args)
    return Pipeline(
        "mathchat", stages, series, parts.PROMPTS, lambda row: to_row(row.value, marked=not args.faithful), settings
    )


def seeds(args: argparse.Namespace) -> Iterator[tuple[str, Seed]]:
    """Every row once, then those that hold a problem again, up to ROUNDS times, each time to another plan."""
    rows = read_seeds(args.seeds or SEEDS)
    index = 0
    for round_ in range(ROUNDS):
        for raw in rows:
            plan = plan_for(index, Random(f"{args.seed}/plan/{index}"))
            yield f"{Path(raw.file).name}:{raw.row}", Seed(raw, plan, round_)
            index += 1
        rows = [raw for raw in rows if _is_problem(raw)]


def read_seeds(path: str) -> list[RawRow]:
    """All rows of a question/answer file. Raises ReadError."""
    if path == SEEDS and not Path(path).is_file():
        raise ReadError(
            f"{path}: no such file; `python -m data_prep download gsm8k` fetches it, or name another --seeds"
        )
    return list(read_rows(path))


def _is_problem(raw: RawRow) -> bool:
    try:
        read_problem(raw)
    except Rejected:
        return False
    return True


class Read:
    """Stage: a seed's row as the beginning of a dialogue."""

    def __init__(self, contamination: Contamination | None):
        self.contamination = contamination

    async def __call__(self, seed: Seed, ask: Ask) -> list[Talk]:
        problem = read_problem(seed.raw)
        refuse_evaluation_text(problem, self.contamination)
        return [Talk(seed.plan, problem, (), seed.round * TRIES)]


def refuse_evaluation_text(problem: Problem, contamination: Contamination | None) -> None:
    """Raises Rejected `contaminated` for a problem of an evaluation set."""
    messages = (Message(role="user", content=problem.question), Message(role="assistant", content=problem.solution))
    match = contamination.find(Dialogue(id="-", source="seed", messages=messages)) if contamination else None
    if match is not None:
        raise Rejected("contaminated", match.message())


async def first(talk: Talk, ask: Ask) -> list[Talk]:
    """Stage: the move that poses the problem."""
    return [await moved(talk, talk.plan.moves[0], ask)]


async def rest(talk: Talk, ask: Ask) -> list[Talk]:
    """Stage: all further moves."""
    for move in talk.plan.moves[1:]:
        talk = await moved(talk, move, ask)
    return [talk]


async def moved(talk: Talk, move: str, ask: Ask) -> Talk:
    """One move, by the first of TRIES samples that stands the checks."""

    async def make(sample: int) -> Talk:
        return await MOVES[move](talk, ask, sample)

    return await in_tries(make, move, talk.sample, ask)


async def in_tries(make: Callable[[int], Awaitable[T]], name: str, sample: int, ask: Ask) -> T:
    """What `make` gives for the first sample that is not rejected; rejections name what was being made."""

    async def named(sample: int) -> T:
        try:
            return await make(sample)
        except Rejected as reason:
            raise Rejected(f"{name}: {reason.code}", reason.message) from reason

    return await ask.first_good(named, range(sample, sample + TRIES))


async def rationales(talk: Talk, ask: Ask) -> list[Talk]:
    """Stage: a thought before each turn of gpt that is trained on."""
    turns = list(talk.turns)
    for place, turn in enumerate(turns):
        if turn.speaker == "gpt" and turn.trained:
            before, text = talk.text(place), turn.text

            async def make(sample: int, before: str = before, text: str = text) -> str:
                return await parts.rationale(ask, before, text, sample)

            turns[place] = turn._replace(thinking=await in_tries(make, "rationale", talk.sample, ask))
    return [talk._replace(turns=tuple(turns))]


class Unique:
    """Stage over all rows of a run, in order: what repeats an earlier dialogue or evaluation text is rejected."""

    def __init__(self, contamination: Contamination | None):
        self.contamination = contamination
        self.duplicates = Duplicates("near")
        self.seen = 0

    async def __call__(self, talks: list[Talk], ask: Ask) -> Sequence[list[Talk] | Rejected]:
        return [self._admit(talk) for talk in talks]

    def _admit(self, talk: Talk) -> list[Talk] | Rejected:
        self.seen += 1
        dialogue = mathchatsync.to_dialogue(to_row(talk), f"dialogue {self.seen}")
        match = self.contamination.find(dialogue) if self.contamination else None
        if match is not None:
            return Rejected("contaminated", match.message())
        found = self.duplicates.find_or_add(dialogue, content_hash(dialogue))
        return [talk] if found is None else Rejected(found.code, found.message)
