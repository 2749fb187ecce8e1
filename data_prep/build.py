"""Raw dialogues to training samples: `python -m data_prep build RECIPE.yaml --out DIR [key=value ...]`.

Reads and checks every row of train_data, splits off what is held out, draws the mixture, encodes each dialogue once,
packs, and writes DIR for `datasets.load_from_disk`: splits `train` and `held_out`, columns as data_prep.samples says.
Beside them: report.json, summary.md, lengths.png, quarantine.jsonl (every rejected row with its reason), held_out.jsonl
(the held-out dialogues, what `eval --data DIR` reads) and train_ids.json. The same inputs and seed give the same bytes,
and a build whose inputs did not change is found again instead of made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from data_prep.build_dir import BuildDir, BuildError, mark_complete, sha256_of_files
from data_prep.contamination import evaluation_files
from data_prep.counting import Packed, report_build
from data_prep.encode import Encoder, load_encoder
from data_prep.encode_rows import Encoding, encoded, in_chunks, wanted_by
from data_prep.fit import Fit, Fitted, loaded
from data_prep.pack import Bins, one_by_one, pack
from data_prep.prefixes import Beginnings, in_rows
from data_prep.progress import progress
from data_prep.quarantine import Quarantine, TooManyRejected
from data_prep.report import BuildReport, draw_lengths, read_report, write_report
from data_prep.rows import BuildQuarantine, Rows, part_names, read_all, select
from data_prep.samples import StoredSamples, write_index, write_split
from data_prep.shards import Shard, Shards
from recipes import Recipe, load_recipe

Joined = Callable[[int], Generator[Fitted, None, None]]

WAIT_TIMEOUT_S = 4 * 3600.0
# The recipe's fields that decide the samples; everything about the encoder is in its facts and its tokenizer.
DATA_FIELDS = (
    "train_data", "held_out_data", "held_out_share", "deduplicate", "decontaminate", "group_by", "seed",
    "train_on", "only_last_turn", "max_length", "over_length", "max_rejected", "packing", "share_prefixes",
)  # fmt: skip


def build(
    recipe: Recipe,
    out: str | os.PathLike[str],
    encoder: Encoder | None = None,
    *,
    num_proc: int | None = None,
    quiet: bool = False,
) -> BuildReport:
    """Build the recipe's data set in `out`, or find it there unchanged; returns its report.

    `encoder` is the recipe's own where None. `num_proc` processes encode, by default one for each CPU, and one alone
    where the rows are few; the bytes are the same. Nothing stands in `out` before all of it does. Raises BuildError (an
    `out` in use, a full disk, nothing to train on), ReadError, WrongSourceError, EvaluationSetError, SplitError,
    MixtureError, TooManyRejected.
    """
    started = time.monotonic()
    log = _silent if quiet else _print
    target = BuildDir(out)
    target.refuse_if_in_use()
    encoder = encoder or _encoder_of(recipe)
    key, parts = build_key(recipe, encoder)
    with target.locked(log):
        target.refuse_if_in_use()
        found = target.key()
        if found and found["key"] == key:
            log(f"{target.path}: up to date, nothing to build (checked in {time.monotonic() - started:.1f} s)")
            return read_report(target.path)
        if found:
            changed = [name for name in parts if found["parts"].get(name) != parts[name]]
            log(f"{target.path}: building again, because this changed: {', '.join(changed)}")
        shards = Shards(target.path)
        joined = partial(shards.read, key) if shards.count() else None
        with target.writing() as folder:
            report = _build_into(folder, recipe, encoder, target, key, num_proc, joined)
            mark_complete(folder, key, parts)
        shards.remove()
    log(f"{report.line()} -> {target.path} ({time.monotonic() - started:.1f} s)")
    return report


def build_shard(
    recipe: Recipe,
    out: str | os.PathLike[str],
    shard: Shard,
    encoder: Encoder | None = None,
    *,
    num_proc: int | None = None,
    quiet: bool = False,
) -> Path:
    """Encode one shard's share of the build in `out`, for `build` to join; returns its file. Raises as `build` does."""
    encoder = encoder or _encoder_of(recipe)
    key, _ = build_key(recipe, encoder)
    shards = Shards(out)
    shards.folder.mkdir(parents=True, exist_ok=True)
    names = part_names(recipe)
    with TemporaryDirectory(dir=shards.folder) as work, Rows(Path(work)) as rows:
        quarantine = BuildQuarantine(None)  # the build that joins the shards meets the same rows, and writes them
        drawn, _ = read_all(recipe, rows, quarantine, names)
        own = in_chunks(wanted_by(select(recipe, rows, drawn, names)))[shard.own]
        with (
            closing(encoded(Fit(recipe, encoder), rows, own, num_proc)) as results,
            progress(f"encoding shard {shard}", total=sum(chunk.size for chunk in own)) as step,
        ):
            path = shards.write(shard, key, _stepping(results, step))
    if not quiet:
        _print(f"{path}: shard {shard}, {sum(chunk.size for chunk in own):,} dialogues")
    return path


def _stepping(results: Iterable[Fitted], step: Callable[..., None]) -> Iterator[Fitted]:
    for fitted in results:
        step(fitted.messages.size)
        yield fitted


def build_once(
    recipe: Recipe,
    out: str | os.PathLike[str],
    rank: int,
    world_size: int,
    encoder: Encoder | None = None,
    timeout_s: float = WAIT_TIMEOUT_S,
) -> BuildReport:
    """`build` under several processes: rank 0 builds, the others wait for it; all return the same report.

    The others watch the file system, so no collective can time out meanwhile. Where rank 0 fails they raise BuildError
    with its error's text at once, and after `timeout_s` seconds in any case. `out` must be on a file system all see.
    """
    target = BuildDir(out)
    if rank == 0:
        target.clear_failure()
        try:
            return build(recipe, out, encoder)
        except BaseException as error:
            if world_size > 1:
                target.note_failure(error)
            raise
    key, _ = build_key(recipe, encoder or _encoder_of(recipe))
    target.wait_for(key, timeout_s, _silent if rank > 1 else _print)
    return read_report(target.path)


def _encoder_of(recipe: Recipe) -> Encoder:
    return loaded(recipe.model_name_or_path, lambda: load_encoder(recipe))


def build_key(recipe: Recipe, encoder: Encoder) -> tuple[str, dict[str, str]]:
    """(key, its parts by name): hashes of all that decides the samples, so that equal keys mean equal bytes."""
    data = {field: recipe.model_dump(mode="json")[field] for field in DATA_FIELDS}
    inputs = [path for entry in (*recipe.train_data, *(recipe.held_out_data or ())) for path in entry.path]
    evaluation_sets = evaluation_files(recipe.decontaminate)
    code = Path(__file__).parent
    packages = ("numpy", "pyarrow", "datasets", "tokenizers", "transformers", "rensa")
    parts = {
        "recipe": _sha256(json.dumps(data, sort_keys=True)),
        "input files": _sha256(json.dumps({path: _content_of(path) for path in inputs}, sort_keys=True)),
        "evaluation sets": _sha256(json.dumps([sha256_of_files(files) for files in evaluation_sets.values()])),
        "encoder": _sha256(json.dumps(encoder.facts(), sort_keys=True)),
        "tokenizer": _sha256(encoder.tokenizer.backend_tokenizer.to_str()),
        "code": sha256_of_files(sorted([*code.glob("*.py"), *code.glob("sources/*.py")])),
        "packages": _sha256(" ".join(f"{name}={version(name)}" for name in packages)),
    }
    return _sha256(json.dumps(parts, sort_keys=True)), parts


def _content_of(name: str) -> str:
    """The hash of a file or of a folder's files; a hub id stands for itself (a recipe pins it by `revision`)."""
    path = Path(name)
    if path.is_dir():
        return sha256_of_files(sorted(file for file in path.rglob("*") if file.is_file()))
    return sha256_of_files([path]) if path.is_file() else name


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _build_into(
    folder: Path,
    recipe: Recipe,
    encoder: Encoder,
    target: BuildDir,
    key: str,
    num_proc: int | None,
    joined: Joined | None,
) -> BuildReport:
    """All of a build but its marker, in `folder`."""
    work = folder / "work"
    work.mkdir()
    names = part_names(recipe)
    with Rows(work) as rows:
        with BuildQuarantine(folder / "quarantine.jsonl") as quarantine:
            drawn, quality = read_all(recipe, rows, quarantine, names)
            selection = select(recipe, rows, drawn, names)
            encoding = Encoding(Fit(recipe, encoder), quarantine, num_proc, joined)
            stored = encoding.run(work, rows, selection, folder / "held_out.jsonl")
        _check_rejected(recipe, quarantine, target)
        train, held_out = stored.of_rows(selection.mixture), stored.of_rows(selection.held_out)
        if not train.size:
            raise BuildError(f"no row is left to train on: read {quarantine.read:,}, rejected {quarantine.reasons()}")
        packed = _packed(recipe, stored, train)
        for name, bins in (("train", packed.bins), ("held_out", one_by_one(held_out))):
            write_split(folder / name, stored, bins, rows.ids, rows.sources, recipe.train_on, f"{key[:32]}-{name}")
        write_index(folder, ["train", "held_out"])
        _write_train_ids(folder / "train_ids.json", rows, stored.rows[train])
    report = report_build(recipe, encoding, quality, rows.parts, names, stored, train, held_out, packed)
    write_report(folder, report)
    draw_lengths(folder / "lengths.png", stored.lengths[train], stored.lengths[held_out], recipe.max_length)
    shutil.rmtree(work)
    return report


def _packed(recipe: Recipe, stored: StoredSamples, samples: NDArray[np.int64]) -> Packed:
    """The samples of each training row, packed or one by one."""
    lengths = stored.lengths[samples]
    positions = int(lengths.sum())
    if not recipe.packing:
        return Packed(one_by_one(samples), positions)
    if recipe.share_prefixes:
        bins, positions = in_rows(lengths, Beginnings(stored, samples), recipe.max_length)
    else:
        bins = pack(lengths, recipe.max_length)
    return Packed(Bins(samples[bins.rows], bins.offsets), positions)


def _check_rejected(recipe: Recipe, quarantine: Quarantine, target: BuildDir) -> None:
    """Raise TooManyRejected over max_rejected; the quarantine file then outlives the failed build, to be looked at."""
    try:
        quarantine.check(recipe.max_rejected)
    except TooManyRejected as error:
        assert quarantine.path is not None
        kept = target.keep_beside(quarantine.path, "quarantine.jsonl")
        raise TooManyRejected(str(error).replace(str(quarantine.path), str(kept))) from None


def _write_train_ids(path: Path, rows: Rows, trained: NDArray[np.int64]) -> None:
    """Ids and content hashes of the `trained` rows, each once, for decontamination and overlap checks."""
    with open(path, "w", encoding="utf-8") as file:  # entry by entry: the text of all would be the most of a build
        for place, row in enumerate(map(int, np.flatnonzero(np.bincount(trained)))):
            entry = {"id": rows.ids[row], "content_hash": rows.hash_of(row)}
            file.write((",\n" if place else "[\n") + json.dumps(entry, indent=0, ensure_ascii=False))
        file.write("\n]\n")


def _print(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    """For ranks that would only repeat what another one says."""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} processes cannot encode anything; give 1 or more")
    return number


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status. Raises what `build` raises."""
    parser = argparse.ArgumentParser(prog="python -m data_prep build", description="Build a recipe's data set.")
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory of the built data set")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields of the recipe to set")
    parser.add_argument(
        "--num-proc", type=_positive, metavar="N", help="processes that encode (default: by rows and CPUs)"
    )
    parser.add_argument(
        "--shard", type=_shard, metavar="I/N", help="encode share I of N only; a build without it then joins all N"
    )
    options = parser.parse_intermixed_args(argv)
    recipe = load_recipe(options.recipe, options.overrides)
    if options.shard:
        build_shard(recipe, options.out, options.shard, num_proc=options.num_proc)
    else:
        build(recipe, options.out, num_proc=options.num_proc)
    return 0
