"""TRL's SFTTrainer on encoded rows: flat micro-batches, loss per trained token, stops for what cannot go well.

trainer = DialogueTrainer(model, run)        run: what the training needs beside the model
trainer.train(resume_from_checkpoint=None); trainer.evaluate(); trainer.save_final()
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, TrainerControl

from recipes.manifest import read_manifest
from training.attention import check_borders, implementation_for
from training.collate import FILLER, collate
from training.launch import give_back_freed_memory
from training.loss import flat_logits, token_scores, trained_weights
from training.order import EpochOrder, Layout, tokens_per_row
from training.saving import AfterStep, Run, SavingTrainer
from training.stopping import LossWatch
from training.watch import Watch, sources_of

# A row that fills up is of no source.
WATCHED_FILLER = {**FILLER, "source": ""}


class DialogueTrainer(SavingTrainer):
    """SFTTrainer with our data order, loss and held-out loss by kind."""

    # The loss is divided by the trained tokens (or their weights) of the whole accumulated batch, never by its steps.
    loss_is_scaled_for_ga = True

    def __init__(self, model: PreTrainedModel | PeftModel, run: Run):
        self.run = run
        self.implementation = implementation_for(run.attn_implementation)
        self.output_dir = Path(run.arguments.output_dir)
        self._tokens = torch.zeros(3, dtype=torch.int64)  # read, padding, trained; here, not yet collected
        self._total_trained = 0
        self._window_tokens, self._window_padding, self._window_start = 0, 0, time.monotonic()  # since the last log
        self.watch = Watch(run.tokenizer, sources_of(run.train["source"], run.held_out["source"]), run.arguments.device)
        self._step_loss = torch.zeros((), device=run.arguments.device)  # of the micro-batches of the current step
        self._loss_watch = LossWatch(run.stop_on_anomaly)
        self._began = (0, time.monotonic())  # first step of this process, and when
        self._held_out: tuple[int, dict[str, float]] | None = None  # the last held-out losses and their step
        filler = datasets.Dataset.from_list([WATCHED_FILLER]).cast(
            run.train.select_columns(list(WATCHED_FILLER)).features
        )
        super().__init__(
            model=model,
            args=run.arguments,
            data_collator=self._collate,
            train_dataset=datasets.concatenate_datasets([run.train.select_columns(list(WATCHED_FILLER)), filler]),
            eval_dataset=run.held_out if run.arguments.eval_strategy != "no" else None,
            processing_class=run.tokenizer,
            peft_config=run.peft_config,
            callbacks=list(run.callbacks),
        )
        self.remove_callback(PrinterCallback)  # training/progress.py prints
        self.add_callback(AfterStep(self))
        self.model_accepts_loss_kwargs = True  # makes the Trainer count the trained tokens of a global batch

    def _collate(self, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch that also says how its trained tokens are to be watched, and how many of its tokens are padding."""
        batch = collate(rows, share_prefixes=self.run.share_prefixes)
        fillers = sum(len(row["input_ids"]) for row in rows if not row["source"])
        return {**batch, "groups": self.watch.groups(batch, rows), "padding": fillers}

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
        if self.args.device.type == "cpu":
            give_back_freed_memory()
        if resume_from_checkpoint is not None:
            saved = read_manifest(resume_from_checkpoint) or {}
            self._total_trained = saved.get("trained_tokens", 0)
            self.args.eval_on_start = saved.get("evaluation_due", False)
        self._window_start = time.monotonic()
        self._began = (self.state.global_step, self._window_start)
        self.run.heartbeat.start()
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
        self.run.heartbeat.beat("forward")
        losses, right = token_scores(model, inputs, self.implementation)
        if self.is_in_train:
            self.watch.add(inputs["groups"], losses, right)
            self._tokens += torch.tensor([inputs["input_ids"].shape[1], inputs["padding"], len(losses)])
        count: Tensor | int = len(losses)
        if self.run.loss_weights:
            weights = trained_weights(inputs, self.run.loss_weights)
            losses, count = losses * weights, weights.sum()
        count = torch.as_tensor(count if num_items_in_batch is None else num_items_in_batch)
        count = torch.where(count == 0, 1, count)  # a batch of nothing but filler rows
        loss = (losses.sum() / count.to(losses.device)).float() * self.accelerator.num_processes
        self._step_loss += loss.detach()
        if self.is_in_train and self.accelerator.sync_gradients:
            self._check_step_loss(trains=bool(num_items_in_batch is None or num_items_in_batch > 0))
        self.run.heartbeat.beat("backward and the exchange of gradients")
        return loss

    def _check_step_loss(self, trains: bool) -> None:
        """Stop before the gradients of a loss that is not one reach the weights. Raises Anomaly in every process."""
        total = self.accelerator.reduce(self._step_loss, "mean").item()
        self._step_loss = torch.zeros_like(self._step_loss)
        reason = self._loss_watch.reason(total, trains)
        if reason:
            self.stop_for(reason)

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        if norm is not None and not math.isfinite(norm):  # DeepSpeed may have none to give
            self.stop_for(f"the norm of the gradients is {float(norm)}")
        return norm

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        began = time.monotonic()
        super()._save_checkpoint(model, trial)
        self._window_start += time.monotonic() - began  # saving is no slow training

    def reached(self) -> dict[str, Any]:
        """Step and trained tokens, and whether the held-out loss of this step is still due."""
        self._collect_tokens()
        due = {"evaluation_due": True} if self._evaluation_due else {}
        return {"step": self.state.global_step, "trained_tokens": self._total_trained, **due}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds to a training log losses and accuracies by kind and source, speed, padding, memory, and the time left.

        All over all processes.
        """
        if "loss" in logs:
            logs |= self.watch.metrics(self.accelerator.reduce(self.watch.take(), "sum"))
            self._collect_tokens()
            logs["tokens_per_s"] = self._window_tokens / max(time.monotonic() - self._window_start, 1e-9)
            logs["padding_share"] = self._window_padding / max(self._window_tokens, 1)
            logs["trained_tokens"] = self._total_trained
            logs["peak_memory_gib"] = self._peak_memory()
            logs["eta_s"] = self._seconds_left()
            self._window_tokens, self._window_padding, self._window_start = 0, 0, time.monotonic()
        super().log(logs, start_time)

    def _peak_memory(self) -> float:
        """The most that a process has held so far, in GiB: of its GPU, or of memory where it has none."""
        if self.args.device.type == "cuda":
            held = torch.cuda.max_memory_allocated()
        else:
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        here = torch.tensor([held / 2**30], device=self.args.device)
        return float(self.accelerator.gather(here).max())

    def _seconds_left(self) -> float:
        first, began = self._began
        done = max(self.state.global_step - first, 1)
        return (time.monotonic() - began) / done * (self.state.max_steps - self.state.global_step)

    def _collect_tokens(self) -> None:
        """Add up over all processes what each has counted; all of them must call this."""
        read, padding, trained = self.accelerator.reduce(self._tokens.to(self.args.device), "sum").tolist()
        self._window_tokens += read
        self._window_padding += padding
        self._total_trained += trained
        self._tokens.zero_()

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "held_out"
    ) -> dict[str, float]:
        """Held-out loss and accuracy per trained token, by kind and source, unweighted; logged, and returned by name.

        Every held-out dialogue counts once: each process takes its share, filled up so that all do as many forwards.
        Asked to stop meanwhile, it saves, and leaves the rest for when the run goes on; it returns nothing then.
        """
        if self._held_out and self._held_out[0] == self.state.global_step:
            return self._held_out[1]
        began = time.monotonic()
        model = self.model_wrapped
        model.eval()
        of_training = self.watch.take()
        for rows in self._held_out_batches():
            self.run.heartbeat.beat("the held-out loss")
            if self.anywhere(self.run.stop.received):
                self.watch.sums = of_training
                self.preempted = self._evaluation_due = self.control.should_training_stop = True
                self.save_now()
                return {}
            batch = self._prepare_inputs(self._collate(rows))
            self.watch.add(batch["groups"], *token_scores(model, batch, self.implementation))
        sums = self.accelerator.reduce(self.watch.take(), "sum")
        self.watch.sums = of_training
        loss, _, tokens = sums.sum(0).tolist()
        metrics = {"loss": loss / max(tokens, 1), **self.watch.metrics(sums)}
        logs = {f"held_out_{name}": value for name, value in metrics.items()}
        self.log(dict(logs))
        # Tells the Trainer that this step's evaluation is done; it asks again at the end of an epoch otherwise.
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        self._held_out = (self.state.global_step, logs)
        self._evaluation_due = False
        self._window_start += time.monotonic() - began
        return logs

    def _held_out_batches(self) -> Iterator[list[Mapping[str, Any]]]:
        rows, processes = self.run.held_out, self.accelerator.num_processes
        size = self.args.per_device_eval_batch_size
        share = math.ceil(len(rows) / processes)
        mine = [index * processes + self.accelerator.process_index for index in range(share)]
        for start in range(0, share, size):
            yield [rows[index] if index < len(rows) else WATCHED_FILLER for index in mine[start : start + size]]
