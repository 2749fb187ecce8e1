"""How long a run takes: measured by a few of its steps here, or reckoned from a stated speed of the device."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from transformers import PretrainedConfig

from recipes.schema import Recipe
from training.doctor_data import Data
from training.memory import Sizes
from training.progress import read_metrics

MEASURED_STEPS = 4


class MeasurementFailed(RuntimeError):
    """The short run did not end well; the message holds its last words."""


class Time(NamedTuple):
    """Seconds of training, saving and evaluation left out."""

    seconds: float
    tokens_per_s: float
    how: str


def flops_per_token(recipe: Recipe, config: PretrainedConfig, sizes: Sizes, data: Data) -> float:
    """Floating-point operations of one token, forward and backward.

    Two for each weight of a matrix product forward; as many again for the gradient of its input and, where it is
    trained, for its own; once more forward under checkpointing. The head counts at trained positions only. Attention:
    scores and mixing at half the positions of a dialogue, which is causal.
    """
    layers = config.num_hidden_layers
    inner = sizes.trained + sizes.frozen - sizes.embedding * (1 if config.tie_word_embeddings else 2)
    head = sizes.embedding * (data.trained / data.tokens if data.tokens else 1.0)
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or sizes.hidden // config.num_attention_heads
    )
    attention = 4 * layers * width * data.heaviest.length / 2
    forward = 2 * (inner + head) + attention
    own_gradients = 2 * sizes.trained if recipe.use_peft else 2 * (inner + head)
    backward = 2 * (inner + head) + 2 * attention + own_gradients
    return forward * (2 if recipe.gradient_checkpointing else 1) + backward


def reckoned(tflops: float, flops: float, tokens: float, processes: int) -> Time:
    """From `tflops`, what one device does of this work, in 10^12 operations a second."""
    speed = processes * tflops * 1e12 / flops
    return Time(tokens / speed, speed, f"at {tflops:g} TFLOP/s a device, as stated")


def measured(recipe_path: str, overrides: list[str], data: Data, launch_file: Path | None, tokens: float) -> Time:
    """From MEASURED_STEPS steps of train.py in a folder of their own, the first left out. Raises MeasurementFailed."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as scratch:
        output = Path(scratch) / "run"
        output.mkdir()
        if data.folder is not None:
            (output / "data").symlink_to(data.folder.resolve())
        short = [f"output_dir={output}", f"max_steps={MEASURED_STEPS}", "save_steps=null", "eval_steps=null",
                 "logging_steps=1", "report_to=none", "eval_after=[]", "push_to_hub=false"]  # fmt: skip
        launcher = ["-m", "accelerate.commands.launch", "--config_file", str(launch_file)] if launch_file else []
        command = [sys.executable, *launcher, "train.py", recipe_path, *overrides, *short]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = [row for row in read_metrics(output / "metrics.jsonl") if "tokens_per_s" in row]
    if done.returncode or len(rows) < 2:
        said = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["no word why"])[-1]
        raise MeasurementFailed(f"a run of {MEASURED_STEPS} steps failed: {said}")
    speeds = [row["tokens_per_s"] for row in rows[1:]]
    speed = len(speeds) / sum(1 / one for one in speeds)
    return Time(tokens / speed, speed, f"measured here over {len(speeds)} steps")
