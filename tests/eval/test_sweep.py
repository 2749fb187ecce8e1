"""Sweeps: every complete checkpoint once, in order, whatever was killed; table and plot say what the reports say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from data_prep.dialogue import write_jsonl
from eval.protocol import EvalError
from eval.report import file_sha256
from eval.run import evaluate, load_tasks
from eval.sweep import checkpoints_of, sweep
from eval.tasks import TASKS, function_calls
from recipes.manifest import FORMAT
from tests.eval.helpers import ScriptedBackend, ask, gold_speaker

SETTINGS = {"tasks": {"function_calls": 1}, "limit": None}
STEPS = (2, 10)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Two checkpoints, one that is incomplete, and a final model."""
    run = tmp_path / "run"
    for name, step in (("checkpoint-10", 10), ("checkpoint-2", 2), (".", 12)):
        (run / name).mkdir(parents=True, exist_ok=True)
        (run / name / "model.safetensors").write_text(name)
        (run / name / "manifest.json").write_text(json.dumps({"format": FORMAT, "step": step}))
    (run / "checkpoint-11").mkdir()
    (run / "data").mkdir()
    write_jsonl(str(run / "data" / "held_out.jsonl"), [ask(city, k) for k, city in enumerate(("Oslo", "Hamar"))])
    return run


class Evaluating:
    """Evaluates with a model that has learnt its dialogues by step 10; dies at a checkpoint where told to."""

    def __init__(self, run_dir: Path, dies_at: str | None = None):
        self.data, self.dies_at, self.asked = str(run_dir / "data"), dies_at, []

    def __call__(self, model: str, out: Path) -> dict[str, Any]:
        self.asked.append(Path(model).name)
        tasks = [TASKS["function_calls"]]
        loaded = load_tasks(tasks, [self.data], None)
        gold = gold_speaker(function_calls.load([self.data], None).items)
        weights = {"model.safetensors": file_sha256(Path(model) / "model.safetensors")}
        backend = ScriptedBackend(
            (lambda dialogue: "no action") if model.endswith("-2") else gold,
            dies_after=1 if Path(model).name == self.dies_at else None,
            model={model: weights},
        )
        with open(os.devnull, "w") as nowhere:
            return evaluate(backend, model, tasks, loaded, [self.data], out, console=Console(file=nowhere))


def quiet(line: str) -> None:
    """Say nothing."""


def test_complete_checkpoints_come_in_order_of_their_step_and_the_final_model_last(run_dir: Path) -> None:
    found = checkpoints_of(run_dir)
    assert [(one.name, one.step) for one in found] == [("checkpoint-2", 2), ("checkpoint-10", 10), ("final", 12)]
    with pytest.raises(EvalError, match="holds no complete checkpoint"):
        checkpoints_of(run_dir / "data")


def test_a_killed_sweep_goes_on_with_the_checkpoint_it_was_at(run_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    first = Evaluating(run_dir, dies_at="checkpoint-10")
    with pytest.raises(KeyboardInterrupt):
        sweep(str(run_dir), out, SETTINGS, first, quiet)
    assert len(json.loads((out / "sweep.json").read_text())["points"]) == 1
    second = Evaluating(run_dir)
    points = sweep(str(run_dir), out, SETTINGS, second, quiet)
    assert second.asked == ["checkpoint-10", "run"]
    scores = [point.tasks["function_calls"]["name_and_arguments_exact"]["score"] for point in points]
    assert [point.step for point in points] == [2, 10, 12] and scores == [0.0, 1.0, 1.0]
    assert "| checkpoint-10 | 10 | 100.0 (34.2 to 100.0) |" in (out / "sweep.md").read_text()
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    third = Evaluating(run_dir)
    assert sweep(str(run_dir), out, SETTINGS, third, quiet) == points and third.asked == []


def test_another_sweep_or_other_weights_are_refused(run_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweep(str(run_dir), out, SETTINGS, Evaluating(run_dir), quiet)
    with pytest.raises(EvalError, match=r"holds another sweep: settings\.limit: None there, 4 here"):
        sweep(str(run_dir), out, SETTINGS | {"limit": 4}, Evaluating(run_dir), quiet)
    (run_dir / "checkpoint-2" / "model.safetensors").write_text("trained again")
    with pytest.raises(EvalError, match="is the report of another model than"):
        sweep(str(run_dir), out, SETTINGS, Evaluating(run_dir), quiet)
    with pytest.raises(EvalError, match=r"holds no sweep \(sweep\.json is missing\)"):
        sweep(str(run_dir), run_dir / "data", SETTINGS, Evaluating(run_dir), quiet)
