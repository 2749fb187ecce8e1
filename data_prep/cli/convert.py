"""python -m data_prep convert --source NAME --in FILE|HUB_ID ... --out FILE.jsonl [--max-rejected SHARE]

Writes canonical dialogues, one JSON object a line, and the rejected rows to quarantine.jsonl beside them. The output
is written whole or not at all: over --max-rejected only the quarantine file is left, to see why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from data_prep.cli.reading import add_reading_arguments, open_dialogues, share, write_report
from data_prep.outfile import OutFile
from data_prep.quarantine import Quarantine, TooManyRejected


def main(argv: Sequence[str]) -> int:
    """Convert the inputs; 0, or 1 where more than --max-rejected of the rows are bad."""
    parser = argparse.ArgumentParser(prog="python -m data_prep convert", description=__doc__.split("\n\n")[1])
    add_reading_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE.jsonl", help="canonical dialogues")
    parser.add_argument("--max-rejected", type=share, default=0.05, metavar="SHARE", help="0 to 1 (default: 0.05)")
    parser.add_argument("--quarantine", metavar="FILE", help="rejected rows (default: quarantine.jsonl beside --out)")
    args = parser.parse_args(argv)
    if not args.out.endswith(".jsonl"):
        parser.error(f"--out must end in .jsonl, not {args.out!r}: JSON Lines is what is written")
    rejected_to = Path(args.quarantine) if args.quarantine else Path(args.out).with_name("quarantine.jsonl")
    _refuse_overwriting(parser, [args.out, str(rejected_to)], args.inputs)
    encoder = msgspec.json.Encoder()
    status = 0
    with Quarantine(rejected_to) as quarantine, OutFile(args.out) as out:
        for dialogue in open_dialogues(args, quarantine):
            out.write(encoder.encode(dialogue.to_dict()) + b"\n")
        try:
            quarantine.check(args.max_rejected)
        except TooManyRejected as error:
            out.discard()
            print(f"error: {error}; {args.out} was not written", file=sys.stderr)
            status = 1
    print(quarantine.summary(), *quarantine.notes(), sep="\nnote: ")
    write_report(args.report, quarantine)
    return status


def _refuse_overwriting(parser: argparse.ArgumentParser, outputs: list[str], inputs: list[str]) -> None:
    paths = [Path(output).resolve() for output in outputs]
    if paths[0] == paths[1]:
        parser.error("--out and the quarantine file are one file; name another with --quarantine")
    for name in inputs:
        if Path(name).resolve() in paths:
            parser.error(f"{name} is both read and written; name another output")
