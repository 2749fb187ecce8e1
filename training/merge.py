"""python -m training merge ADAPTER --out DIR: fold a LoRA adapter into its base model, and prove that nothing changed.

The result is an ordinary model directory with the adapter's tokenizer, chat template, generation config and manifest,
so that servers without PEFT can run it and `eval` prompts it as it was trained.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from training.model import ModelError, base_of_adapter, fit_vocabulary

CARRIED = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "chat_template.jinja",
    "generation_config.json", "manifest.json",
)  # fmt: skip
PROBE_TOKENS = 64


def merge(adapter: Path, out: Path) -> float:
    """Write the merged model to `out`, which must not exist yet.

    Returns the largest difference of a log-probability between the adapter and the merged model as it was saved, in
    nats, over PROBE_TOKENS arbitrary tokens, both in float32: rounding of activations would hide a lost adapter.
    Raises ModelError for a directory that is no adapter, damaged weights, a missing base model, an `out` in use, or a
    merge that changes what the model says: in float32 by more than rounding explains, in a shorter dtype by more than
    half of what the adapter does.
    """
    base = base_of_adapter(str(adapter))
    if base is None:
        raise ModelError(
            f"{adapter} is no adapter directory: it holds no adapter_config.json; give the trained adapter"
        )
    if out.exists():
        raise ModelError(f"{out} exists already; give --out a folder that does not exist yet")
    revision = PeftConfig.from_pretrained(adapter).revision
    try:
        model = AutoModelForCausalLM.from_pretrained(base, revision=revision, dtype="auto")
    except OSError as error:
        raise ModelError(
            f"{adapter} is an adapter, and its base model {base!r} cannot be loaded: {str(error).splitlines()[0]} Put "
            f"the base model there, or correct base_model_name_or_path in {adapter}/adapter_config.json"
        ) from error
    if (adapter / "tokenizer_config.json").exists():  # one with new tokens, or the base model's own
        fit_vocabulary(model, len(AutoTokenizer.from_pretrained(adapter)))
    dtype = model.dtype
    try:
        adapted = PeftModel.from_pretrained(model.float(), str(adapter)).eval()
    except SafetensorError as error:
        raise ModelError(f"{adapter}: its weights are damaged ({error}); copy or train the adapter again") from error
    before = _log_probabilities(adapted)
    with adapted.disable_adapter():
        effect = _largest(before - _log_probabilities(adapted))
    merged = adapted.merge_and_unload(safe_merge=True).to(dtype)
    if merged.get_output_embeddings().weight.data_ptr() != merged.get_input_embeddings().weight.data_ptr():
        merged.config.tie_word_embeddings = False  # trained apart: a tied model would lose its head when it is saved
    with _whole_or_absent(out) as folder:
        _save(merged, adapter, folder)
        del model, adapted, merged  # one model at a time in memory
        reloaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        difference = _largest(_log_probabilities(reloaded) - before)
        rounding = 64 * torch.finfo(torch.float32).eps * _largest(before)
        allowed = rounding if dtype == torch.float32 else max(rounding, effect / 2)
        if not difference <= allowed:
            raise ModelError(
                f"merging {adapter} into {base} changes log-probabilities by up to {difference:.2g}, more than the "
                f"{allowed:.2g} allowed in {dtype}; the adapter itself changes them by up to {effect:.2g}. Keep the "
                f"adapter as it is, or load the base model in float32"
            )
    return difference


def _largest(values: torch.Tensor) -> float:
    return values.abs().max().item()


@torch.no_grad()
def _log_probabilities(model: PreTrainedModel | PeftModel) -> torch.Tensor:
    """(PROBE_TOKENS, vocabulary) float32."""
    ids = torch.arange(PROBE_TOKENS)[None] * 7919 % model.config.vocab_size
    return model(input_ids=ids).logits[0].float().log_softmax(-1)


def _save(merged: PreTrainedModel, adapter: Path, folder: Path) -> None:
    merged.save_pretrained(folder)
    for name in CARRIED:
        if (adapter / name).exists():
            shutil.copy2(adapter / name, folder / name)


@contextmanager
def _whole_or_absent(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` if the body succeeds, and vanishes if it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "whole"
        yield folder
        folder.rename(out)
