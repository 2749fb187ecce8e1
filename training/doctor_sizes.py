"""A model's parameters from its config.json alone, and what its recipe trains of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoConfig, PretrainedConfig

from recipes.schema import Recipe
from training.memory import Sizes, Strategy, numbers_of
from training.model import ModelError, base_of_adapter, lora_config
from training.trace import MicroBatch, Numbers, Trace, empty_model, trace


def config_of(recipe: Recipe, config_file: Path | None) -> PretrainedConfig:
    """The model's config: from `config_file`, else from where the recipe says the model is. Raises ModelError."""
    name = recipe.model_name_or_path
    try:
        if config_file is not None:
            return AutoConfig.for_model(**json.loads(config_file.read_text(encoding="utf-8")))
        base = base_of_adapter(name)
        return AutoConfig.from_pretrained(base or name, revision=None if base else recipe.model_revision)
    except (OSError, ValueError, TypeError) as error:
        where = config_file or f"model_name_or_path {name!r}"
        said = (str(error).strip().splitlines() or ["unreadable"])[0]
        raise ModelError(
            f"{where}: no config of a model can be had there ({said}); give the model's config.json with --config FILE"
        ) from error


def sizes_of(config: PretrainedConfig, recipe: Recipe) -> Sizes:
    """Counts of the model with the recipe's adapter. Raises ModelError where lora_target_modules names nothing."""
    adapter = lora_config(recipe) if recipe.use_peft else None
    try:
        model = empty_model(config, adapter, Numbers(torch.bfloat16, autocast=False))
    except ValueError as error:  # of PEFT, where no module has such a name
        raise ModelError(f"lora_target_modules {recipe.lora_target_modules!r}: {str(error).splitlines()[0]}") from error
    parameters = list(model.named_parameters())  # a tied one once
    trained = sum(p.numel() for _, p in parameters if p.requires_grad)
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    linear = [
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head and not module.weight.requires_grad
    ]
    layers: dict[str, int] = {}
    for name, parameter in parameters:
        _, found, after = name.partition(".layers.")
        if found:
            number = after.split(".")[0]
            layers[number] = layers.get(number, 0) + parameter.numel()
    return Sizes(
        trained=trained,
        frozen=sum(p.numel() for _, p in parameters) - trained,
        quantizable=sum(linear),
        layer=max(layers.values(), default=0),
        embedding=table.numel(),
        widest=max(linear, default=0),
        vocabulary=table.shape[0],
        hidden=table.shape[1],
    )


class Traces:
    """Traces of one recipe's model, each made once: a few seconds, whatever the model's size."""

    def __init__(self, config: PretrainedConfig, on_gpu: bool) -> None:
        self.config, self.on_gpu = config, on_gpu
        self.made: dict[_Case, Trace] = {}
        self.counted: dict[bool, Sizes] = {}

    def trace(self, recipe: Recipe, strategy: Strategy, batch: MicroBatch) -> Trace:
        """The trace of `batch` in the formats of `strategy`; on GPUs without the LM head, whose share is stated."""
        if self.on_gpu:
            batch = batch._replace(trained=1)
        case = _Case(recipe.use_peft, recipe.gradient_checkpointing, numbers_of(recipe, strategy), batch)
        if case not in self.made:
            adapter = lora_config(recipe) if recipe.use_peft else None
            self.made[case] = trace(self.config, adapter, batch, case.numbers, checkpointing=case.checkpointing)
        return self.made[case]

    def sizes(self, recipe: Recipe) -> Sizes:
        """The sizes with and without the adapter. Raises ModelError."""
        if recipe.use_peft not in self.counted:
            self.counted[recipe.use_peft] = sizes_of(copy.deepcopy(self.config), recipe)
        return self.counted[recipe.use_peft]


class _Case(NamedTuple):
    use_peft: bool
    checkpointing: bool
    numbers: Numbers
    batch: MicroBatch
