"""Tiny random models of a real architecture: what tests and dry runs train instead of 8 B weights.

save_tiny_model("meta-llama/Meta-Llama-3-8B", tokenizer, folder)    a 2-layer Llama with that tokenizer
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

# The part of a hub id that names the architecture.
ARCHITECTURES: dict[str, type[PretrainedConfig]] = {
    "llama": LlamaConfig,
    "smollm2": LlamaConfig,
    "qwen2": Qwen2Config,
    "mistral": MistralConfig,
    "gemma": GemmaConfig,
}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 16384,
}


def tiny_model(
    name: str, vocabulary: int, seed: int = 0, attn_implementation: str | None = None, layers: int = 2
) -> PreTrainedModel:
    """A random float32 model of the architecture that `name` (a hub id or a part of one) names, `layers` deep.

    Raises ValueError where the name says no architecture known here.
    """
    known = [kind for kind in ARCHITECTURES if kind in name.lower()]
    if not known:
        raise ValueError(f"{name!r} names no architecture known here ({', '.join(ARCHITECTURES)}); add it to tiny.py")
    config = ARCHITECTURES[known[0]](
        vocab_size=vocabulary,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        num_hidden_layers=layers,
        **SIZES,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attn_implementation)


def save_tiny_model(
    name: str, tokenizer: PreTrainedTokenizerBase, folder: Path, seed: int = 0, layers: int = 2
) -> Path:
    """Save such a model with its tokenizer as an ordinary checkpoint directory; returns `folder`."""
    model = tiny_model(name, max(len(tokenizer), *tokenizer.get_vocab().values()) + 1, seed, layers=layers)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
