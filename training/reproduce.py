"""python -m training reproduce RUN_DIR [--run --out DIR]: check what its manifest.json pins, then run it.

The same manifest on one CPU process gives the same bits where the CPU model, the number of threads and the versions are
the same. What differs here is named first; `--run` goes on all the same only with `--anyway`.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from data_prep.build import build_key
from recipes.load import to_values
from recipes.manifest import git_state, package_versions, read_manifest, recipe_of, sha256_of
from recipes.schema import Recipe
from training.launch import machine
from training.model import encoder_of

RECIPE_FILE = "recipe.yaml"


class ReproduceError(RuntimeError):
    """The run cannot be made again as it was; the message says what is missing or differs."""


def manifest_of(run_dir: Path) -> dict[str, Any]:
    """The run's manifest. Raises ReproduceError where there is none, RecipeError where it cannot be read."""
    manifest = read_manifest(run_dir)
    if manifest is None:
        raise ReproduceError(f"{run_dir}: holds no manifest.json, so no complete run; give the output_dir of one")
    return manifest


def differences(manifest: dict[str, Any], recipe: Recipe) -> Iterator[str]:
    """`torch was 2.13.0, is 2.12.1`, for each thing that can change a bit."""
    if sha256_of(to_values(recipe)) != manifest["recipe_sha256"]:
        yield "the recipe does not have the hash it was saved with"
    yield from _changed(manifest["packages"], package_versions())
    yield from _changed({"python": manifest["python"]}, {"python": platform.python_version()})
    was, now = manifest.get("git"), git_state()
    if was and now:
        yield from _changed({"commit": was["commit"]}, {"commit": now["commit"]})
        if was["dirty"] or now["dirty"]:
            yield f"files differed from the commit {'when the run was made' if was['dirty'] else 'here'}"
    yield from _changed(manifest["launch"].get("machine", {}), machine())
    encoder = encoder_of(recipe)
    _, parts = build_key(recipe, encoder)
    pinned = {name: manifest["data"].get(name) for name in ("input files", "encoder", "tokenizer")}
    for name, value in pinned.items():
        if value != parts[name]:
            yield f"{name} of the data changed"


def _changed(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, value in was.items():
        if now.get(name) != value:
            yield f"{name} was {value}, is {now.get(name)}"


def command_of(manifest: dict[str, Any], recipe: Path, out: Path) -> list[str]:
    """The command that trains it again into `out`, as it was launched."""
    launch = manifest["launch"]
    train = ["train.py", str(recipe), f"output_dir={out}", "resume=never"]
    if manifest["recipe"].get("push_to_hub"):
        train.append("push_to_hub=false")  # what is on the hub stays the run's own
    if launch["processes"] == 1 and launch["distributed_type"] == "NO":
        return ["python", *train]
    launcher = launch.get("launcher")
    if not launcher:
        raise ReproduceError(
            f"the run had {launch['processes']} processes ({launch['distributed_type']}), and its manifest does not "
            f"say by which launch file; run it by hand: accelerate launch --config_file FILE {shlex.join(train)}"
        )
    return [*launcher, *train]


def write_recipe(manifest: dict[str, Any], folder: Path) -> Path:
    """The resolved recipe of the manifest as a file; train.py reads it back to the same values."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECIPE_FILE
    path.write_text(yaml.safe_dump(manifest["recipe"], sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def weights_hashes(folder: Path) -> dict[str, str]:
    """sha256 of each safetensors file of a final model."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.safetensors"))}


def main(arguments: list[str]) -> int:
    """Check, and print or run. Raises ReproduceError, and the errors of recipes, data_prep and training."""
    options = _options(arguments)
    manifest = manifest_of(options.run_dir)
    recipe = recipe_of(manifest, str(options.run_dir / "manifest.json"))
    run_dir = options.run_dir if options.run_dir.name not in ("", "..") else options.run_dir.resolve()
    out: Path = options.out or run_dir.with_name(f"{run_dir.name}-again")
    found = list(differences(manifest, recipe))
    for line in found:
        print(f"differs: {line}")
    if not found:
        print("versions, hashes and machine are those of the run")
    path = write_recipe(manifest, out.with_name(f"{out.name}-recipe"))
    command = command_of(manifest, path, out)
    commit = (manifest.get("git") or {}).get("commit")
    print(f"# at commit {commit or 'unknown'}, {_threads(manifest)}\n{shlex.join(command)}")
    if not options.run:
        return 0
    if found and not options.anyway:
        raise ReproduceError("the run would not be the same, see above; make these equal, or add --anyway")
    return _run(command, options.run_dir, out)


def _threads(manifest: dict[str, Any]) -> str:
    count = manifest["launch"].get("machine", {}).get("threads")
    return f"OMP_NUM_THREADS={count}" if count else "threads as the machine gives them"


def _run(command: list[str], run_dir: Path, out: Path) -> int:
    if out.exists() and any(out.iterdir()):
        raise ReproduceError(f"{out} is in use; give --out a folder that does not exist yet")
    status = subprocess.run(
        [sys.executable, *command[1:]] if command[0] == "python" else command, check=False
    ).returncode
    if status:
        raise ReproduceError(f"the run ended with status {status}, see above")
    was, now = weights_hashes(run_dir), weights_hashes(out)
    if not was:
        raise ReproduceError(f"{run_dir}: holds no .safetensors file to compare with")
    for name, digest in was.items():
        same = now.get(name) == digest
        print(f"{name}: {'the same bits' if same else 'DIFFERENT bits'}, sha256 {digest} and {now.get(name)}")
    return 0 if was == now else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training reproduce")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="output_dir of a finished run")
    parser.add_argument("--run", action="store_true", help="run the command and compare the weights bit by bit")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the run goes (default RUN_DIR-again)")
    parser.add_argument("--anyway", action="store_true", help="run although something differs")
    return parser.parse_args(arguments)
