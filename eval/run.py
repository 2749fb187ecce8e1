"""`python -m eval run MODEL --tasks a,b --out DIR`: generate, score, report; a killed run goes on where it was.

`--shard 2/8` takes every eighth item from the second on, for a job array; eval/join.py makes one run of the eight.

DIR/run.json             what fixes the run: model files, tasks, data, template, sampling
DIR/transcripts.jsonl    one line per finished item
DIR/report.json, .md     n, scores with 95 % intervals, unparsed counts
DIR/report.html          the same with every transcript, filters and search; one file, no network
DIR/results.json         the scores as lm-evaluation-harness writes them
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data_prep.shards import Shard
from eval import harness_results, html_report, second_opinion, transcripts
from eval import report as reports
from eval.protocol import GREEDY, Backend, EvalError, Item, Loaded, Reply, Request, Step, Task
from eval.tasks import TASKS
from recipes.manifest import git_state, package_versions

RUN_FILE = "run.json"
WHOLE = Shard(1, 1)


def find_tasks(names: str) -> list[Task]:
    """Tasks of a comma-separated list. Raises EvalError for an unknown name."""
    tasks = []
    for name in dict.fromkeys(part.strip() for part in names.split(",") if part.strip()):
        if name not in TASKS:
            raise EvalError(f"unknown task {name!r}; known: {', '.join(TASKS)}")
        tasks.append(TASKS[name])
    if not tasks:
        raise EvalError(f"--tasks names no task; known: {', '.join(TASKS)}")
    return tasks


def load_tasks(tasks: Sequence[Task], data_dirs: Sequence[str], limit: int | None) -> dict[str, Loaded]:
    """Items of every task, before any model is loaded: missing data should cost no minutes. Raises EvalError."""
    return {task.name: task.load(data_dirs, limit) for task in tasks}


def evaluate(
    backend: Backend,
    model: str,
    tasks: Sequence[Task],
    loaded: dict[str, Loaded],
    data_dirs: Sequence[str],
    out: str | os.PathLike[str],
    max_new_tokens: int | None = None,
    console: Console | None = None,
    shard: Shard = WHOLE,
) -> dict[str, Any]:
    """Run the tasks, or a shard of each, on a backend into `out` and write the report; returns it.

    max_new_tokens overrides every task's own limit, and is recorded. Raises EvalError where `out` holds another run.
    """
    console = console or Console(stderr=True)
    items = {task.name: loaded[task.name].items[shard.own] for task in tasks}
    data = {task.name: {path: reports.file_sha256(path) for path in task.data_files(data_dirs)} for task in tasks}
    identity = backend.identity()
    run = {
        "format": reports.FORMAT,
        "model": model,
        "sampling": identity.pop("sampling", GREEDY.facts()),
        "identity": identity,
        "tasks": {
            task.name: {
                "version": task.version,
                "items": len(items[task.name]),
                "data": sorted(data[task.name].values()),
                "max_new_tokens": max_new_tokens or task.max_new_tokens,
            }
            for task in tasks
        },
    } | ({"shard": str(shard)} if shard != WHOLE else {})
    claim(Path(out), run)
    with alone_in(Path(out)):
        records = transcripts.read(out)
        transcripts.cut_partial_line(out)
        done = {(record["task"], record["item"]) for record in records}
        if done:
            console.print(f"{len(done):,} items are done already: going on")
        for task in tasks:
            left = [item for item in items[task.name] if (task.name, item.id) not in done]
            generate(backend, task, left, Path(out), max_new_tokens, console)
    facts = {task.name: {"left_out": loaded[task.name].left_out, "data": data[task.name]} for task in tasks}
    about = backend.describe() | {"packages": package_versions(), "git": git_state()}
    return write_report(out, run, tasks, facts, about)


def claim(out: Path, run: dict[str, Any]) -> None:
    """Make the directory this run's, or find that it is. Raises EvalError where it is another's."""
    path = out / RUN_FILE
    if path.is_file():
        before = reports.read_json(path)
        differing = differences(before, json.loads(json.dumps(run)))
        if differing:
            raise EvalError(f"{out} holds another run: {'; '.join(differing)}. Choose a new --out, or delete it")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EvalError(f"{out} is in use and holds no evaluation ({RUN_FILE} is missing); choose a new --out")
    out.mkdir(parents=True, exist_ok=True)
    reports.replace_file(path, json.dumps(run, indent=2) + "\n")


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep a second process out while this one appends: an item must not be written twice. The kernel lifts the lock.

    Raises EvalError where another process is at work.
    """
    with open(out / transcripts.FILE, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EvalError(f"{out}: another process evaluates into it; wait for it, or choose a new --out") from error
        yield


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, as `identity.dtype: float32 there, bfloat16 here`; at most five."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[str] = []
        for key in sorted({*before, *after}):
            found += differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        return found[:5]
    return [] if before == after else [f"{path}: {str(before)[:60]} there, {str(after)[:60]} here"]


def generate(
    backend: Backend, task: Task, items: Sequence[Item], out: Path, max_new_tokens: int | None, console: Console
) -> None:
    """Let the backend answer every item's requests, scoring and writing each item as its conversation ends."""
    steps: list[list[Step]] = [[] for _ in items]
    waiting: list[Request | None] = [None] * len(items)

    def ask(index: int) -> Request | None:
        request = task.next_request(items[index], steps[index])
        if request is not None and max_new_tokens is not None:
            request = request._replace(max_new_tokens=max_new_tokens)
        waiting[index] = request
        return request

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn(), TextColumn("{task.fields[speed]}"))  # fmt: skip
    with open(out / transcripts.FILE, "a", encoding="utf-8") as file, Progress(*columns, console=console) as progress:
        bar = progress.add_task(task.name, total=len(items), speed="")
        tokens = 0

        def follow_up(index: int, reply: Reply) -> Request | None:
            nonlocal tokens
            request = waiting[index]
            assert request is not None
            steps[index].append(Step(request.dialogue, reply))
            tokens += reply.new_tokens
            following = ask(index) if reply.finish_reason != "rejected" else None
            if following is None:
                transcripts.append(file, transcripts.make_record(task, items[index], steps[index],
                                                                 task.score(items[index], steps[index])))  # fmt: skip
                progress.advance(bar)
            elapsed = progress.tasks[0].elapsed or 0.0
            progress.update(bar, speed=f"{tokens / elapsed:,.0f} tokens/s" if elapsed else "")
            return following

        requests = [request for request in (ask(index) for index in range(len(items))) if request is not None]
        assert len(requests) == len(items), "every item asks at least once"
        backend.generate(requests, follow_up)


def write_report(
    out: str | os.PathLike[str],
    run: dict[str, Any],
    tasks: Sequence[Task],
    facts: dict[str, dict[str, Any]],
    about: dict[str, Any],
) -> dict[str, Any]:
    """Write and return the report of the transcripts in `out`.

    facts: of each task, what was left out when its data was read, and the hashes of its files.
    about: device, packages and whatever else does not decide the scores.
    """
    records = transcripts.read(out)
    by_task = {task.name: [record for record in records if record["task"] == task.name] for task in tasks}
    report = {
        "format": reports.FORMAT,
        "model": run["model"],
        "tasks": {
            task.name: reports.summarize(task, by_task[task.name])
            | ({"second_opinion": second_opinion.summarize(task, by_task[task.name])} if task.claims else {})
            | ({"totals": task.totals(by_task[task.name])} if task.totals else {})
            | facts[task.name]
            | {"max_new_tokens": run["tasks"][task.name]["max_new_tokens"]}
            for task in tasks
        },
        "sampling": run["sampling"],
        "identity": run["identity"],
        "run": about,
    }
    reports.write(out, report)
    html_report.write(out, report, records)
    harness_results.write(out, report)
    return report
