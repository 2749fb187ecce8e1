"""`python -m data_prep synth button --out rows.jsonl --rows 1000 [--split held_out] [--seed 0]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from data_prep.cli.reading import share
from data_prep.synth import compose
from data_prep.synth.graph import SHAPES, length_of
from data_prep.synth.maths import dialogues
from data_prep.synth.options import Options

KINDS = ("button", "gsm8k", "mathchat")
CALLS = tuple(sorted({length_of(shape) for shape in SHAPES}))


def main(argv: list[str]) -> int:
    """Write the rows and say how many a second; returns the exit status."""
    args = _parse(argv)
    started = time.perf_counter()
    try:
        make = _maker(args)
        write_rows(args.out, (make(args.split, args.seed, index) for index in range(args.rows)))
    except OSError as error:
        print(f"{args.out}: {error.strerror}; choose another --out", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - started
    print(f"wrote {args.rows} {args.kind} rows ({args.split}, seed {args.seed}) to {args.out} "
          f"in {seconds:.1f} s, {args.rows / seconds:.0f} rows/s")  # fmt: skip
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_prep synth", description="Make dialogues by program.")
    parser.add_argument("kind", choices=KINDS, help="whose row format to make; gsm8k is the problems of mathchat alone")
    parser.add_argument("--out", required=True, help="JSON Lines file to write")
    parser.add_argument("--rows", type=int, required=True, help="how many rows")
    parser.add_argument("--split", choices=("train", "held_out"), default="train",
                        help="held_out shares no domain and no phrasing with train")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--backend", choices=("program",), default="program", help="what makes the dialogues")
    button = parser.add_argument_group("button rows")
    default = Options()
    button.add_argument("--min-calls", type=int, choices=CALLS, default=default.min_calls, help="least for one request")
    button.add_argument("--max-calls", type=int, choices=CALLS, default=default.max_calls, help="most for one request")
    button.add_argument("--user-turns", type=int, choices=(1, 2, 3, 4), default=default.user_turns, help="requests")
    button.add_argument("--max-tools", type=int, choices=(4, 5, 6), default=default.max_tools, help="most tools listed")
    button.add_argument("--rows-per-list", type=int, default=default.rows_per_list,
                        help="rows in a row that share a tool list")  # fmt: skip
    button.add_argument("--simple", action="store_true",
                        help="for small models: parameters undescribed, other tools of other domains")  # fmt: skip
    button.add_argument("--parallel", choices=("mixed", "on", "off"), default=default.parallel,
                        help="whether the prompt allows parallel calls (default: in half of the rows)")  # fmt: skip
    button.add_argument("--no-bottom-up", action="store_true",
                        help="ablation: single steps side by side, none needs another's result")  # fmt: skip
    button.add_argument("--clock", action="store_true",
                        help="today's date in the prompt, and requests that name dates relative to it")  # fmt: skip
    for name, what in (("errors", "a call fails, by the tool's fault or by an untrained mistake, and is made again"),
                       ("missing", "the request leaves a value open and the assistant asks for it"),
                       ("no-tool", "no listed tool serves the request and none is called")):  # fmt: skip
        button.add_argument(f"--{name}", type=share, default=0.0, metavar="SHARE", help=f"of rows in which {what}")
    args = parser.parse_args(argv)
    if args.rows < 1:
        parser.error(f"--rows must be at least 1, not {args.rows}")
    if args.rows_per_list < 1:
        parser.error(f"--rows-per-list must be at least 1, not {args.rows_per_list}")
    if args.min_calls > args.max_calls:
        parser.error(f"--min-calls {args.min_calls} is more than --max-calls {args.max_calls}")
    if args.errors + args.missing + args.no_tool > 1:
        parser.error("--errors, --missing and --no-tool are shares of rows that have one of them: at most 1 together")
    return args


def _maker(args: argparse.Namespace) -> Callable[[str, int, int], dict[str, Any]]:
    if args.kind == "button":
        options = Options(bottom_up=not args.no_bottom_up,
                          **{name: getattr(args, name) for name in Options._fields if name != "bottom_up"})  # fmt: skip
        return partial(compose.make_row, options=options)
    return {"mathchat": dialogues.make_row, "gsm8k": dialogues.make_gsm8k_row}[args.kind]


def write_rows(path: str, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line; the file appears under its name only when it is whole."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    unfinished = f"{path}.partial"
    with open(unfinished, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(unfinished, path)
