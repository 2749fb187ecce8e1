"""What is known of a checkpoint before its weights are loaded: base model, encoder, stop tokens, hashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from data_prep.encode import Encoder, load_tokenizer
from eval.protocol import EvalError
from eval.report import file_sha256
from recipes.manifest import read_manifest

HASHED = ("*.safetensors", "pytorch_model*.bin", "adapter_*", "config.json", "generation_config.json", "tokenizer*",
          "chat_template*")  # fmt: skip


def adapter_base(name: str) -> str | None:
    """The base model of an adapter directory, None for anything else. Raises EvalError where that base is gone."""
    config = Path(name) / "adapter_config.json"
    if not config.is_file():
        if not Path(name).exists() and _looks_local(name):
            raise EvalError(f"{name}: no such directory; give a checkpoint, an adapter directory, or a hub id")
        return None
    base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise EvalError(
            f"{config} names no base_model_name_or_path; set it to the model that the adapter was trained on"
        )
    if not Path(base).exists() and _looks_local(base):
        raise EvalError(
            f"adapter {name} needs its base model {base}, which is not there; put it back, or write its new place as "
            f"base_model_name_or_path into {config}"
        )
    return base


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def encoder_home(name: str, base: str | None) -> str:
    """Where tokenizer and template are: beside an adapter that was saved with them, else with its base model."""
    return name if base is None or (Path(name) / "tokenizer_config.json").is_file() else base


def stop_ids_of(encoder: Encoder, name: str, base_config: GenerationConfig) -> list[int]:
    """Ids that end a turn: the template's, and those of the checkpoint's generation_config.json, else its base's."""
    beside = (Path(name) / "generation_config.json").is_file()
    stops = (GenerationConfig.from_pretrained(name) if beside else base_config).eos_token_id
    return sorted({*encoder.stop_token_ids, *([] if stops is None else [stops] if isinstance(stops, int) else stops)})


def make_encoder(tokenizer_home: str, name: str, tool_format: str | None, chat_template: str | None) -> Encoder:
    """The encoder as the manifest beside the checkpoint says; options override, and without a manifest it is `auto`.

    Text that looks like a control token is encoded as plain text: the model's own words go back into the prompt. Raises
    EvalError where the saved template is not the one that was trained on.
    """
    manifest = read_manifest(name) if Path(name).is_dir() else None
    facts = manifest["encoder"] if manifest else {}
    encoder = Encoder(
        load_tokenizer(tokenizer_home),
        tool_format=tool_format or facts.get("tool_format", "auto"),  # type: ignore[arg-type]
        chat_template=chat_template,
        history=facts.get("history", "as_inferred"),
        control_text="plain",
    )
    found, trained = encoder.facts()["template_sha256"], facts.get("template_sha256")
    if trained and chat_template is None and found != trained:
        raise EvalError(
            f"{name}: its chat template (sha256 {found[:12]}) is not the one in manifest.json ({trained[:12]}); "
            "restore chat_template.jinja, or choose a template with --chat-template"
        )
    return encoder


def hashes_of(source: str, config: Any) -> dict[str, str]:
    """sha256 of a directory's model and tokenizer files; a hub id's commit."""
    folder = Path(source)
    if not folder.is_dir():
        return {"hub": source, "commit": str(config._commit_hash)}
    files = sorted({file for pattern in HASHED for file in folder.glob(pattern) if file.is_file()})
    return {file.name: file_sha256(file) for file in files}
