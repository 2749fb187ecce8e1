"""A recipe's training fields as TRL's SFTConfig; every value that is not the recipe's stands here with its reason."""

from __future__ import annotations

import torch
from trl import SFTConfig

from recipes.schema import Recipe
from training.launch import Launch


def load_dtype(recipe: Recipe, launch: Launch) -> torch.dtype:
    """The dtype the weights are loaded in.

    Training all weights in bfloat16 alone loses small updates: float32 weights are kept, and autocast computes in
    bfloat16. DeepSpeed keeps float32 copies of its own, and under LoRA the frozen weights need none.
    """
    mixed = recipe.dtype == "bfloat16"
    return torch.bfloat16 if mixed and (recipe.use_peft or "DEEPSPEED" in launch.distributed_type) else torch.float32


def training_arguments(recipe: Recipe, launch: Launch, holds_out: bool) -> SFTConfig:
    """The Trainer's arguments. Made before the model, since DeepSpeed ZeRO-3 shards the model while it is loaded."""
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
