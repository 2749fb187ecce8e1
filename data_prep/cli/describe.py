"""python -m data_prep describe FILE [FILE2] [--source NAME] [--model M] [--against gsm8k ...] [--json F] [--html F]

What is in a data set, published, generated or your own: turns, calls, chain depth, tools, arguments, repeats, five
random rows; of two files side by side. --model counts tokens by kind, --against finds evaluation text.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.contamination import EVALUATION_SETS, Contamination
from data_prep.describe import CountTokens, Description, Tokens, describe
from data_prep.describe_html import write_html
from data_prep.describe_table import table
from data_prep.dialogue import Dialogue
from data_prep.outfile import OutFile
from data_prep.quarantine import guess_source
from data_prep.sources import SOURCES
from data_prep.visible import visible

PIPE_WIDTH = 120  # columns where the output is no terminal


def main(argv: Sequence[str]) -> int:
    """Describe one file, or two side by side; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_prep describe", description=__doc__.split("\n\n")[1])
    parser.add_argument("files", nargs="+", metavar="FILE|HUB_ID", help="one or two: .jsonl, .json, .parquet, a hub id")
    parser.add_argument("--source", choices=SOURCES, help="the format of their rows (default: guessed for each)")
    parser.add_argument("--model", metavar="M", help="count tokens by kind as this model's tokenizer and template do")
    parser.add_argument("--against", nargs="+", default=[], metavar="SET",
                        help=f"evaluation sets to look for: {', '.join(EVALUATION_SETS)}, or files")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the random rows")
    parser.add_argument("--json", metavar="FILE", help="write the counts as JSON: a list, one entry a file")
    parser.add_argument("--html", metavar="FILE", help="write a self-contained page with plots")
    args = parser.parse_args(argv)
    if len(args.files) > 2:
        parser.error(f"one file, or two side by side, not {len(args.files)}")
    contamination = Contamination(args.against) if args.against else None
    count_tokens = token_counter(args.model) if args.model else None
    described = [
        describe(file, args.source or guess_source(file), count_tokens, contamination, args.seed) for file in args.files
    ]
    show(described)
    if args.json:
        with OutFile(args.json) as out:
            out.write(msgspec.json.format(msgspec.json.encode(described), indent=1) + b"\n")
    if args.html:
        write_html(args.html, described)
    return 0


def token_counter(model: str) -> CountTokens:
    """Counts tokens by kind for this model. Imports transformers: only where asked for."""
    from data_prep.encode import KINDS, Encoder, RejectedDialogue, load_tokenizer
    from data_prep.fit import loaded

    encoder = loaded(model, lambda: Encoder(load_tokenizer(model)))

    def count(dialogues: Sequence[Dialogue]) -> list[Tokens]:
        found = []
        for result in encoder.encode_batch(dialogues):
            if isinstance(result, RejectedDialogue):
                found.append(Tokens({}, result.code))
            else:
                kinds = Counter(kind for sample in result for kind in sample.kinds)
                found.append(Tokens({name: kinds[kind] for kind, name in enumerate(KINDS)}))
        return found

    return count


def show(described: Sequence[Description]) -> None:
    """Print the table, and the random rows of each file."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    grid = Table(box=None, padding=(0, 1), show_header=len(described) > 1)
    grid.add_column("", no_wrap=False, max_width=34)
    for one in described:
        grid.add_column(Text(visible(one.file)), overflow="fold")
    for section in table(described):
        grid.add_row(Text(section.title, style="bold"))
        for label, cells in section.rows:
            grid.add_row(f"  {label}", *(Text(visible(cell)) for cell in cells))
    console.print(grid)
    for one in described:
        console.print(Text(f"\n{len(one.rows)} random rows of {visible(one.file)}", style="bold"))
        for line in _lines(one):
            console.print(Text(line))


def _lines(one: Description) -> Iterator[str]:
    for row in one.rows:
        first, *others = visible(row).split("\n")
        yield first
        yield from (f"  {line}" for line in others)
