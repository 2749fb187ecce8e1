"""python -m data_prep COMMAND ...: download, convert, check, describe, build, synth, ...; see COMMAND --help."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# Loaded when asked for: `convert` must not wait for torch.
COMMANDS: dict[str, tuple[str, str]] = {
    "download": ("data_prep.cli.download:main", "fetch published data, pinned and verified"),
    "convert": ("data_prep.cli.convert:main", "raw rows to canonical dialogues"),
    "check": ("data_prep.cli.check:main", "read and check raw rows, report what would be rejected"),
    "describe": ("data_prep.cli.describe:main", "what is in one data set, or in two side by side"),
    "export": ("data_prep.export:main", "canonical dialogues in TRL's, axolotl's or LLaMA-Factory's own rows"),
    "build": ("data_prep.build:main", "a recipe's data to encoded samples"),
    "preview": ("data_prep.preview:main", "dialogues with each token coloured by its kind"),
    "template": ("data_prep.template_doctor:main", "what a chat template carries, loses and needs, with evidence"),
    "synth": ("data_prep.synth.cli:main", "make BUTTON or MathChat dialogues"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1 for an error that was named, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n" + "\n".join(f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="...")
    args = parser.parse_args(argv)
    module, _, function = COMMANDS[args.command][0].partition(":")
    try:
        return getattr(importlib.import_module(module), function)(args.args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        # Every error that a user can mend is a ValueError or OSError with a message of its own; others are ours.
        if not type(error).__module__.startswith(("data_prep.", "recipes.")):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
