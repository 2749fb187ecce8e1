"""run.html in the run directory: curves, last values and samples in one file that loads nothing, rewritten in training.

    with RunPage(output_dir, "button", console) as page:      page is a callback of the Trainer

Everything is escaped by the template engine, and a Content-Security-Policy forbids every script: samples are text that
a model wrote. The browser reads the page again by itself until the run has ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.encode import CONTEXT, KINDS
from training.disk import is_full_disk
from training.progress import FILE_NAME as METRICS
from training.progress import read_metrics
from training.stopping import Preempted
from training.watch import GROUPS
from training.watch_samples import DIALOGUES
from training.watch_samples import FILE_NAME as SAMPLES

FILE_NAME = "run.html"
TEMPLATE = "run_page.html"
EVERY_S = 10.0  # at most so often, and never for more than 1/50 of the time
SHOWN_SAMPLES = 5 * DIALOGUES
POINTS = 300  # of a curve, means of its neighbours where there are more
WIDTH, HEIGHT = 520, 200
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#78716c", "#1e3a8a")

Points = list[tuple[float, float]]


class Curve(NamedTuple):
    """A line of a plot: its name, colour, SVG points, and last value."""

    name: str
    colour: str
    points: str
    last: float


class Plot(NamedTuple):
    """A plot with the ends of its axes."""

    title: str
    curves: list[Curve]
    first_step: int
    last_step: int
    low: float
    high: float


class RunPage(TrainerCallback):
    """Writes run.html of the main process's run; used as a block, it says at the end how the run ended."""

    def __init__(self, output_dir: Path, name: str, console: Console):
        self.output_dir, self.name, self.console = output_dir, name, console
        self.rows: list[dict[str, Any]] = []
        self.steps = 0
        self._next_write = 0.0
        self._is_main = False
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
        )
        self._template = environment.get_template(TEMPLATE)

    def __enter__(self) -> RunPage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.write("finished", refresh_s=None)
        elif issubclass(kind, Preempted):
            self.write("stopped by SIGTERM and saved; run the same command again to go on", refresh_s=None)
        else:
            self.write(f"ended by an error: {error or kind.__name__}", refresh_s=None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any
    ) -> None:
        """Take up what was logged before; the callback that cuts metrics.jsonl back stands before this one."""
        self._is_main, self.steps = state.is_world_process_zero, state.max_steps
        self.rows = read_metrics(self.output_dir / METRICS) if self._is_main else []

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **event: Any,
    ) -> None:
        """Note the row, and write the page if it is time."""
        if not self._is_main or not logs or not ("loss" in logs or "held_out_loss" in logs):
            return
        self.rows.append({"step": state.global_step, **logs})
        began = time.monotonic()
        if began >= self._next_write:
            self.write("training", refresh_s=EVERY_S)
            took = time.monotonic() - began
            self._next_write = began + max(EVERY_S, 50 * took)

    def write(self, state: str, refresh_s: float | None) -> None:
        """Write the page, whole or not at all; a full disk leaves the one before."""
        if not self._is_main:
            return
        last = {name: value for row in self.rows for name, value in row.items()}
        eta = str(timedelta(seconds=round(last["eta_s"]))) if refresh_s and "eta_s" in last else None
        samples = read_metrics(self.output_dir / SAMPLES)[: -SHOWN_SAMPLES - 1 : -1]
        text = self._template.render(
            name=self.name, state=state, refresh_s=refresh_s, step=last.get("step", 0), steps=self.steps, eta=eta,
            plots=plots(self.rows), last=last, samples=samples,
            width=WIDTH, height=HEIGHT, written=time.strftime("%Y-%m-%d %H:%M:%S"),
        )  # fmt: skip
        scratch = self.output_dir / f".{FILE_NAME}"
        try:
            scratch.write_bytes(text.encode("utf-8", "replace"))
            os.replace(scratch, self.output_dir / FILE_NAME)
        except OSError as error:
            if not is_full_disk(error):
                raise
            scratch.unlink(missing_ok=True)
            self.console.print(f"WARNING: no space on the disk for {self.output_dir / FILE_NAME}; it is not up to date")


def plots(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """The plots of a run's rows that have anything to show, in the page's order."""
    kinds = [group for group in GROUPS if group != KINDS[CONTEXT]]
    sources = sorted(
        {name.removeprefix("loss_source_") for row in rows for name in row if name.startswith("loss_source_")}
    )
    wanted: dict[str, dict[str, str]] = {
        "Loss": {"loss": "training", "held_out_loss": "held out"},
        "Token accuracy": {"accuracy": "training", "held_out_accuracy": "held out"},
        "Training loss by kind": {f"loss_{kind}": kind for kind in kinds},
        "Training accuracy by kind": {f"accuracy_{kind}": kind for kind in kinds},
        "Held-out loss by kind": {f"held_out_loss_{kind}": kind for kind in kinds},
        "Held-out accuracy by kind": {f"held_out_accuracy_{kind}": kind for kind in kinds},
        "Training loss by source": {f"loss_source_{source}": source for source in sources},
        "Training accuracy by source": {f"accuracy_source_{source}": source for source in sources},
        "Held-out loss by source": {f"held_out_loss_source_{source}": source for source in sources},
        "Norm of the gradients": {"grad_norm": "before clipping"},
        "Learning rate": {"learning_rate": "learning rate"},
        "Tokens per second": {"tokens_per_s": "all processes"},
        "Peak memory, GiB": {"peak_memory_gib": "greatest of the processes"},
        "Padding, share of tokens": {"padding_share": "padding"},
    }
    made = [
        plot(title, {label: _points(rows, name) for name, label in names.items()}) for title, names in wanted.items()
    ]
    return [one for one in made if one is not None]


def plot(title: str, series: Mapping[str, Points]) -> Plot | None:
    """A plot of the series that have points; None where none has."""
    thinned = {name: _thinned(points) for name, points in series.items() if points}
    if not thinned:
        return None
    steps, values = zip(*(point for points in thinned.values() for point in points), strict=True)
    first, last, low, high = min(steps), max(steps), min(values), max(values)
    width, height = (last - first) or 1, (high - low) or 1
    curves = []
    for colour, (name, points) in zip(COLOURS * len(thinned), thinned.items(), strict=False):
        places = (f"{(x - first) / width * WIDTH:.1f},{HEIGHT - (y - low) / height * HEIGHT:.1f}" for x, y in points)
        curves.append(Curve(name, colour, " ".join(places), series[name][-1][1]))
    return Plot(title, curves, int(first), int(last), low, high)


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> Points:
    """(step, value) of a name; NaN and infinity have no place on an axis."""
    found = ((row["step"], row[name]) for row in rows if name in row)
    return [(step, value) for step, value in found if abs(value) < float("inf")]


def _thinned(points: Points) -> Points:
    """At most POINTS points: means over neighbours."""
    size = -(-len(points) // POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
