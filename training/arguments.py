"""A recipe's training fields as TRL's SFTConfig; every value that is not the recipe's stands here with its reason."""

from __future__ import annotations

import importlib.util

import torch
from trl import SFTConfig

from recipes.schema import Recipe
from training.launch import Launch


class NotHere(ValueError):
    """A setting of the recipe that this machine cannot serve; the message says what to change."""


def load_dtype(recipe: Recipe, launch: Launch) -> torch.dtype:
    """The dtype the weights are loaded in.

    Training weights in bfloat16 alone loses updates: at a learning rate of 1e-5 a step is a tenth of the distance
    between neighbouring numbers. So float32 weights are kept and autocast computes in bfloat16. DeepSpeed keeps float32
    copies of its own, and FSDP casts what is trained to float32. Under LoRA the frozen weights need none, and PEFT
    makes the adapter's in float32 (under ZeRO-3 TRL has them in bfloat16, with DeepSpeed's copies).
    """
    mixed = recipe.dtype == "bfloat16"
    return torch.bfloat16 if mixed and (recipe.use_peft or "DEEPSPEED" in launch.distributed_type) else torch.float32


def training_arguments(recipe: Recipe, launch: Launch, holds_out: bool) -> SFTConfig:
    """The Trainer's arguments. Made before the model, since DeepSpeed ZeRO-3 shards the model while it is loaded.

    Raises NotHere.
    """
    _check_tracker(recipe)
    _check_gpu_settings(recipe, launch)
    arguments = SFTConfig(
        output_dir=recipe.output_dir,
        run_name=recipe.name,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler_type,
        warmup_steps=recipe.warmup_ratio,  # under 1 it is a share of the steps
        lr_scheduler_kwargs=(
            {"num_decay_steps": recipe.decay_ratio} if recipe.lr_scheduler_type == "warmup_stable_decay" else None
        ),  # a share too: DialogueTrainer knows of how many
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        adam_epsilon=recipe.adam_epsilon,
        max_grad_norm=recipe.max_grad_norm,
        neftune_noise_alpha=recipe.neftune_noise_alpha,
        num_train_epochs=recipe.num_train_epochs,
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.per_device_train_batch_size,
        per_device_eval_batch_size=recipe.per_device_eval_batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        activation_checkpointing=recipe.gradient_checkpointing,  # its new name
        activation_offloading=recipe.activation_offloading,
        use_liger_kernel=recipe.use_liger_kernel,  # all but its loss: TRL's fused head stays
        logging_steps=recipe.logging_steps,
        logging_nan_inf_filter=False,  # would replace a NaN loss by an average without a word
        eval_strategy="no" if recipe.eval_steps is None or not holds_out else "steps",
        eval_steps=recipe.eval_steps,
        save_strategy="no" if recipe.save_steps is None else "steps",
        save_steps=recipe.save_steps or 500,
        save_total_limit=None,  # we remove old checkpoints ourselves, after the newest is known to be whole
        seed=recipe.seed,
        report_to=recipe.report_to,
        bf16=recipe.dtype == "bfloat16",
        use_cpu=launch.device == "cpu",
        average_tokens_across_devices=True,  # the loss is per trained token of the global batch
        ddp_find_unused_parameters=False,  # every parameter takes part in every micro-batch
        dataloader_pin_memory=launch.device != "cpu",
        disable_tqdm=True,  # training/progress.py shows the progress
        log_level="warning",
        # The rows are encoded, labelled and packed already.
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        padding_free=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one process, one GPU, however many it can see: no DataParallel
    return arguments


def _check_tracker(recipe: Recipe) -> None:
    tracker = recipe.report_to
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise NotHere(f"report_to: {tracker} is not installed; pip install -e '.[{tracker}]', or set report_to: none")


def _check_gpu_settings(recipe: Recipe, launch: Launch) -> None:
    """Said before the model is loaded."""
    for field in ("activation_offloading", "use_liger_kernel"):
        if getattr(recipe, field) and launch.device == "cpu":
            raise NotHere(f"{field}: does nothing without a GPU, and this run is on the CPU; set {field}: false")
    if recipe.use_liger_kernel and importlib.util.find_spec("liger_kernel") is None:
        raise NotHere(
            "use_liger_kernel: liger-kernel is not installed; pip install -e '.[liger-kernel]', or set it to false"
        )
