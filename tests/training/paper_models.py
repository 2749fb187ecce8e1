"""The BUTTON paper's four models, as their config.json files state them, and how many parameters their cards name."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

LLAMA3 = {"model_type": "llama", "vocab_size": 128256, "max_position_embeddings": 8192, "num_key_value_heads": 8}
QWEN2 = {"model_type": "qwen2", "vocab_size": 152064, "max_position_embeddings": 131072}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama3-8b": {**LLAMA3, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                  "num_attention_heads": 32},
    "llama3-70b": {**LLAMA3, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
                   "num_attention_heads": 64},
    "qwen2-7b": {**QWEN2, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
                 "num_attention_heads": 28, "num_key_value_heads": 4},
    "qwen2-72b": {**QWEN2, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
                  "num_attention_heads": 64, "num_key_value_heads": 8},
}  # fmt: skip
PARAMETERS = {"llama3-8b": 8.03e9, "llama3-70b": 70.6e9, "qwen2-7b": 7.62e9, "qwen2-72b": 72.7e9}


def paper_config(name: str) -> PretrainedConfig:
    """The config of one of CONFIGS."""
    return AutoConfig.for_model(**CONFIGS[name], tie_word_embeddings=False)
