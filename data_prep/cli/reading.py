"""What `convert` and `check` share: where to read from, progress, and the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from data_prep.dialogue import Dialogue
from data_prep.outfile import OutFile
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.sources import SOURCES


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """--source, --in, --split, --max-chars and --report."""
    parser.add_argument("--source", required=True, choices=SOURCES, help="the raw format")
    parser.add_argument(
        "--in", dest="inputs", required=True, nargs="+", metavar="FILE|HUB_ID",
        help=".jsonl, .json (one list), .parquet, .gz of the first two, or a hub id: org/name[:config][@revision]",
    )  # fmt: skip
    parser.add_argument("--split", default="train", help="of a hub data set (default: train)")
    parser.add_argument("--max-chars", type=int, metavar="N", help="reject dialogues of more characters as over_long")
    parser.add_argument("--report", metavar="FILE.json", help="write the counts as JSON")


def share(text: str) -> float:
    """A share of rows, 0 to 1, for argparse."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; wanted 0 to 1")
    return value


def open_dialogues(args: argparse.Namespace, quarantine: Quarantine) -> Iterator[Dialogue]:
    """The checked dialogues, with a count on stderr while someone is looking."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} dialogues kept"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading", total=None)
        for dialogue in iter_dialogues(args.source, args.inputs, quarantine, args.split, args.max_chars):
            progress.advance(task)
            yield dialogue


def write_report(path: str | None, quarantine: Quarantine, **more: Any) -> None:
    """The counts, and `more` that is not None, as a JSON file, if one was asked for."""
    if path:
        report = quarantine.report() | {key: value for key, value in more.items() if value is not None}
        with OutFile(path) as out:
            out.write(json.dumps(report, indent=2).encode() + b"\n")
