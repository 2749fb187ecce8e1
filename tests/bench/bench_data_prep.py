"""`make bench`: packing against TRL, encoding against the bare tokenizer. Ratios of medians, both sides in one run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from trl.data_utils import pack_dataset

from data_prep.encode import Encoder
from data_prep.pack import pack
from data_prep.sources import SOURCES

RUNS = 3


def median_seconds(work: Callable[[], object]) -> float:
    """Median wall time of RUNS runs after one that warms up."""
    work()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def test_packing_fills_rows_at_least_as_well_as_trl_and_packs_a_million_lengths_in_seconds():
    capacity = 8192
    lengths = np.minimum(np.random.default_rng(0).lognormal(6.5, 0.8, 20_000).astype(np.int64) + 1, capacity)
    rows = pa.array([np.zeros(length, dtype=np.int32) for length in lengths])
    theirs = len(pack_dataset(Dataset(pa.table({"input_ids": rows})), capacity, "bfd"))
    ours = len(pack(lengths, capacity))
    million = np.tile(lengths, 50)
    started = time.perf_counter()
    pack(million, capacity)
    seconds = time.perf_counter() - started
    efficiency = lengths.sum() / capacity
    print(f"\npacking 20,000 rows: ours {efficiency / ours:.2%} full, TRL bfd {efficiency / theirs:.2%}; "
          f"{len(million):,} lengths in {seconds:.1f} s")  # fmt: skip
    assert ours <= theirs


def test_encoding_with_proofs_is_compared_with_the_bare_tokenizer(load_test_tokenizer, real_data_dir: Path):
    tokenizer = load_test_tokenizer("qwen2_5")
    encoder = Encoder(tokenizer)
    files = {"mathchatsync": "mathchatsync/tutoring.json", "button": "button/glaive.jsonl"}
    for source, name in files.items():
        text = (real_data_dir / name).read_text(encoding="utf-8")
        rows = json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]
        dialogues = [SOURCES[source].to_dialogue(row, str(index)) for index, row in enumerate(rows)]
        texts = [encoder.template.finished(*encoder.messages(dialogue)) for dialogue in dialogues]
        tokens = sum(len(e.ids) for e in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))
        bare = median_seconds(
            lambda texts=texts: [
                e.ids for e in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
            ]
        )
        ours = median_seconds(lambda dialogues=dialogues: encoder.encode_batch(dialogues))
        print(f"\n{name}: {tokens / ours:,.0f} tokens/s with proofs, {bare / ours:.2f} of the bare tokenizer's speed")
        assert ours > 0
