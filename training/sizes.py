"""What a run amounts to, said before it starts.

DEEPSPEED ZeRO-3, 8 processes on cuda
8 GPUs x 4 rows x 1 = 32 rows a step, 233 steps, 3.1 M trained tokens
"""

from __future__ import annotations

import math

import datasets
import numpy as np
from numpy.typing import NDArray

from data_prep.samples import UNTRAINED
from recipes.schema import Recipe
from training.launch import Launch


class UntrainedRow(ValueError):
    """A row without a trained token: nothing can be learnt from it, and in bulk it means that the mask is wrong."""


def trained_tokens_per_row(train: datasets.Dataset) -> NDArray[np.int64]:
    """Trained tokens of each row. Raises UntrainedRow where a row, or the whole set, has none."""
    counts = [
        np.add.reduceat(
            chunk.flatten().to_numpy() != UNTRAINED, chunk.offsets.to_numpy()[:-1] - chunk.offsets[0].as_py()
        )
        for chunk in train.with_format("arrow")[:]["labels"].chunks
        if len(chunk)
    ]
    trained = np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, dtype=np.int64)
    if not trained.all() or not trained.size:
        row = int(np.argmin(trained)) if trained.size else None
        name = "the training set is empty" if row is None else f"row {row} ({train[row]['dialogue_id']}) is all context"
        raise UntrainedRow(f"a sample has no trained token: {name}; look at it with `python -m data_prep preview`")
    return trained


def steps_of(recipe: Recipe, rows: int, processes: int) -> int:
    """Optimizer steps of the run, as the Trainer counts them."""
    if recipe.max_steps > 0:
        return recipe.max_steps
    micro_batches = math.ceil(rows / (recipe.per_device_train_batch_size * processes))
    return math.ceil(recipe.num_train_epochs * math.ceil(micro_batches / recipe.gradient_accumulation_steps))


def describe_run(recipe: Recipe, launch: Launch, trained_tokens: NDArray[np.int64], held_out_rows: int) -> list[str]:
    """The lines said at start-up: launch, batch, steps, tokens."""
    per_device, accumulation = recipe.per_device_train_batch_size, recipe.gradient_accumulation_steps
    rows_per_step = launch.processes * per_device * accumulation
    steps = steps_of(recipe, len(trained_tokens), launch.processes)
    epochs = steps / math.ceil(len(trained_tokens) / rows_per_step)
    unit = {"cuda": "GPU", "cpu": "CPU process"}.get(launch.device, launch.device)
    units = f"{launch.processes} {unit}{'s' if launch.processes > 1 and unit == 'GPU' else ''}"
    if launch.processes > 1 and unit == "CPU process":
        units = f"{launch.processes} CPU processes"
    return [
        f"distributed type {launch.distributed_type}, world size {launch.processes}, device {launch.device}",
        f"{units} x {per_device} x {accumulation} = {rows_per_step} rows a step, {steps:,} steps "
        f"({epochs:.2g} epochs of {len(trained_tokens):,} rows), {_short(trained_tokens.sum() * epochs)} trained "
        f"tokens, {held_out_rows:,} rows held out",
    ]


def _short(count: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return f"{count:.0f}"
