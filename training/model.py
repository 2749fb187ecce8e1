"""MODEL to a trainable model: a local checkpoint, a PEFT adapter directory, or a hub id."""

from __future__ import annotations

import difflib
import importlib.util
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.integrations import is_deepspeed_zero3_enabled

from data_prep.encode import Encoder, load_encoder
from recipes.schema import Recipe
from training.attention import implementation_for


class ModelError(RuntimeError):
    """The model cannot be had; the message names it and says what to do."""


def encoder_of(recipe: Recipe) -> Encoder:
    """The recipe's encoder. Raises ModelError where its tokenizer or its chat template cannot be had."""
    base_of_adapter(recipe.model_name_or_path)
    try:
        return load_encoder(recipe)
    except OSError as error:
        raise ModelError(
            f"model_name_or_path {recipe.model_name_or_path!r} is neither a local checkpoint nor a model that can be "
            f"fetched: {_first_line(error)} Check the spelling, the network, and your access to the model"
        ) from error
    except ValueError as error:
        raise ModelError(f"no encoder for {recipe.model_name_or_path!r}: {_first_line(error)}") from error


def load_model(recipe: Recipe, dtype: torch.dtype, vocabulary: int) -> PreTrainedModel | PeftModel:
    """The recipe's model in `dtype` with the attention it trains with, its embeddings at least `vocabulary` tokens.

    The last of these are the recipe's new tokens, which begin as the mean of all the others.

    An adapter directory gives its base model with the adapter: trained further as it is where the recipe uses PEFT,
    else folded into the weights. Raises ModelError, also where the recipe describes another adapter than that one.
    """
    name = recipe.model_name_or_path
    base = base_of_adapter(name)
    model = _pretrained(
        base or name, None if base else recipe.model_revision, recipe, dtype, adapter=name if base else None
    )
    fit_vocabulary(model, vocabulary)
    if base is None and recipe.new_tokens:
        average_rows(model, vocabulary - len(recipe.new_tokens), vocabulary)
    if base is None:
        if recipe.use_peft:
            check_modules(recipe, model)
        return model
    if recipe.use_peft:
        check_adapter(recipe, name)
    adapted = PeftModel.from_pretrained(model, name, is_trainable=recipe.use_peft)
    return adapted if recipe.use_peft else adapted.merge_and_unload()


def lora_config(recipe: Recipe) -> LoraConfig:
    """The recipe's adapter."""
    targets = recipe.lora_target_modules
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=list(recipe.lora_modules_to_save) or None,
        # A head that is the table of embeddings stays it: whole modules are copied, and without this each on its own.
        ensure_weight_tying=bool(recipe.lora_modules_to_save),
        use_rslora=recipe.use_rslora,
        use_dora=recipe.use_dora,
        task_type="CAUSAL_LM",
    )


def check_modules(recipe: Recipe, model: PreTrainedModel) -> None:
    """Raise ModelError for a listed name that is no module's: PEFT passes over it as long as another one is."""
    names = [name for name, _ in model.named_modules()]
    listed = {"lora_target_modules": recipe.lora_target_modules, "lora_modules_to_save": recipe.lora_modules_to_save}
    for field, wanted in listed.items():
        for name in () if isinstance(wanted, str) else wanted:
            if not any(known == name or known.endswith(f".{name}") for known in names):
                ends = sorted({known.rpartition(".")[2] for known in names} - {""})
                close = difflib.get_close_matches(name, ends, n=1, cutoff=0.0)
                raise ModelError(f"{field}: {name!r} names no module of the model; did you mean {close[0]!r}?")


def check_adapter(recipe: Recipe, folder: str) -> None:
    """Raise ModelError where the adapter that is trained further is another one than the recipe describes."""
    saved, wanted = LoraConfig.from_pretrained(folder), lora_config(recipe)
    fields = {"lora_r": "r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout", "use_rslora": "use_rslora",
              "use_dora": "use_dora"}  # fmt: skip
    pairs = {field: (getattr(saved, name), getattr(wanted, name)) for field, name in fields.items()}
    pairs["lora_modules_to_save"] = (sorted(saved.modules_to_save or ()), sorted(wanted.modules_to_save or ()))
    other = [f"{field} is {had!r}, the recipe says {asked!r}" for field, (had, asked) in pairs.items() if had != asked]
    if other:
        raise ModelError(
            f"{folder} is an adapter that is trained further as it is: its {'; its '.join(other)}. Make the recipe "
            f"like it, or merge it first (python -m training merge) and train a new adapter on the result"
        )


def quantization_of(recipe: Recipe, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How QLoRA keeps frozen weights (arXiv 2305.14314); None without it. Raises ModelError without bitsandbytes.

    Stored as `dtype`, so that ZeRO-3 and FSDP can cut the weights into shards.
    """
    if not recipe.load_in_4bit:
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "load_in_4bit needs bitsandbytes, which is not installed: `pip install -e .[bitsandbytes]`; or "
            "set load_in_4bit: false for LoRA on 16-bit weights"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,
    )


def fit_vocabulary(model: PreTrainedModel, vocabulary: int) -> None:
    """Give the embeddings, and a head of its own, a row for each token of a vocabulary with new tokens."""
    if vocabulary > model.config.get_text_config().vocab_size:  # a weight's own shape is empty under ZeRO-3
        model.resize_token_embeddings(vocabulary, mean_resizing=False)


@torch.no_grad()
def average_rows(model: PreTrainedModel, start: int, stop: int) -> None:
    """Make rows `start` to `stop` of embeddings and head the mean of those before, spare rows of the vocabulary too.

    A model then gives new tokens a small probability from the start, where random rows can win over all others
    (nlp.stanford.edu/~johnhew/vocab-expansion.html).
    """
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        with _whole(module.weight):
            module.weight[start:stop] = module.weight[:start].float().mean(0).to(module.weight.dtype)


def _whole(weight: torch.Tensor) -> AbstractContextManager[None]:
    """Within it a weight that ZeRO-3 holds in shards is whole, and what is written to it on rank 0 is kept."""
    if not is_deepspeed_zero3_enabled():
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([weight], modifier_rank=0)


def base_of_adapter(name: str) -> str | None:
    """The base model that an adapter directory names; None where `name` is no adapter directory. Raises ModelError."""
    config = Path(name) / "adapter_config.json"
    if not config.is_file():
        return None
    try:
        base = dict(json.loads(config.read_text(encoding="utf-8"))).get("base_model_name_or_path")
    except (ValueError, TypeError) as error:
        raise ModelError(f"{config} is no JSON object ({error}); restore it, or give the base model itself") from None
    if not base:
        raise ModelError(f"{config} names no base model; add base_model_name_or_path, or give the base model itself")
    return str(base)


def _pretrained(
    name: str, revision: str | None, recipe: Recipe, dtype: torch.dtype, adapter: str | None
) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            attn_implementation=implementation_for(recipe.attn_implementation),
            quantization_config=quantization_of(recipe, dtype),
        )
    except OSError as error:
        if adapter:
            raise ModelError(
                f"{adapter} is an adapter, and its base model {name!r} cannot be loaded: {_first_line(error)} Put the "
                f"base model there, or correct base_model_name_or_path in {adapter}/adapter_config.json"
            ) from error
        raise ModelError(
            f"model_name_or_path {name!r} is neither a local checkpoint nor a model that can be fetched: "
            f"{_first_line(error)} Check the spelling, the network, and your access to the model"
        ) from error
    except (ImportError, ValueError, SafetensorError) as error:
        raise ModelError(f"{name}: {_first_line(error)}") from error
    model.config.use_cache = False
    return model


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
