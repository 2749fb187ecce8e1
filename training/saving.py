"""SFTTrainer whose checkpoints are whole or absent, that outlives a full disk, and that stops when it is asked to.

trainer.train() ends early where `trainer.preempted`; everything up to the last step is then in a checkpoint.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftConfig, PeftModel
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from recipes.manifest import FILE_NAME as MANIFEST
from recipes.schema import Part
from training.checkpoint import (
    FINAL,
    CheckpointError,
    finish_checkpoint,
    move_into,
    newest_complete,
    rotate,
    save_failed,
)
from training.disk import Disk
from training.heartbeat import Heartbeat
from training.stopping import Anomaly, StopRequest


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
    stop_on_anomaly: bool = True
    stop: StopRequest = field(default_factory=StopRequest)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    peft_config: PeftConfig | None = None
    callbacks: tuple[TrainerCallback, ...] = ()


class SavingTrainer(SFTTrainer):
    """What of training has to do with saving and stopping; a subclass sets `run` and `output_dir` before __init__."""

    run: Run
    output_dir: Path
    preempted = False  # training ended early, saved, because it was asked to
    _disk = Disk()
    _evaluation_due = False  # at the step that was saved, and not done for want of time

    def reached(self) -> dict[str, Any]:
        """What a checkpoint's manifest says of how far the run is."""
        raise NotImplementedError

    def anywhere(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all of them must call this."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor([float(flag)], device=self.args.device), "sum").item())

    def save_now(self) -> Path | None:
        """Make sure that a checkpoint of this step exists; the newest complete one, None where there is none."""
        folder = self.output_dir / f"checkpoint-{self.state.global_step}"
        if self.anywhere(not (folder / MANIFEST).exists()):
            self._save_checkpoint(self.model, None)
        return newest_complete(self.output_dir)

    def stop_for(self, reason: str) -> None:
        """Save the state before this step where its weights are sound, and raise Anomaly; every process calls this."""
        # Under ZeRO-3 a parameter is an empty one that carries this process's part.
        parts = (getattr(weights, "ds_tensor", weights) for weights in self.model.parameters())
        if not self.anywhere(any(not torch.isfinite(part).all() for part in parts)):
            self.save_now()
        complete = newest_complete(self.output_dir)
        raise Anomaly(
            f"stopped at step {self.state.global_step + 1}: {reason}. The last checkpoint before it is "
            f"{complete or 'none: give save_steps'}. Look at {self.output_dir}/run.html, then start a new run with a "
            f"lower learning_rate, or in float32, or with other data"
            + (f", perhaps from model_name_or_path: {complete}" if complete else "")
        )

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The Trainer's, sparing the run where the disk is full."""
        with self._disk.spared():
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_deepspeed_enabled:
            with self._disk.spared():
                super()._save_optimizer_and_scheduler(output_dir)
            return
        engine = self.model_wrapped.checkpoint_engine
        save = engine.save
        engine.save = self._disk.sparing(save)  # inside DeepSpeed's own barriers
        try:
            super()._save_optimizer_and_scheduler(output_dir)
        finally:
            engine.save = save

    def _save_rng_state(self, output_dir: str) -> None:
        with self._disk.spared():
            super()._save_rng_state(output_dir)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """A checkpoint of this step, whole or not there. A full disk is said, and the run goes on."""
        folder = self.output_dir / f"checkpoint-{self.state.global_step}"
        self.run.heartbeat.beat(f"saving {folder.name}")
        facts = self.reached()  # of all processes, so before anything can fail in one of them
        self._disk = Disk()
        if self.accelerator.is_main_process:
            (folder / MANIFEST).unlink(missing_ok=True)
        with self._disk.spared():
            super()._save_checkpoint(model, trial)
        if not self.anywhere(self._disk.error is not None) and self.accelerator.is_main_process:
            with self._disk.spared():
                self._finish(folder, facts)
                rotate(self.output_dir, self.run.save_total_limit)
        if self.anywhere(self._disk.error is not None) and self.accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            print(
                f"WARNING: {folder.name} is NOT saved: {save_failed(self.output_dir, folder)}. Training goes on; the "
                f"next save is tried when it is due",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        self.accelerator.wait_for_everyone()

    def save_final(self, dtype: torch.dtype) -> None:
        """Write the final model into output_dir itself, full weights in `dtype`; every process takes part.

        Raises CheckpointError where the disk is full.
        """
        self.run.heartbeat.beat("saving the final model")
        scratch = self.output_dir / FINAL
        facts = self.reached()
        self._disk = Disk()
        if not isinstance(self.model, PeftModel) and not self.is_deepspeed_enabled and not self.is_fsdp_enabled:
            self.model.to(dtype)
        self.save_model(str(scratch))
        if not self.anywhere(self._disk.error is not None) and self.accelerator.is_main_process:
            with self._disk.spared():
                self._finish(scratch, facts)
                move_into(self.output_dir, scratch)
        if self.anywhere(self._disk.error is not None):
            if self.accelerator.is_main_process:
                shutil.rmtree(scratch, ignore_errors=True)
            raise CheckpointError(f"the final model is NOT saved: {save_failed(self.output_dir, scratch)}")

    def _finish(self, folder: Path, facts: Mapping[str, Any]) -> None:
        finish_checkpoint(folder, self.run.generation_config, {**self.run.manifest, **facts})


class AfterStep(TrainerCallback):
    """Asks after each step whether to stop, and then has the Trainer save and end."""

    def __init__(self, trainer: SavingTrainer):
        self.trainer = trainer

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """A held-out loss that is due now is computed when the run goes on: the time may be short."""
        self.trainer.run.heartbeat.beat("the next step")
        if self.trainer.anywhere(self.trainer.run.stop.received):
            self.trainer.preempted = True
            self.trainer._evaluation_due = control.should_evaluate
            control.should_evaluate = False
            control.should_log = control.should_save = control.should_training_stop = True
