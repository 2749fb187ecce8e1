"""Mistakes that a recipe can hold although each of its fields is right: each with what will happen and the remedy."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from transformers import PretrainedConfig

from recipes.schema import HONOURS_BORDERS, Recipe
from training.doctor_data import Data, rows_per_step

# Learning rates outside these are rare in published work: all weights of models of 0.1 to 70 B, and adapters.
USUAL_FULL, USUAL_ADAPTER = (1e-6, 1e-4), (2e-5, 5e-3)
FEW_STEPS, MANY_EPOCHS = 10, 10


def mistakes(recipe: Recipe, config: PretrainedConfig, data: Data, processes: int, on_gpu: bool) -> list[str]:
    """What is probably not meant, a line each."""
    return [
        *_of_model(recipe, config, data, on_gpu),
        *_of_batches(recipe, data, processes),
        *_of_schedule(recipe, data.steps(recipe, processes)),
        *_of_learning_rate(recipe),
    ]


def _of_model(recipe: Recipe, config: PretrainedConfig, data: Data, on_gpu: bool) -> Iterator[str]:
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and recipe.max_length > longest:
        yield (
            f"max_length: {recipe.max_length:,} is over the model's {longest:,} positions; it has never seen later "
            f"ones: set max_length: {longest}"
        )
    if recipe.packing and recipe.attn_implementation not in HONOURS_BORDERS:
        yield f"packing: attention {recipe.attn_implementation!r} may look across dialogues; set sdpa"
    recurrent = [kind for kind in getattr(config, "layer_types", None) or () if "attention" not in kind]
    if recipe.packing and (recurrent or "mamba" in config.model_type):
        yield (
            f"packing: {config.model_type} has layers without attention, which carry a state across "
            f"dialogues; set packing: false and per_device_train_batch_size: 1"
        )
    if recipe.attn_implementation == "flash_attention_2" and on_gpu and not importlib.util.find_spec("flash_attn"):
        yield "attn_implementation: flash_attention_2 is not installed here; pip install .[flash-attn], or set sdpa"
    if data.encoder is not None and data.encoder.tokenizer.pad_token_id == data.encoder.tokenizer.eos_token_id:
        yield (
            "pad = eos: the tokenizer pads with its stop token. Nothing is padded here, but whatever masks padding "
            "later masks the stop too; give the tokenizer a padding token of its own"
        )
    if recipe.dtype == "float32" and on_gpu:
        yield "dtype: float32 on a GPU takes twice the memory and many times the time of bfloat16; set bfloat16"


def _of_batches(recipe: Recipe, data: Data, processes: int) -> Iterator[str]:
    per_step = rows_per_step(recipe, processes)
    steps, epochs = data.steps(recipe, processes), data.epochs(recipe, processes)
    arithmetic = (
        f"{processes} x per_device_train_batch_size {recipe.per_device_train_batch_size} x "
        f"gradient_accumulation_steps {recipe.gradient_accumulation_steps} = {per_step} rows a step"
    )
    if data.rows is not None and per_step > data.rows:
        yield f"batch: {arithmetic}, and the data has {data.rows}: a step is more than an epoch; make it smaller"
    elif steps is not None and steps < FEW_STEPS:
        yield f"batch: {arithmetic} leave {steps} optimizer steps, too few to learn from; make the step smaller"
    if recipe.packing and not recipe.gradient_accumulation_steps > 1 and recipe.per_device_train_batch_size > 1:
        yield (
            f"batch: rows are packed to {recipe.max_length:,} tokens, and more than one at a time only "
            f"cost memory; gradient_accumulation_steps gives the same step"
        )
    if epochs is not None and epochs > MANY_EPOCHS:
        yield f"epochs: the run passes {epochs:.1f} times over its data; set max_steps or num_train_epochs lower"


def _of_schedule(recipe: Recipe, steps: int | None) -> Iterator[str]:
    if steps is None:
        return
    if recipe.warmup_ratio and recipe.warmup_ratio * steps < 1:
        yield f"schedule: warmup_ratio {recipe.warmup_ratio:g} of {steps} steps is less than one; nothing warms up"
    for field in ("eval_steps", "save_steps"):
        every = getattr(recipe, field)
        if every is not None and every > steps:
            yield f"{field}: {every} is more than the run's {steps} steps, so it happens at the end only; set it lower"


def _of_learning_rate(recipe: Recipe) -> Iterator[str]:
    low, high = USUAL_ADAPTER if recipe.use_peft else USUAL_FULL
    what = "an adapter" if recipe.use_peft else "all weights"
    if not low <= recipe.learning_rate <= high:
        yield (
            f"learning_rate: {recipe.learning_rate:g} is outside what is usual for {what}, {low:g} to {high:g}; "
            f"check the exponent"
        )
