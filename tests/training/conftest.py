"""A tiny checkpoint with a byte-level tokenizer and ChatML, made on the spot: no download, a run takes seconds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 2-layer Llama whose tokenizer has one token per byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from training.tiny import save_tiny_model

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(special + letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"], chat_template=CHATML,
    )  # fmt: skip
    return save_tiny_model("llama", tokenizer, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def sums_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 two-turn dialogues about sums, in the OpenAI form, with a thought before the second answer."""
    return write_sums(tmp_path_factory.mktemp("rows") / "sums.jsonl", 40, seed=0)


def write_sums(path: Path, count: int, seed: int) -> Path:
    """Write `count` such dialogues; equal arguments, equal file."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            a, b = rng.randint(1, 99), rng.randint(1, 99)
            turns = [f"{a} plus {b}?", f"{a + b}.", "Doubled?", f"That is {2 * (a + b)}."]
            roles = ["user", "assistant"] * 2
            messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]
            messages[-1]["thinking"] = "Twice that."
            file.write(json.dumps({"id": f"sum-{number}", "messages": messages}) + "\n")
    return path


@pytest.fixture
def write_recipe(tmp_path: Path, tiny_checkpoint: Path, sums_file: Path) -> Callable[..., Path]:
    """`write_recipe(max_steps=4)`: a recipe for the tiny checkpoint, output in tmp_path/run; returns its path."""

    def write(**changes: Any) -> Path:
        recipe = {
            "name": "tiny",
            "model_name_or_path": str(tiny_checkpoint),
            "dtype": "float32",
            "train_data": [{"source": "messages", "path": [str(sums_file)]}],
            "held_out_share": 0.2,
            "max_length": 256,
            "packing": False,
            "output_dir": str(tmp_path / "run"),
            "learning_rate": 1e-3,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            **changes,
        }
        path = tmp_path / f"{recipe['name']}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return write
