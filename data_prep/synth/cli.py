"""Make dialogues by program, or with a model behind an OpenAI-compatible server.

python -m data_prep synth button --out rows.jsonl --rows 1000 [--split held_out] [--seed 0]
python -m data_prep synth button --out rows.jsonl --rows 200 --base-url http://localhost:8000/v1 --model NAME
python -m data_prep synth mathchat --seeds FILE --out rows.jsonl --rows 200 --base-url URL --model NAME
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from data_prep.cli.reading import share
from data_prep.sources import SOURCES
from data_prep.synth import compose
from data_prep.synth.button.pipeline import button_pipeline
from data_prep.synth.button.switches import Switches, read_switches
from data_prep.synth.endpoint.run import (
    Pipeline,
    add_endpoint_arguments,
    check_endpoint_arguments,
    run_pipeline,
)
from data_prep.synth.graph import SHAPES, length_of
from data_prep.synth.mathchat import benchmark as mathchat_benchmark
from data_prep.synth.mathchat import pipeline as mathchat_pipeline
from data_prep.synth.maths import dialogues
from data_prep.synth.options import Options

KINDS = ("button", "gsm8k", "mathchat")
CALLS = tuple(sorted({length_of(shape) for shape in SHAPES}))
OF_PROGRAMS = ("split", "min_calls", "max_calls", "user_turns", "max_tools", "rows_per_list", "simple", "parallel",
               "no_bottom_up", "clock", "errors", "missing", "no_tool")  # fmt: skip
OF_SERVERS = ("model", "faithful", "switch", "seeds", "seed_source", "store", "budget_tokens", "budget_money",
              "decontaminate", "rationale")  # fmt: skip
OF_OTHERS = {  # options that this pipeline does not read
    "button": ("decontaminate", "rationale"),
    "mathchat": ("switch", "seed_source"),
    "mathchat_benchmark": ("switch", "seed_source", "faithful", "decontaminate", "rationale"),
}


def main(argv: list[str]) -> int:
    """Write the rows and say how many a second, or run a pipeline; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.rows < 1:
        parser.error(f"--rows must be at least 1, not {args.rows}")
    if args.backend == "endpoint" or args.base_url or args.dry_run:
        check_endpoint_arguments(parser, args)
        _refuse_options(parser, args, OF_PROGRAMS, "makes dialogues by program, without a server")
        if args.kind not in PIPELINES:
            parser.error(f"{args.kind} has no pipeline for a server; have {', '.join(PIPELINES)}")
        _refuse_options(parser, args, OF_OTHERS[args.kind], f"is not an option of {args.kind}")
        return run_pipeline(PIPELINES[args.kind](args), args)
    if args.kind not in KINDS:
        parser.error(f"{args.kind} needs a server: give --base-url and --model")
    _refuse_options(parser, args, OF_SERVERS, "needs --base-url")
    _check_program_arguments(parser, args)
    return _by_program(args)


def _by_program(args: argparse.Namespace) -> int:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_prep synth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "kind",
        choices=dict.fromkeys((*KINDS, *PIPELINES)),
        help="whose row format to make; gsm8k is the problems of mathchat alone",
    )
    parser.add_argument("--out", required=True, help="JSON Lines file to write")
    parser.add_argument("--rows", type=int, required=True, help="how many rows")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--backend", choices=("program", "endpoint"),
                        help="what makes the dialogues (default: program, or endpoint with --base-url)")  # fmt: skip
    _add_program_arguments(parser)
    add_endpoint_arguments(parser)
    parser.add_argument("--faithful", action="store_true", help="the paper's stages alone")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=SHARE",
                        help=f"of what goes beyond the paper: {', '.join(Switches.__struct_fields__)}")  # fmt: skip
    parser.add_argument(
        "--seeds", metavar="FILE", help="seed dialogues (default: our own); for mathchat, questions and answers"
    )
    parser.add_argument("--seed-source", choices=SOURCES, default="sharegpt", help="format of --seeds")
    mathchat_pipeline.add_arguments(parser)
    return parser


def _add_program_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("by program (all but --split of button rows)")
    default = Options()
    group.add_argument("--split", choices=("train", "held_out"), default="train",
                       help="held_out shares no domain and no phrasing with train")  # fmt: skip
    group.add_argument("--min-calls", type=int, choices=CALLS, default=default.min_calls, help="least for one request")
    group.add_argument("--max-calls", type=int, choices=CALLS, default=default.max_calls, help="most for one request")
    group.add_argument("--user-turns", type=int, choices=(1, 2, 3, 4), default=default.user_turns, help="requests")
    group.add_argument("--max-tools", type=int, choices=(4, 5, 6), default=default.max_tools, help="most tools listed")
    group.add_argument("--rows-per-list", type=int, default=default.rows_per_list,
                       help="rows in a row that share a tool list")  # fmt: skip
    group.add_argument("--simple", action="store_true",
                       help="for small models: parameters undescribed, other tools of other domains")  # fmt: skip
    group.add_argument("--parallel", choices=("mixed", "on", "off"), default=default.parallel,
                       help="whether the prompt allows parallel calls (default: in half of the rows)")  # fmt: skip
    group.add_argument("--no-bottom-up", action="store_true",
                       help="ablation: single steps side by side, none needs another's result")  # fmt: skip
    group.add_argument("--clock", action="store_true",
                       help="today's date in the prompt, and requests that name dates relative to it")  # fmt: skip
    for name, what in (("errors", "a call fails, by the tool's fault or by an untrained mistake, and is made again"),
                       ("missing", "the request leaves a value open and the assistant asks for it"),
                       ("no-tool", "no listed tool serves the request and none is called")):  # fmt: skip
        group.add_argument(f"--{name}", type=share, default=0.0, metavar="SHARE", help=f"of rows in which {what}")


def _check_program_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.rows_per_list < 1:
        parser.error(f"--rows-per-list must be at least 1, not {args.rows_per_list}")
    if args.min_calls > args.max_calls:
        parser.error(f"--min-calls {args.min_calls} is more than --max-calls {args.max_calls}")
    if args.errors + args.missing + args.no_tool > 1:
        parser.error("--errors, --missing and --no-tool are shares of rows that have one of them: at most 1 together")


def _refuse_options(parser: argparse.ArgumentParser, args: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """An option that would do nothing is an error."""
    for name in names:
        if getattr(args, name) != parser.get_default(name):
            parser.error(f"--{name.replace('_', '-')} {why}")


def _button(args: argparse.Namespace) -> Pipeline:
    return button_pipeline(read_switches(args.faithful, args.switch), args.seed_source, args.seeds)


PIPELINES: dict[str, Callable[[argparse.Namespace], Pipeline]] = {
    "button": _button,
    "mathchat": mathchat_pipeline.build,
    "mathchat_benchmark": mathchat_benchmark.build,
}


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
