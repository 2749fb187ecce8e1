"""python -m eval list | run MODEL --tasks a,b --out DIR | join | sweep | compare A B | judge | card; each has --help

python -m eval run runs/quickstart --tasks function_calls --data build/demo --out runs/quickstart/eval
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from data_prep.outfile import FULL_DISK
from data_prep.shards import Shard
from eval import card, html_compare, html_report, join, transcripts
from eval import compare as comparison
from eval import report as reports
from eval import sweep as sweeps
from eval.protocol import Backend, EvalError, Sampling, Task
from eval.run import WHOLE, evaluate, find_tasks, load_tasks
from eval.tasks import TASKS
from recipes import RecipeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on bad input."""
    options = parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)  # a log is not 80 columns wide
    try:
        if options.command == "list":
            print(task_list(find_tasks(",".join(options.names or TASKS))))
        elif options.command == "run":
            run(options, console)
        elif options.command == "join":
            show(join.join(options.shards, options.out), options.out, console)
        elif options.command == "judge":
            judge(options, console)
        elif options.command == "sweep":
            sweep(options, console)
        elif options.command == "card":
            console.print(Text(f"wrote {card.add_scores(options.run_dir)}"))
        else:
            compare(options, console)
    except (EvalError, RecipeError) as error:  # the latter for a manifest that cannot be read
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or "while writing"
        remedy = "make room and give the same command again: finished items are kept"
        if error.errno not in FULL_DISK:
            if error.filename is None:  # nothing that a path is to blame for
                raise
            remedy = "choose a place that can be read and written"
        print(f"error: {where}: {error.strerror}; {remedy}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m eval", description="Benchmarks for multi-turn models")
    commands = top.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("list", help="the tasks and their metrics")
    listed.add_argument("names", nargs="*", metavar="TASK", help="these only; an unknown one is an error")
    run = commands.add_parser("run", help="evaluate a model")
    run.add_argument(
        "model", help="a checkpoint, a PEFT adapter directory, a hub id; with openai the served model's name"
    )
    run.add_argument("--tasks", required=True, help=f"comma-separated: {','.join(TASKS)}")
    run.add_argument("--out", required=True, help="directory of the report; the same run goes on in it")
    run.add_argument("--data", action="append", help="directory with the data, or a file of dialogues (default: data); "
                     "may be given several times, the first that has a file wins")  # fmt: skip
    run.add_argument("--limit", type=positive, help="items per task")
    run.add_argument("--backend", choices=("hf", "vllm", "openai"), default="hf")
    run.add_argument("--base-url", default="http://localhost:8000/v1", help="server of --backend openai")
    run.add_argument("--batch-size", type=positive, help="turns at once (default 128 on a CPU, 64 on a GPU; openai 8)")
    run.add_argument("--max-new-tokens", type=positive, help="per turn, instead of each task's own limit")
    run.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    run.add_argument(
        "--tool-format", choices=("native", "button"), help="default: as the checkpoint was trained, else auto"
    )
    run.add_argument(
        "--chat-template", help="name of a shipped template, a path or Jinja text, instead of the model's own"
    )
    run.add_argument("--tensor-parallel", type=positive, default=1, metavar="N", help="GPUs that share a vllm model")
    run.add_argument("--temperature", type=float, default=0.0, help="0, the default, takes the likeliest token")
    run.add_argument("--top-p", type=float, default=1.0, help="draw from the likeliest tokens that hold this share")
    run.add_argument("--seed", type=int, default=0, help="of the draws, with --temperature")
    sharded = commands.add_parser("join", help="make one run of the shards of a run")
    sharded.add_argument("shards", nargs="+", help="the --out of each `run ... --shard I/N`")
    sharded.add_argument("--out", required=True, help="directory of the report")
    commands.add_parser("sweep", parents=[run], add_help=False, help="evaluate every checkpoint of a run, MODEL")
    run.add_argument(
        "--shard", type=shard, default=WHOLE, metavar="I/N", help="evaluate share I of N; then `join` them"
    )
    scored = commands.add_parser("card", help="write the scores of a run's evaluations into its model card")
    scored.add_argument("run_dir")
    judge = commands.add_parser("judge", help="a model grades the open-ended answers of a finished run")
    judge.add_argument("run_dir", help="the --out of a run of mathchat_error_analysis or mathchat_problem_generation")
    judge.add_argument("--model", required=True, help="the judge's name at its server; its key is OPENAI_API_KEY")
    judge.add_argument("--base-url", default="http://localhost:8000/v1", help="an OpenAI-compatible server")
    judge.add_argument("--limit", type=positive, help="answers per task")
    judge.add_argument("--calibrate", nargs="?", type=positive, const=50, default=0, metavar="N",
                       help="also grade planted good and bad answers to N items (50), and N answers again")  # fmt: skip
    judge.add_argument("--temperature", type=float, default=0.0)
    judge.add_argument("--concurrency", type=positive, default=8, help="requests at once")
    judge.add_argument("--timeout-s", type=float, default=120.0, help="for one request, which is then sent again")
    pair = commands.add_parser("compare", help="two runs of the same tasks, paired")
    pair.add_argument("before")
    pair.add_argument("after")
    pair.add_argument("--out", help="write an HTML page, or Markdown where the name ends in .md")
    return top


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {value}")
    return value


def shard(text: str) -> Shard:
    """`2/8`."""
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def task_list(tasks: Sequence[Task]) -> str:
    """Tasks and metrics, one a line."""
    lines = []
    for task in tasks:
        lines.append(
            f"{task.name} (version {task.version}): {task.description}; {task.max_new_tokens} new tokens a turn"
        )
        lines += [f"    {metric:28} {about}" for metric, about in task.metrics.items()]
    return "\n".join(lines)


def run(options: argparse.Namespace, console: Console) -> None:
    """Evaluate and print the table."""
    tasks = find_tasks(options.tasks)
    data_dirs = options.data or ["data"]
    loaded = load_tasks(tasks, data_dirs, options.limit)
    backend = make_backend(options)
    report = evaluate(
        backend, options.model, tasks, loaded, data_dirs, options.out, options.max_new_tokens, shard=options.shard
    )
    if options.shard == WHOLE and card.is_inside(options.out, options.model):
        card.add_scores(options.model)
    show(report, options.out, console)


def show(report: dict[str, Any], out: str, console: Console) -> None:
    """Print a report's tables, and where its files are."""
    for table in reports.to_tables(report):
        console.print(table)
    console.print(Text(f"{out}/{html_report.FILE}, {reports.MARKDOWN_FILE}, {reports.JSON_FILE}, {transcripts.FILE}"))


def sweep(options: argparse.Namespace, console: Console) -> None:
    """Evaluate every checkpoint and print where the table is."""
    tasks = find_tasks(options.tasks)
    data_dirs = options.data or ["data"]
    loaded = load_tasks(tasks, data_dirs, options.limit)
    if options.backend != "hf":
        raise EvalError("a sweep loads one checkpoint after another with --backend hf; for another, `run` each of them")

    def evaluate_one(model: str, out: Path) -> dict[str, Any]:
        backend = make_backend(argparse.Namespace(**vars(options) | {"model": model}))
        return evaluate(backend, model, tasks, loaded, data_dirs, out, options.max_new_tokens)

    in_key = ("limit", "max_new_tokens", "dtype", "tool_format", "chat_template", "temperature", "top_p", "seed")
    settings: dict[str, Any] = {name: getattr(options, name) for name in in_key}
    settings["tasks"] = {
        task.name: {"version": task.version, "data": sorted(map(reports.file_sha256, task.data_files(data_dirs)))}
        for task in tasks
    }
    sweeps.sweep(options.model, options.out, settings, evaluate_one, lambda line: console.print(Text(line)))
    if card.is_inside(options.out, options.model):
        card.add_scores(options.model)
    console.print(Text(f"{options.out}/{sweeps.MARKDOWN_FILE}, {sweeps.JSON_FILE}, {sweeps.PLOT_FILE}"))


def make_backend(options: argparse.Namespace) -> Backend:
    """The backend that the options name; imported here, because torch takes seconds and a server needs none of it."""
    sampling = Sampling(options.temperature, options.top_p, options.seed)
    if not 0 <= options.temperature < math.inf or not 0 < options.top_p <= 1:
        raise EvalError("--temperature must be 0 or more, and --top-p over 0 and at most 1")
    if options.backend == "openai":
        from eval.backends.openai import OpenAIBackend

        if options.chat_template:
            raise EvalError("--chat-template cannot be set on a server: it renders with its own")
        tool_format = options.tool_format or "native"
        return OpenAIBackend(options.model, options.base_url, options.batch_size or 8, tool_format, sampling=sampling)
    if options.backend == "vllm":
        from eval.backends.vllm import VllmBackend, load_vllm

        parts = load_vllm(
            options.model, options.dtype, options.tool_format, options.chat_template, options.tensor_parallel
        )
        return VllmBackend(parts, options.batch_size, sampling)
    import transformers

    from eval.backends.hf import HfBackend, load_model

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    loaded = load_model(options.model, options.dtype, options.tool_format, options.chat_template)
    return HfBackend(loaded, options.batch_size, sampling)


def judge(options: argparse.Namespace, console: Console) -> None:
    """Grade the answers of a run and print the tables."""
    from eval.backends.openai import OpenAIBackend
    from eval.judge import judge_run
    from eval.judge_report import to_tables

    server = OpenAIBackend(options.model, options.base_url, options.concurrency, timeout_s=options.timeout_s)
    progress = Console(stderr=True)
    folder, report = judge_run(options.run_dir, server, options.temperature, options.limit, options.calibrate, progress)
    for table in to_tables(report):
        console.print(table)
    console.print(Text(f"{folder}/{reports.MARKDOWN_FILE}, {reports.JSON_FILE}, transcripts.jsonl"))


def compare(options: argparse.Namespace, console: Console) -> None:
    """Print the paired table, and write it where asked."""
    pair = comparison.compare_runs(options.before, options.after)
    console.print(comparison.to_table(pair))
    if options.out and options.out.endswith(".md"):
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(comparison.to_markdown(pair))
    elif options.out:
        html_compare.write(options.out, options.before, options.after)
    if options.out:
        console.print(Text(f"wrote {options.out}"))


if __name__ == "__main__":
    sys.exit(main())
