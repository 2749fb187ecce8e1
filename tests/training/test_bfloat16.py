"""bfloat16 recipes learn what float32 ones do: updates far below the spacing of bfloat16 numbers are not lost.

At 0.02, a usual weight, neighbours in bfloat16 are 1.2e-4 apart; a step at a learning rate of 1e-5 moves a weight by a
twelfth of that, and weights kept in bfloat16 alone would mostly stay where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from tests.training.test_processes import launch, trained

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
SETTINGS = {"learning_rate": 1e-5, "lr_scheduler_type": "constant", "warmup_ratio": 0, "max_steps": 12}


def moved(checkpoint: Path, output: Path) -> torch.Tensor:
    """How far every weight is from the base model's, rounded to bfloat16: (weights,) float32."""
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, output))
    return torch.cat([(after[name].float() - tensor.bfloat16().float()).flatten() for name, tensor in before.items()])


def share(of: torch.Tensor, wanted: torch.Tensor) -> float:
    """How much of the wanted movement there is; rounding of the saved weights averages out."""
    return float((of @ wanted) / (wanted @ wanted))


# 0.82 was measured under ZeRO-3, where gradients are bfloat16 as well; whether that is the cause was not tested.
@pytest.mark.parametrize(("config", "least"), [(None, 0.9), pytest.param("cpu_zero3", 0.7, marks=pytest.mark.slow)])
def test_small_updates_of_all_weights_are_not_lost_in_bfloat16(
    config: str | None,
    least: float,
    write_recipe: Callable[..., Path],
    tiny_checkpoint: Path,
    launch_env: dict[str, str],
    tmp_path: Path,
) -> None:
    recipe = str(write_recipe(**SETTINGS, per_device_train_batch_size=2, gradient_accumulation_steps=2))
    outputs = {dtype: tmp_path / dtype for dtype in ("float32", "bfloat16")}
    assert train.main([recipe, f"output_dir={outputs['float32']}"]) == 0
    words = [recipe, f"output_dir={outputs['bfloat16']}", "dtype=bfloat16"]
    if config is None:
        assert train.main(words) == 0
    else:
        trained([*launch(config), "train.py", *words, "gradient_accumulation_steps=1"], launch_env)
    wanted, got = (moved(tiny_checkpoint, output) for output in outputs.values())
    assert least <= share(got, wanted) <= 1.1
    assert load_file(outputs["bfloat16"] / "model.safetensors")["model.embed_tokens.weight"].dtype == torch.bfloat16


def test_weights_in_bfloat16_alone_would_lose_them(
    write_recipe: Callable[..., Path], tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, outputs = str(write_recipe(**SETTINGS)), (tmp_path / "float32", tmp_path / "alone")
    assert train.main([recipe, f"output_dir={outputs[0]}"]) == 0
    monkeypatch.setattr(train, "load_dtype", lambda recipe, launch: torch.bfloat16)
    assert train.main([recipe, f"output_dir={outputs[1]}", "dtype=bfloat16"]) == 0
    wanted, got = (moved(tiny_checkpoint, output) for output in outputs)
    assert share(got, wanted) < 0.4
