"""Which rows a training set holds, how often, and in what order: the keys of an entry of `train_data`.

    train_data:
      - {source: button, path: [button_instruct.jsonl]}                         all 8,000 rows
      - {source: messages, path: [teknium/OpenHermes-2.5], samples: 100000}     100,000 rows, drawn by seed

`samples: N`  N rows of the entry, drawn by the seed without repetition, before the held-out split takes its share.
              Asking for more rows than there are is an error: `repeat` is the way to see rows more than once.
`repeat: R`   every training row of the entry R times; held-out rows are never repeated.
`weight: W`   the entry's share of the mixture is W / (sum of weights). As in `datasets.interleave_datasets` with
              "first_exhausted" the scarcest entry decides: it is used whole (R times over), and of the others as many
              rows are drawn as the shares ask for, here exactly and not by chance. All entries carry a weight, or none.

No row is drawn a further time before every row of its entry was drawn as often. The mixture is then shuffled by the
seed. Order, counts and draws depend on the seed and the numbers of rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recipes.schema import DataSource


class MixtureError(ValueError):
    """A mixture that cannot be had from the rows there are."""


def draw_samples(rows: int, samples: int | None, name: str, seed: int, part: int) -> NDArray[np.int64]:
    """Ascending row numbers of the rows that entry number `part`, called `name`, gives; all where `samples` is None.

    Raises MixtureError where the entry has fewer rows than `samples`.
    """
    if samples is None or samples == rows:
        return np.arange(rows, dtype=np.int64)
    if samples > rows:
        raise MixtureError(
            f"{name}: samples: {samples:,} asks for more than the {rows:,} rows that passed the checks; lower samples, "
            "or leave it out and set repeat"
        )
    return np.sort(np.random.default_rng([seed, 2, part]).choice(rows, samples, replace=False))


def counts(rows: Sequence[int], entries: Sequence[DataSource]) -> list[int]:
    """How many rows of the mixture each entry gives, from how many training `rows` it has.

    Raises MixtureError where only some entries carry a weight.
    """
    available = [count * entry.repeat for count, entry in zip(rows, entries, strict=True)]
    weights = [entry.weight for entry in entries]
    if all(weight is None for weight in weights):
        return available
    if any(weight is None for weight in weights):
        raise MixtureError(
            "some entries of train_data carry a weight and others none; give every entry a weight or none of them"
        )
    scale = min(count / weight for count, weight in zip(available, weights, strict=True) if weight)
    # The scarcest entry is used whole; rounding may not ask another one for a row that it does not have.
    return [min(count, round(scale * (weight or 0))) for count, weight in zip(available, weights, strict=True)]


def mix(rows: Sequence[NDArray[np.int64]], entries: Sequence[DataSource], seed: int) -> NDArray[np.int64]:
    """The mixture as row numbers, shuffled: `rows` holds each entry's training rows.

    Raises MixtureError for a mixture that cannot be had.
    """
    wanted = counts([part.size for part in rows], entries)
    drawn = [_draw(part, count, seed, number) for number, (part, count) in enumerate(zip(rows, wanted, strict=True))]
    mixture = np.concatenate([np.zeros(0, dtype=np.int64), *drawn])
    return np.random.default_rng([seed, 4]).permutation(mixture)


def _draw(rows: NDArray[np.int64], count: int, seed: int, part: int) -> NDArray[np.int64]:
    if not rows.size:
        return rows
    passes, rest = divmod(count, rows.size)
    some = np.random.default_rng([seed, 3, part]).choice(rows, rest, replace=False)
    return np.concatenate([np.tile(rows, passes), some])
