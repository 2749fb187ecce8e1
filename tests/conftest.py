"""Shared by all tests: no hub, few threads, the real data's folder, tokenizers loaded once per worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.assets import cache_root, tokenizer_dir

REPOSITORY = Path(__file__).resolve().parent.parent

# Before any test imports torch, transformers or tokenizers: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Wall-clock deadlines say more about a shared machine's other work than about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: none of them then keeps one worker busy when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder of real dialogues (REAL_DATA_DIR, default ../shared/data beside the repository)."""
    folder = Path(os.environ.get("REAL_DATA_DIR", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder}; point REAL_DATA_DIR to it")
    return folder


@cache
def _load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_dir(name))


@pytest.fixture(scope="session")
def load_test_tokenizer() -> Callable[[str], Any]:
    """`load_test_tokenizer("llama3")`: one of tests.assets.TOKENIZERS, shared, so copy it before changing it."""
    return _load_tokenizer


@pytest.fixture(scope="session")
def launch_env() -> dict[str, str]:
    """Environment for `accelerate launch` in a subprocess, with the operator that DeepSpeed needs on a CPU built.

    The build takes minutes on a busy machine, and one that is killed leaves a lock file on which every later process
    waits for ever. So it is done here once, in a folder of our own, under a lock that dies with its holder.
    """
    if shutil.which("g++") is None:
        pytest.skip("g++ is needed to build DeepSpeed's operator for the CPU")
    folder = cache_root() / "torch_extensions"
    environment = {**os.environ, "TORCH_EXTENSIONS_DIR": str(folder)}
    build = "from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder as B; B().load(verbose=False)"
    with FileLock(folder.with_suffix(".lock")):
        for stale in folder.glob("*/lock"):
            stale.unlink()
        command = [sys.executable, "-W", "ignore", "-c", build]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        raise RuntimeError(f"DeepSpeed's operator could not be built: {done.stdout[-1000:]}{done.stderr[-3000:]}")
    return environment
