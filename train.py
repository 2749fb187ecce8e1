"""accelerate launch --config_file accelerate_configs/X.yaml train.py RECIPE.yaml [key=value ...]

or, on one process, `python train.py RECIPE.yaml [key=value ...]`. From a recipe to a checkpoint: build the samples,
load the model, train, save. What is in output_dir afterwards is described in training/checkpoint.py.
"""

from __future__ import annotations

import copy
import gc
import os
import shlex
import sys
from pathlib import Path

# Before the libraries are imported: nothing about a run is sent anywhere unasked.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import datasets
import torch
import transformers
from datasets import DatasetDict, load_from_disk
from peft import PeftModel
from peft.utils.error import NoMatchingPeftModuleError
from rich.console import Console

from data_prep.build import build_key, build_once
from data_prep.encode import Encoder
from recipes import Recipe, load_recipe
from recipes.manifest import make_manifest
from training.arguments import load_dtype, training_arguments
from training.checkpoint import (
    check_owner,
    check_resumable,
    checkpoint_to_resume,
    claimed,
    is_finished,
    run_identity,
    take_ownership,
    trained_generation_config,
    with_samples,
)
from training.hand_off import check_tasks, data_sources, evaluate_after, evaluation_words, push_final
from training.launch import Launch, start_processes
from training.model import ModelError, encoder_of, load_model, lora_config
from training.progress import ProgressCallback, draw_loss
from training.sizes import describe_run, trained_tokens_per_row
from training.trainer import DialogueTrainer, Run


def main(arguments: list[str]) -> int:
    """Train one recipe; returns the exit status."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: {(__doc__ or '').splitlines()[0]}", file=sys.stderr)
        return 2
    try:
        recipe = load_recipe(arguments[0], arguments[1:])
        launch = start_processes(arguments)
        with claimed(Path(recipe.output_dir), launch.rank == 0):
            train(recipe, launch)
        if recipe.push_to_hub and launch.rank == 0:
            print(f"uploaded: {push_final(recipe)}")
        if recipe.eval_after:
            release()
            if launch.rank == 0:
                evaluate_after(evaluation_words(recipe), Path(recipe.output_dir))
    except (ValueError, OSError, RuntimeError) as error:
        # An error that a user can mend is of a type of ours, with a message of its own.
        if not type(error).__module__.startswith(("recipes.", "data_prep.", "training.")):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(recipe: Recipe, launch: Launch) -> None:
    """Train `recipe` on the processes of `launch`. Raises the errors of recipes, data_prep and training."""
    output_dir, data_dir = Path(recipe.output_dir), Path(recipe.output_dir) / "data"
    console = Console(quiet=launch.rank != 0, highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
    encoder = encoder_of(recipe)
    data_key, data_parts = build_key(recipe, encoder)
    made_from = {part: data_parts[part] for part in ("input files", "encoder", "tokenizer")}
    identity = run_identity(recipe, made_from, launch.processes, launch.distributed_type)
    if launch.rank == 0:
        check_owner(output_dir, identity, recipe.resume)
        check_tasks(recipe)
    if is_finished(output_dir):
        console.print(f"{output_dir} holds this run's final model already; nothing to train")
        return console.print(f"evaluate it: {shlex.join(evaluation_words(recipe))}")

    build_once(recipe, data_dir, launch.rank, launch.processes, encoder)
    data = load_from_disk(data_dir)
    if launch.rank == 0:
        identity = with_samples(identity, data_dir / "train")
        take_ownership(output_dir, identity)
    checkpoint = checkpoint_to_resume(output_dir, recipe.resume)
    if checkpoint:
        if launch.rank == 0:
            check_resumable(checkpoint, identity)
        console.print(f"resuming from {checkpoint}, the newest complete checkpoint")

    trainer = make_trainer(recipe, launch, encoder, data, data_key, identity, console)
    for line in describe_run(recipe, launch, trained_tokens_per_row(data["train"]), len(data["held_out"])):
        console.print(line)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if len(data["held_out"]):
        trainer.evaluate()
    trainer.save_final(getattr(torch, recipe.dtype))
    if launch.rank == 0:
        draw_loss(output_dir)
    console.print(f"final model, metrics.jsonl and loss.png: {output_dir}")
    console.print(f"evaluate it: {shlex.join(evaluation_words(recipe))}")


def make_trainer(
    recipe: Recipe, launch: Launch, encoder: Encoder, data: DatasetDict, data_key: str, identity: dict, console: Console
) -> DialogueTrainer:
    """The trainer with model, data, and everything that is saved beside the weights."""
    tokenizer = copy.copy(encoder.tokenizer)  # shallow: only its template is set, and copying all takes seconds
    tokenizer.chat_template = encoder.chat_template
    arguments = training_arguments(recipe, launch, holds_out=len(data["held_out"]) > 0)
    model = load_model(recipe, load_dtype(recipe, launch), len(tokenizer))
    manifest = make_manifest(
        recipe,
        encoder=encoder.facts(),
        data={
            "key": data_key,
            "rows": len(data["train"]),
            "held_out_rows": len(data["held_out"]),
            "sources": data_sources(recipe),
            **identity["data"],
        },
        tokenizer={"sha256": identity["data"]["tokenizer"]},
        launch=launch.facts(),
    )
    run = Run(
        arguments=arguments,
        train=data["train"],
        held_out=data["held_out"],
        tokenizer=tokenizer,
        generation_config=trained_generation_config(model, encoder, tokenizer),
        manifest={**manifest, "run": identity},
        attn_implementation=recipe.attn_implementation,
        share_prefixes=recipe.share_prefixes,
        loss_weights=recipe.loss_weights,
        save_total_limit=recipe.save_total_limit,
        peft_config=lora_config(recipe) if recipe.use_peft and not isinstance(model, PeftModel) else None,
        callbacks=(ProgressCallback(Path(recipe.output_dir), console),),
    )
    try:
        return DialogueTrainer(model, run)
    except NoMatchingPeftModuleError as error:
        raise ModelError(f"lora_target_modules {recipe.lora_target_modules!r} names no module of the model") from error


def release() -> None:
    """Leave the process group and give back the model's memory: an evaluation needs the devices."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # trainer and model refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
