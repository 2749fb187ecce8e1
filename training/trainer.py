"""TRL's SFTTrainer on encoded rows: flat micro-batches, loss per trained token, checkpoints that are whole or absent.

trainer = DialogueTrainer(model, run)        run: what the training needs beside the model
trainer.train(resume_from_checkpoint=None); trainer.evaluate(); trainer.save_final()
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftConfig, PeftModel
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
)
from trl import SFTConfig, SFTTrainer

from data_prep.encode import KINDS
from recipes.manifest import read_manifest
from recipes.schema import Part
from training.attention import check_borders, implementation_for
from training.checkpoint import finish_checkpoint, move_into, named_disk_errors, rotate
from training.collate import FILLER, collate
from training.loss import flat_logits, sums_by_kind, token_losses, trained_kinds, trained_weights
from training.order import EpochOrder, Layout, tokens_per_row


@dataclass(frozen=True)
class Run:
    """Everything a training run needs beside its model."""

    arguments: SFTConfig
    train: datasets.Dataset
    held_out: datasets.Dataset
    tokenizer: PreTrainedTokenizerBase  # carries the exact chat template
    generation_config: GenerationConfig
    manifest: Mapping[str, Any]
    attn_implementation: str  # as the recipe names it
    share_prefixes: bool
    loss_weights: Mapping[Part, float]  # by part; empty where every trained token counts the same
    save_total_limit: int | None
    peft_config: PeftConfig | None = None
    callbacks: tuple[TrainerCallback, ...] = ()


class DialogueTrainer(SFTTrainer):
    """SFTTrainer with our data order, loss, held-out loss by kind, and checkpoints."""

    # The loss is divided by the trained tokens (or their weights) of the whole accumulated batch, never by its steps.
    loss_is_scaled_for_ga = True

    def __init__(self, model: PreTrainedModel | PeftModel, run: Run):
        self.run = run
        self.implementation = implementation_for(run.attn_implementation)
        self.output_dir = Path(run.arguments.output_dir)
        self._tokens = torch.zeros(2, dtype=torch.int64)  # read, trained; on this process, not yet collected
        self._total_trained = 0
        self._window_tokens, self._window_start = 0, time.monotonic()  # since the last log
        self._held_out: tuple[int, dict[str, float]] | None = None  # the last held-out losses and their step
        filler = datasets.Dataset.from_list([FILLER]).cast(run.train.select_columns(list(FILLER)).features)
        super().__init__(
            model=model,
            args=run.arguments,
            data_collator=partial(collate, share_prefixes=run.share_prefixes),
            train_dataset=datasets.concatenate_datasets([run.train.select_columns(list(FILLER)), filler]),
            eval_dataset=run.held_out if run.arguments.eval_strategy != "no" else None,
            processing_class=run.tokenizer,
            peft_config=run.peft_config,
            callbacks=list(run.callbacks),
        )
        self.remove_callback(PrinterCallback)  # training/progress.py prints
        self.model_accepts_loss_kwargs = True  # makes the Trainer count the trained tokens of a global batch

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The schedule, whose decay is a share of the steps until here."""
        decay = (self.args.lr_scheduler_kwargs or {}).get("num_decay_steps")
        if isinstance(decay, float):
            self.args.lr_scheduler_kwargs = {"num_decay_steps": math.ceil(decay * num_training_steps)}
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, train_dataset: datasets.Dataset | None = None) -> EpochOrder:
        layout = Layout(
            self.args.per_device_train_batch_size,
            self.accelerator.num_processes,
            self.args.gradient_accumulation_steps,
        )
        self._order = EpochOrder(tokens_per_row(self.run.train), self.args.seed, layout)
        return self._order

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        model = self.model_wrapped
        model.eval()  # DeepSpeed's engine returns nothing here
        check_borders(
            lambda batch: flat_logits(model, batch, self.implementation),
            self.model.config.vocab_size, self.args.device, self.run.attn_implementation, self.run.share_prefixes,
        )  # fmt: skip
        if resume_from_checkpoint is not None:
            self._total_trained = (read_manifest(resume_from_checkpoint) or {}).get("trained_tokens", 0)
        self._window_start = time.monotonic()
        return prepared

    def _run_epoch(self, **epoch: Any) -> None:
        # The Trainer looks for the end after a step only, so a run resumed at its last step would take one too many.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        self._order.set_epoch(epoch["epoch"])
        super()._run_epoch(**epoch)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor | int | None:
        """What the loss of a global batch is divided by: its trained tokens, with `loss_weights` their weights."""
        if not self.run.loss_weights:
            return super()._get_num_items_in_batch(batch_samples, device)
        weights = [trained_weights(batch, self.run.loss_weights) for batch in batch_samples]
        return self.accelerator.reduce(torch.cat(weights).sum().to(device), "sum") if weights else None

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """This micro-batch's share of the mean loss per trained token of the global batch, weighted by `loss_weights`.

        Times the number of processes, because gradients are averaged over them.
        """
        losses = token_losses(model, inputs, self.implementation)
        self._tokens += torch.tensor([inputs["input_ids"].shape[1], len(losses)])
        count: Tensor | int = len(losses)
        if self.run.loss_weights:
            weights = trained_weights(inputs, self.run.loss_weights)
            losses, count = losses * weights, weights.sum()
        count = torch.as_tensor(count if num_items_in_batch is None else num_items_in_batch)
        count = torch.where(count == 0, 1, count)  # a batch of nothing but filler rows
        return (losses.sum() / count.to(losses.device)).float() * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds to a training log the speed and the tokens so far, over all processes."""
        if "loss" in logs:
            self._collect_tokens()
            logs["tokens_per_s"] = self._window_tokens / max(time.monotonic() - self._window_start, 1e-9)
            logs["trained_tokens"] = self._total_trained
            self._window_tokens, self._window_start = 0, time.monotonic()
        super().log(logs, start_time)

    def _collect_tokens(self) -> None:
        """Add up over all processes what each has counted; all of them must call this."""
        read, trained = self.accelerator.reduce(self._tokens.to(self.args.device), "sum").tolist()
        self._window_tokens += read
        self._total_trained += trained
        self._tokens.zero_()

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "held_out"
    ) -> dict[str, float]:
        """Held-out loss per trained token, as a whole and by kind, never weighted; logged, and returned by name.

        Every held-out dialogue counts once: each process takes its share, filled up so that all do as many forwards.
        """
        if self._held_out and self._held_out[0] == self.state.global_step:
            return self._held_out[1]
        began = time.monotonic()
        model = self.model_wrapped
        model.eval()
        sums = torch.zeros(2, len(KINDS), dtype=torch.float64, device=self.args.device)
        for rows in self._held_out_batches():
            batch = self._prepare_inputs(collate(rows))
            losses = token_losses(model, batch, self.implementation)
            sums += sums_by_kind(losses, trained_kinds(batch), len(KINDS))
        losses, counts = self.accelerator.reduce(sums, "sum").tolist()
        logs = {"held_out_loss": sum(losses) / max(sum(counts), 1)}
        logs |= {f"held_out_loss_{kind}": loss / count
                 for kind, loss, count in zip(KINDS, losses, counts, strict=True) if count}  # fmt: skip
        self.log(dict(logs))
        # Tells the Trainer that this step's evaluation is done; it asks again at the end of an epoch otherwise.
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        self._held_out = (self.state.global_step, logs)
        self._window_start += time.monotonic() - began
        return logs

    def _held_out_batches(self) -> Iterator[list[Mapping[str, Any]]]:
        rows, processes = self.run.held_out, self.accelerator.num_processes
        size = self.args.per_device_eval_batch_size
        share = math.ceil(len(rows) / processes)
        mine = [index * processes + self.accelerator.process_index for index in range(share)]
        for start in range(0, share, size):
            yield [rows[index] if index < len(rows) else FILLER for index in mine[start : start + size]]

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        began = time.monotonic()
        folder = self.output_dir / f"checkpoint-{self.state.global_step}"
        self._collect_tokens()
        with named_disk_errors(folder, self.output_dir):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                self._finish(folder)
                rotate(self.output_dir, self.run.save_total_limit)
        self.accelerator.wait_for_everyone()
        self._window_start += time.monotonic() - began

    def save_final(self, dtype: torch.dtype) -> None:
        """Write the final model into output_dir itself, full weights in `dtype`; every process takes part."""
        scratch = self.output_dir / ".final"
        if not isinstance(self.model, PeftModel) and not self.is_deepspeed_enabled and not self.is_fsdp_enabled:
            self.model.to(dtype)
        with named_disk_errors(scratch, self.output_dir):
            self.save_model(str(scratch))
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                self._finish(scratch)
                move_into(self.output_dir, scratch)
        self.accelerator.wait_for_everyone()

    def _finish(self, folder: Path) -> None:
        reached = {"step": self.state.global_step, "trained_tokens": self._total_trained}
        finish_checkpoint(folder, self.run.generation_config, {**self.run.manifest, **reached})
