"""Decoding of many conversations: prefill once per shared prefix, decode in one batch, refill freed rows.

    Decoder(model, stop_ids, rows, ...).run(jobs, on_done)     on_done(job, new_ids, stopped) -> next job or None

Law: the tokens equal those of one-by-one `model.generate` but for ties that rounding decides (float32: none seen).
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from eval.backends.choose import Choose, greedy
from eval.backends.slots import Kept, PrefixCache, SlotCache, common_prefix


@dataclass
class Job:
    """One turn to generate: the prompt's ids, and the state kept from the conversation's turn before, if any."""

    index: int
    prompt: list[int]
    max_new_tokens: int
    seed: int = 0
    kept: Kept | None = None
    new: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed).random


OnDone = Callable[[Job, list[int], bool], Job | None]


class Decoder:
    """One pass over a list of jobs; `rows` is the most that are decoded at once.

    `pending` and `live` say what is unfinished when an out-of-memory error interrupts `run`: a new Decoder with fewer
    rows takes over.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        stop_ids: Sequence[int],
        rows: int,
        cache_bytes: int,
        device: torch.device,
        choose: Choose = greedy,
    ):
        self.model = model
        self.stop_ids = frozenset(stop_ids)
        self.rows = rows
        self.cache_bytes = cache_bytes
        self.device = device
        self.choose = choose
        self.pending: deque[Job] = deque()
        self.live: list[Job] = []
        self.prefix = PrefixCache()
        self.slots: SlotCache | None = None

    def run(self, jobs: Sequence[Job], on_done: OnDone) -> None:
        """Generate all jobs and those that `on_done` returns."""
        self.pending.extend(jobs)
        with torch.inference_mode():
            while self.pending or self.live:
                while self.pending and self._has_room(self.pending[0]):
                    self._admit(on_done)
                if self.live:
                    self._step(on_done)

    def unfinished(self) -> list[Job]:
        """Jobs still to do, live ones from their start; their cached state is dropped."""
        left = [*self.live, *self.pending]
        return [Job(job.index, job.prompt, job.max_new_tokens, job.seed) for job in left]

    def _has_room(self, job: Job) -> bool:
        """Whether one more row fits into the row and memory limits; one row is always tried."""
        if self.slots is None or not self.live:
            return True
        widest = max(self.slots.columns, _width(job))
        needed = self.slots.rows * widest * self.prefix.bytes_per_token()
        return len(self.live) < self.slots.rows and (widest == self.slots.columns or needed <= self.cache_bytes)

    def _new_slots(self, state: Kept) -> SlotCache:
        """Buffers for the jobs at hand: as many rows as there are jobs, as the limit and as the memory allow."""
        longest = max(len(job.prompt) for job in self.pending)
        room = max(job.max_new_tokens for job in self.pending)
        row_bytes = (longest + room + SlotCache.SLACK) * self.prefix.bytes_per_token()
        rows = max(1, min(self.rows, len(self.pending), self.cache_bytes // row_bytes))
        return SlotCache(state, rows, longest, room)

    def _admit(self, on_done: OnDone) -> None:
        """Take in the first pending job, and with it those after it whose prompts only extend one another."""
        jobs = self._extending_one_another()
        tokens = self._prefill(jobs)
        state = self.prefix.keep()
        if self.slots is None or (not self.live and _width(jobs[0]) > self.slots.columns):
            self.slots = self._new_slots(state)
        first_row = len(self.live)
        for job in jobs:
            job.kept = None
            self.slots.add(state.first(len(job.prompt)), job.max_new_tokens)
            self.pending.popleft()
            self.live.append(job)
        for row in reversed(range(len(jobs))):  # from the end: a removed row is replaced by the last one
            self._take(first_row + row, tokens[row], on_done)

    def _extending_one_another(self) -> list[Job]:
        """The first pending job, and those behind it that extend its prompt and fit into the buffers there are."""
        jobs = [self.pending[0]]
        if self.slots is None or jobs[0].kept is not None or _width(jobs[0]) > self.slots.columns:
            return jobs
        for job in itertools.islice(self.pending, 1, self.slots.rows - len(self.live)):
            last = jobs[-1].prompt
            if job.kept is not None or _width(job) > self.slots.columns or job.prompt[: len(last)] != last:
                break
            jobs.append(job)
        return jobs

    def _prefill(self, jobs: Sequence[Job]) -> list[int]:
        """Compute the longest prompt, of which the others are beginnings; returns the first new token of each."""
        shared = self.prefix.rewind(jobs[-1].prompt, jobs[0].kept, most=len(jobs[0].prompt) - 1)
        ids = torch.tensor([jobs[-1].prompt[shared:]], device=self.device)
        ends = torch.tensor([len(job.prompt) - 1 - shared for job in jobs], device=self.device)
        logits = self.model(
            input_ids=ids, past_key_values=self.prefix.cache, use_cache=True, logits_to_keep=ends
        ).logits
        return self.choose(logits[0], [job.draw for job in jobs])

    def _step(self, on_done: OnDone) -> None:
        slots = self.slots
        assert slots is not None
        last = torch.tensor([[job.new[-1]] for job in self.live], device=self.device)
        logits = self.model(
            input_ids=last, attention_mask=slots.mask(), position_ids=slots.positions(),
            past_key_values=slots.cache, use_cache=True, logits_to_keep=1,
        ).logits  # fmt: skip
        tokens = self.choose(logits[:, -1], [job.draw for job in self.live])
        for row in reversed(range(len(tokens))):  # from the end: a removed row is replaced by the last one
            self._take(row, tokens[row], on_done)

    def _take(self, row: int, token: int, on_done: OnDone) -> None:
        """Append a token to a row; a finished row leaves, and its conversation goes on before new ones."""
        job = self.live[row]
        job.new.append(token)
        stopped = token in self.stop_ids
        if not stopped and len(job.new) < job.max_new_tokens:
            return
        slots = self.slots
        assert slots is not None
        following = on_done(job, job.new, stopped)
        self.live[row] = self.live[-1]
        self.live.pop()
        if following is not None:
            self.pending.appendleft(following)  # before `keep`, which may run out of memory
            following.kept = slots.keep(row, (job.prompt + job.new)[: slots.length - slots.start[row]])
        slots.remove(row)


def _width(job: Job) -> int:
    """Columns that the job may come to need."""
    return len(job.prompt) + job.max_new_tokens


def plan_order(jobs: Sequence[Job]) -> list[Job]:
    """Longest first, prompts that share most of their tokens next to each other and shortest first among themselves.

    Longest first fills memory when it is emptiest and ends on short rows; neighbours let the prefix cache extend one
    prompt into the next.
    """
    groups: list[list[Job]] = []
    for job in sorted(jobs, key=lambda job: job.prompt):
        previous = groups[-1][-1].prompt if groups else []
        if groups and common_prefix(previous, job.prompt) >= len(previous) / 2:
            groups[-1].append(job)
        else:
            groups.append([job])
    groups.sort(key=lambda group: -max(len(job.prompt) for job in group))
    return [job for group in groups for job in group]
