"""Left-padded batches through `model.generate`, for models whose cache cannot be cut and refilled (state-space layers).

Slower than eval.backends.decode: no prefix is shared and a batch takes as long as its longest turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from eval.backends.choose import Choose, greedy
from eval.backends.decode import Job, OnDone


def generate_padded(
    model: Any,
    jobs: Sequence[Job],
    stop_ids: Sequence[int],
    rows: int,
    device: torch.device,
    on_done: OnDone,
    on_error: Callable[[Exception], None],
    choose: Choose = greedy,
) -> list[Job]:
    """One batch of the longest prompts; returns the jobs still to do, those that `on_done` adds among them."""
    left = sorted(jobs, key=lambda job: -len(job.prompt))
    batch, rest = left[:rows], left[rows:]
    try:
        generated = _generate(model, batch, stop_ids, device, choose)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        on_error(error)
        return [Job(job.index, job.prompt, job.max_new_tokens, job.seed) for job in left]  # what was drawn is forgotten
    for job, ids in zip(batch, generated, strict=True):
        end = next((position + 1 for position, token in enumerate(ids) if token in stop_ids), None)
        new_ids = ids[: min(end or len(ids), job.max_new_tokens)]
        following = on_done(job, new_ids, end is not None and end <= job.max_new_tokens)
        if following is not None:
            rest.append(following)
    return rest


class _Chosen(LogitsProcessor):
    """Leaves `generate` no choice but the token chosen for each row."""

    def __init__(self, choose: Choose, batch: Sequence[Job]):
        self.choose = choose
        self.draws = [job.draw for job in batch]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens = torch.tensor(self.choose(scores, self.draws), device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def _generate(
    model: Any, batch: Sequence[Job], stop_ids: Sequence[int], device: torch.device, choose: Choose
) -> list[list[int]]:
    width = max(len(job.prompt) for job in batch)
    pad = stop_ids[0]
    ids = torch.tensor([[pad] * (width - len(job.prompt)) + job.prompt for job in batch], device=device)
    mask = torch.tensor([[0] * (width - len(job.prompt)) + [1] * len(job.prompt) for job in batch], device=device)
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, eos_token_id=list(stop_ids), pad_token_id=pad,
            max_new_tokens=max(job.max_new_tokens for job in batch), temperature=None, top_p=None, top_k=None,
            repetition_penalty=1.0, logits_processor=LogitsProcessorList([_Chosen(choose, batch)]),
        )  # fmt: skip
    return out[:, width:].tolist()
