"""Prompts, one YAML file each, versioned by the file's hash.

# why it is worded so, and from where
max_tokens: 120
temperature: 0.7
examples: ['{"scenario": "ordering groceries"}']     replies that `--dry-run` takes for a model's, in turn
prompt: |
  Read this dialogue and name ... $dialogue
"""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import Any, NamedTuple

import msgspec


class Prompt(NamedTuple):
    """A filled prompt; `sha256` is its file's, in 12 digits."""

    name: str
    sha256: str
    text: str
    max_tokens: int
    temperature: float
    examples: tuple[str, ...]


class PromptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt file's content."""

    prompt: str
    max_tokens: int
    temperature: float
    examples: tuple[str, ...]


def load_prompts(folder: Path) -> dict[str, tuple[PromptFile, str]]:
    """{name: (content, hash)} of every prompt file in a folder."""
    loaded = {}
    for path in sorted(folder.glob("*.yaml")):
        content = path.read_bytes()
        loaded[path.stem] = (msgspec.yaml.decode(content, type=PromptFile), hashlib.sha256(content).hexdigest()[:12])
    return loaded


class Prompts:
    """`prompts.fill("atomic_task", scenario="...")`; every placeholder of the file must be given, and no other."""

    def __init__(self, folder: Path):
        self._files = load_prompts(folder)

    def fill(self, name: str, **values: Any) -> Prompt:
        """The prompt with its placeholders filled. Raises KeyError for one that is missing."""
        file, digest = self._files[name]
        wanted = set(string.Template(file.prompt).get_identifiers())
        if wanted != set(values):
            raise KeyError(f"prompt {name} takes {sorted(wanted)}, not {sorted(values)}")
        text = string.Template(file.prompt).substitute(values)
        return Prompt(name, digest, text, file.max_tokens, file.temperature, file.examples)

    def template(self, name: str) -> str:
        """The prompt with its placeholders."""
        return self._files[name][0].prompt

    def digests(self) -> dict[str, str]:
        """{name: hash}, for the report."""
        return {name: digest for name, (_, digest) in self._files.items()}
