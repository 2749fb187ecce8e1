"""attn_implementation: sdpa in a recipe becomes exact attention within each dialogue of a flat row.

The collator lays all dialogues of a micro-batch behind one another in one row: no padding, nothing wasted. The sdpa of
transformers keeps them apart with a mask of (tokens x tokens), which costs memory and the fast causal kernel. Here each
dialogue gets its own causal call instead: exact by construction, and on a CPU about three times as fast for a row
of two 1,000-token dialogues. Dialogues that begin alike may be one run, [prefix, branch, branch, ...]: each branch then
sees the prefix and itself. Whatever attention a recipe names, `check_borders` proves on the model itself that no
dialogue sees another before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

BY_DIALOGUE = "sdpa_by_dialogue"
FLASH = ("flash_attention_2", "flash_attention_3")

Runs = list[list[int]]  # [length] of one dialogue, or [prefix, branch, ...] of dialogues that share their beginning


class BordersLeak(RuntimeError):
    """The attention in use lets a dialogue see another one of its row; the message says what to change."""


def implementation_for(attn_implementation: str) -> str:
    """The attention that a recipe's `attn_implementation` trains with."""
    return BY_DIALOGUE if attn_implementation == "sdpa" else attn_implementation


def attention_inputs(runs: Runs, implementation: str, device: torch.device) -> dict[str, Any]:
    """What `implementation` must be told about a flat row of these runs, beside its position_ids.

    Raises ValueError for shared prefixes with an attention other than BY_DIALOGUE.
    """
    if implementation == BY_DIALOGUE:
        return {"runs": runs}
    if any(len(run) > 1 for run in runs):
        raise ValueError(f"attention {implementation!r} computes no shared prefixes; set share_prefixes: false")
    if implementation in FLASH:
        lengths = [run[0] for run in runs]
        borders = torch.tensor([0, *lengths], device=device).cumsum(0).to(torch.int32)
        longest = max(lengths)
        return {"cu_seq_lens_q": borders, "cu_seq_lens_k": borders, "max_length_q": longest, "max_length_k": longest}
    return {}  # eager, flex: transformers finds the borders in position_ids, given no mask


def sdpa_by_dialogue(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    runs: Runs | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each dialogue of `runs`; the signature is transformers' AttentionInterface.

    query (1, heads, tokens, width), key and value (1, key heads, tokens, width), any float dtype; returns
    (1, tokens, heads, width). Without `runs` the row is one dialogue.
    """
    if attention_mask is not None or softcap is not None or query.shape[0] != 1:
        raise ValueError(
            "sdpa_by_dialogue takes one flat row, no mask and no softcap; set attn_implementation: eager in the recipe"
        )
    runs = runs or [[query.shape[2]]]
    lengths = [length for run in runs for length in run]
    queries, keys, values = (part.split(lengths, dim=2) for part in (query, key, value))
    outputs, at = [], 0
    for run in runs:
        for branch in range(at, at + len(run)):
            # A branch attends to the run's prefix and to itself.
            seen = [branch] if branch == at else [at, branch]
            one_key, one_value = (torch.cat([part[i] for i in seen], dim=2) for part in (keys, values))
            mask = _causal_mask(queries[branch].shape[2], one_key.shape[2], sliding_window, query.device)
            outputs.append(
                F.scaled_dot_product_attention(
                    queries[branch],
                    one_key,
                    one_value,
                    attn_mask=mask,
                    is_causal=mask is None,
                    dropout_p=dropout,
                    scale=scaling,
                    enable_gqa=query.shape[1] != key.shape[1],
                )
            )
        at += len(run)
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _causal_mask(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor | None:
    """Which keys each of the last `queries` positions sees, (queries, keys) bool; None for plain causal attention."""
    if queries == keys and (window is None or keys <= window):
        return None
    positions = torch.arange(keys, device=device)
    distance = positions[-queries:, None] - positions[None, :]
    return (distance >= 0) & (distance < (keys if window is None else window))


# No mask function is registered beside it: transformers then builds no mask at all.
AttentionInterface.register(BY_DIALOGUE, sdpa_by_dialogue)


@torch.no_grad()
def check_borders(
    forward: Callable[[Mapping[str, Any]], Tensor],
    vocabulary: int,
    device: torch.device,
    what: str,
    share_prefixes: bool = False,
) -> None:
    """Raise BordersLeak unless dialogues side by side give the logits they give alone.

    `forward` takes a flat batch (input_ids and position_ids (1, tokens), runs) and returns logits (tokens, vocabulary).
    The yardstick is a leak made on purpose: the same tokens as one dialogue. Rounding is far below it in any dtype, so
    no tolerance has to be guessed. With `share_prefixes` the same is proven of a prefix with two branches.
    """
    lengths = [7, 5, 9]
    ids = torch.arange(3, 3 + sum(lengths), device=device) * 7919 % vocabulary
    parts = ids.split(lengths)
    leaky = forward(flat_batch(ids, [[len(ids)]]))
    packed = forward(flat_batch(ids, [[length] for length in lengths]))
    alone = torch.cat([forward(flat_batch(part, [[len(part)]])) for part in parts])
    error, leak = (packed - alone).abs().max().item(), (leaky - alone).abs().max().item()
    if share_prefixes:
        whole = [forward(flat_batch(torch.cat([parts[0], part]), [[7 + len(part)]])) for part in parts[1:]]
        alone = torch.cat([whole[0], whole[1][7:]])
        error = max(error, (forward(flat_batch(ids, [lengths])) - alone).abs().max().item())
    if not error < 0.05 * leak:
        raise BordersLeak(
            f"attention {what!r} on {device.type} does not keep the dialogues of a row apart: their logits differ by "
            f"{error:.2g} from those of the dialogues alone (a full leak gives {leak:.2g}); set attn_implementation "
            f"to sdpa or eager"
        )


def flat_batch(ids: Tensor, runs: Runs) -> dict[str, Any]:
    """A flat batch of these runs whose tokens, one behind the other, are `ids` (tokens,)."""
    pieces = [(0 if index == 0 else run[0], length) for run in runs for index, length in enumerate(run)]
    positions = torch.cat([torch.arange(start, start + length, device=ids.device) for start, length in pieces])
    return {"input_ids": ids[None], "position_ids": positions[None], "runs": runs}
