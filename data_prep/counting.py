"""Counting what a build made, for its report: `report_build(...)` -> data_prep.report.BuildReport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.encode import KINDS
from data_prep.encode_rows import Encoding
from data_prep.fit import Tally
from data_prep.pack import Bins
from data_prep.quality import QualityReport
from data_prep.rejection import LAWS
from data_prep.report import PERCENTILES, BuildReport, KindCount, SplitReport
from data_prep.samples import StoredSamples, trained_tokens
from recipes import Recipe


class Packed(NamedTuple):
    """The samples of each training row, and the token positions that all rows take."""

    bins: Bins
    positions: int


def report_build(
    recipe: Recipe,
    encoding: Encoding,
    quality: QualityReport,
    parts: NDArray[np.integer],
    names: list[str],
    stored: StoredSamples,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    packed: Packed,
) -> BuildReport:
    """Count a build: of `stored`, `train` went into the rows `packed` and `held_out` into one row each.

    `parts` is the part of every dialogue, `names` what the parts are called.
    """
    quarantine, tally = encoding.quarantine, encoding.tally
    used = count_different(stored.rows[train], stored.rows[held_out])
    rows = len(packed.bins)
    filled = packed.positions / (rows * recipe.max_length) if recipe.packing else None
    train_report = _report_split(stored, train, rows, parts, names, recipe.train_on, filled)
    per_dialogue = _samples_per_dialogue(stored.rows)
    return BuildReport(
        name=recipe.name,
        read=quarantine.read,
        kept=quarantine.kept,
        rejected=quarantine.rejected,
        not_drawn=quarantine.kept - used,
        rejected_by_reason=dict(quarantine.by_reason.most_common()),
        rejected_by_file={file: dict(found) for file, found in quarantine.by_file.items()},
        truncated_dialogues=tally.truncated_dialogues,
        truncated_turns=tally.truncated_turns,
        untrained_samples=tally.untrained_samples,
        control_text_dialogues=tally.control_text_dialogues,
        max_length=recipe.max_length,
        train_on=recipe.train_on,
        seed=recipe.seed,
        encoder=encoding.fit.encoder.facts(),
        quality=quality,
        train=train_report,
        held_out=_report_split(stored, held_out, held_out.size, parts, names, recipe.train_on, None),
        laws=_laws(tally, used),
        samples_per_dialogue=per_dialogue,
        notes=(
            *quarantine.notes(),
            *_notes(tally, quarantine.kept - used),
            *_split_by_history(per_dialogue),
            *_saved_by_sharing(train_report.tokens, packed.positions),
        ),
    )


def count_different(*numbers: NDArray[np.int64]) -> int:
    """How many different numbers, none negative, the arrays hold."""
    return int(np.count_nonzero(np.bincount(np.concatenate(numbers))))


def _report_split(
    stored: StoredSamples,
    samples: NDArray[np.int64],
    rows: int,
    parts: NDArray[np.integer],
    part_names: list[str],
    train_on: tuple[str, ...],
    packing_efficiency: float | None,
) -> SplitReport:
    """Count one split of `samples` in `rows` rows; `parts` is the part of every dialogue."""
    times = np.bincount(samples, minlength=stored.lengths.size)
    tokens, trained = _kind_counts(stored, times, train_on)
    lengths = stored.lengths[samples]
    # A dialogue of several samples counts once per repeat: by its first sample.
    firsts = samples[np.diff(stored.rows, prepend=-1)[samples] > 0]
    dialogues = stored.rows[firsts]
    by_part = np.bincount(parts[dialogues], minlength=len(part_names)).tolist()
    return SplitReport(
        rows=rows,
        dialogues=int(dialogues.size),
        distinct_dialogues=count_different(dialogues),
        samples=int(samples.size),
        tokens=int(lengths.sum()),
        trained_tokens=int(trained.sum()),
        by_kind={name: KindCount(int(tokens[kind]), int(trained[kind])) for kind, name in enumerate(KINDS)},
        length_percentiles=_percentiles(lengths),
        dialogues_by_source=dict(zip(part_names, by_part, strict=True)),
        packing_efficiency=packing_efficiency,
    )


def _samples_per_dialogue(rows: NDArray[np.int64]) -> dict[str, int]:
    """How many dialogues became 1, 2, ... samples, from each sample's dialogue."""
    dialogues = np.bincount(np.bincount(rows))
    return {str(samples): int(dialogues[samples]) for samples in np.flatnonzero(dialogues).tolist() if samples}


def _percentiles(lengths: NDArray[np.int64]) -> dict[str, int]:
    if not lengths.size:
        return {}
    return {f"p{p}": int(value) for p, value in zip(PERCENTILES, np.percentile(lengths, PERCENTILES), strict=True)}


def _kind_counts(
    stored: StoredSamples, times: NDArray[np.int64], train_on: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(tokens, trained tokens) by kind, each sample counted `times` over."""
    tokens = np.zeros(len(KINDS), dtype=np.int64)
    trained = np.zeros(len(KINDS), dtype=np.int64)
    for chunk in stored.in_batches(np.flatnonzero(times)):
        _, kinds = stored.gather(chunk)
        weight = np.repeat(times[chunk], stored.lengths[chunk])
        mask = trained_tokens(kinds, stored.lengths[chunk], train_on)
        tokens += np.bincount(kinds, weights=weight, minlength=len(KINDS)).astype(np.int64)
        trained += np.bincount(kinds[mask], weights=weight[mask], minlength=len(KINDS)).astype(np.int64)
    return tokens, trained


def _laws(tally: Tally, written: int) -> dict[str, int]:
    """On how many rows each law was proven; labels were, when the `written` rows were."""
    proven = {**tally.laws, "labels_follow_kinds": written}
    return {law: proven.get(law, 0) for law in LAWS}


def _notes(tally: Tally, not_drawn: int) -> Iterator[str]:
    """What a reader of the summary should know and might not look for."""
    if tally.truncated_dialogues:
        yield (f"over_length: truncate_turns cut {tally.truncated_turns:,} messages off the end of "
               f"{tally.truncated_dialogues:,} dialogues")  # fmt: skip
    if tally.untrained_samples:
        yield f"{tally.untrained_samples:,} samples of otherwise trained dialogues held no trained token: left out"
    if tally.control_text_dialogues:
        yield f"{tally.control_text_dialogues:,} dialogues hold control-token text, encoded as plain text"
    if not_drawn:
        yield f"{not_drawn:,} good rows are in neither split: samples and weight did not draw them"


def _split_by_history(per_dialogue: dict[str, int]) -> Iterator[str]:
    dialogues = sum(per_dialogue.values())
    samples = sum(int(samples) * count for samples, count in per_dialogue.items())
    if samples > dialogues:
        yield (f"the template renders earlier turns otherwise once others follow (history: as_inferred): {dialogues:,} "
               f"dialogues became {samples:,} samples, up to {max(map(int, per_dialogue))} each")  # fmt: skip


def _saved_by_sharing(tokens: int, positions: int) -> Iterator[str]:
    if positions < tokens:
        yield (f"share_prefixes: common beginnings are computed once, {positions:,} token positions instead of "
               f"{tokens:,}")  # fmt: skip
