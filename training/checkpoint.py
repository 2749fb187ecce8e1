"""The run directory: output_dir/{run.json, metrics.jsonl, data/, checkpoint-50/, checkpoint-100/, model files, ...}.

`run.json`, written at the start, says which run the directory belongs to; another run is refused. `manifest.json` is
written last into each checkpoint and beside the final model: one without it is not complete, is never resumed from,
and is removed at the next start. A directory in which a run is alive is locked.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from data_prep.build_dir import sha256_of_files
from data_prep.encode import Encoder
from recipes.card import write_card
from recipes.load import to_values
from recipes.manifest import FILE_NAME as MANIFEST
from recipes.manifest import write_manifest
from recipes.schema import Recipe

RUN_FILE = "run.json"
# Fields that change neither a weight nor the order of the steps; a run may be resumed with others.
NEUTRAL_FIELDS = (
    "name", "output_dir", "per_device_eval_batch_size", "logging_steps", "eval_steps", "save_steps", "save_total_limit",
    "resume", "report_to", "eval_after", "push_to_hub", "hub_model_id",
)  # fmt: skip


class CheckpointError(RuntimeError):
    """A run directory that cannot be used as asked, or a checkpoint that could not be written."""


def run_identity(recipe: Recipe, data: Mapping[str, str], processes: int, distributed_type: str) -> dict[str, Any]:
    """What must stay the same for a run to be resumed: recipe fields, hashes of what the data is made from, launch."""
    fields = {key: value for key, value in to_values(recipe).items() if key not in NEUTRAL_FIELDS}
    launch = {"processes": processes, "distributed_type": distributed_type}
    return {"recipe": fields, "data": dict(data), "launch": launch}


def with_samples(identity: Mapping[str, Any], train_dir: Path) -> dict[str, Any]:
    """The identity with the hash of the built training samples, known once they are built."""
    samples = sha256_of_files(sorted(train_dir.glob("*.arrow")))
    return {**identity, "data": {**identity["data"], "samples": samples}}


@contextmanager
def claimed(output_dir: Path, is_main_process: bool) -> Iterator[None]:
    """Hold the directory against other live runs while training. Raises CheckpointError where one is there."""
    if not is_main_process:
        yield
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"output_dir {output_dir} is in use by another run that is alive; wait for it, or give another output_dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


def check_owner(output_dir: Path, identity: Mapping[str, Any], resume: str) -> None:
    """Raise CheckpointError unless the directory is new or belongs to this very run; says what differs."""
    owner_file = output_dir / RUN_FILE
    if not owner_file.exists():
        foreign = [path.name for path in output_dir.glob("*") if path.name != "data"] if output_dir.exists() else []
        foreign = [name for name in foreign if not name.startswith(".")]
        if foreign:
            raise CheckpointError(
                f"output_dir {output_dir} is in use: it holds {', '.join(sorted(foreign)[:4])}, and no run of this "
                f"program; give another output_dir, or move those files away"
            )
        return
    differences = list(_differences(json.loads(owner_file.read_text(encoding="utf-8")), identity))
    if differences:
        raise CheckpointError(
            f"output_dir {output_dir} is in use by a run with another recipe or other data: {'; '.join(differences)}. "
            f"Give another output_dir, make these equal to resume that run, or remove the directory"
        )
    if resume == "never" and (_checkpoints(output_dir) or (output_dir / MANIFEST).exists()):
        raise CheckpointError(
            f"output_dir {output_dir} holds checkpoints of this recipe and resume is 'never'; remove the directory, "
            f"give another output_dir, or set resume: auto"
        )


def take_ownership(output_dir: Path, identity: Mapping[str, Any]) -> None:
    """Write run.json, and clear what a killed run left half written."""
    for checkpoint in _checkpoints(output_dir):
        if not (checkpoint / MANIFEST).exists():
            print(f"removing {checkpoint}: incomplete, it was being written when the run ended")
            shutil.rmtree(checkpoint)
    scratch = output_dir / f".{RUN_FILE}"
    scratch.write_text(json.dumps(identity, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(scratch, output_dir / RUN_FILE)


def is_finished(output_dir: Path) -> bool:
    """Whether the final model is there, whole."""
    return (output_dir / MANIFEST).exists()


def checkpoint_to_resume(output_dir: Path, resume: str) -> Path | None:
    """The checkpoint that `resume` (auto, never, or a path) means; None to start anew. Raises CheckpointError."""
    if resume == "never":
        return None
    if resume == "auto":
        complete = [checkpoint for checkpoint in _checkpoints(output_dir) if (checkpoint / MANIFEST).exists()]
        return complete[-1] if complete else None
    chosen = Path(resume)
    if not (chosen / MANIFEST).exists():
        raise CheckpointError(
            f"resume: {chosen} is no complete checkpoint (it has no {MANIFEST}); use resume: auto, or one of "
            f"{', '.join(map(str, _checkpoints(output_dir))) or 'none: this run has no checkpoints'}"
        )
    return chosen


def check_resumable(checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a checkpoint was made by another recipe, other data or another launch."""
    saved = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8")).get("run") or {}
    differences = list(_differences(saved, identity))
    if differences:
        raise CheckpointError(
            f"cannot resume from {checkpoint}: {'; '.join(differences)}. Make these equal, or start anew in another "
            f"output_dir with resume: never"
        )


def finish_checkpoint(folder: Path, generation_config: GenerationConfig, manifest: Mapping[str, Any]) -> None:
    """Complete a folder of saved weights and tokenizer: generation config, model card (PEFT's own is an empty form),
    then the manifest that says it is whole."""
    generation_config.save_pretrained(folder)
    write_card(folder, manifest)
    write_manifest(folder, dict(manifest))


def move_into(output_dir: Path, scratch: Path) -> None:
    """Put the final model's files beside the checkpoints; `manifest.json` last."""
    for file in sorted(scratch.iterdir(), key=lambda path: path.name == MANIFEST):
        os.replace(file, output_dir / file.name)
    scratch.rmdir()


def trained_generation_config(
    model: PreTrainedModel, encoder: Encoder, tokenizer: PreTrainedTokenizerBase
) -> GenerationConfig:
    """The model's generation config with every trained stop token added to its own, so that a turn ends in its end."""
    config = GenerationConfig.from_dict(model.generation_config.to_dict())
    own = config.eos_token_id
    own = [] if own is None else [own] if isinstance(own, int) else list(own)
    config.eos_token_id = [*encoder.stop_token_ids, *(token for token in own if token not in encoder.stop_token_ids)]
    config.pad_token_id = tokenizer.pad_token_id
    return config


def rotate(output_dir: Path, save_total_limit: int | None) -> None:
    """Remove the oldest complete checkpoints over the limit; called once the newest is complete."""
    if save_total_limit is None:
        return
    complete = [checkpoint for checkpoint in _checkpoints(output_dir) if (checkpoint / MANIFEST).exists()]
    for checkpoint in complete[:-save_total_limit]:
        (checkpoint / MANIFEST).unlink()  # first, so that a kill in between leaves no half that looks whole
        shutil.rmtree(checkpoint)


@contextmanager
def named_disk_errors(folder: Path, output_dir: Path) -> Iterator[None]:
    """Turn a failed write into a CheckpointError that says where, what is safe, and what to do."""
    try:
        yield
    except Exception as error:
        if not _is_full_disk(error):
            raise
        complete = checkpoint_to_resume(output_dir, "auto")
        if folder != output_dir:
            shutil.rmtree(folder, ignore_errors=True)
        raise CheckpointError(
            f"no space left on the disk while writing {folder}: free some, or set save_total_limit lower, and run "
            f"the same command again; it resumes from {complete or 'the start, as no checkpoint is complete yet'}"
        ) from error


def _is_full_disk(error: BaseException) -> bool:
    """safetensors and torch.save report a full disk as errors of their own, with the system's words in the text."""
    words = str(error)
    return (
        (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))
        or os.strerror(errno.ENOSPC) in words
        or "PytorchStreamWriter failed" in words
    )


def _checkpoints(output_dir: Path) -> list[Path]:
    """checkpoint-N, oldest step first."""
    found = {int(match[1]): path for path in output_dir.glob("checkpoint-*")
             if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))}  # fmt: skip
    return [found[step] for step in sorted(found)]


def _differences(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterable[str]:
    """`learning_rate was 1e-05, is 2e-05`, for every field of every part that differs."""
    for part in wanted:
        before, now = saved.get(part) or {}, wanted[part]
        # The samples' hash is known only once they are built; until then the other parts of the data decide.
        for key in sorted(before.keys() & now.keys() if part == "data" else before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                was = f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
                yield f"{key} of the data changed" if part == "data" else was
