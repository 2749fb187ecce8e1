"""Rows come out one at a time, in order, whatever the file's form; a broken file says where it is broken."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import readers
from data_prep.readers import ReadError, Unreadable, read_rows, stem_of

ROWS = [{"messages": [{"role": "user", "content": f"é {k} ☃"}], "k": k} for k in range(5)]


def write(path: Path, text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return str(path)


def values(name: str) -> list[Any]:
    return [raw.value for raw in read_rows(name)]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet"])
def test_every_format_gives_the_same_rows_counted_from_one(tmp_path: Path, suffix: str):
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS)
        write(path, json.dumps(ROWS, indent=1) if ".json." in f"{suffix}." else lines)
    read = list(read_rows(str(path)))
    assert [raw.value for raw in read] == ROWS
    assert [(raw.file, raw.row) for raw in read] == [(str(path), k) for k in range(1, 6)]
    assert stem_of(str(path)) == "rows"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.lists(JSON, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_a_json_list_reads_the_same_in_chunks_of_any_size(rows: list[Any], chunk: int, indent: int | None, ascii: bool):
    import io

    before, readers.CHUNK_CHARS = readers.CHUNK_CHARS, chunk
    try:
        text = json.dumps(rows, indent=indent, ensure_ascii=ascii)
        assert list(readers._JsonList(io.StringIO(text), "x").elements()) == rows
    finally:
        readers.CHUNK_CHARS = before


@given(st.lists(JSON, min_size=1, max_size=4), st.data())
def test_a_json_list_cut_anywhere_is_an_error_never_a_shorter_list(rows: list[Any], data: st.DataObject):
    import io

    text = json.dumps(rows)
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(ReadError):
        list(readers._JsonList(io.StringIO(text[:cut]), "x").elements())


@pytest.mark.parametrize(("name", "text", "message"), [
    ("empty.jsonl", "", "is empty"),
    ("blank.json", " \n", "is empty"),
    ("lines.json", '{"a": 1}\n{"a": 2}\n', "one list"),
    ("list.jsonl", '[\n{"a": 1}\n]\n', "rename it to .json"),
    ("cut.json", '[{"a": 1}, {"a": ', "character 17, after 1 whole rows: Expecting value"),
    ("open.json", '[{"a": 1}, ', "the file ends inside the list"),
    ("comma.json", '[{"a": 1} {"a": 2}]', "character 10, after 1 whole rows: expected ',' or ']'"),
    ("broken.json", '[{"a": 1}, {"a": x}, {"a": 3}]' + " " * 20, "character 17"),
    ("nan.json", '[{"a": NaN}]', "NaN is not JSON"),
    ("more.json", "[1] 2", "text after the list's end"),
    ("rows.txt", "x", "unknown file type"),
    ("rows.csv.gz", "x", "unknown file type"),
    ("rows.parquet", "PAR1 not really", "not a readable parquet"),
    ("latin.json", '["é"]'.encode("latin-1"), "not UTF-8"),
])  # fmt: skip
def test_a_broken_file_is_an_error_that_names_it_and_the_cause(
    tmp_path: Path, name: str, text: str | bytes, message: str
):
    with pytest.raises(ReadError, match="^" + str(tmp_path / name)) as refused:
        values(write(tmp_path / name, text))
    assert message in str(refused.value)


def test_a_missing_file_is_not_taken_for_a_hub_id():
    with pytest.raises(ReadError, match="no such file"):
        values("data/nope.jsonl")


def test_a_cut_gzip_is_an_error_after_the_rows_it_still_holds(tmp_path: Path):
    path = tmp_path / "rows.jsonl.gz"
    lines = "".join(f'{{"k": {k}, "noise": "{hash(str(k))}"}}\n' for k in range(5000))
    path.write_bytes(gzip.compress(lines.encode())[:-2000])
    with pytest.raises(ReadError, match="cut-off gzip"):
        values(str(path))


def test_an_unreadable_line_is_a_row_of_its_own_and_reading_goes_on(tmp_path: Path):
    name = write(tmp_path / "rows.jsonl", '\ufeff{"a": 1}\n{"a": \n\n{"a": NaN}\n{"a": 4}')
    read = list(read_rows(name))
    assert [raw.row for raw in read] == [1, 2, 4, 5]
    assert [type(raw.value) for raw in read] == [dict, Unreadable, Unreadable, dict]
    assert read[1].value.text == '{"a": '


def test_nulls_that_arrow_put_into_structs_are_gone_and_those_of_the_rows_top_level_stay(tmp_path: Path):
    rows = [
        {"messages": [{"role": "user", "arguments": {"x": 1}}], "id": None},
        {"messages": [{"role": "user", "arguments": {"y": "s"}}], "id": "b"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert values(str(tmp_path / "rows.parquet")) == rows


def test_arrows_json_cells_are_decoded_with_their_own_nulls(tmp_path: Path):
    cells = pa.array(['{"x": null}', '{"y": [1]}'], pa.json_())
    pq.write_table(pa.table({"messages": cells}), tmp_path / "rows.parquet")
    assert values(str(tmp_path / "rows.parquet")) == [{"messages": {"x": None}}, {"messages": {"y": [1]}}]


def test_a_folder_of_data_files_streams_through_datasets(tmp_path: Path):
    rows = [
        {"messages": [{"role": "user", "content": "a", "arguments": arguments}]}
        for arguments in ({"x": 1}, {"y": "s", "z": None})
    ]
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    read = list(read_rows(str(tmp_path / "folder"), split="test"))
    assert [raw.value for raw in read] == rows
    with pytest.raises(ReadError, match="split 'nope'"):
        list(read_rows(str(tmp_path / "folder"), split="nope"))


def test_a_hub_id_carries_its_config_and_revision_to_datasets(monkeypatch: pytest.MonkeyPatch):
    import datasets

    asked: list[Any] = []

    def load_dataset(path: str, name: str | None, **options: Any) -> Any:
        asked.append((path, name, options))
        return datasets.Dataset.from_list(ROWS).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert [raw.value for raw in read_rows("org/name:main@abc123", split="test")] == ROWS
    assert asked == [("org/name", "main", {"split": "test", "revision": "abc123", "streaming": True})]
    assert stem_of("org/name:main@abc123") == "org-name-main"


PEAK = """
import resource, sys
from data_prep.readers import read_rows
def peak_mib(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak_mib()
rows = sum(1 for _ in read_rows(sys.argv[1]))
print(rows, round(peak_mib() - before))
"""


@pytest.mark.parametrize("suffix", [".json", ".jsonl.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str):
    row = json.dumps({"messages": [{"role": "user", "content": "word " * 2000}]})
    path = tmp_path / f"big{suffix}"
    separator = "," if suffix == ".json" else "\n"
    with gzip.open(path, "wt", compresslevel=1) if suffix.endswith(".gz") else open(path, "w") as file:
        file.write("[" if suffix == ".json" else "")
        for k in range(10_000):  # 100 MB
            file.write((separator if k else "") + row)
        file.write("]" if suffix == ".json" else "")
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    rows, grown_mib = map(int, done.stdout.split())
    assert rows == 10_000
    assert grown_mib < 40
