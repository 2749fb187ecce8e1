"""The data-scaling experiment: its commands, run for real on a tiny model; what is done is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipes import load_recipe, scaling
from tests.training.conftest import tiny_checkpoint  # noqa: F401 - a fixture

SIZES = (2, 4)
QUICK = ("max_length=16384", "lora_target_modules=.*_proj", "logging_steps=10")


def in_this_process(command, dry_run):
    """Run what the command line runs, without starting Python and importing torch for each."""
    import data_prep.__main__
    import eval.__main__ as evaluation
    import train

    _, *words = command
    mains = {"data_prep": data_prep.__main__.main, "eval": evaluation.main}
    return train.main(words[1:]) if words[0] == "train.py" else mains[words[1]](words[2:])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_miniature_experiment_runs_resumes_and_draws(tiny_checkpoint, tmp_path, monkeypatch, capsys):  # noqa: F811
    ran = []

    def execute(command, dry_run):
        ran.append(command)
        return in_this_process(command, dry_run)

    monkeypatch.setattr(scaling, "execute", execute)
    monkeypatch.setitem(scaling.MAX_NEW_TOKENS, "calls", 8)
    monkeypatch.setitem(scaling.MAX_NEW_TOKENS, "program", 8)
    out = tmp_path / "scaling"
    # The first list of seed 1 allows parallel calls: without them its rows are others.
    argv = ["--sizes", "2", "--calls", "1", "--program", "1", "--seed", "1", "--out", str(out), *QUICK,
            f"model_name_or_path={tiny_checkpoint}"]  # fmt: skip
    assert scaling.main(argv) == 0
    arms = ["base", "2", "parallel-off", "no-bottom-up"]
    saved = json.loads((out / "scaling.json").read_text())
    assert list(saved["scores"]) == arms
    assert all(saved["scores"][arm]["program"]["success"]["n"] >= 1 for arm in arms)
    assert (out / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "scaling.md").read_text().count("\n") == 2 + len(arms)
    trained = [(out / arm / "train.jsonl").read_text() for arm in arms[1:]]
    assert len(set(trained)) == 3 and "single-" in trained[2] and '"parallel_calls": true' not in trained[1]

    (out / "2" / "eval" / "program" / "report.json").unlink()  # as if the machine had stopped there
    ran.clear()
    assert scaling.main(argv) == 0
    assert {word for command in ran for word in command if str(out / "2") in word}
    assert not any(str(out / arm) in " ".join(command) for command in ran for arm in ("base", "parallel-off"))
    assert json.loads((out / "scaling.json").read_text()) == saved

    assert scaling.main([*argv, "--seed", "2"]) == 1
    assert "other seed" in capsys.readouterr().err


def test_every_set_begins_with_the_smaller_one_and_the_ablations_have_the_largest_size():
    experiment = scaling.Experiment(scaling.SMALL_RECIPE, (), SIZES, {"calls": 1, "program": 1}, 0)
    arms = experiment.arms()
    assert [(arm.name, arm.size) for arm in arms] == [
        ("base", None), ("2", 2), ("4", 4), ("parallel-off", 4), ("no-bottom-up", 4)]  # fmt: skip
    recipe = load_recipe(scaling.SMALL_RECIPE)
    synth = [scaling.commands(experiment, arm, Path("out"), recipe)[0] for arm in arms[1:3]]
    differing = [(a, b) for a, b in zip(*synth, strict=True) if a != b]
    assert differing == [("out/2/train.jsonl", "out/4/train.jsonl"), ("2", "4")]  # row n is a function of seed and n


def test_a_dry_run_prints_the_commands_of_the_papers_sizes_for_another_recipe(tmp_path, capsys):
    out = tmp_path / "none"
    assert scaling.main(["--recipe", "recipes/button/llama3-8b-full.yaml", "--dry-run", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert all(f"--rows {size} " in text for size in (2000, 4000, 6000, 8000)) and not out.exists()


def test_sizes_that_do_not_rise_are_refused(capsys):
    with pytest.raises(SystemExit):
        scaling.main(["--sizes", "8", "4"])
    assert "--sizes must rise" in capsys.readouterr().err
