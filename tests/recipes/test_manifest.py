"""The manifest is what a run was: read back it gives the same recipe, and it is written whole or not at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from recipes import RecipeError
from recipes.load import validate
from recipes.manifest import (
    REPOSITORY,
    git_state,
    make_manifest,
    package_versions,
    read_manifest,
    recipe_of,
    sha256_of,
    write_manifest,
)

RECIPE = validate(
    {
        "name": "x",
        "model_name_or_path": "m",
        "learning_rate": 1e-4,
        "output_dir": "o",
        "train_data": [{"source": "button", "path": ["a", "b"], "weight": 0.3}],
        "held_out_share": 0.1,
        "template_kwargs": {"date": "26 Jul 2024", "deep": {"er": [1, None, True]}},
    },
    "test",
)
FACTS = {"encoder": {"tool_format": "button"}, "data": {"sha256": "d"}, "tokenizer": {"sha256": "t"}, "launch": {}}


def test_a_manifest_read_back_gives_the_same_recipe(tmp_path: Path) -> None:
    write_manifest(tmp_path / "new" / "run", make_manifest(RECIPE, **FACTS))
    manifest = read_manifest(tmp_path / "new" / "run")
    assert manifest is not None and recipe_of(manifest) == RECIPE
    assert manifest["encoder"] == {"tool_format": "button"} and manifest["seeds"] == {"seed": 42}
    assert manifest["recipe_sha256"] == sha256_of(manifest["recipe"])


def test_a_directory_without_one_has_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("text", ["{", '{"format": 99}', "[]"])
def test_a_broken_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_a_failed_write_leaves_the_old_manifest_and_no_scrap(tmp_path: Path) -> None:
    write_manifest(tmp_path, make_manifest(RECIPE, **FACTS))
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(ValueError):
        write_manifest(tmp_path, {"loss": float("nan")})
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_the_hash_of_a_value_does_not_depend_on_the_order_of_its_keys() -> None:
    assert sha256_of({"a": 1, "b": [2, 3]}) == sha256_of({"b": [2, 3], "a": 1}) != sha256_of({"a": 1, "b": [3, 2]})


def test_versions_and_commit_are_those_of_this_environment() -> None:
    assert package_versions()["torch"].startswith("2.13.0")
    git = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    assert (git_state() or {}).get("commit", "") == commit
    json.dumps(git_state())
