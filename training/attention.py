"""attn_implementation: sdpa in a recipe becomes exact attention within each dialogue of a flat row.

The collator lays all dialogues of a micro-batch behind one another in one row: no padding, nothing wasted. The sdpa of
transformers keeps them apart with a mask of (tokens x tokens), which costs memory and the fast causal kernel. Here each
dialogue gets its own causal call instead: exact by construction, and on a CPU about three times as fast for a row
of two 1,000-token dialogues. Whatever attention a recipe names, `check_borders` proves on the model itself that no
dialogue sees another before the first step (DESIGN law 6).
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


class BordersLeak(RuntimeError):
    """The attention in use lets a dialogue see another one of its row; the message says what to change."""


def implementation_for(attn_implementation: str) -> str:
    """The attention that a recipe's `attn_implementation` trains with."""
    return BY_DIALOGUE if attn_implementation == "sdpa" else attn_implementation


def attention_inputs(lengths: list[int], implementation: str, device: torch.device) -> dict[str, Any]:
    """What `implementation` must be told about a flat row of dialogues of these lengths, beside its position_ids."""
    if implementation == BY_DIALOGUE:
        return {"dialogue_lengths": lengths}
    if implementation in FLASH:
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
    dialogue_lengths: list[int] | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each dialogue; the signature is transformers' AttentionInterface.

    query (1, heads, tokens, width), key and value (1, key heads, tokens, width), any float dtype; returns
    (1, tokens, heads, width). Without `dialogue_lengths` the row is one dialogue.
    """
    if attention_mask is not None or softcap is not None or query.shape[0] != 1:
        raise ValueError(
            "sdpa_by_dialogue takes one flat row, no mask and no softcap; set attn_implementation: eager in the recipe"
        )
    outputs = []
    lengths = dialogue_lengths or [query.shape[2]]
    for one_query, one_key, one_value in zip(
        query.split(lengths, dim=2), key.split(lengths, dim=2), value.split(lengths, dim=2), strict=True
    ):
        band = _band(one_query.shape[2], sliding_window, query.device)
        outputs.append(
            F.scaled_dot_product_attention(
                one_query,
                one_key,
                one_value,
                attn_mask=band,
                is_causal=band is None,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _band(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """The mask of a sliding window, (length, length) bool; None where plain causal attention is the same."""
    if window is None or length <= window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None, :]
    return (distance >= 0) & (distance < window)


# No mask function is registered beside it: transformers then builds no mask at all.
AttentionInterface.register(BY_DIALOGUE, sdpa_by_dialogue)


@torch.no_grad()
def check_borders(
    forward: Callable[[Mapping[str, Any]], Tensor], vocabulary: int, device: torch.device, what: str
) -> None:
    """Raise BordersLeak unless dialogues side by side give the logits they give alone.

    `forward` takes a flat batch (input_ids and position_ids (1, tokens), dialogue_lengths) and returns logits
    (tokens, vocabulary). The yardstick is a leak made on purpose: the same tokens as one dialogue. Rounding is far
    below it in any dtype, so no tolerance has to be guessed.
    """
    lengths = [7, 5, 9]
    ids = torch.arange(3, 3 + sum(lengths), device=device) * 7919 % vocabulary
    packed = forward(flat_batch(ids, lengths))
    leaky = forward(flat_batch(ids, [len(ids)]))
    alone = torch.cat([forward(flat_batch(part, [len(part)])) for part in ids.split(lengths)])
    error, leak = (packed - alone).abs().max().item(), (leaky - alone).abs().max().item()
    if not error < 0.05 * leak:
        raise BordersLeak(
            f"attention {what!r} on {device.type} does not keep the dialogues of a row apart: their logits differ by "
            f"{error:.2g} from those of the dialogues alone (a full leak gives {leak:.2g}); set attn_implementation "
            f"to sdpa or eager"
        )


def flat_batch(ids: Tensor, lengths: list[int]) -> dict[str, Any]:
    """A flat batch of dialogues of these lengths whose tokens, one behind the other, are `ids` (tokens,)."""
    positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])
    return {"input_ids": ids[None], "position_ids": positions[None], "dialogue_lengths": lengths}
