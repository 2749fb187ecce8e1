"""`make bench`: the doctor's peak memory against the kernel's, for SmolLM2-135M in float32 on CPU processes.

Then its table of the BUTTON paper's models on 1, 4 and 8 GPUs of 80 GB, which was not measured.

Measured by tests/bench/peak_memory.py: VmHWM of each process over its VmRSS before the model is loaded; the largest of
the processes counts. The C library keeps what tensors free (training/launch.py), so its own waste is in the figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes import load_recipe
from tests.training.paper_models import CONFIGS, paper_config
from tests.training.test_processes import launch
from training.doctor import METHODS, ways
from training.doctor_data import data_of
from training.doctor_sizes import Traces, config_of
from training.memory import GIB, memory_of, strategies, strategy_of
from training.smollm2 import smollm2_dir
from training.trace import MicroBatch

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT asks a model by a name given up
REPOSITORY = Path(__file__).resolve().parents[2]
WITHIN = 0.15
LORA = {"use_peft": True, "learning_rate": 1e-4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "full, one process": ("cpu", {}),
    "LoRA, one process": ("cpu", LORA),
    "full, DDP of two": ("cpu_ddp", {}),
    "full, ZeRO-2 of two": ("cpu_zero2", {}),
    "full, ZeRO-3 of two": ("cpu_zero3", {}),
    "LoRA, DDP of two": ("cpu_ddp", LORA),
    "LoRA, ZeRO-2 of two": ("cpu_zero2", LORA),
    "full, DDP of two, 1,024 tokens": ("cpu_ddp", {"max_length": 1024}),
    "full, one process, checkpointing": ("cpu", {"gradient_checkpointing": True, "max_length": 1024}),
}


def write_recipe(folder: Path, real_data_dir: Path, changes: dict[str, Any]) -> Path:
    recipe = {
        "name": "peak", "model_name_or_path": str(smollm2_dir()), "dtype": "float32", "held_out_share": 0,
        "train_data": [{"source": "mathchatsync", "path": [str(real_data_dir / "mathchatsync/tutoring.json")],
                        "samples": 16}],
        "group_by": "id", "deduplicate": "none", "max_length": 512, "over_length": "truncate_turns", "packing": True,
        "output_dir": str(folder / "run"), "learning_rate": 1e-5, "max_steps": 2, **changes,
    }  # fmt: skip
    path = folder / "peak.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.mark.parametrize("case", CASES)
def test_predicted_peak_against_measured(case: str, tmp_path: Path, real_data_dir: Path, launch_env: dict[str, str]):
    config, changes = CASES[case]
    path = write_recipe(tmp_path, real_data_dir, changes)
    recipe = load_recipe(path)
    strategy, _ = strategy_of(REPOSITORY / f"accelerate_configs/{config}.yaml")
    data = data_of(recipe, True)
    traces = Traces(config_of(recipe, None), on_gpu=False)
    parts = memory_of(recipe, strategy, traces.sizes(recipe), traces.trace(recipe, strategy, data.heaviest),
                      data.heaviest.trained, on_gpu=False)  # fmt: skip

    out = tmp_path / "peak.json"
    command = [*launch(config), "tests/bench/peak_memory.py", str(out), str(path)]
    environment = {**launch_env, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(file.read_text()) for file in tmp_path.glob("peak.json.*")]
    measured = max(one["peak"] - one["level"] for one in found)
    difference = parts.total() / measured - 1
    print(f"\n{case}: predicted {parts.total() / 1e6:,.0f} MB, measured {measured / 1e6:,.0f} MB ({difference:+.1%}), "
          f"python {sys.version_info.major}.{sys.version_info.minor}")  # fmt: skip
    assert len(found) == strategy.processes and measured > 500e6
    assert abs(difference) < WITHIN


@pytest.mark.parametrize("name", CONFIGS)
def test_the_papers_models_on_gpus_of_80_gb(name: str) -> None:
    """Per method the simplest way that fits, else the least that any way takes; 8,192 tokens, all trained."""
    recipe = load_recipe(REPOSITORY / f"recipes/button/{name}-full.yaml")
    traces, batch = Traces(paper_config(name), on_gpu=True), MicroBatch(8192, 8192, 8192)
    print()
    for method in METHODS:
        cells = []
        for gpus in (1, 4, 8):
            found = [way for way in ways(recipe, traces, batch, strategies(gpus), 80e9) if way.method == method]
            fitting = [way for way in found if way.fits]
            best = fitting[0] if fitting else min(found, key=lambda way: way.parts.total())
            host = f" + {best.parts.main_memory * gpus / GIB:.0f} in main memory" if best.parts.main_memory else ""
            peak = f"{best.parts.total() / GIB:.0f}{host}"
            cells.append(f"{best.strategy.name()}: {peak}" if fitting else f"no, at least {peak}")
        print(f"| {name} | {method} | " + " | ".join(cells) + " |")
