"""Greedy decoding of many conversations: prefill once per shared prefix, decode in one batch, refill freed rows.

    Decoder(model, stop_ids, rows, ...).run(jobs, on_done)     on_done(job, new_ids, stopped) -> next job or None

Law: the tokens equal those of one-by-one `model.generate` but for ties that rounding decides (float32: none seen).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from eval.backends.slots import Kept, PrefixCache, SlotCache, common_prefix


@dataclass
class Job:
    """One turn to generate: the prompt's ids, and the state kept from the conversation's turn before, if any."""

    index: int
    prompt: list[int]
    max_new_tokens: int
    kept: Kept | None = None
    new: list[int] = field(default_factory=list)


OnDone = Callable[[Job, list[int], bool], Job | None]


class Decoder:
    """One pass over a list of jobs; `rows` is the most that are decoded at once.

    `pending` and `live` say what is unfinished when an out-of-memory error interrupts `run`: a new Decoder with fewer
    rows takes over.
    """

    def __init__(
        self, model: torch.nn.Module, stop_ids: Sequence[int], rows: int, cache_bytes: int, device: torch.device
    ):
        self.model = model
        self.stop_ids = frozenset(stop_ids)
        self.rows = rows
        self.cache_bytes = cache_bytes
        self.device = device
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
        return [Job(job.index, job.prompt, job.max_new_tokens) for job in left]

    def _has_room(self, job: Job) -> bool:
        """Whether one more row fits into the row and memory limits; one row is always tried."""
        if not self.live:
            return True
        columns = self.slots.columns if self.slots is not None else 0
        widest = max(columns, *(len(live.prompt) + live.max_new_tokens for live in [*self.live, job]))
        bytes_needed = (len(self.live) + 1) * widest * self.prefix.bytes_per_token()
        return len(self.live) < self.rows and bytes_needed <= self.cache_bytes

    def _admit(self, on_done: OnDone) -> None:
        job = self.pending[0]
        shared = self.prefix.rewind(job.prompt, job.kept)
        ids = torch.tensor([job.prompt[shared:]], device=self.device)
        logits = self.model(input_ids=ids, past_key_values=self.prefix.cache, use_cache=True, logits_to_keep=1).logits
        token = int(logits[0, -1].argmax())
        state = self.prefix.keep()
        if self.slots is None:
            self.slots = SlotCache(state)
        job.kept = None
        self.slots.add(state, job.max_new_tokens)
        self.pending.popleft()
        self.live.append(job)
        self._take(len(self.live) - 1, token, on_done)

    def _step(self, on_done: OnDone) -> None:
        slots = self.slots
        assert slots is not None
        last = torch.tensor([[job.new[-1]] for job in self.live], device=self.device)
        logits = self.model(
            input_ids=last, attention_mask=slots.mask(), position_ids=slots.positions(),
            past_key_values=slots.cache, use_cache=True, logits_to_keep=1,
        ).logits  # fmt: skip
        tokens = logits[:, -1].argmax(dim=-1).tolist()
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
