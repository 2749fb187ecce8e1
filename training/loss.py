"""Loss per trained token: cross-entropy summed over a global batch, divided by the trained tokens of that batch.

A token counts once, or as much as `loss_weights` gives its part, wherever it stands, so per-device batch 1 with
accumulation 8 equals 8 with 1, on any number of processes. The LM head runs at trained positions only: with 49,152
words of vocabulary and a fifth of the tokens trained, the full head would be a large share of a small model's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from data_prep.encode import KINDS, STOP
from data_prep.samples import KIND_OF_PART, UNTRAINED
from recipes.schema import Part
from training.attention import attention_inputs

ROWS_AT_ONCE = 16  # of logits, in steps that fit a CPU's cache


class TokenScores(NamedTuple):
    """Of each trained token, in the order of the batch: its cross-entropy, and whether no other token is likelier."""

    losses: Tensor  # (trained tokens,) float32; sum() is differentiable
    right: Tensor  # (trained tokens,) bool


def token_scores(model: torch.nn.Module, batch: Mapping[str, Any], implementation: str) -> TokenScores:
    """Cross-entropy and correctness of the trained tokens of a flat batch from `collate`.

    `implementation` is the model's attention. On a GPU the LM head is TRL's fused one (attached by SFTTrainer), which
    never holds (trained tokens x vocabulary) logits; elsewhere TRL scores untrained positions too, so the model's own
    head does it, told which positions to keep.
    """
    inputs = model_inputs(batch, implementation)
    labels = batch["labels"]
    trained = (labels[0, 1:] != UNTRAINED).nonzero().flatten()
    if labels.is_cuda:
        fused = model(**inputs, labels=labels, fused_lm_head=True)
        return TokenScores(-fused.log_probs[0, trained].float(), fused.is_top1[0, trained])
    return scores_at(model, inputs, trained, labels[0, trained + 1])


def scores_at(model: torch.nn.Module, inputs: Mapping[str, Any], positions: Tensor, targets: Tensor) -> TokenScores:
    """Scores of `targets` (positions,) int64 by the model's own head, which runs at `positions` (positions,) only."""
    logits = model(**inputs, logits_to_keep=positions).logits[0]
    return TokenScores(*CrossEntropy.apply(logits, targets))


class CrossEntropy(torch.autograd.Function):
    """Cross-entropies of logits (positions, vocabulary) any float dtype, of which no copy is ever made.

    The gradient is written over the logits. They may therefore be what an LM head just made and nobody else reads;
    where the backward of their maker needs them, autograd raises an error. F.cross_entropy holds three tensors of their
    size more at its peak, all float32.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (positions,) float32, and whether the target's logit is the greatest (positions,) bool."""
        greatest, normalizers = logits.new_empty((2, len(targets)), dtype=torch.float32)
        for part, top, normalizer in zip(*_in_parts(logits, greatest, normalizers), strict=True):
            torch.amax(part.float(), 1, out=top)
            torch.add(top, (part - top[:, None]).exp_().sum(1).log_(), out=normalizer)
        of_targets = logits.gather(1, targets[:, None])[:, 0].float()
        right = greatest <= of_targets
        ctx.save_for_backward(logits, targets, normalizers)
        ctx.mark_non_differentiable(right)
        return normalizers - of_targets, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor, _: Tensor) -> tuple[Tensor, None]:
        """Each position's probabilities, less 1 at its target, times its gradient."""
        logits, targets, normalizers = ctx.saved_tensors
        parts = _in_parts(logits, targets[:, None], normalizers[:, None], gradients[:, None])
        for part, target, normalizer, gradient in zip(*parts, strict=True):
            probabilities = part.float().sub_(normalizer).exp_()  # of float32 logits in their own memory
            probabilities.scatter_add_(1, target, torch.full_like(normalizer, -1))
            part.copy_(probabilities.mul_(gradient))
        return logits, None


def _in_parts(*columns: Tensor) -> list[tuple[Tensor, ...]]:
    return [column.split(ROWS_AT_ONCE) for column in columns]


def trained_kinds(batch: Mapping[str, Any]) -> Tensor:
    """The kind of each trained token (trained tokens,) int64, in the order of `token_scores`."""
    trained = (batch["labels"][0, 1:] != UNTRAINED).nonzero().flatten()
    return batch["kinds"][0, trained + 1]


def trained_weights(batch: Mapping[str, Any], loss_weights: Mapping[Part, float]) -> Tensor:
    """The weight of each trained token (trained tokens,) float64, in the order of `token_scores`; 1 for a part unnamed.

    A stop token has the weight of the last trained token before it, which is of its own turn: it ends that part, and
    with weights that are all the same every token must weigh the same.
    """
    kinds = trained_kinds(batch)
    places = torch.arange(len(kinds), device=kinds.device)
    parts = kinds[torch.where(kinds == STOP, 0, places).cummax(0).values]
    of_kind = torch.ones(len(KINDS), dtype=torch.float64)
    for part, weight in loss_weights.items():
        of_kind[KIND_OF_PART[part]] = weight
    return of_kind.to(kinds.device)[parts]


def flat_logits(model: torch.nn.Module, batch: Mapping[str, Any], implementation: str) -> Tensor:
    """Logits (tokens, vocabulary) float32 at every position of a flat batch."""
    return model(**model_inputs(batch, implementation)).logits[0].float()


def sums_by_kind(losses: Tensor, kinds: Tensor, kind_count: int) -> Tensor:
    """Per kind the summed loss and the number of trained tokens: (2, kind_count) float64."""
    sums = torch.zeros(2, kind_count, dtype=torch.float64, device=losses.device)
    sums[0].index_add_(0, kinds, losses.double())
    sums[1].index_add_(0, kinds, torch.ones_like(losses, dtype=torch.float64))
    return sums


def model_inputs(batch: Mapping[str, Any], implementation: str) -> dict[str, Any]:
    """What the model is called with for a flat batch, labels left out."""
    ids = batch["input_ids"]
    return {
        "input_ids": ids,
        "position_ids": batch["position_ids"],
        "use_cache": False,
        **attention_inputs(batch["runs"], implementation, ids.device),
    }
