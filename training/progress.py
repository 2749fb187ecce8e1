"""metrics.jsonl, the lines on the terminal, and loss.png.

{"step": 20, "epoch": 0.4, "loss": 1.31, "grad_norm": 0.8, "learning_rate": 4.2e-05, "tokens_per_s": 812,
 "trained_tokens": 40960}
{"step": 20, "held_out_loss": 1.2, "held_out_loss_call": 0.6, ...}
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

FILE_NAME = "metrics.jsonl"


class LossNotFinite(RuntimeError):
    """The loss became NaN or infinite; going on would only write broken checkpoints."""


class ProgressCallback(TrainerCallback):
    """Appends each log to metrics.jsonl and prints it, with tokens/s and the time that remains."""

    def __init__(self, output_dir: Path, console: Console):
        self.path = output_dir / FILE_NAME
        self.console = console
        self.bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("training", total=None, note="")
        self.started = (time.monotonic(), 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any
    ) -> None:
        """Drop lines past the step that is resumed from: those steps are trained again."""
        self.started = (time.monotonic(), state.global_step)
        if not state.is_world_process_zero:
            return
        kept = [row for row in read_metrics(self.path) if row["step"] <= state.global_step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self.bar.update(self.task, total=state.max_steps, completed=state.global_step)
        self.bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Move the bar."""
        if state.is_world_process_zero:
            self.bar.update(self.task, completed=state.global_step, note=f"{self._remaining(state)} left")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **event: Any,
    ) -> None:
        """One line in the file and one on the terminal. Raises LossNotFinite."""
        row = {"step": state.global_step, **(logs or {})}
        if "loss" not in row and "held_out_loss" not in row:
            return  # the Trainer's own summary at the end
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            remaining = f"  {self._remaining(state)} left" if "loss" in row else ""
            self.console.print(f"step {state.global_step}/{state.max_steps}  {_shown(row)}{remaining}")
        if not math.isfinite(row.get("loss", row.get("held_out_loss", 0.0))):
            raise LossNotFinite(
                f"the loss at step {state.global_step} is not finite; lower learning_rate, or train in float32, and "
                f"start again from a checkpoint before it"
            )

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Take the bar away."""
        self.bar.stop()

    def _remaining(self, state: TrainerState) -> str:
        began, first_step = self.started
        done = state.global_step - first_step
        if not done:
            return "?"
        seconds = round((time.monotonic() - began) / done * (state.max_steps - state.global_step))
        return str(timedelta(seconds=seconds))


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
    for name in dict.fromkeys(key for row in rows for key in row if key.removeprefix("held_out_").startswith("loss")):
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
        kinds = [key for key in row if key.startswith("held_out_loss_")]
        parts = [f"{key.removeprefix('held_out_loss_')} {row[key]:.4f}" for key in kinds]
        return f"held-out loss {row['held_out_loss']:.4f}" + (f" ({', '.join(parts)})" if parts else "")
    return (
        f"loss {row['loss']:.4f}  grad {row.get('grad_norm', 0):.3f}  lr {row.get('learning_rate', 0):.2e}  "
        f"{row.get('tokens_per_s', 0):,.0f} tokens/s"
    )
