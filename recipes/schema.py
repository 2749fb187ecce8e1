"""The recipe's schema: `learning_rate: 2.0e-5` in a YAML is the field `Recipe.learning_rate` here, and nowhere else.

Flat, frozen, and complete: every default of a run stands in this file. Training fields carry the names of transformers'
TrainingArguments. Paths are relative to the directory the command is run from, the repository's root.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

Part = Literal["thought", "call", "answer"]
# transformers' schedules that need nothing beyond the warm-up and, the last one, the decay.
Schedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "warmup_stable_decay",
]  # fmt: skip

# Attention implementations that keep packed dialogues apart given restarting positions and no mask: transformers
# derives a block-diagonal mask from the positions, FlashAttention its variable-length kernel.
HONOURS_BORDERS = ("sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3")


class RecipeError(ValueError):
    """A recipe that cannot be run; the message lists every problem found, each with its remedy."""


def _as_tuple(value: Any) -> Any:
    """One path or one name may be written without the list around it."""
    return (value,) if isinstance(value, str) else value


def _no_bool(value: Any) -> Any:
    """`true` where a number belongs would silently become 1."""
    if isinstance(value, bool):
        raise ValueError("wanted a number")
    return value


def _whole(value: Any) -> Any:
    """YAML reads `1e3` as text; take it as the whole number it writes."""
    _no_bool(value)
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        if number.is_integer():
            return int(number)
    return value


# Seeds and steps of numpy, torch and DeepSpeed all take this much; more would be a traceback after the model is loaded.
Int = Annotated[int, BeforeValidator(_whole), Field(le=2**31 - 1)]
Float = Annotated[float, BeforeValidator(_no_bool)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]


class Frozen(BaseModel):
    """What recipes are made of: unknown keys fail, nothing changes after loading, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class DataSource(Frozen):
    """One entry of `train_data` or `held_out_data`."""

    source: str = Field(min_length=1, description="Format of the rows: a name in data_prep.sources.SOURCES.")
    path: Names = Field(min_length=1, description="Files to read, in order, or one hub data set id.")
    split: str = Field("train", description="Split of a hub data set; files have none.")
    revision: str | None = Field(None, description="Git revision that pins a hub data set.")
    weight: Float | None = Field(
        None, gt=0, description="Share of the mixture is this over the sum; all entries have one, or none."
    )
    samples: Int | None = Field(None, ge=1, description="Take this many rows, drawn by the seed without repetition.")
    repeat: Int = Field(1, ge=1, description="Times each training row appears in an epoch.")


class Recipe(Frozen):
    """One run. `python -m recipes show RECIPE` prints it resolved."""

    name: str = Field(pattern=r"^[\w.-]+$", description="Name of the run in logs, reports and trackers.")

    # Model
    model_name_or_path: str = Field(min_length=1, description="Hub id, local checkpoint, or PEFT adapter directory.")
    model_revision: str | None = Field(None, description="Git revision that pins a hub model.")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="Number format of the weights in training.")
    attn_implementation: str = Field("sdpa", min_length=1, description="Attention of transformers: sdpa, eager, ...")

    # From dialogues to tokens
    chat_template: str | None = Field(
        None, description="Null for the model's own; else the name of a shipped template, a file, or Jinja text."
    )
    template_kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Variables the template is given, in training and in evaluation."
    )
    tool_format: Literal["auto", "native", "button"] = Field(
        "auto",
        description="Tools by the template (native), as BUTTON's text (button), or native where it is loss-free.",
    )
    history: Literal["as_inferred", "error"] = Field(
        "as_inferred", description="Where the template rewrites earlier turns: one sample per turn, or an error."
    )
    control_text: Literal["reject", "plain"] = Field(
        "reject", description="Text in a row that spells a control token: reject the row, or encode it as plain text."
    )

    # Data
    train_data: tuple[DataSource, ...] = Field(min_length=1, description="What is trained on.")
    held_out_data: tuple[DataSource, ...] | None = Field(
        None, min_length=1, description="What is held out for the loss and the evaluation: this, or held_out_share."
    )
    held_out_share: Float | None = Field(
        None, ge=0, lt=1, description="Share of the training data's groups to hold out instead; 0 holds out nothing."
    )
    deduplicate: Literal["none", "exact", "near"] = Field(
        "exact", description="What repeats an earlier dialogue is set aside: equals (exact), or similar too (near)."
    )
    decontaminate: Names = Field(
        (), description="Evaluation sets whose text is not trained on: gsm8k, mathchat (as downloaded), or files."
    )
    group_by: Literal["auto", "tools", "content", "id"] = Field(
        "auto", description="What may not be on both sides of that split; auto is tools where there are any."
    )
    train_on: tuple[Part, ...] = Field(
        ("thought", "call", "answer"), min_length=1, description="Parts of the assistant's turns that are trained."
    )
    only_last_turn: bool = Field(
        False, description="Of each dialogue, train only the last assistant turn that is not marked train: false."
    )
    loss_weights: dict[Part, Annotated[Float, Field(gt=0)]] = Field(
        default_factory=dict, description="Weights of parts in the loss; only their ratios matter, and 1 if not named."
    )
    max_length: Int = Field(8192, ge=16, description="Longest sample, in tokens.")
    over_length: Literal["drop", "truncate_turns", "error"] = Field(
        "drop", description="What a dialogue over max_length meets: drop, truncate_turns (after a whole turn), error."
    )
    max_rejected: Float = Field(
        0.05, ge=0, le=1, description="Share of rows that may be rejected before a build fails."
    )
    packing: bool = Field(True, description="Put whole dialogues together in rows of max_length, kept apart exactly.")
    share_prefixes: bool = Field(
        False, description="Pack dialogues that begin alike side by side, and compute their common beginning once."
    )
    seed: Int = Field(42, ge=0, description="Seed of sampling, shuffling, splitting, adapter weights and dropout.")

    # Training
    output_dir: str = Field(min_length=1, description="Where the checkpoints and the final model go.")
    use_peft: bool = Field(False, description="Train a LoRA adapter instead of all weights.")
    lora_r: Int = Field(16, ge=1, description="Rank of the adapter.")
    lora_alpha: Float = Field(32, gt=0, description="Scale of the adapter, divided by its rank.")
    lora_dropout: Float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter.")
    lora_target_modules: str | tuple[Name, ...] = Field(
        "all-linear", min_length=1, description="Modules that get an adapter: names, a pattern, or all-linear."
    )
    lora_modules_to_save: Names = Field(
        (), description="Modules trained whole beside the adapter: [embed_tokens, lm_head] where tokens are new."
    )
    use_rslora: bool = Field(False, description="Divide lora_alpha by the root of the rank (arXiv 2312.03732).")
    use_dora: bool = Field(False, description="Train the weights' magnitudes apart (DoRA, arXiv 2402.09353).")
    load_in_4bit: bool = Field(False, description="QLoRA: frozen weights in NF4; needs a GPU and extra bitsandbytes.")
    new_tokens: Names = Field(
        (), description="Control tokens that the vocabulary lacks; they begin as the mean of all embeddings."
    )
    neftune_noise_alpha: Float | None = Field(
        None, gt=0, description="Noise on the embeddings while training (NEFTune, arXiv 2310.05914); null for none."
    )
    learning_rate: Float = Field(gt=0, description="Peak learning rate.")
    lr_scheduler_type: Schedule = Field("cosine", description="Schedule of the learning rate.")
    warmup_ratio: Float = Field(0.03, ge=0, lt=1, description="Share of the steps that warm up.")
    decay_ratio: Float = Field(
        0.2, gt=0, le=1, description="Share of the steps that decay, the last ones, under warmup_stable_decay."
    )
    weight_decay: Float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    adam_beta1: Float = Field(0.9, ge=0, lt=1, description="AdamW's decay of the mean of gradients.")
    adam_beta2: Float = Field(0.999, ge=0, lt=1, description="AdamW's decay of the mean of their squares.")
    adam_epsilon: Float = Field(1e-8, gt=0, description="What AdamW adds to the root before it divides.")
    max_grad_norm: Float = Field(1.0, ge=0, description="Gradients are clipped to this norm.")
    num_train_epochs: Float = Field(1.0, gt=0, le=1e6, description="Passes over the training data.")
    max_steps: Int = Field(-1, ge=-1, description="Optimizer steps; a positive number wins over num_train_epochs.")
    per_device_train_batch_size: Int = Field(1, ge=1, description="Rows per process and micro-batch.")
    per_device_eval_batch_size: Int = Field(1, ge=1, description="Rows per process in the held-out loss.")
    gradient_accumulation_steps: Int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    gradient_checkpointing: bool = Field(False, description="Recompute activations to save memory.")
    activation_offloading: bool = Field(
        False, description="Keep activations in main memory till they are needed; GPUs."
    )
    use_liger_kernel: bool = Field(False, description="Layers in Liger's fused kernels; needs a GPU.")
    logging_steps: Int = Field(1, ge=1, description="Optimizer steps between log lines.")
    eval_steps: Int | None = Field(None, ge=1, description="Steps between held-out losses; null for the end only.")
    save_steps: Int | None = Field(None, ge=1, description="Steps between checkpoints; null for the final model only.")
    save_total_limit: Int | None = Field(2, ge=1, description="Newest checkpoints kept; null keeps all.")
    resume: str = Field(
        "auto", min_length=1, description="auto: the newest checkpoint in output_dir; never; or a path."
    )
    sample_every: Int | None = Field(
        None, ge=1, description="Steps between answers generated to a few held-out dialogues; null for none."
    )
    stop_on_anomaly: bool = Field(
        True, description="End the run, saved, when the loss diverges or is exactly 0; one that is NaN always ends it."
    )
    stuck_timeout_s: Float = Field(
        1800, gt=0, description="Seconds without progress after which a job of several processes is ended."
    )
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = Field("none", description="Where metrics also go.")
    push_to_hub: bool = Field(False, description="Upload the final model to the hub, to a private repository.")
    hub_model_id: str | None = Field(None, min_length=1, description="Where to, as owner/name; push_to_hub needs it.")
    eval_after: Names = Field(
        (), description="Tasks of `python -m eval list` that the final model is evaluated on, once it is saved."
    )

    @model_validator(mode="after")
    def _check_together(self) -> Recipe:
        problems = list(cross_field_problems(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def cross_field_problems(recipe: Recipe) -> list[str]:
    """What is wrong between fields that are right one by one; each line says what to change."""
    problems = []
    if recipe.max_steps == 0:
        problems.append("max_steps: 0 trains nothing; give a positive number, or -1 to let num_train_epochs decide")
    if recipe.packing and recipe.attn_implementation not in HONOURS_BORDERS:
        problems.append(
            f"packing: attention {recipe.attn_implementation!r} is not known to keep packed dialogues apart; "
            f"set packing: false, or attn_implementation to one of {', '.join(HONOURS_BORDERS)}"
        )
    if not recipe.use_peft:
        for field in ("load_in_4bit", "use_rslora", "use_dora", "lora_modules_to_save"):
            if getattr(recipe, field):
                problems.append(f"{field}: is of an adapter, and use_peft is false; set use_peft: true")
    elif recipe.new_tokens and not recipe.lora_modules_to_save:
        problems.append(
            "new_tokens: an adapter leaves the embeddings as they are, so nothing would be learnt of these tokens; set "
            "lora_modules_to_save: [embed_tokens, lm_head]"
        )
    if recipe.lr_scheduler_type == "warmup_stable_decay" and recipe.warmup_ratio + recipe.decay_ratio > 1:
        problems.append("warmup_ratio, decay_ratio: together they are more than all steps; make their sum 1 or less")
    if recipe.lr_scheduler_type == "polynomial" and recipe.learning_rate <= 1e-7:
        problems.append("learning_rate: the polynomial schedule ends at 1e-7; give a higher rate, or another schedule")
    if recipe.push_to_hub and recipe.hub_model_id is None:
        problems.append("push_to_hub: needs a place; set hub_model_id: owner/name")
    if recipe.share_prefixes and not (recipe.packing and recipe.attn_implementation == "sdpa"):
        problems.append("share_prefixes: needs packing: true and attn_implementation: sdpa")
    if (recipe.held_out_data is None) == (recipe.held_out_share is None):
        problems.append(
            "held_out_data, held_out_share: exactly one of them must be given; "
            "held_out_share: 0 says that nothing is held out"
        )
    for field in ("eval_steps", "sample_every"):
        if recipe.held_out_share == 0 and getattr(recipe, field) is not None:
            problems.append(f"{field}: nothing is held out (held_out_share: 0); set {field}: null")
    for field, what in (("decontaminate", "set"), ("train_on", "part"), ("new_tokens", "token")):
        names = getattr(recipe, field)
        for repeated in sorted({name for name in names if names.count(name) > 1}):
            problems.append(f"{field}: {repeated!r} is listed twice; list each {what} once")
    if isinstance(recipe.lora_target_modules, str):
        try:
            re.compile(recipe.lora_target_modules)
        except re.error as error:
            problems.append(
                f"lora_target_modules: {recipe.lora_target_modules!r} is no pattern ({error}); give all-linear, a "
                f"regular expression for whole module names, or a list of names"
            )
    for part in sorted(recipe.loss_weights.keys() - set(recipe.train_on)):
        problems.append(f"loss_weights: {part!r} is not trained; add it to train_on, or leave out its weight")
    for field, sources in (("train_data", recipe.train_data), ("held_out_data", recipe.held_out_data or ())):
        with_weight = [source.weight is not None for source in sources]
        if any(with_weight) and not all(with_weight):
            problems.append(f"{field}: some entries have a weight and some have none; give every entry one, or none")
    shared = _files(recipe.train_data) & _files(recipe.held_out_data or ())
    for path, split in sorted(shared):
        problems.append(f"held_out_data: {path} (split {split}) is also trained on; hold out other rows")
    return problems


def _files(sources: tuple[DataSource, ...]) -> set[tuple[str, str]]:
    """(path, split) of every input, spelled one way: `./a.jsonl` and `a.jsonl` are one file."""
    found = set()
    for source in sources:
        for path in source.path:
            is_file = os.path.exists(path) or path.startswith((".", "/"))
            found.add((os.path.realpath(path), "") if is_file else (os.path.normpath(path), source.split))
    return found
