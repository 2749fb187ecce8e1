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
    nats, over PROBE_TOKENS arbitrary tokens.
    Raises ModelError for a directory that is no adapter, a missing base model, an `out` in use, or a merge that
    changes what the model says by more than rounding in its dtype explains.
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
    adapted = PeftModel.from_pretrained(model, str(adapter)).eval()
    before = _log_probabilities(adapted)
    merged = adapted.merge_and_unload(safe_merge=True).eval()
    if merged.get_output_embeddings().weight.data_ptr() != merged.get_input_embeddings().weight.data_ptr():
        merged.config.tie_word_embeddings = False  # trained apart: a tied model would lose its head when it is saved
    with _whole_or_absent(out) as folder:
        _save(merged, adapter, folder)
        reloaded = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
        difference = (_log_probabilities(reloaded) - before).abs().max().item()
        allowed = 64 * torch.finfo(merged.dtype).eps * before.abs().max().item()
        if not difference <= allowed:
            raise ModelError(
                f"merging {adapter} into {base} changes log-probabilities by up to {difference:.2g}, more than "
                f"rounding to {merged.dtype} explains ({allowed:.2g}); keep the adapter as it is, or load the base "
                f"model in float32"
            )
    return difference


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
