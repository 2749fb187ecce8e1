"""What `build` writes trains as it stands in TRL's own SFTTrainer: its columns mean there what they mean here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset, load_from_disk
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from data_prep.build import build
from tests.data_prep.byte_encoder import byte_encoder, chat, recipe_of, write_rows
from training.tiny import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def built(folder: Path, packing: bool) -> Dataset:
    chats = [chat(number, f"question {number}?", "x" * number) for number in range(1, 9)]
    recipe = recipe_of(write_rows(folder / "rows.jsonl", chats), packing=packing)
    build(recipe, folder / "data", byte_encoder(), quiet=True)
    return load_from_disk(str(folder / "data"))["train"]


def test_two_steps_of_plain_trl_have_the_loss_of_the_labels(tmp_path):
    tokenizer = byte_encoder().tokenizer
    model = save_tiny_model("llama", tokenizer, tmp_path / "model")
    before = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    data = built(tmp_path, packing=False)
    arguments = SFTConfig(
        output_dir=str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=4, logging_steps=1, report_to="none",
        max_length=None,  # TRL cuts rows at 1,024 tokens unless told not to
        use_cpu=True, bf16=False, save_strategy="no", learning_rate=1e-3, disable_tqdm=True,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = SFTTrainer(str(model), args=arguments, train_dataset=data, processing_class=tokenizer)
    first = next(iter(trainer.get_train_dataloader()))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2

    wanted = {tuple(row["input_ids"]): row["labels"] for row in data}
    for ids, labels, mask in zip(first["input_ids"], first["labels"], first["attention_mask"], strict=True):
        assert labels[mask.bool()].tolist() == wanted[tuple(ids[mask.bool()].tolist())]
        assert set(labels[~mask.bool()].tolist()) <= {-100}
    with torch.no_grad():
        logits = before(input_ids=first["input_ids"], attention_mask=first["attention_mask"]).logits
    by_hand = cross_entropy(logits[:, :-1].flatten(0, 1), first["labels"][:, 1:].flatten(), ignore_index=-100)
    assert losses[0] == pytest.approx(by_hand.item(), abs=1e-4)


def test_trl_finds_the_borders_of_packed_rows_by_our_column(tmp_path):
    data = built(tmp_path, packing=True)
    row = max(data, key=lambda row: len(row["seq_lengths"]))
    assert len(row["seq_lengths"]) > 1
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([row])
    assert batch["position_ids"].tolist()[0] == [at for length in row["seq_lengths"] for at in range(length)]
    assert "attention_mask" not in batch
    starts = {sum(row["seq_lengths"][:at]) for at in range(len(row["seq_lengths"]))}
    labels = batch["labels"][0].tolist()
    for at, (label, wanted) in enumerate(zip(labels, row["labels"], strict=True)):
        assert label == (-100 if at in starts else wanted)
