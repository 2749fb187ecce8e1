"""What a judge is asked: `rubrics/TASK.yaml` filled with the problem, the model's reply, and one criterion at a time.

rubric = load("mathchat_error_analysis")
rubric.prompt("diagnosing", {"problem": ..., "attempt": ..., "answer": ..., "reply": ...})
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).with_name("rubrics")
TASKS = ("mathchat_error_analysis", "mathchat_problem_generation")
MAX_FIELD_CHARS = 12_000  # twice what 1,024 tokens hold; a longer text is cut, and says so


class Rubric(NamedTuple):
    """A prompt with `$fields`, and its criteria by name."""

    file: str
    sha256: str
    template: Template
    criteria: dict[str, str]

    def prompt(self, criterion: str, fields: Mapping[str, str]) -> str:
        """The prompt for one criterion. Filled in one pass, so that a reply which writes `$answer` is not filled again.

        The marks around each text end in a hash of all texts: no reply can know it and forge an end.
        """
        texts = {name: _presentable(text) for name, text in fields.items()}
        mark = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()[:12]
        return self.template.substitute(texts, mark=mark, criterion=self.criteria[criterion])


@cache
def load(task: str) -> Rubric:
    """The rubric of a task in TASKS."""
    path = FOLDER / f"{task}.yaml"
    content = path.read_bytes()
    data = yaml.safe_load(content)
    return Rubric(
        f"rubrics/{path.name}", hashlib.sha256(content).hexdigest(), Template(data["prompt"]), data["criteria"]
    )


def prompt(record: dict[str, Any], criterion: str, reply: str) -> str:
    """What a judge is asked about a reply to the item of this transcript, under one criterion."""
    fields = {name: record["gold"][name] for name in ("problem", "attempt", "answer") if name in record["gold"]}
    return load(record["task"]).prompt(criterion, fields | {"reply": reply})


def _presentable(text: str) -> str:
    """A text that can be sent: no half surrogate pairs, bounded length, never empty."""
    text = text.encode("utf-8", "replace").decode().strip()
    if len(text) > MAX_FIELD_CHARS:
        text = text[:MAX_FIELD_CHARS] + f"\n[cut here: {len(text) - MAX_FIELD_CHARS:,} more characters]"
    return text or "[empty]"
