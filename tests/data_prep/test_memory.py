"""A build's memory grows by at most 200 bytes a row, whatever is said in the rows."""

import tracemalloc

import pytest

from data_prep import encode_rows, rows, samples, tokens
from data_prep.build import build
from tests.data_prep.byte_encoder import byte_encoder, chat, recipe_of, write_rows

FEW, MANY = 200, 1_200


@pytest.fixture
def small_buffers(monkeypatch):
    """What is worked on at a time, and the encoder's cache of texts, are full with few rows already."""
    monkeypatch.setattr(encode_rows, "CHUNK_DIALOGUES", 32)
    monkeypatch.setattr(rows, "READ_AT_ONCE", 32)
    monkeypatch.setattr(samples, "BATCH_TOKENS", 2_000)
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 2_000)


def peak_of_a_build(folder, count, **fields):
    path = write_rows(folder / f"{count}.jsonl", [chat(number) for number in range(count)])
    recipe, encoder = recipe_of(path, deduplicate="exact", **fields), byte_encoder()
    tracemalloc.start()
    try:
        build(recipe, folder / f"out-{count}", encoder, num_proc=1, quiet=True)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"packing": False}, {"packing": True, "held_out_share": 0.3}])
def test_a_build_takes_at_most_200_bytes_for_each_further_row(tmp_path, small_buffers, fields):
    peak_of_a_build(tmp_path, FEW - 1, **fields)  # what is loaded and kept once
    few, many = (peak_of_a_build(tmp_path, count, **fields) for count in (FEW, MANY))
    assert (many - few) / (MANY - FEW) <= 200
