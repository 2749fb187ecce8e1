"""A run checked against its manifest, and made again to the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import train
from training.__main__ import main
from training.launch import _before_script
from training.reproduce import command_of, weights_hashes

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture
def run(write_recipe) -> Path:
    """A finished run of the tiny checkpoint, with dropout, so that its random numbers count too."""
    recipe = write_recipe(use_peft=True, lora_dropout=0.1, max_steps=3)
    assert train.main([str(recipe)]) == 0
    return recipe.parent / "run"


def change(run: Path, part: str, name: str, value: object) -> None:
    """Write another value into the run's manifest."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest[part][name] = value
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_a_run_on_one_cpu_process_is_made_again_bit_for_bit(run, tmp_path, capfd):
    again = tmp_path / "again"
    assert main(["reproduce", str(run), "--run", "--anyway", "--out", str(again)]) == 0
    assert weights_hashes(again) == weights_hashes(run) != {}
    assert "adapter_model.safetensors: the same bits, sha256" in capfd.readouterr().out


def test_the_command_is_printed_and_its_recipe_is_the_runs(run, capsys):
    assert main(["reproduce", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"python train.py {run}-again-recipe/recipe.yaml output_dir={run}-again resume=never" in said
    assert "OMP_NUM_THREADS=" in said and not Path(f"{run}-again").exists()


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("packages", "torch", "1.0", "torch was 1.0, is "),
        ("recipe", "learning_rate", 0.5, "the recipe does not have the hash"),
        ("data", "input files", "another", "input files of the data changed"),
        ("launch", "machine", {"cpu": "Z80", "threads": 1}, "cpu was Z80, is "),
    ],
)
def test_what_differs_is_named_and_nothing_is_run(run, capsys, part, name, value, said):
    change(run, part, name, value)
    assert main(["reproduce", str(run), "--run"]) == 1
    printed = capsys.readouterr()
    assert said in printed.out and "the run would not be the same" in printed.err


def test_a_folder_without_a_manifest_is_refused(tmp_path, capsys):
    assert main(["reproduce", str(tmp_path)]) == 1
    assert "holds no manifest.json" in capsys.readouterr().err


def test_a_run_is_reproduced_from_within_its_own_folder(run, capsys, monkeypatch):
    monkeypatch.chdir(run)
    assert main(["reproduce", "."]) == 0
    assert f"output_dir={run}-again" in capsys.readouterr().out


def test_a_launched_run_is_launched_again_as_it_was():
    words = [
        "python",
        "/bin/accelerate",
        "launch",
        "--config_file",
        "accelerate_configs/zero3.yaml",
        "train.py",
        "r.yaml",
    ]
    launch = {"processes": 8, "distributed_type": "DEEPSPEED ZeRO-3", "launcher": list(_before_script(words))}
    manifest = {"launch": launch, "recipe": {"push_to_hub": True}}
    assert command_of(manifest, Path("recipe.yaml"), Path("out")) == [
        "accelerate", "launch", "--config_file", "accelerate_configs/zero3.yaml", "train.py", "recipe.yaml",
        "output_dir=out", "resume=never", "push_to_hub=false",
    ]  # fmt: skip


def test_a_changed_file_of_the_data_is_named(run, sums_file, tmp_path, capsys):
    kept = shutil.copy(sums_file, tmp_path / "kept.jsonl")
    try:
        with sums_file.open("a") as file:
            file.write("\n")
        main(["reproduce", str(run)])
        assert "differs: input files of the data changed" in capsys.readouterr().out
    finally:
        shutil.copy(kept, sums_file)
