"""A pipeline as a command: options, the run itself, and what it writes.

OUT.jsonl                   the rows; one JSON list where the name ends in .json
OUT.jsonl.lineage.jsonl     for each row, in the same order: seed, parents, prompts with hashes, requests, tokens
OUT.jsonl.report.json/.txt  the funnel, examples of rejections, requests, repeats, cost
OUT.jsonl.requests.sqlite   every reply (--store): the same command goes on where it was killed
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from data_prep.chat_completions import is_http, public_url
from data_prep.outfile import OutFile
from data_prep.synth.endpoint.ask import DryRun, Endpoint
from data_prep.synth.endpoint.client import Budget, BudgetSpent, Client, Limits
from data_prep.synth.endpoint.funnel import Funnel, to_text
from data_prep.synth.endpoint.pipeline import Made, Row, Runner, Stage, Together, make_rows
from data_prep.synth.endpoint.prompts import Prompts
from data_prep.synth.endpoint.store import Store

ROWS_PER_REQUEST_PLACE = 2  # rows in progress for each request in flight, so that no place waits for a row


class Pipeline(NamedTuple):
    """What a pipeline is: stages, an endless or finite series of (name, value) seeds, prompts, and the exported row.

    `settings` go into the report; `also` writes further files from the path of the rows and the rows.
    """

    name: str
    stages: Sequence[Stage | Together]
    seeds: Iterator[tuple[str, Any]]
    prompts: Prompts
    to_row: Callable[[Row], dict[str, Any]]
    settings: dict[str, Any]
    also: Callable[[str, Sequence[dict[str, Any]]], None] = lambda out, rows: None


def add_endpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every pipeline that asks a server."""
    group = parser.add_argument_group("with a server (key from OPENAI_API_KEY)")
    group.add_argument("--base-url", metavar="URL", help="of an OpenAI-compatible server, http://localhost:8000/v1")
    group.add_argument("--model", metavar="NAME", help="what the server calls the model")
    group.add_argument("--concurrency", type=int, default=8, metavar="N", help="most requests in flight (default: 8)")
    group.add_argument("--requests-per-minute", type=float, metavar="N", help="of the server's limit")
    group.add_argument("--tokens-per-minute", type=float, metavar="N", help="of the server's limit")
    group.add_argument("--timeout", type=float, default=300.0, metavar="S", help="for a whole reply (default: 300)")
    group.add_argument("--budget-tokens", type=int, metavar="N", help="stop before more tokens are used in all")
    group.add_argument("--budget-money", type=float, metavar="X", help="stop before more is spent, by the prices below")
    group.add_argument("--price-in", type=float, default=0.0, metavar="X", help="of a million prompt tokens")
    group.add_argument("--price-out", type=float, default=0.0, metavar="X", help="of a million new tokens")
    group.add_argument("--structured", choices=("auto", "on", "off"), default="auto",
                       help="send JSON schemas along; auto asks the server once whether it takes one")  # fmt: skip
    group.add_argument("--store", metavar="FILE", help="of replies (default: OUT.requests.sqlite)")
    group.add_argument("--dry-run", action="store_true", help="show the prompts and the estimated cost, ask nothing")


def check_endpoint_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program with the usage where the options can't work together."""
    if not args.dry_run and not (args.base_url and args.model):
        parser.error("a server needs --base-url and --model")
    if args.base_url and not is_http(args.base_url):
        parser.error(f"--base-url must be an address such as http://localhost:8000/v1, not {args.base_url!r}")
    for name in ("requests_per_minute", "tokens_per_minute", "timeout"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be more than 0, not {value}")
    for name in ("budget_tokens", "budget_money", "price_in", "price_out"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < math.inf:
            parser.error(f"--{name.replace('_', '-')} must be 0 or more, not {value}")
    if args.concurrency < 1:
        parser.error(f"--concurrency must be at least 1, not {args.concurrency}")
    if args.budget_money is not None and not (args.price_in or args.price_out):
        parser.error("--budget-money needs --price-in and --price-out")


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits in the options."""
    return Limits(args.concurrency, args.requests_per_minute, args.tokens_per_minute, args.timeout)


def budget_of(args: argparse.Namespace) -> Budget:
    """The budget in the options."""
    return Budget(args.budget_tokens, args.budget_money, args.price_in, args.price_out)


def run_pipeline(pipeline: Pipeline, args: argparse.Namespace) -> int:
    """Make args.rows rows into args.out, or show what would be asked. Returns 0, or 1 for fewer rows than wanted.

    Raises EndpointError, OutputError.
    """
    if args.dry_run:
        print(asyncio.run(_dry_run(pipeline, args)))
        return 0
    report = asyncio.run(_run(pipeline, args))
    print(to_text(report), end="")
    return 0 if report["stopped"] is None else 1


async def _run(pipeline: Pipeline, args: argparse.Namespace) -> dict[str, Any]:
    budget = budget_of(args)
    names = [stage.name for stage in pipeline.stages]
    with Store(args.store or f"{args.out}.requests.sqlite") as store, _progress(names) as changed:
        async with Client(args.base_url, args.model, limits_of(args), store, budget) as client:
            structured = args.structured == "on" or (args.structured == "auto" and await _takes_schemas(client))
            funnel = Funnel(names, budget, lambda stage: changed(funnel, stage))
            endpoint = Endpoint(client, structured, args.seed)
            runner = Runner(pipeline.stages, endpoint, args.seed, funnel, args.concurrency * ROWS_PER_REQUEST_PLACE)
            made = await make_rows(runner, pipeline.seeds, args.rows)
        tokens = store.tokens()
        report = {
            "pipeline": pipeline.name,
            "rows": len(made.rows),
            "wanted": args.rows,
            "stopped": made.stopped,
            "settings": {**pipeline.settings, "seed": args.seed},
            "model": args.model,
            "url": public_url(args.base_url),
            "structured": structured,
            "prompts": pipeline.prompts.digests(),
            "funnel": funnel.report(),
            "sent": store.sent()._asdict(),
            "tokens": {"prompt": tokens[0], "new": tokens[1], "cost": round(budget.cost(*tokens), 6)},
        }
    _write(pipeline, made, report, args.out)
    return report


def _write(pipeline: Pipeline, made: Made, report: dict[str, Any], out: str) -> None:
    rows = [pipeline.to_row(row) for row in made.rows]
    pipeline.also(out, rows)
    with OutFile(f"{out}.lineage.jsonl") as lineage, OutFile(out) as file:
        file.write(_json_list(rows) if out.endswith(".json") else b"".join(_json_line(row) for row in rows))
        for row in made.rows:
            lineage.write(_json_line(row.lineage()))
    for suffix, text in (("json", json.dumps(report, indent=2, ensure_ascii=False) + "\n"), ("txt", to_text(report))):
        with OutFile(f"{out}.report.{suffix}") as file:
            file.write(text.encode())


def _json_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _json_list(rows: Sequence[dict[str, Any]]) -> bytes:
    """One list, a row a line: the form of ShareGPT files."""
    return b"[\n" + b",\n".join(_json_line(row).rstrip() for row in rows) + b"\n]\n"


async def _takes_schemas(client: Client) -> bool:
    """Whether the server takes a JSON schema along with a request, by one small request."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    body = {
        "model": client.model,
        "messages": [{"role": "user", "content": 'Reply with the JSON object {"ok": true}.'}],
        "max_tokens": 32,
        "temperature": 0.0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
    }
    try:
        return (await client.reply(body)).finish_reason not in ("refused", "failed")
    except BudgetSpent:
        return False  # nor is there any for the first row, which says so


async def _dry_run(pipeline: Pipeline, args: argparse.Namespace) -> str:
    """Every prompt once, filled from one seed and the examples in the prompt files, and what `--rows` would cost."""
    dry, budget = DryRun(args.model or "(no model)"), budget_of(args)
    funnel = Funnel([stage.name for stage in pipeline.stages], budget)
    name, value = next(pipeline.seeds)
    made = await Runner(pipeline.stages, dry, args.seed, funnel, 1).run([Row((0,), name, value)])
    parts = [
        f"--- {name} ({prompt.sha256}, max_tokens {prompt.max_tokens}, temperature {prompt.temperature})\n{prompt.text}"
        for name, prompt in dry.filled.items()
    ]
    parts += [
        f"--- {name} ({digest}), not asked for this seed\n{pipeline.prompts.template(name)}"
        for name, digest in pipeline.prompts.digests().items()
        if name not in dry.filled
    ]
    per_seed = [sum(counts[place] for counts in dry.tokens.values()) for place in range(3)]
    share = args.rows / max(1, len(made))
    total = [round(number * share) for number in per_seed]
    stuck = "" if made else "; the examples did not reach the last stage with these options\n" + to_examples(funnel)
    parts.append(
        f"--- estimate: one seed asks {per_seed[0]} times and gives {len(made)} rows{stuck}\n"
        f"{args.rows:,} rows, were nothing rejected: {total[0]:,} requests, about {total[1]:,} prompt and "
        f"{total[2]:,} new tokens, cost {budget.cost(total[1], total[2]):.2f}"
    )
    return "\n\n".join(parts)


def to_examples(funnel: Funnel) -> str:
    """Why rows were rejected."""
    return "\n".join(
        f"{entry['stage']}: {example['message']}"
        for entry in funnel.report()
        for examples in entry["examples"].values()
        for example in examples
    )


@contextmanager
def _progress(names: Sequence[str]) -> Iterator[Callable[[Funnel, str], None]]:
    """A line for each stage, on a terminal only: rows accepted and rejected, tokens, cost."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<22}"), TextColumn("{task.fields[counts]}"), TimeElapsedColumn(),
        console=console, disable=not sys.stderr.isatty(), transient=True,
    ) as bar:  # fmt: skip
        lines = {name: bar.add_task(name, total=None, counts="") for name in names}

        def changed(funnel: Funnel, stage: str) -> None:
            bar.update(lines[stage], counts=funnel.line(stage))

        yield changed
