"""The laws of shards: joined, they give the bytes of one build; one that is missing or of another build is named."""

import pytest

from data_prep import build as building
from data_prep import encode_rows
from data_prep.build import build, build_shard, main
from data_prep.build_dir import BuildError
from data_prep.shards import Shard
from tests.data_prep.byte_encoder import byte_encoder, recipe_of
from tests.data_prep.test_build import all_bytes
from tests.data_prep.test_workers import rows_with_every_fate


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(encode_rows, "CHUNK_DIALOGUES", 7)
    path = rows_with_every_fate(tmp_path / "chats.jsonl")
    return recipe_of(path, held_out_share=0.2, max_rejected=0.1, over_length="truncate_turns")


def test_joined_shards_give_the_bytes_of_one_build_and_are_removed(tmp_path, recipe, monkeypatch):
    report = build(recipe, tmp_path / "whole", byte_encoder())
    assert (report.rejected, report.truncated_dialogues) == (2, 1)
    for number in (3, 1, 2):
        build_shard(recipe, tmp_path / "joined", Shard(number, 3), byte_encoder())
    sizes = [path.stat().st_size for path in (tmp_path / "joined.shards").iterdir()]
    assert len(sizes) == 3 and min(sizes) > 1000
    monkeypatch.setattr(building.Fit, "encode", None)  # nothing is encoded again
    build(recipe, tmp_path / "joined", byte_encoder())
    assert all_bytes(tmp_path / "joined") == all_bytes(tmp_path / "whole")
    assert not (tmp_path / "joined.shards").exists()


def test_more_shards_than_chunks_leave_some_empty(tmp_path, recipe):
    for number in range(1, 13):
        build_shard(recipe, tmp_path / "joined", Shard(number, 12), byte_encoder(), quiet=True)
    build(recipe, tmp_path / "joined", byte_encoder())
    build(recipe, tmp_path / "whole", byte_encoder())
    assert all_bytes(tmp_path / "joined") == all_bytes(tmp_path / "whole")


def test_a_missing_shard_is_named_and_nothing_is_built(tmp_path, recipe):
    for number in (1, 4):
        build_shard(recipe, tmp_path / "out", Shard(number, 4), byte_encoder(), quiet=True)
    with pytest.raises(BuildError, match=r"shard 2/4, 3/4 is missing; build it with --shard 2/4"):
        build(recipe, tmp_path / "out", byte_encoder())
    assert not (tmp_path / "out").exists() and len(list((tmp_path / "out.shards").iterdir())) == 2


def test_a_shard_of_another_recipe_or_another_count_is_named(tmp_path, recipe):
    build_shard(recipe, tmp_path / "out", Shard(1, 2), byte_encoder(), quiet=True)
    build_shard(recipe.model_copy(update={"seed": 7}), tmp_path / "out", Shard(2, 2), byte_encoder(), quiet=True)
    with pytest.raises(BuildError, match="shard 2/2 was made from another recipe"):
        build(recipe, tmp_path / "out", byte_encoder())
    build_shard(recipe, tmp_path / "out", Shard(1, 3), byte_encoder(), quiet=True)
    with pytest.raises(BuildError, match="holds shards of 2 and of 3"):
        build(recipe, tmp_path / "out", byte_encoder())


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0"])
def test_a_shard_that_is_none_is_wrong_usage(text, capsys):
    with pytest.raises(SystemExit):
        main(["recipe.yaml", "--out", "out", "--shard", text])
    assert "is no shard" in capsys.readouterr().err
