"""Rows through stages: `await make_rows(stages, seeds, wanted=200, ...)`.

    async def atomic_task(scenario: Scenario, ask: Ask) -> list[Task]: ...        one row in, rows out, or Rejected
    STAGES = [Stage("atomic_task", atomic_task), Together("deduplicate", Deduplicate()), ...]

Rows flow through consecutive stages on their own; a Together stage waits for all rows of the batch. What comes out,
and in which order, depends on the replies alone, never on when they came.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, NamedTuple

from data_prep.chat_completions import EndpointError
from data_prep.outfile import OutputError
from data_prep.synth.endpoint.ask import Ask, Asked, Rejected, Replier
from data_prep.synth.endpoint.client import BudgetSpent
from data_prep.synth.endpoint.funnel import Funnel

LEAST_YIELD = 0.02  # a run that keeps less than this of its seeds stops: the model can't do the task
TRIED_BEFORE_STOPPING = 100
MAX_BATCH = 250  # seeds; a run that its budget stops has finished the batches before


class Step(NamedTuple):
    """What one stage did for a row: which row it was then, and what was asked."""

    stage: str
    row: str
    asked: tuple[Asked, ...]


class Row(NamedTuple):
    """A value with its lineage. `path` is the seed's number, then its place wherever one row became several."""

    path: tuple[int, ...]
    seed: str
    value: Any
    steps: tuple[Step, ...] = ()

    @property
    def id(self) -> str:
        """`17.1`, unique at its stage."""
        return ".".join(map(str, self.path))

    def lineage(self) -> dict[str, Any]:
        """Seed, parents, and per stage the prompts, requests, model and tokens; for a JSON file."""
        return {
            "row": self.id,
            "seed": self.seed,
            "parents": [step.row for step in self.steps],
            "stages": [{"stage": step.stage, "asked": [a._asdict() for a in step.asked]} for step in self.steps],
        }


class Stage(NamedTuple):
    """A function from one value to any number of values."""

    name: str
    function: Callable[[Any, Ask], Awaitable[Sequence[Any]]]


class Together(NamedTuple):
    """A function of all values of a batch at once: for each, in order, what comes of it, or a Rejected."""

    name: str
    function: Callable[[list[Any], Ask], Awaitable[Sequence[Sequence[Any] | Rejected]]]


class Made(NamedTuple):
    """The rows, and why there are fewer than wanted where there are."""

    rows: list[Row]
    stopped: str | None


class Runner:
    """Runs stages over batches of rows; `seed` is the run's."""

    def __init__(self, stages: Sequence[Stage | Together], replier: Replier, seed: int, funnel: Funnel, at_once: int):
        self.stages = stages
        self.replier = replier
        self.seed = seed
        self.funnel = funnel
        self.out_of_budget = False
        self._at_once = asyncio.Semaphore(at_once)

    async def run(self, rows: list[Row]) -> list[Row]:
        """The rows that come out of the last stage, in order. Raises EndpointError, OutputError."""
        alone: list[Stage] = []
        for stage in self.stages:
            if isinstance(stage, Stage):
                alone.append(stage)
            else:
                rows = await self._all(stage, await self._each(alone, rows))
                alone = []
        return await self._each(alone, rows)

    async def _each(self, stages: list[Stage], rows: list[Row]) -> list[Row]:
        try:
            async with asyncio.TaskGroup() as tasks:
                flows = [tasks.create_task(self._flow(stages, row)) for row in rows]
        except* (EndpointError, OutputError) as errors:
            raise errors.exceptions[0] from None
        return [row for flow in flows for row in flow.result()]

    async def _flow(self, stages: list[Stage], row: Row) -> list[Row]:
        # Depth first: a run that is stopped early has finished rows.
        async with self._at_once:
            rows = [row]
            for stage in stages:
                made = [await self._one(stage, row) for row in rows]
                rows = [child for children in made for child in children]
            return rows

    async def _one(self, stage: Stage, row: Row) -> list[Row]:
        ask = Ask(self.replier, self._rng(stage.name, row.id))
        made: Sequence[Any] | Rejected
        try:
            made = await stage.function(row.value, ask)
        except Rejected as reason:
            made = reason
        except BudgetSpent:
            self.out_of_budget = True
            self.funnel.unfinished(stage.name)
            return []
        self.funnel.discarded(stage.name, [reason.code for reason in ask.discarded])
        return self._children(stage.name, row, made, tuple(ask.asked))

    async def _all(self, stage: Together, rows: list[Row]) -> list[Row]:
        ask = Ask(self.replier, self._rng(stage.name, rows[0].id if rows else ""))  # other draws in each batch
        try:
            made = await stage.function([row.value for row in rows], ask)
        except BudgetSpent:
            self.out_of_budget = True
            return []
        self.funnel.asked(stage.name, ask.asked)
        return [
            child
            for row, values in zip(rows, made, strict=True)
            for child in self._children(stage.name, row, values, ())
        ]

    def _rng(self, stage: str, row: str) -> Random:
        return Random(f"{self.seed}/{stage}/{row}")

    def _children(self, stage: str, row: Row, made: Sequence[Any] | Rejected, asked: tuple[Asked, ...]) -> list[Row]:
        self.funnel.asked(stage, asked)
        if isinstance(made, Rejected):
            self.funnel.rejected(stage, row.path, row.seed, made.code, made.message)
            return []
        self.funnel.accepted(stage, len(made))
        steps = (*row.steps, Step(stage, row.id, asked))
        paths = [(*row.path, place) for place in range(len(made))] if len(made) > 1 else [row.path]
        return [Row(path, row.seed, value, steps) for path, value in zip(paths, made, strict=bool(made))]


async def make_rows(runner: Runner, seeds: Iterator[tuple[str, Any]], wanted: int) -> Made:
    """Run batches of (name, value) seeds until `wanted` rows came out; the batches' sizes follow the yield so far."""
    rows: list[Row] = []
    tried = 0
    while len(rows) < wanted:
        # As if one more seed had been tried and kept: a good model is asked for no row in vain, a first failure is no
        # reason to try fifty seeds, and where nothing is kept each batch is larger than all before.
        kept = (len(rows) + 1) / (tried + 1)
        size = min(MAX_BATCH, math.ceil((wanted - len(rows)) / kept))
        batch = [Row((tried + at,), name, value) for at, (name, value) in enumerate(islice(seeds, size))]
        tried += len(batch)
        rows += await runner.run(batch)
        if runner.out_of_budget:
            return Made(rows[:wanted], "the budget is spent; give the same command with a larger one to go on")
        if not batch:
            return Made(rows, "there are no more seeds")
        if tried >= TRIED_BEFORE_STOPPING and len(rows) < LEAST_YIELD * tried:
            return Made(rows, f"{tried} seeds gave {len(rows)} rows: this model does not do the task; see the report")
    return Made(rows[:wanted], None)
