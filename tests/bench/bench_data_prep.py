"""`make bench`: the parts of a build beside encoding (bench_encode.py), each on its own line; packing against TRL's.

Rows are real: GSM8K problems and MathDial tutoring, tau-bench and Glaive calls; medians of 3, one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from trl.data_utils import pack_dataset

from data_prep.checks import check_dialogue, count_chars
from data_prep.contamination import Contamination
from data_prep.dialogue import Dialogue, DialogueError, content_hash
from data_prep.duplicates import Deduplicate, Duplicates
from data_prep.pack import pack
from data_prep.readers import RawRow, read_rows
from data_prep.sources import SOURCES

RUNS = 3
CAPACITY = 8192
CHARS_A_TOKEN = 4
FILES = {
    "maths": [("gsm8k", "gsm8k/train.jsonl"), ("mathchatsync", "mathchatsync/tutoring.json")],
    "calls": [("button", "button/airline.jsonl"), ("button", "button/glaive.jsonl")],
}
EVALUATION = ("gsm8k/test.jsonl", "mathchat/*.jsonl")


def seconds(work: Callable[[], object]) -> float:
    """The median of RUNS runs."""
    found = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def deduplicate(mode: Deduplicate, dialogues: list[Dialogue]) -> None:
    duplicates = Duplicates(mode)
    for dialogue in dialogues:
        duplicates.find_or_add(dialogue, content_hash(dialogue))


def checked(source: str, row: RawRow) -> Dialogue | None:
    try:
        dialogue = SOURCES[source].to_dialogue(row.value, f"{row.file}-{row.row}")
        check_dialogue(dialogue)
    except DialogueError:
        return None
    return dialogue


@pytest.mark.parametrize("what", FILES)
def test_each_part_of_a_build_on_real_rows(what: str, real_data_dir: Path) -> None:
    files = [(source, str(real_data_dir / name)) for source, name in FILES[what]]
    raw = [(source, row) for source, file in files for row in read_rows(file)]
    dialogues = [good for source, row in raw if (good := checked(source, row))]
    evaluation = [str(file) for name in EVALUATION for file in sorted(real_data_dir.glob(name))]
    contamination = Contamination(evaluation)
    lengths = np.minimum([count_chars(one) // CHARS_A_TOKEN + 1 for one in dialogues], CAPACITY)
    million = np.resize(lengths, 1_000_000)
    parts = {
        "reading": (len(raw), seconds(lambda: [list(read_rows(file)) for _, file in files])),
        "checking": (len(raw), seconds(lambda: [checked(*one) for one in raw])),
        "deduplication, exact": (len(dialogues), seconds(lambda: deduplicate("exact", dialogues))),
        "deduplication, near": (len(dialogues), seconds(lambda: deduplicate("near", dialogues))),
        "decontamination": (len(dialogues), seconds(lambda: [contamination.find(one) for one in dialogues])),
        "packing": (million.size, seconds(lambda: pack(million, CAPACITY))),
    }
    items = sum(contamination.items.values())
    size = f"{len(raw):,} rows of {lengths.mean() * CHARS_A_TOKEN:,.0f} characters"
    print(f"\n{what}: {size}; medians of {RUNS}, one process")
    for part, (rows, spent) in parts.items():
        more = f" against {items:,} items" if part == "decontamination" else ""
        print(f"  {part:<22}{rows / spent:>12,.0f} rows/s ({rows:,} rows in {spent:.2f} s){more}")
    assert len(evaluation) == 5


def test_packing_fills_rows_at_least_as_well_as_trl_and_packs_a_million_lengths_in_seconds():
    lengths = np.minimum(np.random.default_rng(0).lognormal(6.5, 0.8, 20_000).astype(np.int64) + 1, CAPACITY)
    rows = pa.array([np.zeros(length, dtype=np.int32) for length in lengths])
    theirs = len(pack_dataset(Dataset(pa.table({"input_ids": rows})), CAPACITY, "bfd"))
    ours = len(pack(lengths, CAPACITY))
    million = np.tile(lengths, 50)
    spent = seconds(lambda: pack(million, CAPACITY))
    efficiency = lengths.sum() / CAPACITY
    print(f"\npacking 20,000 rows: ours {efficiency / ours:.2%} full, TRL bfd {efficiency / theirs:.2%}; "
          f"{len(million):,} lengths in {spent:.1f} s, median of {RUNS}")  # fmt: skip
    assert ours <= theirs
    assert spent < 5
