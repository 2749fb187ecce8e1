"""Loss per trained token: cross-entropy summed over a global batch, divided by the trained tokens of that batch.

A token counts once, or as much as `loss_weights` gives its part, wherever it stands, so per-device batch 1 with
accumulation 8 equals 8 with 1, on any number of processes. The LM head runs at trained positions only: with 49,152
words of vocabulary and a fifth of the tokens trained, the full head would be a large share of a small model's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from data_prep.encode import KINDS, STOP
from data_prep.samples import KIND_OF_PART, UNTRAINED
from recipes.schema import Part
from training.attention import attention_inputs


class TokenScores(NamedTuple):
    """Of each trained token, in the order of the batch: its cross-entropy, and whether no other token is likelier."""

    losses: Tensor  # (trained tokens,) float32; sum() is differentiable
    right: Tensor  # (trained tokens,) bool


def token_losses(model: torch.nn.Module, batch: Mapping[str, Any], implementation: str) -> Tensor:
    """The losses of `token_scores`."""
    return token_scores(model, batch, implementation).losses


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
    logits = model(**inputs, logits_to_keep=trained).logits[0]
    wanted = labels[0, trained + 1]
    # By values: argmax takes a CPU twice as long as the maximum.
    right = logits.detach().amax(-1) <= logits.detach().gather(-1, wanted[:, None])[:, 0]
    return TokenScores(F.cross_entropy(logits.float(), wanted, reduction="none"), right)


def trained_kinds(batch: Mapping[str, Any]) -> Tensor:
    """The kind of each trained token (trained tokens,) int64, in the order of `token_losses`."""
    trained = (batch["labels"][0, 1:] != UNTRAINED).nonzero().flatten()
    return batch["kinds"][0, trained + 1]


def trained_weights(batch: Mapping[str, Any], loss_weights: Mapping[Part, float]) -> Tensor:
    """The weight of each trained token (trained tokens,) float64, in the order of `token_losses`; 1 for a part unnamed.

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
