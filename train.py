"""accelerate launch --config_file accelerate_configs/X.yaml train.py RECIPE.yaml [key=value ...]

or, on one process, `python train.py RECIPE.yaml [key=value ...]`. From a recipe to a checkpoint: build the samples,
load the model, train, save. What is in output_dir afterwards is described in training/checkpoint.py.

Exit status: 0 done, 1 an error that the message explains, 2 wrong usage, 75 stopped by SIGTERM and saved: run the same
command again to go on (training/stopping.py).
"""

from __future__ import annotations

import copy
import gc
import os
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

# Before the libraries are imported: nothing about a run is sent anywhere unasked.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import datasets
import torch
import transformers
from accelerate.utils import broadcast_object_list
from datasets import DatasetDict, load_from_disk
from peft import PeftModel
from peft.utils.error import NoMatchingPeftModuleError
from rich.console import Console
from transformers import TrainerCallback

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
    newest_complete,
    run_identity,
    take_ownership,
    trained_generation_config,
    with_samples,
)
from training.hand_off import check_tasks, data_sources, evaluate_after, evaluation_words, push_final
from training.heartbeat import Heartbeat
from training.launch import Launch, start_processes
from training.model import ModelError, encoder_of, load_model, lora_config
from training.progress import ProgressCallback, draw_loss
from training.run_page import RunPage
from training.saving import Run
from training.sizes import describe_run, trained_tokens_per_row
from training.stopping import RESUME_STATUS, Preempted, StopRequest, marked
from training.trainer import DialogueTrainer
from training.watch_samples import SampleCallback, check_can_generate, held_out_turns


def main(arguments: list[str]) -> int:
    """Train one recipe; returns the exit status."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: {(__doc__ or '').splitlines()[0]}", file=sys.stderr)
        return 2
    with StopRequest().listening() as stop:
        return run(arguments, stop)


def run(arguments: list[str], stop: StopRequest) -> int:
    """`main` without its guards."""
    try:
        recipe = load_recipe(arguments[0], arguments[1:])
        launch = start_processes(arguments)
        output_dir = Path(recipe.output_dir)
        with marked(output_dir, launch.rank == 0, newest_complete):
            with claimed(output_dir, launch.rank == 0):
                train(recipe, launch, stop)
            if recipe.push_to_hub and launch.rank == 0:
                print(f"uploaded: {push_final(recipe)}")
            if recipe.eval_after:
                release()
                if launch.rank == 0:
                    evaluate_after(evaluation_words(recipe), output_dir)
    except Preempted as stopped:
        print(
            f"SIGTERM: {str(stopped) or 'nothing to save yet'}; resume me: run the same command again",
            file=sys.stderr,
            flush=True,
        )
        return RESUME_STATUS
    except (ValueError, OSError, RuntimeError) as error:
        # An error that a user can mend is of a type of ours, with a message of its own.
        if not type(error).__module__.startswith(("recipes.", "data_prep.", "training.")):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(recipe: Recipe, launch: Launch, stop: StopRequest) -> None:
    """Train `recipe` on the processes of `launch`.

    Raises the errors of recipes, data_prep and training, and Preempted where it was asked to stop.
    """
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
    checkpoint = chosen_checkpoint(recipe, launch, identity)
    if checkpoint:
        console.print(f"resuming from {checkpoint}, the newest complete checkpoint")

    trainer = make_trainer(recipe, launch, encoder, data, data_key, identity, console, stop)
    for line in describe_run(recipe, launch, trained_tokens_per_row(data["train"]), len(data["held_out"])):
        console.print(line)
    with RunPage(output_dir, recipe.name, console) as page, closing(trainer.run.heartbeat):
        trainer.add_callback(page)
        stop.deferred = True  # from here on there is something to save
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if len(data["held_out"]) and not trainer.preempted:
            trainer.evaluate()
        if trainer.preempted:
            raise Preempted(f"{newest_complete(output_dir)} is the newest complete checkpoint")
        trainer.save_final(getattr(torch, recipe.dtype))
        stop.deferred = False
    if launch.rank == 0:
        draw_loss(output_dir)
    console.print(f"final model, metrics.jsonl, run.html and loss.png: {output_dir}")
    console.print(f"evaluate it: {shlex.join(evaluation_words(recipe))}")


def chosen_checkpoint(recipe: Recipe, launch: Launch, identity: dict[str, Any]) -> Path | None:
    """The checkpoint to resume from, found by the first process for all: it reads every byte of it."""
    found: list[Path | None] = [None]
    if launch.rank == 0:
        found = [checkpoint_to_resume(Path(recipe.output_dir), recipe.resume)]
        if found[0]:
            check_resumable(found[0], identity)
    return broadcast_object_list(found)[0]


def make_trainer(
    recipe: Recipe,
    launch: Launch,
    encoder: Encoder,
    data: DatasetDict,
    data_key: str,
    identity: dict[str, Any],
    console: Console,
    stop: StopRequest,
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
    output_dir = Path(recipe.output_dir)
    heartbeat = Heartbeat.together(launch.rank, launch.processes, recipe.stuck_timeout_s, arguments.device)
    stops = trained_generation_config(model, encoder, tokenizer)
    callbacks: list[TrainerCallback] = [ProgressCallback(output_dir, console)]
    if recipe.sample_every:
        check_can_generate(launch.distributed_type)
        turns = held_out_turns(data["held_out"])
        callbacks.append(SampleCallback(output_dir, turns, tokenizer, stops, recipe.sample_every, heartbeat))
    run = Run(
        arguments=arguments,
        train=data["train"],
        held_out=data["held_out"],
        tokenizer=tokenizer,
        generation_config=stops,
        manifest={**manifest, "run": identity},
        attn_implementation=recipe.attn_implementation,
        share_prefixes=recipe.share_prefixes,
        loss_weights=recipe.loss_weights,
        save_total_limit=recipe.save_total_limit,
        stop=stop,
        heartbeat=heartbeat,
        stop_on_anomaly=recipe.stop_on_anomaly,
        peft_config=lora_config(recipe) if recipe.use_peft and not isinstance(model, PeftModel) else None,
        callbacks=tuple(callbacks),
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
