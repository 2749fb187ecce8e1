"""Shared by all tests: no hub, few threads, the real data's folder, tokenizers loaded once per worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.assets import tokenizer_dir

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
