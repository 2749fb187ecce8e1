"""Shards of an evaluation: joined they are the run without shards; what is missing or foreign is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.dialogue import write_jsonl
from data_prep.shards import Shard
from eval import transcripts
from eval.join import join
from eval.protocol import EvalError
from tests.eval.helpers import ScriptedBackend, ask
from tests.eval.test_run import gold, run

CITIES = ("Oslo", "Bergen", "Vadsø", "Ålesund", "Hamar", "Molde", "Bodø")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_jsonl(str(folder / "held_out.jsonl"), [ask(city, index) for index, city in enumerate(CITIES)])
    return folder


def shards(data: Path, out: Path, total: int = 3) -> list[str]:
    folders = [str(out / f"{number}") for number in range(1, total + 1)]
    for number, folder in enumerate(folders, 1):
        run(ScriptedBackend(gold(data)), data, Path(folder), shard=Shard(number, total))
    return folders


@pytest.mark.parametrize("total", [3, 20])  # 20 are more than there are items
def test_joined_shards_are_the_run_without_shards(total: int, data: Path, tmp_path: Path) -> None:
    whole = run(ScriptedBackend(gold(data)), data, tmp_path / "whole")
    joined = tmp_path / "joined"
    assert join(shards(data, tmp_path / "shards", total)[::-1], joined) == whole
    assert json.loads((joined / "report.json").read_text()) == whole
    records = [
        sorted(transcripts.read(tmp_path / name), key=lambda record: record["item"]) for name in ("joined", "whole")
    ]
    assert records[0] == records[1]
    assert (
        run(ScriptedBackend(gold(data), dies_after=0), data, joined) == whole
    )  # a finished run: nothing is asked again


def test_a_missing_a_doubled_an_unfinished_and_a_foreign_shard_are_named(data: Path, tmp_path: Path) -> None:
    folders = shards(data, tmp_path / "shards")
    out = tmp_path / "joined"
    with pytest.raises(EvalError, match="missing: 2/3"):
        join([folders[0], folders[2]], out)
    with pytest.raises(EvalError, match=r"1/3, 1/3, 2/3, 3/3 are not each one of 3 once"):
        join([folders[0], *folders], out)
    with pytest.raises(EvalError, match="holds no shard"):
        join([str(data), *folders], out)

    foreign = str(tmp_path / "foreign")
    run(ScriptedBackend(gold(data), dtype="other"), data, Path(foreign), shard=Shard(3, 3))
    with pytest.raises(EvalError, match=r"shard of another run.*dtype"):
        join([*folders[:2], foreign], out)

    unfinished = str(tmp_path / "unfinished")
    with pytest.raises(KeyboardInterrupt):
        run(ScriptedBackend(gold(data), dies_after=1), data, Path(unfinished), shard=Shard(2, 3))
    with pytest.raises(EvalError, match=r"unfinished: 1 of \d+ items are done; run its command again"):
        join([folders[0], unfinished, folders[2]], out)
    assert not out.exists()
