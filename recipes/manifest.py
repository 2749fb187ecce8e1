"""What a run was: `manifest.json` beside every checkpoint, so that it can be evaluated alike and reproduced.

{"format": 1, "recipe": {...}, "encoder": {...}, "data": {...}, "tokenizer": {...}, "launch": {...},
 "packages": {"torch": "2.13.0", ...}, "python": "3.11.7", "git": {"commit": "...", "dirty": false}, "seeds": {...}}
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from recipes.load import to_values, validate
from recipes.schema import Recipe, RecipeError

FORMAT = 1
FILE_NAME = "manifest.json"
REPOSITORY = Path(__file__).resolve().parent.parent
# Those that can change a sample or a weight.
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "datasets", "tokenizers", "numpy",
            "pyarrow", "jinja2", "safetensors", "pydantic", "msgspec")  # fmt: skip


def make_manifest(
    recipe: Recipe,
    *,
    encoder: dict[str, Any],
    data: dict[str, Any],
    tokenizer: dict[str, Any],
    launch: dict[str, Any],
) -> dict[str, Any]:
    """Everything that `write_manifest` saves, as one JSON-able dict.

    `encoder` is Encoder.facts(), which holds the template's hash; `data`, `tokenizer` and `launch` are the caller's
    facts: hashes of the built data set and of the tokenizer, and distributed type, processes, command.
    """
    return {
        "format": FORMAT,
        "recipe": to_values(recipe),
        "recipe_sha256": sha256_of(to_values(recipe)),
        "encoder": encoder,
        "data": data,
        "tokenizer": tokenizer,
        "launch": launch,
        "packages": package_versions(),
        "python": platform.python_version(),
        "git": git_state(),
        "seeds": {"seed": recipe.seed},
    }


def write_manifest(directory: str | Path, manifest: dict[str, Any]) -> Path:
    """Write `manifest.json` into `directory` (made if missing), whole or not at all; returns its path."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / FILE_NAME
    scratch = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        scratch.write_text(json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
    return target


def read_manifest(directory: str | Path) -> dict[str, Any] | None:
    """The manifest in `directory`, or None where there is none. Raises RecipeError for one that cannot be read."""
    path = Path(directory) / FILE_NAME
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: is not JSON ({error}); save the checkpoint again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise RecipeError(f"{path}: has format {found!r}, this version reads {FORMAT}; save the checkpoint again")
    return manifest


def recipe_of(manifest: dict[str, Any], origin: str = FILE_NAME) -> Recipe:
    """The recipe saved in a manifest, checked again. Raises RecipeError."""
    return validate(manifest["recipe"], origin)


def sha256_of(value: Any) -> str:
    """Hex digest of a JSON-able value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Installed versions of PACKAGES; one that is not installed is left out."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> dict[str, Any] | None:
    """Commit of this repository and whether tracked files differ from it; None outside git (a release archive)."""
    try:
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
