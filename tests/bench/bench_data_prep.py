"""`make bench`: packing against TRL's, on the same lengths in the same run; encoding is in bench_encode.py."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
from datasets import Dataset
from trl.data_utils import pack_dataset

from data_prep.pack import pack


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
    assert seconds < 5
