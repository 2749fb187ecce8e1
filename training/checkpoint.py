"""The run directory: output_dir/{run.json, metrics.jsonl, data/, checkpoint-50/, checkpoint-100/, model files, ...}.

`run.json`, written at the start, says which run the directory belongs to; another run is refused. `manifest.json` is
written last into each checkpoint and beside the final model: one without it is not complete, is never resumed from,
and is removed at the next start. It holds size and hash of the files beside it: a checkpoint that is not as it was
saved is set aside as damaged-checkpoint-100, and the one before it is taken. A directory in which a run is alive is
locked.
"""

from __future__ import annotations

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
from recipes.manifest import read_manifest, sha256_of, write_manifest
from recipes.schema import Recipe, RecipeError
from training.intact import damage, fingerprints
from training.stopping import MARKER

RUN_FILE = "run.json"
RUN_FORMAT = 2
FINAL = ".final"  # where the final model is put together
# Fields that change neither a weight nor the order of the steps; a run may be resumed with others. Of the batch, only
# the rows of a step matter, however they are cut into micro-batches and spread over processes.
NEUTRAL_FIELDS = (
    "name", "output_dir", "per_device_eval_batch_size", "logging_steps", "eval_steps", "save_steps", "save_total_limit",
    "resume", "report_to", "eval_after", "push_to_hub", "hub_model_id", "sample_every", "stop_on_anomaly",
    "stuck_timeout_s", "per_device_train_batch_size", "gradient_accumulation_steps",
)  # fmt: skip
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
DATA_PARTS = {
    "input files": "the rows of train_data or held_out_data",
    "encoder": "the chat template, or how dialogues are put into it",
    "tokenizer": "the tokenizer",
    "samples": "the training samples built from the rows",
}


class CheckpointError(RuntimeError):
    """A run directory that cannot be used as asked, or a checkpoint that could not be written."""


def run_identity(recipe: Recipe, data: Mapping[str, str], processes: int, distributed_type: str) -> dict[str, Any]:
    """What must stay the same for a run to be resumed: recipe fields, hashes of what the data is made from, launch.

    DeepSpeed and FSDP cut the optimizer's state into a part for each process; else any number of processes will do.
    """
    fields = {key: value for key, value in to_values(recipe).items() if key not in NEUTRAL_FIELDS}
    rows = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps * processes
    in_parts = distributed_type.startswith(("DEEPSPEED", "FSDP"))
    state = f"{distributed_type} in {processes} parts" if in_parts else "whole"
    launch = {"rows of a step": rows, "optimizer state": state}
    return {"format": RUN_FORMAT, "recipe": fields, "data": dict(data), "launch": launch}


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
    lock = FileLock(output_dir / ".lock")
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"output_dir {output_dir} is in use by another run that is alive; wait for it, or give another output_dir"
        ) from None
    except OSError as error:
        raise CheckpointError(f"output_dir {output_dir} cannot be written: {error}; give another output_dir") from None
    try:
        yield
    finally:
        lock.release()


def check_owner(output_dir: Path, identity: Mapping[str, Any], resume: str) -> None:
    """Raise CheckpointError unless the directory is new or belongs to this very run; says what differs."""
    owner_file = output_dir / RUN_FILE
    if not owner_file.exists():
        foreign = (
            [path.name for path in output_dir.glob("*") if path.name not in ("data", MARKER)]
            if output_dir.exists()
            else []
        )
        foreign = [name for name in foreign if not name.startswith(".")]
        if foreign:
            raise CheckpointError(
                f"output_dir {output_dir} is in use: it holds {', '.join(sorted(foreign)[:4])}, and no run of this "
                f"program; give another output_dir, or move those files away"
            )
        return
    problem = _problem(_read_json(owner_file), identity)
    if problem:
        raise CheckpointError(
            f"output_dir {output_dir} is in use by another run, or by this one with another recipe, other data or "
            f"another launch: {problem}. Or give another output_dir"
        )
    if resume == "never" and (_checkpoints(output_dir) or (output_dir / MANIFEST).exists()):
        raise CheckpointError(
            f"output_dir {output_dir} holds checkpoints of this recipe and resume is 'never'; remove the directory, "
            f"give another output_dir, or set resume: auto"
        )


def take_ownership(output_dir: Path, identity: Mapping[str, Any]) -> None:
    """Write run.json, and clear what a killed run left half written, and the mark of one that was asked to stop."""
    for checkpoint in _checkpoints(output_dir):
        if not (checkpoint / MANIFEST).exists():
            print(f"removing {checkpoint}: incomplete, it was being written when the run ended", flush=True)
            shutil.rmtree(checkpoint)
    shutil.rmtree(output_dir / FINAL, ignore_errors=True)
    (output_dir / MARKER).unlink(missing_ok=True)
    scratch = output_dir / f".{RUN_FILE}"
    scratch.write_text(json.dumps(identity, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(scratch, output_dir / RUN_FILE)


def is_finished(output_dir: Path) -> bool:
    """Whether the final model is there, whole."""
    return (output_dir / MANIFEST).exists()


def checkpoint_to_resume(output_dir: Path, resume: str) -> Path | None:
    """The checkpoint that `resume` (auto, never, or a path) means; None to start anew.

    Every file is read: a damaged checkpoint is set aside with a word under auto, and refused where it was asked for by
    path. One process does this, for all. Raises CheckpointError.
    """
    if resume == "never":
        return None
    if resume == "auto":
        return _newest_intact(output_dir)
    chosen = Path(resume)
    if not (chosen / MANIFEST).exists():
        raise CheckpointError(
            f"resume: {chosen} is no complete checkpoint (it has no {MANIFEST}); use resume: auto, or one of "
            f"{', '.join(map(str, _checkpoints(output_dir))) or 'none: this run has no checkpoints'}"
        )
    problem = damage_of(chosen)
    if problem:
        raise CheckpointError(f"resume: {chosen} is damaged: {problem}; use resume: auto, or another checkpoint")
    return chosen


def newest_complete(output_dir: Path) -> Path | None:
    """The newest checkpoint with a manifest, unread."""
    complete = [checkpoint for checkpoint in _checkpoints(output_dir) if (checkpoint / MANIFEST).exists()]
    return complete[-1] if complete else None


def damage_of(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint whose files are not those it was saved with; None where nothing is."""
    try:
        manifest = read_manifest(checkpoint) or {}
    except RecipeError as error:
        return str(error)
    own = manifest.pop("sha256", None)
    if own is not None and own != sha256_of(manifest):
        return f"{MANIFEST} has other contents than were saved"
    return damage(checkpoint, manifest.get("files", {}))


def _newest_intact(output_dir: Path) -> Path | None:
    while checkpoint := newest_complete(output_dir):
        problem = damage_of(checkpoint)
        if problem is None:
            return checkpoint
        aside = output_dir / f"damaged-{checkpoint.name}"
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(checkpoint, aside)
        print(f"WARNING: {checkpoint} is damaged: {problem}. It is set aside as {aside}", flush=True)
    return None


def check_resumable(checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a checkpoint was made by another recipe, other data or another launch."""
    problem = _problem((read_manifest(checkpoint) or {}).get("run") or {}, identity)
    if problem:
        raise CheckpointError(
            f"cannot resume from {checkpoint}: {problem}. Or start a new run from its weights, in another output_dir, "
            f"with model_name_or_path: {checkpoint}"
        )


def finish_checkpoint(folder: Path, generation_config: GenerationConfig, manifest: Mapping[str, Any]) -> None:
    """Complete a folder of saved weights and tokenizer: generation config, model card (PEFT's own is an empty form),
    then the manifest that says it is whole."""
    generation_config.save_pretrained(folder)
    write_card(folder, manifest)
    whole = {**manifest, "files": fingerprints(folder)}
    write_manifest(folder, {**whole, "sha256": sha256_of(whole)})


def move_into(output_dir: Path, scratch: Path) -> None:
    """Put the final model's files beside the checkpoints; `manifest.json` last."""
    for file in sorted(scratch.iterdir(), key=lambda path: path.name == MANIFEST):
        os.replace(file, output_dir / file.name)
    scratch.rmdir()


def trained_generation_config(
    model: PreTrainedModel, encoder: Encoder, tokenizer: PreTrainedTokenizerBase
) -> GenerationConfig:
    """The model's generation config with every trained stop token added to its own, so that a turn ends in its end.

    The model's own loses settings of a sampling that it does not do: transformers loads them, and refuses to save them.
    """
    if not model.generation_config.do_sample:
        for name in SAMPLING:
            setattr(model.generation_config, name, None)
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


def save_failed(output_dir: Path, folder: Path) -> str:
    """What to say of a save that failed for want of space: what is safe, and what to do."""
    complete = newest_complete(output_dir)
    return (
        f"no space left on the disk while writing {folder}: free some, or set save_total_limit lower; a resumed run "
        f"goes on from {complete or 'the start, as no checkpoint is complete yet'}"
    )


def _checkpoints(output_dir: Path) -> list[Path]:
    """checkpoint-N, oldest step first."""
    found = {int(match[1]): path for path in output_dir.glob("checkpoint-*")
             if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))}  # fmt: skip
    return [found[step] for step in sorted(found)]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); restore it, or give another output_dir") from None
    return found if isinstance(found, dict) else {}


def _problem(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Why a run cannot go on from what another left, and what to do; None where it can."""
    if saved.get("format") != RUN_FORMAT:
        return (
            f"it was begun by another version of this program (run format {saved.get('format', 1)}, this one has "
            f"{RUN_FORMAT}); finish it with the version whose git commit its {MANIFEST} names"
        )
    differences = list(_differences(saved, wanted))
    return f"{'; '.join(differences)}. Make these equal to resume" if differences else None


def _differences(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterable[str]:
    """`learning_rate was 1e-05, is 2e-05`, for every field of every part that differs."""
    for part in ("recipe", "data", "launch"):
        before, now = saved.get(part) or {}, wanted[part]
        # The samples' hash is known only once they are built; until then the other parts of the data decide.
        for key in sorted(before.keys() & now.keys() if part == "data" else before.keys() | now.keys()):
            if before.get(key) == now.get(key):
                continue
            if part == "data":
                yield f"changed: {DATA_PARTS.get(key, key)}"
            else:
                yield f"{key} was {before.get(key)!r}, is {now.get(key)!r}{_advice(key)}"


def _advice(key: str) -> str:
    return {
        "rows of a step": " (per_device_train_batch_size x gradient_accumulation_steps x processes: set the first two "
        "so that it is as before)",
        "optimizer state": " (it is saved in a part for each process: launch as many processes as before, with the "
        "same launch file)",
    }.get(key, "")
