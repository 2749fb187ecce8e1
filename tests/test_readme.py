"""The README's commands are run as they are written, in their order, with a tiny model where the demo's would be."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import data_prep.__main__ as data_prep_cli
import eval.__main__ as eval_cli
import recipes.__main__ as recipes_cli
import train
import training.__main__ as training_cli
from recipes import scaling
from training.smollm2 import smollm2_dir
from training.tiny import save_tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning"),
]
ROOT = Path(__file__).resolve().parents[1]
MAINS: dict[str, Callable[[list[str]], int]] = {
    "python -m data_prep ": data_prep_cli.main,
    "python -m recipes ": recipes_cli.main,
    "python -m recipes.scaling ": scaling.main,
    "python -m training ": training_cli.main,
    "python -m eval ": eval_cli.main,
    "python train.py ": train.main,
}
# Commands that are not run here, by their beginning, and where they are.
ELSEWHERE = {
    "make ": "CI runs test and check; the demo takes a quarter of an hour",
    "python -m data_prep download ": "data_prep/test_download.py, against a server of its own",
    "accelerate launch --config_file accelerate_configs/zero3.yaml ": "needs GPUs; training/test_recipes_dry_run.py",
    "accelerate launch --config_file accelerate_configs/cpu_zero2.yaml ": "training/test_processes.py",
    "python -m eval run runs/button/llama3-8b-full ": "the checkpoint of that run on GPUs",
    "python -m data_prep synth button --out served.jsonl --rows 200 --base-url ": "synth/endpoint, its own server",
    "python -m data_prep synth mathchat --seeds ": "synth/test_mathchat_pipeline.py, its own server",
    "python -m data_prep synth mathchat_benchmark ": "synth/test_mathchat_pipeline.py, its own server",
    "python -m eval run MODEL --tasks mathchat_follow_up --data mine ": "synth/test_mathchat_pipeline.py",
    "python -m eval judge ": "eval/test_judge.py, against a server of its own",
    "python -m eval run MODEL --tasks bfcl_multi_turn ": "eval/test_bfcl.py, where the package is installed",
    "pip install ": "a package from an index",
}
# What makes a run small; the commands are otherwise the README's.
SMALLER = {
    "python train.py ": ["max_steps=2", "save_steps=1"],
    "python -m eval run ": ["--limit", "2", "--max-new-tokens", "8"],
    "python -m eval sweep ": ["--limit", "2", "--max-new-tokens", "8"],
}


def commands() -> list[str]:
    """The lines of the README's code blocks that are commands, without the remarks behind them."""
    lines = re.findall(r"^    (\S.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    known = ("make ", "python ", "accelerate ", "pip ")
    return [re.split(r"\s+#", line)[0] for line in lines if line.startswith(known)]


@pytest.fixture
def after_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory as `make demo` leaves it, made by its commands with fewer rows and a tiny model."""
    monkeypatch.chdir(tmp_path)
    for name in ("recipes", "accelerate_configs"):
        os.symlink(ROOT / name, tmp_path / name)
    model = "runs/models/smollm2-135m-instruct"
    save_tiny_model("smollm2", AutoTokenizer.from_pretrained(smollm2_dir()), tmp_path / model, layers=30)
    held_out = "runs/quickstart/data/button_held_out.jsonl"
    for rows, split, path in ((8, "train", "runs/quickstart/data/button_train.jsonl"), (4, "held_out", held_out)):
        shape = f"--split {split} --max-calls 2 --max-tools 4 --simple"
        run(f"python -m data_prep synth button --out {path} --rows {rows} {shape}")
    calls = f"--tasks calls --tool-format button --data {held_out} --out runs/quickstart"
    run(f"python -m eval run {model} {calls}/before")
    run("python train.py recipes/quickstart/button.yaml")
    run(f"python -m eval run runs/quickstart/button {calls}/after")


def run(command: str) -> None:
    beginning = next((beginning for beginning in MAINS if command.startswith(beginning)), None)
    assert beginning, f"{command!r}: run it here, or say in ELSEWHERE where it is run"
    words = shlex.split(command.removeprefix(beginning))
    words += next((more for start, more in SMALLER.items() if command.startswith(start)), [])
    assert MAINS[beginning](words) == 0, command


def test_every_command_of_the_readme_works_as_written(after_the_demo: None) -> None:
    here = [command for command in commands() if not command.startswith(tuple(ELSEWHERE))]
    assert len(here) > 15
    for command in here:
        run(command)


def test_no_remark_on_an_unrun_command_outlives_it() -> None:
    for beginning in ELSEWHERE:
        assert any(command.startswith(beginning) for command in commands()), beginning
