"""The next token of every row from its logits: the likeliest, or one drawn by a generator of the row's own.

The draw depends on the row's logits and its own generator alone, so no row changes with what it is batched with, save
where rounding of the logits decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from eval.protocol import Sampling

Choose = Callable[[torch.Tensor, Sequence[Callable[[], float]]], list[int]]


def chooser(sampling: Sampling) -> Choose:
    """choose(logits [rows, vocabulary], draws) -> tokens; `draws` gives each row's next number in 0..1."""
    return greedy if sampling.temperature == 0 else lambda logits, draws: drawn(logits, draws, sampling)


def greedy(logits: torch.Tensor, draws: Sequence[Callable[[], float]]) -> list[int]:
    """The likeliest token of every row; nothing is drawn."""
    return logits.argmax(dim=-1).tolist()


def drawn(logits: torch.Tensor, draws: Sequence[Callable[[], float]], sampling: Sampling) -> list[int]:
    """One token a row from the smallest set of likeliest tokens that hold `top_p` (Holtzman et al., 1904.09751).

    Tokens are laid side by side in order of id, not of probability: rounding that swaps two of them moves no other.
    """
    shares = torch.softmax(logits.double() / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, order = shares.sort(dim=-1, descending=True)
        outside = ordered.cumsum(dim=-1) - ordered >= sampling.top_p  # the likeliest one is always inside
        shares = shares.scatter(-1, order, ordered.masked_fill(outside, 0.0))
    ends = shares.cumsum(dim=-1)
    points = torch.tensor([[draw()] for draw in draws], dtype=ends.dtype, device=ends.device) * ends[:, -1:]
    return torch.searchsorted(ends, points, right=True)[:, 0].clamp(max=ends.shape[1] - 1).tolist()
