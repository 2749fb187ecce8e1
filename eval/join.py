"""`python -m eval join shards/* --out DIR`: one run of the shards of a run, with its report; no model is loaded.

    for i in 1 2 3 4; do python -m eval run MODEL --tasks gsm8k --shard $i/4 --out shards/$i; done  # may be jobs
    python -m eval join shards/* --out DIR

DIR is what `run` without `--shard` would have written: the same items, scores and intervals.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.shards import Shard
from eval import report as reports
from eval import transcripts
from eval.protocol import EvalError
from eval.run import RUN_FILE, claim, differences, find_tasks, write_report


def join(folders: Sequence[str], out: str | os.PathLike[str]) -> dict[str, Any]:
    """Join complete shards of one run into `out`; returns the report.

    Raises EvalError where a folder holds no shard, or one of another run, is not complete, or where one is missing.
    """
    runs = {folder: _read_run(Path(folder)) for folder in folders}
    shards = {folder: Shard.parse(run.pop("shard")) for folder, run in runs.items()}
    ordered = sorted(folders, key=lambda folder: shards[folder])
    _check_all_there([shards[folder] for folder in ordered])
    items = {folder: {name: task.pop("items") for name, task in runs[folder]["tasks"].items()} for folder in ordered}
    for folder in ordered[1:]:
        if differing := differences(runs[ordered[0]], runs[folder]):
            raise EvalError(f"{folder} is a shard of another run than {ordered[0]}: {'; '.join(differing)}")
    records = [record for folder in ordered for record in _complete(folder, items[folder])]

    run = runs[ordered[0]]
    for name, task in run["tasks"].items():
        task["items"] = sum(items[folder][name] for folder in ordered)
    claim(Path(out), run)
    reports.replace_file(Path(out, transcripts.FILE), "".join(map(transcripts.to_line, records)))
    first = reports.read(ordered[0])
    facts = {name: {key: task[key] for key in ("left_out", "data")} for name, task in first["tasks"].items()}
    return write_report(out, run, find_tasks(",".join(run["tasks"])), facts, first["run"])


def _read_run(folder: Path) -> dict[str, Any]:
    """run.json of a shard."""
    path = folder / RUN_FILE
    run = reports.read_json(path) if path.is_file() else {}
    if "shard" not in run:
        raise EvalError(f"{folder} holds no shard of a run; name the --out of each `run ... --shard I/N`")
    return run


def _check_all_there(shards: Sequence[Shard]) -> None:
    """Each of 1/N to N/N, once."""
    total = shards[0].total
    wanted = [Shard(number, total) for number in range(1, total + 1)]
    if list(shards) != wanted:
        missing = sorted(set(wanted) - set(shards))
        raise EvalError(
            f"shards {', '.join(map(str, shards))} are not each one of {total} once"
            + (f"; missing: {', '.join(map(str, missing))}" if missing else "")
        )


def _complete(folder: str, items: dict[str, int]) -> list[dict[str, Any]]:
    """The records of a shard that has all its items and its report."""
    records = transcripts.read(folder)
    done = Counter(record["task"] for record in records)
    if (
        dict(done) != {name: count for name, count in items.items() if count}
        or not Path(folder, reports.JSON_FILE).is_file()
    ):
        raise EvalError(f"{folder}: {done.total():,} of {sum(items.values()):,} items are done; run its command again")
    return records
