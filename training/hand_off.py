"""What follows a run: where its data came from, for the card; the command that evaluates it; that command, run.

An evaluation is a process of its own: nothing here imports `eval`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from data_prep.published import PUBLISHED
from recipes.card import FILE_NAME as CARD
from recipes.card import REPOSITORY_LICENCE, UNKNOWN
from recipes.manifest import FILE_NAME as MANIFEST
from recipes.manifest import read_manifest
from recipes.schema import Recipe

# What a launcher tells its processes; a child that saw it would wait for the others.
LAUNCHER_VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE",
    "GROUP_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS",
)  # fmt: skip
LAUNCHER_PREFIXES = ("ACCELERATE_", "TORCHELASTIC_", "TORCH_NCCL_", "FSDP_")


class EvaluationError(RuntimeError):
    """The evaluation that the recipe asks for cannot be run, or failed; the model itself is saved."""


class PushError(RuntimeError):
    """The final model could not be uploaded; it is saved, and the message says how to upload it later."""


def push_final(recipe: Recipe) -> str:
    """Upload the files of the final model, nothing else of the run directory: its samples and page show held-out
    dialogues. Returns the commit's address. Raises PushError.

    The repository is made private where it does not exist; who may see it is for its owner to widen.
    """
    assert recipe.hub_model_id is not None  # the schema asks for it
    folder = Path(recipe.output_dir)
    names = [*(read_manifest(folder) or {"files": {}})["files"], MANIFEST, CARD]
    try:
        api = HfApi()
        api.create_repo(recipe.hub_model_id, private=True, exist_ok=True)
        commit = api.upload_folder(repo_id=recipe.hub_model_id, folder_path=folder, allow_patterns=names)
    except (OSError, ValueError) as error:  # no network, no token, no such name
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PushError(
            f"the model is trained and saved in {folder}, but not uploaded to {recipe.hub_model_id}: {said} Log in "
            f"with `hf auth login` and run the same command again; nothing is trained anew"
        ) from error
    return str(commit.commit_url)


def data_sources(recipe: Recipe) -> list[dict[str, Any]]:
    """Source, path, hub id and licence of everything that is trained on, for the manifest."""
    return [
        {"source": entry.source, "path": path, "hub_id": hub_id, "licence": licence}
        for entry in recipe.train_data
        for path in entry.path
        for hub_id, licence in [_origin(path)]
    ]


def _origin(path: str) -> tuple[str | None, str]:
    """Hub id, if it came from there, and licence with attribution, as data_prep.published states it."""
    file = Path(path)
    for name, published in PUBLISHED.items():
        downloaded = file.parent.name == name and file.name in {item.name for item in published.files}
        if downloaded or path == published.hub_id:
            return published.hub_id, published.licence
    if file.is_file():
        with file.open("rb") as rows:
            if rows.readline(200).startswith(b'{"id": "synth-'):
                return None, f"made by program (`python -m data_prep synth`), {REPOSITORY_LICENCE} as this repository"
        return None, UNKNOWN
    return path, UNKNOWN


def evaluation_words(recipe: Recipe) -> list[str]:
    """The command that evaluates the run's final model: on `eval_after`, else on its held-out dialogues if any."""
    output_dir = Path(recipe.output_dir)
    manifest = read_manifest(output_dir)
    holds_out = manifest is not None and manifest["data"]["held_out_rows"] > 0
    tasks = recipe.eval_after or (("function_calls",) if holds_out else ("gsm8k",))
    data = [str(output_dir / "data")] if holds_out else []
    if recipe.eval_after or not holds_out:
        data.append("data")  # where `data_prep download` puts the benchmarks
    return [
        "python", "-m", "eval", "run", str(output_dir), "--tasks", ",".join(tasks),
        *(word for folder in data for word in ("--data", folder)), "--out", str(output_dir / "eval"),
    ]  # fmt: skip


def check_tasks(recipe: Recipe) -> None:
    """Raise EvaluationError before any training where `eval_after` names a task that there is not."""
    if not recipe.eval_after:
        return
    command = [sys.executable, "-m", "eval", "list", *recipe.eval_after]
    done = subprocess.run(command, env=_own_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word why"])[-1].removeprefix("error: ")
        raise EvaluationError(f"eval_after: {said}")


def evaluate_after(words: list[str], output_dir: Path) -> None:
    """Run the evaluation in a process of its own and show what it prints. Raises EvaluationError where it fails."""
    print(f"+ {shlex.join(words)}", flush=True)
    status = subprocess.run([sys.executable, *words[1:]], env=_own_environment(), check=False).returncode
    if status:
        raise EvaluationError(
            f"the model is trained and saved in {output_dir}, but its evaluation ended with status {status}, see "
            f"above; mend that and run it again: {shlex.join(words)}"
        )


def _own_environment() -> dict[str, str]:
    """The environment without what a launcher put into it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHER_VARIABLES and not name.startswith(LAUNCHER_PREFIXES)
    }
