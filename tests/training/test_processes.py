"""Runs in processes of their own: killed and resumed, and two processes under DDP, ZeRO-2 and ZeRO-3."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from eval.__main__ import main as evaluate
from tests.training.conftest import REPOSITORY
from training.progress import read_metrics

pytestmark = pytest.mark.slow
MODES = {
    "ddp": "distributed type MULTI_CPU, world size 2",
    "zero2": "distributed type DEEPSPEED ZeRO-2, world size 2",
    "zero3": "distributed type DEEPSPEED ZeRO-3, world size 2",
}


def losses(output: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(output / "metrics.jsonl") if "loss" in row]


def trained(command: list[str], environment: dict[str, str]) -> str:
    """What a training command prints; it must succeed."""
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_run_killed_at_a_random_step_and_resumed_ends_with_identical_bits(write_recipe, launch_env, tmp_path):
    kill_at = random.randint(3, 18)
    recipe = str(write_recipe(max_steps=20, save_steps=2, use_peft=True, lora_dropout=0.1, held_out_share=0))
    command = [sys.executable, "train.py", recipe]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained([*command, f"output_dir={whole}"], launch_env)

    resumed_from = killed_and_resumed([*command, f"output_dir={killed}"], launch_env, killed, kill_at)
    assert resumed_from >= kill_at - 3
    expected, got = (load_file(folder / "adapter_model.safetensors") for folder in (whole, killed))
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items()), f"killed at step {kill_at}"
    assert losses(killed) == losses(whole)


def killed_and_resumed(command: list[str], environment: dict[str, str], output: Path, kill_at: int) -> int:
    """Kill the command's processes once `kill_at` steps are logged, run it again; returns the step it resumed from."""
    process = psutil.Popen(command, cwd=REPOSITORY, env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 300
    while len(losses(output)) < kill_at and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    # A launcher gives each of its processes a session of its own, so killing the group would leave them running.
    doomed = [process, *process.children(recursive=True)] if process.is_running() else [process]
    for one in doomed:
        one.kill()
    psutil.wait_procs(doomed)
    assert not (output / "manifest.json").exists(), "the run was over before it could be killed"
    printed = trained(command, environment)
    resumed_from = re.search(r"resuming from \S+checkpoint-(\d+)", printed)
    assert resumed_from, (kill_at, printed)
    return int(resumed_from[1])


@pytest.fixture(scope="module")
def one_process() -> dict[str, Any]:
    """What one process gives, filled in by the first test that needs it."""
    return {}


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_train_as_one_does_resume_and_save_what_plain_transformers_loads(
    mode: str,
    write_recipe: Callable[..., Path],
    launch_env: dict[str, str],
    tmp_path: Path,
    one_process: dict[str, Any],
):
    # 30 rows in steps of 8: the last step of an epoch is short, and rows must not be repeated to fill it.
    recipe = str(
        write_recipe(
            max_steps=12,
            save_steps=3,
            save_total_limit=4,
            eval_steps=3,
            held_out_share=0.25,
            max_grad_norm=0.5,
            loss_weights={"thought": 0.25, "answer": 3},
        )
    )
    if not one_process:
        alone = tmp_path / "alone"
        command = [*launch("cpu"), "train.py", recipe, f"output_dir={alone}", "per_device_train_batch_size=8"]
        assert "distributed type NO, world size 1" in trained(command, launch_env)
        one_process["loss"] = losses(alone)
        one_process["held_out"] = held_out(alone)
        one_process["said"] = [evaluated(folder, tmp_path) for folder in (alone, alone / "checkpoint-3")]

    output = tmp_path / "run"
    command = [
        *launch(f"cpu_{mode}"),
        "train.py",
        recipe,
        "per_device_train_batch_size=2",
        "gradient_accumulation_steps=2",
    ]
    assert MODES[mode] in trained(command, launch_env)
    assert losses(output) == pytest.approx(one_process["loss"], rel=1e-4)
    assert held_out(output) == pytest.approx(one_process["held_out"], rel=1e-4)
    final, middle = (AutoModelForCausalLM.from_pretrained(folder) for folder in (output, output / "checkpoint-3"))
    ids = torch.arange(3, 40)[None]
    assert torch.isfinite(final(ids).logits).all()
    assert not torch.equal(final(ids).logits, middle(ids).logits)
    last = AutoModelForCausalLM.from_pretrained(output / "checkpoint-12")
    torch.testing.assert_close(final(ids).logits, last(ids).logits)
    assert [evaluated(folder, tmp_path) for folder in (output, output / "checkpoint-3")] == one_process["said"]

    killed = tmp_path / "killed"
    assert killed_and_resumed([*command, f"output_dir={killed}"], launch_env, killed, random.randint(7, 9)) in (6, 9)
    resumed = AutoModelForCausalLM.from_pretrained(killed)
    torch.testing.assert_close(resumed(ids).logits, final(ids).logits, rtol=1e-4, atol=1e-5)
    assert losses(killed) == pytest.approx(losses(output), rel=1e-4)


def test_an_adapter_trained_under_zero3_loads_in_plain_transformers_and_evaluates_as_one_process_made_it(
    write_recipe, launch_env, tmp_path
):
    recipe = str(write_recipe(max_steps=6, use_peft=True, lora_r=4, learning_rate=1e-2, held_out_share=0.25))
    alone, sharded = tmp_path / "alone", tmp_path / "sharded"
    trained([*launch("cpu"), "train.py", recipe, f"output_dir={alone}", "per_device_train_batch_size=8"], launch_env)
    two = ["per_device_train_batch_size=2", "gradient_accumulation_steps=2"]
    trained([*launch("cpu_zero3"), "train.py", recipe, f"output_dir={sharded}", *two], launch_env)
    assert losses(sharded) == pytest.approx(losses(alone), rel=1e-4)
    ids = torch.arange(3, 40)[None]
    expected, got = (AutoModelForCausalLM.from_pretrained(folder)(ids).logits for folder in (alone, sharded))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    assert evaluated(sharded, tmp_path) == evaluated(alone, tmp_path)
    merged = tmp_path / "merged"
    trained([sys.executable, "-m", "training", "merge", str(sharded), "--out", str(merged)], launch_env)
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(merged)(ids).logits, got, rtol=1e-3, atol=1e-4)


def evaluated(checkpoint: Path, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Scores and words of `eval run --limit 4` on the run's held-out dialogues."""
    data = (checkpoint if (checkpoint / "data").is_dir() else checkpoint.parent) / "data"
    out = folder / f"eval of {checkpoint.parent.name} {checkpoint.name}"
    options = ["--tasks", "function_calls", "--data", str(data), "--limit", "4", "--max-new-tokens", "24"]
    assert evaluate(["run", str(checkpoint), *options, "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    records = [json.loads(line) for line in (out / "transcripts.jsonl").read_text().splitlines()]
    return report["tasks"]["function_calls"]["metrics"], [
        step["text"] for record in records for step in record["steps"]
    ]


def held_out(output: Path) -> list[float]:
    return [row["held_out_loss"] for row in read_metrics(output / "metrics.jsonl") if "held_out_loss" in row]


def launch(config: str) -> list[str]:
    """The start of a launch command, on a port that no other test's launch uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [str(Path(sys.executable).parent / "accelerate"), "launch", "--main_process_port", port,
            "--config_file", f"accelerate_configs/{config}.yaml"]  # fmt: skip
