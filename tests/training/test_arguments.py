"""What of a recipe becomes the Trainer's arguments, and what a machine refuses."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recipes import load_recipe
from training.arguments import NotHere, load_dtype, training_arguments
from training.launch import Launch

CPU, GPU, ZERO3, FSDP = (
    Launch(kind, 1, 0, device, []) for kind, device in
    [("NO", "cpu"), ("NO", "cuda"), ("DEEPSPEED ZeRO-3", "cuda"), ("FSDP", "cuda")]
)  # fmt: skip


@pytest.mark.parametrize("field", ["use_liger_kernel", "activation_offloading"])
def test_settings_for_gpus_are_refused_on_a_cpu(field: str, write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe(**{field: True}))
    with pytest.raises(NotHere, match=f"{field}: does nothing without a GPU"):
        training_arguments(recipe, CPU, holds_out=False)


@pytest.mark.skipif(importlib.util.find_spec("liger_kernel") is not None, reason="liger-kernel is installed")
def test_liger_kernels_that_are_not_installed_are_refused(write_recipe: Callable[..., Path]) -> None:
    with pytest.raises(NotHere, match="liger-kernel is not installed"):
        training_arguments(load_recipe(write_recipe(use_liger_kernel=True)), GPU, holds_out=False)


def test_trained_weights_are_float32_wherever_nobody_else_keeps_float32_copies(
    write_recipe: Callable[..., Path],
) -> None:
    full, adapter = (load_recipe(write_recipe(dtype="bfloat16", use_peft=peft)) for peft in (False, True))
    assert {load_dtype(full, launch) for launch in (CPU, GPU, FSDP)} == {torch.float32}
    assert load_dtype(full, ZERO3) == torch.bfloat16
    assert {load_dtype(adapter, launch) for launch in (CPU, GPU, ZERO3, FSDP)} == {torch.bfloat16}
