"""python -m tests.bench.train_sides SIDE DATA_DIR RECIPE.yaml [key=value ...]: one optimizer step for each line read.

The sides of bench_train.py, each in a process of its own, so that its peak memory is its own. `ours` is train.py with
a callback and nothing else. The others are TRL's SFTTrainer on the unpacked rows of DATA_DIR, ids and labels as
`data_prep build` wrote them, in the order in which train.py takes them: every step then sees the same dialogues and
trains the same tokens. A process answers each line of its standard input with one line of JSON, so that the sides take
turns, and what else the machine does meets all of them. After the last step it says the held-out loss, where rows are
held out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset, load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

import train
from data_prep.samples import UNTRAINED
from recipes import Recipe, load_recipe
from tests.bench.build_size import resident
from training.collate import collate
from training.loss import token_scores
from training.model import lora_config
from training.order import EpochOrder, Layout, tokens_per_row
from training.trainer import DialogueTrainer

FASTEST = {"bf16": False, "gradient_checkpointing": False}
# What of TRL's settings is not its default; `best` is the fastest that was found here (docs/decisions.md).
TRL_SETTINGS: dict[str, dict[str, Any]] = {
    "trl_defaults": {},
    "trl_float32": {"bf16": False},
    "trl_best": {**FASTEST, "per_device_train_batch_size": 1},
    "trl_padded": FASTEST,
    "trl_padding_free": {**FASTEST, "padding_free": True},
    "trl_packed": {**FASTEST, "per_device_train_batch_size": 1, "packing": True},
}
COLUMNS = ["input_ids", "labels"]


class ByTurns(TrainerCallback):
    """Waits for a line before each optimizer step, and says behind it what the step took, loading its rows included."""

    def __init__(self) -> None:
        self.trained: list[torch.Tensor] = []
        self.seconds = self.cpu_seconds = 0.0
        self.since = time.perf_counter(), time.process_time()

    def _count(self) -> None:
        now = time.perf_counter(), time.process_time()
        self.seconds += now[0] - self.since[0]
        self.cpu_seconds += now[1] - self.since[1]
        self.since = now

    def on_train_begin(self, *arguments: Any, **more: Any) -> None:
        """The model is loaded; what has been spent until here belongs to no step."""
        self.__init__()  # type: ignore[misc]

    def on_step_begin(self, *arguments: Any, **more: Any) -> None:
        """Wait for the turn."""
        self._count()
        sys.stdin.readline()
        self.since = time.perf_counter(), time.process_time()

    def on_log(self, arguments: Any, state: Any, control: Any, logs: dict[str, float], **more: Any) -> None:
        """The step is over; its loss has been read, so that nothing of it is still being computed."""
        if "loss" in logs:
            self._count()
            trained = torch.cat(self.trained).sort().values
            say(
                loss=logs["loss"], seconds=self.seconds, cpu_seconds=self.cpu_seconds, trained=len(trained),
                tokens=hashlib.sha256(trained.numpy().tobytes()).hexdigest(), peak=resident("VmHWM"),
            )  # fmt: skip
            self.trained, self.seconds, self.cpu_seconds = [], 0.0, 0.0
            self.since = time.perf_counter(), time.process_time()


def say(**answer: Any) -> None:
    """One line of JSON to whoever holds the other end."""
    print(json.dumps({"answer": answer}), flush=True)


def by_turns(trainer: SFTTrainer) -> None:
    """Have a trainer take turns."""
    turns = ByTurns()
    batches_of = trainer.get_batch_samples

    def noted(*arguments: Any) -> Any:
        batches, count = batches_of(*arguments)
        turns.trained += [batch["labels"][batch["labels"] != UNTRAINED] for batch in batches]
        return batches, count

    trainer.get_batch_samples = noted
    trainer.add_callback(turns)


class OursByTurns(DialogueTrainer):
    """train.py's trainer."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        by_turns(self)

    def evaluate(self, *arguments: Any, **more: Any) -> dict[str, float]:
        """Says the held-out loss too."""
        logs = super().evaluate(*arguments, **more)
        say(held_out_loss=logs["held_out_loss"])
        return logs


def ours(words: list[str]) -> None:
    """train.py as it is."""
    train.DialogueTrainer = OursByTurns  # type: ignore[misc]
    assert train.main(words) == 0


def trl(settings: Mapping[str, Any], data_dir: str, recipe: Recipe) -> None:
    """Plain SFTTrainer. What both sides have in common is the recipe's; all else is TRL's own or in `settings`."""
    data = load_from_disk(data_dir)
    rows_a_step = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    batch = settings.get("per_device_train_batch_size", rows_a_step)
    arguments = SFTConfig(**{
        "output_dir": recipe.output_dir, "learning_rate": recipe.learning_rate, "max_steps": recipe.max_steps,
        "lr_scheduler_type": recipe.lr_scheduler_type, "warmup_steps": 0, "seed": recipe.seed,
        "num_train_epochs": recipe.num_train_epochs, "per_device_train_batch_size": rows_a_step,
        "gradient_accumulation_steps": rows_a_step // batch, "train_sampling_strategy": "sequential",
        "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True,
        "max_length": recipe.max_length if settings.get("packing") else None, **settings,
    })  # fmt: skip
    order = list(EpochOrder(tokens_per_row(data["train"]), recipe.seed, Layout(1, 1, rows_a_step)))
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(recipe.model_name_or_path, dtype=torch.float32),
        args=arguments,
        train_dataset=Dataset.from_list(list(data["train"].select(order).select_columns(COLUMNS))),
        processing_class=AutoTokenizer.from_pretrained(recipe.model_name_or_path),
        peft_config=lora_config(recipe) if recipe.use_peft else None,
    )
    by_turns(trainer)
    trainer.train()
    if len(data["held_out"]):
        say(held_out_loss=held_out_loss(trainer.model, data["held_out"]))


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, rows: Dataset) -> float:
    """Mean over the trained tokens."""
    model.eval()
    losses = torch.cat([token_scores(model, collate([row]), "sdpa").losses for row in rows])
    return float(losses.double().mean())


def main(side: str, data_dir: str, words: list[str]) -> None:
    """Train one side."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if side == "ours":
        return ours(words)
    return trl(TRL_SETTINGS[side], data_dir, load_recipe(words[0], words[1:]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
