"""metrics.jsonl, the lines on the terminal, and loss.png.

{"step": 20, "epoch": 0.4, "loss": 1.31, "grad_norm": 0.8, "learning_rate": 4.2e-05, "loss_call_name": 0.2,
 "accuracy_call_name": 0.93, "tokens_per_s": 812, "trained_tokens": 40960, "peak_memory_gib": 3.1, "eta_s": 340, ...}
{"step": 20, "held_out_loss": 1.2, "held_out_loss_call": 0.6, "held_out_accuracy_call": 0.8, ...}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.encode import KINDS
from training.disk import is_full_disk
from training.stopping import Anomaly

FILE_NAME = "metrics.jsonl"


class ProgressCallback(TrainerCallback):
    """Appends each log to metrics.jsonl and prints it, with tokens/s and the time that remains."""

    def __init__(self, output_dir: Path, console: Console):
        self.metrics = JsonLines(output_dir / FILE_NAME)
        self.console = console
        self.bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("training", total=None, note="")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any
    ) -> None:
        """Drop lines past the step that is resumed from: those steps are trained again."""
        if not state.is_world_process_zero:
            return
        self.metrics.keep_until(state.global_step)
        self.bar.update(self.task, total=state.max_steps, completed=state.global_step)
        self.bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Move the bar."""
        if state.is_world_process_zero:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **event: Any,
    ) -> None:
        """One line in the file and one on the terminal. Raises Anomaly."""
        row = {"step": state.global_step, **(logs or {})}
        if "loss" not in row and "held_out_loss" not in row:
            return  # the Trainer's own summary at the end
        if state.is_world_process_zero:
            if not self.metrics.append(row):
                self.console.print(
                    f"WARNING: {self.metrics.path} waits for space on the disk; nothing of it is lost yet"
                )
            remaining = f"{timedelta(seconds=round(row['eta_s']))} left" if "eta_s" in row else ""
            if remaining:
                self.bar.update(self.task, note=remaining)
            self.console.print(f"step {state.global_step}/{state.max_steps}  {_shown(row)}  {remaining}".rstrip())
        if not math.isfinite(row.get("held_out_loss", 0.0)):
            raise Anomaly(f"the held-out loss at step {state.global_step} is not finite; lower learning_rate")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Take the bar away."""
        self.bar.stop()


class JsonLines:
    """Rows with a step, a line each; on a full disk they wait in memory for the next row's turn."""

    def __init__(self, path: Path):
        self.path = path
        self._waiting: list[str] = []

    def keep_until(self, step: int) -> list[dict[str, Any]]:
        """Drop rows past the step, and a line that a kill cut off; returns those that are left."""
        kept = [row for row in read_metrics(self.path) if row["step"] <= step]
        if self.path.exists():
            scratch = self.path.with_name(f".{self.path.name}")
            scratch.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            os.replace(scratch, self.path)
        return kept

    def append(self, row: Mapping[str, Any]) -> bool:
        """Write the row, and those that wait, at the end. False where there is no space: all of them wait then."""
        self._waiting.append(json.dumps(row) + "\n")
        end = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(self._waiting))
        except OSError as error:
            if not is_full_disk(error):
                raise
            os.truncate(self.path, end)  # what a full disk took of it is no whole row
            return False
        self._waiting.clear()
        return True


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def draw_loss(output_dir: Path) -> Path | None:
    """loss.png from metrics.jsonl: training loss, and held-out loss as a whole and by kind; None without any."""
    rows = read_metrics(output_dir / FILE_NAME)
    if not rows:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    shown = ("loss", "held_out_loss", *(f"held_out_loss_{kind}" for kind in KINDS))
    for name in [name for name in shown if any(name in row for row in rows)]:
        points = [(row["step"], row[name]) for row in rows if name in row]
        style = {"loss": {"color": "0.6", "label": "training"}}.get(
            name, {"marker": "o", "label": name.replace("held_out_loss", "held out").replace("_", ": ", 1)}
        )
        axes.plot(*zip(*points, strict=True), **style)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss per trained token (nats)")
    axes.legend(loc="upper right")
    target = output_dir / "loss.png"
    scratch = output_dir / ".loss.png"
    figure.savefig(scratch, format="png", dpi=120)
    pyplot.close(figure)
    os.replace(scratch, target)
    return target


def _shown(row: Mapping[str, Any]) -> str:
    if "held_out_loss" in row:
        parts = [f"{kind} {row[f'held_out_loss_{kind}']:.4f}" for kind in KINDS if f"held_out_loss_{kind}" in row]
        return f"held-out loss {row['held_out_loss']:.4f}" + (f" ({', '.join(parts)})" if parts else "")
    return (
        f"loss {row['loss']:.4f}  grad {row.get('grad_norm', 0):.3f}  lr {row.get('learning_rate', 0):.2e}  "
        f"{row.get('tokens_per_s', 0):,.0f} tokens/s"
    )
