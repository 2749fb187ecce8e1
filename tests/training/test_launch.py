"""How many processes a launch asked for, and the sizes said at start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml

from recipes.load import validate
from tests.training.conftest import REPOSITORY
from tests.training.helpers import encoded_row
from training.launch import Asked, Launch, asked_of
from training.sizes import UntrainedRow, describe_run, steps_of, trained_tokens_per_row

LAUNCH = ["/venv/bin/python", "/venv/bin/accelerate", "launch"]


def test_the_launch_file_and_the_command_line_say_what_was_asked_for(tmp_path):
    file = tmp_path / "eight.yaml"
    file.write_text(yaml.safe_dump({"num_processes": 8, "use_cpu": False}))
    assert asked_of([*LAUNCH, "--config_file", str(file), "train.py"]) == Asked(8, False, str(file))
    assert asked_of([*LAUNCH, f"--config-file={file}", "--num_processes", "4", "--cpu", "train.py"]).processes == 4
    assert asked_of([*LAUNCH, f"--config-file={file}", "--num_processes", "4", "--cpu", "train.py"]).use_cpu
    assert asked_of([]) == Asked()


@pytest.mark.slow
def test_a_launch_that_brings_up_fewer_processes_than_asked_for_fails(write_recipe, tmp_path):
    settings = yaml.safe_load((REPOSITORY / "accelerate_configs" / "cpu_ddp.yaml").read_text())
    (tmp_path / "multi_cpu.yaml").write_text(yaml.safe_dump({**settings, "distributed_type": "MULTI_CPU"}))
    command = [str(Path(sys.executable).parent / "accelerate"), "launch", "--config_file",
               str(tmp_path / "multi_cpu.yaml"), "train.py", str(write_recipe())]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode != 0
    assert "multi_cpu.yaml asks for 2 processes, 1 came up (distributed type NO)" in done.stderr
    assert "accelerate_configs/cpu_ddp.yaml" in done.stderr
    assert not (tmp_path / "run").exists()


def test_sizes_are_said_in_devices_rows_steps_and_tokens():
    recipe = validate(
        {"name": "x", "model_name_or_path": "m", "train_data": [{"source": "button", "path": "a.jsonl"}],
         "held_out_share": 0, "output_dir": "o", "learning_rate": 1e-5, "num_train_epochs": 3,
         "per_device_train_batch_size": 4},
        "test",
    )  # fmt: skip
    launch = Launch("DEEPSPEED ZeRO-3", 8, 0, "cuda", [])
    lines = describe_run(recipe, launch, np.full(2486, 415), held_out_rows=50)
    assert lines[0] == "distributed type DEEPSPEED ZeRO-3, world size 8, device cuda"
    assert lines[1].startswith("8 GPUs x 4 x 1 = 32 rows a step, 234 steps (3 epochs of 2,486 rows), 3.1 M trained")
    assert steps_of(recipe, 2486, 8) == 234


def test_trained_tokens_are_counted_per_row_and_a_row_without_any_is_an_error():
    rows = [encoded_row(seed, dialogues=2) for seed in range(5)]
    data = datasets.Dataset.from_list(rows)
    expected = [sum(label != -100 for label in row["labels"]) for row in rows]
    assert trained_tokens_per_row(data).tolist() == expected
    assert trained_tokens_per_row(datasets.concatenate_datasets([data, data.select([3, 1])])).tolist() == [
        *expected, expected[3], expected[1],
    ]  # fmt: skip
    rows[2]["labels"] = [-100] * len(rows[2]["labels"])
    with pytest.raises(UntrainedRow, match=r"row 2 \(made-2\) is all context"):
        trained_tokens_per_row(datasets.Dataset.from_list(rows))
    with pytest.raises(UntrainedRow, match="the training set is empty"):
        trained_tokens_per_row(data.select([]))
