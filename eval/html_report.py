"""report.html: scores with intervals, and every transcript behind them; one file, no network.

`#task=calls&metric=name_right&filter=wrong&q=Oslo&item=ID` after the file's name opens it filtered.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval import report as reports
from eval.html_page import Mark, page
from eval.html_parts import fitted, item_of

FILE = "report.html"
COUNTS_SHOWN = 12  # values of one note; report.json has all


def to_html(report: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """The page of a report and its transcripts."""
    names = list(report["tasks"])
    ordered = sorted(records, key=lambda record: names.index(record["task"]))
    items, cut = fitted([item_of(record) | {"task": record["task"]} for record in ordered])
    data = {"tasks": [task_facts(name, task) for name, task in report["tasks"].items()], "items": items}
    run = {"sampling": report["sampling"], "identity": report["identity"], "run": report["run"]}
    return page("report", data, model=report["model"], summary=summary(report), cut=cut, tasks=_rows(report),
                run=json.dumps(run, indent=2), percent=reports.percent)  # fmt: skip


def write(folder: str | os.PathLike[str], report: dict[str, Any], records: Sequence[dict[str, Any]]) -> None:
    """Write FOLDER/report.html, whole or not at all."""
    reports.replace_file(Path(folder) / FILE, to_html(report, records))


def task_facts(name: str, task: dict[str, Any]) -> dict[str, Any]:
    """What the page's script needs of a task."""
    metrics = [
        {"name": metric, "about": row["about"], "lower": reports.lower_is_better(row["about"])}
        for metric, row in task["metrics"].items()
    ]
    return {"name": name, "metrics": metrics}


def summary(report: dict[str, Any]) -> list[str]:
    """Where and how the run was made, in a few words each."""
    identity, run, sampling = report["identity"], report["run"], dict(report["sampling"])
    encoder = identity.get("encoder") or identity
    commit = (run.get("git") or {}).get("commit")
    facts = [
        f"backend {identity['backend']}",
        f"tool format {encoder['tool_format']}" if "tool_format" in encoder else "",
        identity.get("dtype", ""),
        run.get("device", ""),
        _listed(sampling) if sampling.pop("do_sample") else "greedy",
        f"commit {commit[:10]}" if commit else "",
    ]
    return [fact for fact in facts if fact]


def _rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    tasks = []
    for name, task in report["tasks"].items():
        rows = [
            {"name": metric, "row": row, "marks": [Mark("after", row["score"], row["low"], row["high"])]}
            for metric, row in task["metrics"].items()
        ]
        counts = {"left out": task["left_out"], "finish reasons": task["finish_reasons"], **task["notes"]}
        totals = {
            f"{total}, over all items": f"{reports.percent(f1)} %" for total, f1 in task.get("totals", {}).items()
        }
        tasks.append({"name": name, "task": task, "rows": rows, "counts": totals | _commonest(counts)})
    return tasks


def _listed(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _commonest(counts: dict[str, dict[str, int]]) -> dict[str, str]:
    lines = {}
    for name, values in counts.items():
        listed = [f"{value} {count:,}" for value, count in list(values.items())[:COUNTS_SHOWN]]
        more = [f"{len(values) - COUNTS_SHOWN:,} more"] if len(values) > COUNTS_SHOWN else []
        if listed:
            lines[name] = ", ".join(listed + more)
    return lines
