"""What a recipe's data amounts to: built and counted where it can be, else assumed to fill every row.

The build goes to output_dir/data, where train.py finds it again; beside a run that has other data, to a folder that is
removed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset, load_from_disk
from numpy.typing import NDArray

from data_prep.build import build, build_key
from data_prep.build_dir import BuildDir
from data_prep.encode import Encoder
from recipes.schema import Recipe
from training.checkpoint import RUN_FILE
from training.model import encoder_of
from training.sizes import steps_of, trained_tokens_per_row
from training.trace import MicroBatch


class Data(NamedTuple):
    """Counts of the training rows; `rows` is None where they are assumed, for the reason in `assumed_because`."""

    rows: int | None
    tokens: int
    trained: int
    held_out_rows: int
    full: float  # share of the rows' room that holds tokens
    padded: float  # share of padding that batches of equal length would have; ours have none
    heaviest: MicroBatch  # no micro-batch of the run has more tokens, or more trained ones
    encoder: Encoder | None
    folder: Path | None  # where the build is kept; None where it is not
    assumed_because: str | None

    def steps(self, recipe: Recipe, processes: int) -> int | None:
        """Optimizer steps of the run; None where neither the data nor max_steps tells."""
        if self.rows is None:
            return recipe.max_steps if recipe.max_steps > 0 else None
        return steps_of(recipe, self.rows, processes)

    def epochs(self, recipe: Recipe, processes: int) -> float | None:
        """Passes over the data that those steps are."""
        steps = self.steps(recipe, processes)
        if steps is None or self.rows is None:
            return None
        return steps * rows_per_step(recipe, processes) / self.rows if recipe.max_steps > 0 else recipe.num_train_epochs

    def run_tokens(self, recipe: Recipe, processes: int) -> float | None:
        """Tokens of the whole run; None where neither the data nor max_steps tells."""
        steps, epochs = self.steps(recipe, processes), self.epochs(recipe, processes)
        if epochs is not None:
            return self.tokens * epochs
        return None if steps is None else steps * rows_per_step(recipe, processes) * recipe.max_length


def rows_per_step(recipe: Recipe, processes: int) -> int:
    """Rows of one optimizer step over all processes."""
    return recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps * processes


def data_of(recipe: Recipe, build_it: bool) -> Data:
    """Build and count, or assume: rows of max_length tokens, every one trained, which is the most a recipe can hold."""
    if not build_it:
        return _assumed(recipe, None, "--no-data")
    encoder = None
    try:
        encoder = encoder_of(recipe)
        folder = Path(recipe.output_dir) / "data"
        if not _is_of_another_run(folder, recipe, encoder):
            return _built(recipe, folder, encoder)
        with tempfile.TemporaryDirectory(prefix="doctor-") as scratch:
            return _built(recipe, Path(scratch) / "data", encoder)._replace(folder=None)
    except (ValueError, OSError, RuntimeError) as error:
        if not type(error).__module__.startswith(("data_prep.", "training.")):
            raise
        return _assumed(recipe, encoder, str(error).splitlines()[0])


def _is_of_another_run(folder: Path, recipe: Recipe, encoder: Encoder) -> bool:
    """Whether a run is here whose data this recipe would replace."""
    found = BuildDir(folder).key()
    is_this = found is not None and found["key"] == build_key(recipe, encoder)[0]
    return (folder.parent / RUN_FILE).exists() and not is_this


def _built(recipe: Recipe, folder: Path, encoder: Encoder) -> Data:
    build(recipe, folder, encoder, quiet=True)
    splits = load_from_disk(str(folder))
    return _counted(recipe, splits["train"], len(splits["held_out"]), encoder, folder)


def _assumed(recipe: Recipe, encoder: Encoder | None, why: str) -> Data:
    tokens = recipe.max_length * recipe.per_device_train_batch_size
    heaviest = MicroBatch(tokens, tokens, recipe.max_length)
    return Data(None, 0, 0, 0, 1.0, 0.0, heaviest, encoder, None, why)


def _counted(recipe: Recipe, train: Dataset, held_out_rows: int, encoder: Encoder, folder: Path) -> Data:
    trained = trained_tokens_per_row(train)
    lengths = [np.asarray(row) for row in train.with_format("numpy")["seq_lengths"]]
    tokens = np.array([int(row.sum()) for row in lengths])
    batch = recipe.per_device_train_batch_size
    room = recipe.max_length if recipe.packing else int(tokens.max())
    heaviest = MicroBatch(_most(tokens, batch), _most(trained, batch), int(max(row.max() for row in lengths)))
    return Data(
        rows=len(train), tokens=int(tokens.sum()), trained=int(trained.sum()), held_out_rows=held_out_rows,
        full=tokens.sum() / (room * len(tokens)), padded=_padding(np.concatenate(lengths), batch, recipe.seed),
        heaviest=heaviest, encoder=encoder, folder=folder, assumed_because=None,
    )  # fmt: skip


def _most(counts: NDArray[np.int64], rows: int) -> int:
    return int(np.sort(counts)[-rows:].sum())


def _padding(lengths: NDArray[np.int64], batch: int, seed: int) -> float:
    """Share of padding in shuffled batches of `batch` dialogues, each padded to its longest."""
    shuffled = np.random.default_rng(seed).permutation(lengths)
    padded = sum(int(part.max()) * len(part) for part in np.split(shuffled, range(batch, len(shuffled), batch)))
    return 1 - lengths.sum() / padded
