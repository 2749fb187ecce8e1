"""What follows training: the printed command, and an evaluation in a process of its own that never costs a model."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoModelForCausalLM

import train
from eval.__main__ import main as evaluate
from recipes.card import MARK
from recipes.manifest import read_manifest
from tests.training.conftest import REPOSITORY
from tests.training.test_processes import launch
from training import hand_off

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def printed_command(text: str) -> list[str]:
    """The words of the evaluation command that a run prints last."""
    [line] = [line for line in text.splitlines() if line.startswith("evaluate it: ")]
    return shlex.split(line.removeprefix("evaluate it: "))


def test_the_printed_command_runs_and_its_scores_stand_in_the_card(write_recipe, tmp_path, capsys):
    assert train.main([str(write_recipe(max_steps=1, save_steps=1, use_peft=True))]) == 0
    output = tmp_path / "run"
    for folder in (output, output / "checkpoint-1"):
        text = (folder / "README.md").read_text()
        assert MARK in text and "library_name: peft" in text and "## Evaluation" not in text
    words = printed_command(capsys.readouterr().out)
    assert words[:3] == ["python", "-m", "eval"]
    assert evaluate([*words[3:], "--limit", "2", "--max-new-tokens", "4"]) == 0
    assert "| function_calls | answer_step | 2 | 0.0 |" in (output / "README.md").read_text()
    arguments = ["sweep", str(output), *words[5:9], "--limit", "2", "--max-new-tokens", "4"]
    assert evaluate([*arguments, "--out", str(tmp_path / "sweep")]) == 0
    swept = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [(point["checkpoint"], point["step"]) for point in swept["points"]] == [("checkpoint-1", 1), ("final", 1)]


def test_nothing_held_out_and_eval_after_change_the_command(write_recipe, tmp_path, capsys):
    assert train.main([str(write_recipe(max_steps=1, held_out_share=0))]) == 0
    words = printed_command(capsys.readouterr().out)
    assert words[5:9] == ["--tasks", "gsm8k", "--data", "data"]
    held_out = write_recipe(name="b", max_steps=1, eval_after=["calls", "gsm8k"], output_dir=str(tmp_path / "b"))
    (tmp_path / "b").mkdir()
    assert train.main([str(held_out)]) == 1  # no gsm8k data under ./data
    captured = capsys.readouterr()
    words = printed_command(captured.out)
    assert words[5:11] == ["--tasks", "calls,gsm8k", "--data", f"{tmp_path}/b/data", "--data", "data"]
    assert f"is trained and saved in {tmp_path}/b, but its evaluation ended with status 2" in captured.err
    assert shlex.join(words) in captured.err
    AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    assert read_manifest(tmp_path / "b")["step"] == 1


def test_what_is_uploaded_is_the_model_and_nothing_that_shows_held_out_dialogues(write_recipe, tmp_path, monkeypatch):
    uploaded: list[str] = []

    class Hub:
        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
            assert private

        def upload_folder(self, repo_id: str, folder_path: Path, allow_patterns: list[str]) -> SimpleNamespace:
            uploaded.extend(allow_patterns)
            return SimpleNamespace(commit_url="the commit")

    monkeypatch.setattr(hand_off, "HfApi", Hub)
    recipe = write_recipe(max_steps=1, sample_every=1, push_to_hub=True, hub_model_id="someone/model")
    assert train.main([str(recipe)]) == 0
    assert (tmp_path / "run" / "samples.jsonl").exists()
    assert {"model.safetensors", "config.json", "chat_template.jinja", "manifest.json", "README.md"} <= set(uploaded)
    assert not {"samples.jsonl", "run.html", "metrics.jsonl", "run.json"} & set(uploaded)


def test_a_task_that_there_is_not_is_refused_before_any_training(write_recipe, tmp_path, capsys):
    assert train.main([str(write_recipe(eval_after="gsm9k"))]) == 1
    assert "eval_after: unknown task 'gsm9k'; known: function_calls" in capsys.readouterr().err
    assert not (tmp_path / "run" / "data").exists()


@pytest.mark.slow
def test_eval_after_evaluates_the_saved_model_and_again_only_what_is_missing(write_recipe, tmp_path, capfd):
    recipe = str(write_recipe(max_steps=1, eval_after="function_calls", held_out_share=0.05))
    assert train.main([recipe]) == 0
    report = json.loads((tmp_path / "run" / "eval" / "report.json").read_text())
    assert report["tasks"]["function_calls"]["n"] == 4
    assert "## Evaluation" in (tmp_path / "run" / "README.md").read_text()
    capfd.readouterr()
    assert train.main([recipe]) == 0
    captured = capfd.readouterr()
    assert "nothing to train" in captured.out and "4 items are done already" in captured.err


def test_the_evaluation_does_not_see_what_a_launcher_told_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "ACCELERATE_USE_DEEPSPEED", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    seen = hand_off._own_environment()
    assert seen["HF_HUB_OFFLINE"] == "1" and "PATH" in seen
    assert not {"RANK", "WORLD_SIZE", "MASTER_PORT", "ACCELERATE_USE_DEEPSPEED", "TORCHELASTIC_RUN_ID"} & seen.keys()


def test_only_the_main_process_evaluates(monkeypatch: pytest.MonkeyPatch, write_recipe: object, tmp_path: Path) -> None:
    ran: list[int] = []
    monkeypatch.setattr(train, "evaluate_after", lambda words, output_dir: ran.append(0))
    monkeypatch.setattr(train, "train", lambda recipe, launch, stop: None)
    recipe = str(write_recipe(eval_after="calls"))  # type: ignore[operator]
    launched = train.start_processes([recipe])
    for rank in (1, 0):
        monkeypatch.setattr(train, "start_processes", lambda arguments, rank=rank: launched._replace(rank=rank))
        assert train.main([recipe]) == 0
    assert ran == [0]


@pytest.mark.slow
def test_two_processes_leave_their_group_and_one_of_them_evaluates(write_recipe, tmp_path):
    recipe = str(write_recipe(max_steps=1, eval_after="function_calls", held_out_share=0.05))
    command = [*launch("cpu_ddp"), "train.py", recipe, "per_device_train_batch_size=2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("+ python -m eval run") == 1
    assert json.loads((tmp_path / "run" / "eval" / "report.json").read_text())["tasks"]["function_calls"]["n"] == 4
