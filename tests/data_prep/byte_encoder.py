"""A real Encoder on a tokenizer made here: one token per byte, ChatML. Needs no download and loads at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from data_prep.encode import Encoder
from recipes.load import validate
from recipes.schema import Recipe


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """256 bytes, two role markers and a padding token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: number for number, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
    )


def byte_encoder(**options: Any) -> Encoder:
    """An encoder with the shipped ChatML template."""
    return Encoder(byte_tokenizer(), chat_template="chatml", **options)


def chat(number: int, *texts: str, **keys: Any) -> dict[str, Any]:
    """A `messages` row: user and assistant texts in turn."""
    messages = [
        {"role": "assistant" if place % 2 else "user", "content": text}
        for place, text in enumerate(texts or (f"question {number}", f"answer {number}"))
    ]
    return {"id": f"chat-{number}", "messages": messages, **keys}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A .jsonl file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe_of(*paths: Path, **fields: Any) -> Recipe:
    """A recipe that trains on `messages` files; nothing is held out unless `fields` say so."""
    values: dict[str, Any] = {
        "name": "test",
        "model_name_or_path": "none",
        "train_data": [{"source": "messages", "path": [str(path)]} for path in paths],
        "max_length": 200,
        "learning_rate": 1e-4,
        "output_dir": "none",
        "max_rejected": 0,
    }
    if "held_out_data" not in fields:
        values["held_out_share"] = 0
    return validate(values | fields, "test")
