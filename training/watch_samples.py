"""`sample_every: 50` answers a few held-out dialogues every 50 steps; samples.jsonl holds the answers beside gold.

{"step": 50, "dialogue": "button-a-3", "prompt": "...<|im_start|>assistant\n", "gold": "I need <call>...<|im_end|>",
 "generated": "I should <call>...", "stopped": true}

The prompt is the ids before a trained turn in the built data, which are those that inference sends (encoding law 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from peft import PeftModel
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from data_prep.encode import CONTEXT
from training.attention import BY_DIALOGUE
from training.heartbeat import Heartbeat
from training.progress import JsonLines

FILE_NAME = "samples.jsonl"
DIALOGUES = 4
MAX_NEW_TOKENS = 256


class Turn(NamedTuple):
    """A held-out turn: what inference sends for it, and what the model should write."""

    dialogue: str
    prompt: list[int]
    gold: list[int]


class CannotGenerate(RuntimeError):
    """Generation while training does not work in this launch."""


def check_can_generate(distributed_type: str) -> None:
    """Raise CannotGenerate under FSDP, which gathers weights for a forward of the whole wrapped model only."""
    if distributed_type == "FSDP":
        raise CannotGenerate(
            "sample_every: answers cannot be generated during training under FSDP; set sample_every: null, or launch "
            "with DDP or DeepSpeed"
        )


def held_out_turns(held_out: datasets.Dataset, count: int = DIALOGUES) -> list[Turn]:
    """One turn of each of the first dialogues: of the first its first turn, of the second its second, and so on."""
    chosen = []
    for number, row in enumerate(held_out.select(range(min(count, len(held_out))))):
        length = row["seq_lengths"][0]
        spoken = np.concatenate([[False], np.array(row["kinds"][:length]) != CONTEXT, [False]])
        turns = np.flatnonzero(np.diff(spoken)).reshape(-1, 2).tolist()
        if turns:
            start, end = turns[number % len(turns)]
            chosen.append(Turn(row["dialogue_id"], row["input_ids"][:start], row["input_ids"][start:end]))
    return chosen


class SampleCallback(TrainerCallback):
    """Generates, greedily, and appends to samples.jsonl. Neither weights nor random number generators change.

    Each process takes its share of the turns, filled up so that all generate as often: under ZeRO-3 every forward
    needs all of them, and transformers keeps them in step.
    """

    def __init__(
        self, output_dir: Path, turns: list[Turn], tokenizer: PreTrainedTokenizerBase, stops: GenerationConfig,
        every: int, heartbeat: Heartbeat,
    ):  # fmt: skip
        self.lines = JsonLines(output_dir / FILE_NAME)
        self.turns, self.tokenizer, self.every, self.heartbeat = turns, tokenizer, every, heartbeat
        self.config = GenerationConfig(
            do_sample=False, max_new_tokens=MAX_NEW_TOKENS, use_cache=True,
            eos_token_id=stops.eos_token_id, pad_token_id=stops.pad_token_id,
        )  # fmt: skip

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any
    ) -> None:
        """Drop what was generated past the step that is resumed from."""
        if state.is_world_process_zero:
            self.lines.keep_until(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Generate every `every` steps; all processes take part."""
        if state.global_step % self.every or not self.turns:
            return
        processes = PartialState()
        share = math.ceil(len(self.turns) / processes.num_processes)
        mine = [index * processes.num_processes + processes.process_index for index in range(share)]
        with generating(event["model"]) as model:
            made = [(index, self._generate(model, self.turns[index % len(self.turns)])) for index in mine]
        for index, ids in sorted(gather_object(made)):
            if state.is_world_process_zero and index < len(self.turns):
                self.lines.append({"step": state.global_step, **self._row(self.turns[index], ids)})

    def _generate(self, model: PreTrainedModel | PeftModel, turn: Turn) -> list[int]:
        self.heartbeat.beat("generating samples")
        prompt = torch.tensor([turn.prompt], device=model.device)
        ids = model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), generation_config=self.config
        )  # fmt: skip
        return ids[0, len(turn.prompt) :].tolist()

    def _row(self, turn: Turn, ids: list[int]) -> dict[str, Any]:
        stops = self.config.eos_token_id
        stops = stops if isinstance(stops, list) else [stops]
        texts = {"prompt": turn.prompt, "gold": turn.gold, "generated": ids}
        said = {name: self.tokenizer.decode(part, skip_special_tokens=False) for name, part in texts.items()}
        return {"dialogue": turn.dialogue, **said, "stopped": bool(ids) and ids[-1] in stops}


@contextmanager
def generating(model: PreTrainedModel | PeftModel) -> Iterator[PreTrainedModel | PeftModel]:
    """The model made fit to generate: evaluating, and with an attention that can look back into a cache."""
    core = model.get_base_model() if isinstance(model, PeftModel) else model
    trains_with, was_training = core.config._attn_implementation, model.training
    model.eval()
    if trains_with == BY_DIALOGUE:
        core.set_attn_implementation("sdpa")
    try:
        with torch.no_grad():
            yield model
    finally:
        core.set_attn_implementation(trains_with)
        model.train(was_training)
