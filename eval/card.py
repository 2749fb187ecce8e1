"""python -m eval card RUN_DIR: the scores of the evaluations inside a run's directory into its model card.

`eval run RUN_DIR --out RUN_DIR/eval` and `eval sweep RUN_DIR` do it by themselves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval import report as reports
from eval.protocol import EvalError
from recipes.card import FILE_NAME, is_ours, write_card
from recipes.manifest import read_manifest


def add_scores(run_dir: str | Path) -> Path:
    """Write the card anew with all scores of the run's final model; returns its path.

    Raises EvalError where the directory is no trained model, or its README.md is someone's own.
    """
    folder = Path(run_dir)
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None:
        raise EvalError(f"{folder} holds no manifest.json, so no model that train.py saved; give a run's output_dir")
    if not is_ours(folder):
        raise EvalError(f"{folder / FILE_NAME} is your own by now: move it away to have it written again")
    return write_card(folder, manifest, reports_of(folder))


def reports_of(run_dir: Path) -> list[dict[str, Any]]:
    """Reports inside the directory, up to two folders deep, on the model in the directory itself; oldest first."""
    found = []
    paths = [*run_dir.glob(f"*/{reports.JSON_FILE}"), *run_dir.glob(f"*/*/{reports.JSON_FILE}")]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        report = json.loads(path.read_text(encoding="utf-8"))
        is_evaluation = report.get("format") == reports.FORMAT and "metrics" in str(report.get("tasks"))
        if is_evaluation and Path(report["model"]).resolve() == run_dir.resolve():
            found.append(report)
    return found


def is_inside(out: str | Path, model: str | Path) -> bool:
    """Whether a report in `out` is one that the card of `model` would show."""
    folder = Path(model)
    return (
        (folder / "manifest.json").is_file()
        and Path(out).resolve().is_relative_to(folder.resolve())
        and is_ours(folder)
    )  # fmt: skip
