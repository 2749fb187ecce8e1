"""README.md of a checkpoint, the hub's model card: from its manifest, with scores once there are reports.

    write_card(folder, manifest)               training: no scores yet
    write_card(folder, manifest, reports)      python -m eval card RUN_DIR

A README.md without MARK is someone's own: `is_ours` tells, and an evaluation leaves it alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE_NAME = "README.md"
MARK = "<!-- Written from manifest.json and the reports beside it; delete this line to keep your own changes. -->"
REPOSITORY_LICENCE = "Apache-2.0"
UNKNOWN = "not stated; see where it comes from"
# What the card shows of a recipe, in this order.
SETTINGS = (
    "dtype", "use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "learning_rate",
    "lr_scheduler_type", "warmup_ratio", "weight_decay", "max_grad_norm", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "max_length", "packing", "train_on",
    "only_last_turn", "loss_weights", "decontaminate", "deduplicate", "seed",
)  # fmt: skip


class BaseModel(NamedTuple):
    """A model that shipped recipes start from: its id and its licence, as the hub spells them, and in words."""

    hub_id: str
    licence: str
    words: str


BASE_MODELS = (
    BaseModel("google/gemma-7b", "gemma", "Gemma Terms of Use"),
    BaseModel("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", "Apache-2.0, Allal et al. 2025 (arXiv 2502.02737)"),
    BaseModel("meta-llama/Meta-Llama-3-8B", "llama3", 'Meta Llama 3 Community License ("Built with Meta Llama 3")'),
    BaseModel("meta-llama/Meta-Llama-3-70B", "llama3", 'Meta Llama 3 Community License ("Built with Meta Llama 3")'),
    BaseModel("mistralai/Mistral-7B-v0.1", "apache-2.0", "Apache-2.0"),
    BaseModel("Qwen/Qwen2-7B", "apache-2.0", "Apache-2.0"),
    BaseModel("Qwen/Qwen2-72B", "other", "Tongyi Qianwen License Agreement"),
)


def base_model(name: str) -> BaseModel:
    """The model by its hub id or by the name of a local folder; one that no shipped recipe uses states no licence."""
    last = os.path.basename(os.path.normpath(name)).lower()
    for known in BASE_MODELS:
        if last == os.path.basename(known.hub_id).lower():
            return known
    is_hub_id = name.count("/") == 1 and not os.path.exists(name) and not name.startswith((".", "/", "~"))
    return BaseModel(name if is_hub_id else "", "unknown", UNKNOWN)


def write_card(folder: str | Path, manifest: Mapping[str, Any], reports: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write README.md, whole or not at all; returns its path."""
    target = Path(folder) / FILE_NAME
    scratch = target.with_name(f".{FILE_NAME}.{os.getpid()}")
    try:
        scratch.write_text(model_card(manifest, reports), encoding="utf-8")
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
    return target


def is_ours(folder: str | Path) -> bool:
    """Whether README.md was written here, or is not there at all."""
    path = Path(folder) / FILE_NAME
    return not path.exists() or MARK in path.read_text(encoding="utf-8", errors="replace")


def model_card(manifest: Mapping[str, Any], reports: Sequence[Mapping[str, Any]] = ()) -> str:
    """The card's text: YAML front matter, then data, training, scores and use."""
    recipe = manifest["recipe"]
    base = base_model(recipe["model_name_or_path"])
    commit = (manifest.get("git") or {}).get("commit")
    how = f"a LoRA adapter of rank {recipe['lora_r']}" if recipe["use_peft"] else "all weights"
    lines = [
        "---",
        _front_matter(manifest, base, reports),
        "---",
        MARK,
        "",
        f"# {recipe['name']}",
        "",
        f"`{recipe['model_name_or_path']}` fine-tuned on multi-turn dialogues ({how}) by multiturn-recipes"
        + (f", commit `{commit[:12]}`" if commit else "") + ".",
        "",
        f"Base model: {base.hub_id or recipe['model_name_or_path']}; licence: {base.words}.",
        "",
        *_data(manifest),
        *_training(manifest),
        *_scores(reports),
        *_use(manifest),
    ]  # fmt: skip
    return "\n".join(lines)


def _front_matter(manifest: Mapping[str, Any], base: BaseModel, reports: Sequence[Mapping[str, Any]]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    recipe = manifest["recipe"]
    results = [
        EvalResult(
            task_type="text-generation", dataset_type=task, dataset_name=task, metric_type=metric, metric_name=metric,
            metric_value=round(100 * row["score"], 2),
        )
        for task, metric, row in _rows(reports)
    ]  # fmt: skip
    hub_ids = [source["hub_id"] for source in _sources(manifest) if source.get("hub_id")]
    card = ModelCardData(
        base_model=base.hub_id or None,  # the hub takes ids only
        datasets=sorted(set(hub_ids)) or None,
        license=base.licence,
        license_name="see-below" if base.licence == "other" else None,
        library_name="peft" if recipe["use_peft"] else "transformers",
        pipeline_tag="text-generation",
        tags=["multi-turn", "multiturn-recipes", "sft", "trl", *(["lora"] if recipe["use_peft"] else [])],
        model_name=recipe["name"],
        eval_results=results or None,
    )
    return card.to_yaml(line_break="\n").strip()


def _rows(reports: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for report in reports:
        for task, found in report["tasks"].items():
            for metric, row in found["metrics"].items():
                yield task, metric, row


def _sources(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return manifest["data"].get("sources", [])


def _data(manifest: Mapping[str, Any]) -> list[str]:
    lines = ["## Data", "", "| source | rows from | licence and attribution |", "|---|---|---|"]
    for source in _sources(manifest):
        lines.append(f"| {source['source']} | {_cell(source['path'])} | {_cell(source['licence'])} |")
    return [*lines, ""]


def _training(manifest: Mapping[str, Any]) -> list[str]:
    recipe, launch = manifest["recipe"], manifest["launch"]
    settings = [key for key in SETTINGS if recipe["use_peft"] or not key.startswith("lora_")]
    reached = [f"{manifest[key]:,} {words}" for key, words in
               (("step", "optimizer steps"), ("trained_tokens", "trained tokens")) if key in manifest]  # fmt: skip
    reached += [f"{manifest['data'][key]:,} {words}" for key, words in
                (("rows", "training rows"), ("held_out_rows", "held out")) if key in manifest["data"]]  # fmt: skip
    lines = ["## Training", "", f"{'; '.join(reached)}." if reached else "", ""]
    lines += ["| setting | value |", "|---|---|", *(f"| {key} | {_cell(_shown(recipe[key]))} |" for key in settings)]
    if launch:
        lines.append(f"| launch | {launch['distributed_type']}, {launch['processes']} x {launch['device']} |")
    packages = ", ".join(f"{name} {version}" for name, version in manifest["packages"].items())
    return [*lines, "", f"Packages: {packages}. All of it stands in `manifest.json`.", ""]


def _scores(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    if not reports:
        return []
    lines = [
        "## Evaluation",
        "",
        "| task | metric | n | score % | 95 % interval | unparsed |",
        "|---|---|---:|---:|---|---:|",
    ]
    for task, metric, row in _rows(reports):
        bounds = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        lines.append(
            f"| {task} | {metric} | {row['n']:,} | {100 * row['score']:.1f} | {bounds} | {row['unparsed']:,} |"
        )
    return [*lines, "", "Unparsed answers count as wrong. Metrics are described by `python -m eval list`.", ""]


def _use(manifest: Mapping[str, Any]) -> list[str]:
    tools = manifest["encoder"].get("tool_format")
    return [
        "## Use",
        "",
        f"Prompts are made with the chat template beside the weights; tools are written in the {tools} format. The "
        "generation config lists every stop token that was trained.",
        "",
    ]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
