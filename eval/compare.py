"""`python -m eval compare BEFORE AFTER`: the same items before and after, with paired tests.

Refuses runs that did not ask the same: other tasks, task versions, data, prompts or token limits.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from eval import report as reports
from eval import transcripts
from eval.protocol import EvalError
from eval.stats import Paired, compare

HEADINGS = ("task", "metric", "n", "before %", "after %", "change", "95 % interval", "p (bootstrap)", "p (McNemar)",
            "gained", "lost", "detectable")  # fmt: skip


NOTE = (
    "Items are paired by id. Where several turns belong to one dialogue, the bootstrap draws whole dialogues; "
    "McNemar's exact test takes items as independent. Detectable: the least difference that this many items, and this "
    "share of them changing, show with 80 % power at alpha 0.05 (Connor 1987)."
)


class Row(NamedTuple):
    """One metric of one task, paired item by item."""

    task: str
    metric: str
    about: str
    paired: Paired


class Comparison(NamedTuple):
    """Two finished runs and their paired metrics."""

    before: str
    after: str
    rows: list[Row]


def compare_runs(before: str | os.PathLike[str], after: str | os.PathLike[str]) -> Comparison:
    """Pair two run directories. Raises EvalError, saying what differs, where they do not compare."""
    old, new = reports.read(before), reports.read(after)
    check_comparable(old, new)
    old_records = {(row["task"], row["item"]): row for row in transcripts.read(before)}
    new_records = {(row["task"], row["item"]): row for row in transcripts.read(after)}
    rows = []
    for task, summary in old["tasks"].items():
        keys = [key for key in old_records if key[0] == task]
        for metric, facts in summary["metrics"].items():
            pairs = [
                (old_records[key]["values"][metric], new_records[key]["values"][metric], old_records[key]["cluster"])
                for key in keys
                if metric in old_records[key]["values"] and metric in new_records[key]["values"]  # a judge can fail
            ]
            if not pairs:
                continue
            olds, news, clusters = zip(*pairs, strict=True)
            rows.append(Row(task, metric, facts["about"], compare(olds, news, clusters)))
    return Comparison(old["model"], new["model"], rows)


def check_comparable(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise EvalError naming everything that keeps two reports from being compared."""
    problems = []
    if set(old["tasks"]) != set(new["tasks"]):
        problems.append(f"the tasks differ: {', '.join(old['tasks'])} before, {', '.join(new['tasks'])} after")
    for name in set(old["tasks"]) & set(new["tasks"]):
        problems += _task_problems(name, old, new)
    if old["sampling"] != new["sampling"]:
        problems.append(f"the sampling differs: {old['sampling']} before, {new['sampling']} after")
    if problems:
        raise EvalError("these runs do not compare: " + "; ".join(problems))


def _task_problems(name: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    left, right = old["tasks"][name], new["tasks"][name]
    problems = []
    for key, what in (("version", "version"), ("n", "number of items"), ("max_new_tokens", "token limit")):
        if left[key] != right[key]:
            problems.append(f"{name}: the {what} differs ({left[key]} before, {right[key]} after)")
    if sorted(left["data"].values()) != sorted(right["data"].values()):
        problems.append(f"{name}: the data differ (sha256 {_hashes(left)} before, {_hashes(right)} after)")
    elif left["n"] == right["n"] and left["prompts_hash"] != right["prompts_hash"]:
        problems.append(
            f"{name}: the prompts differ ({_format(old)} before, {_format(new)} after); evaluate both with the same "
            "--tool-format and --chat-template"
        )
    return problems


def _hashes(task: dict[str, Any]) -> str:
    return ", ".join(digest[:12] for digest in sorted(task["data"].values()))


def _format(report: dict[str, Any]) -> str:
    encoder = report["identity"].get("encoder")
    if encoder is None:
        return f"backend {report['identity']['backend']}"
    return f"tool format {encoder['tool_format']}, template {encoder['template_sha256'][:12]}"


def cells(row: Row) -> tuple[str, ...]:
    """One text for each of HEADINGS; gained are the items that became better."""
    paired = row.paired
    better, worse = paired.gained, paired.lost
    if reports.lower_is_better(row.about):
        better, worse = worse, better
    return (
        row.task,
        row.metric,
        f"{paired.n:,}",
        reports.percent(paired.before),
        reports.percent(paired.after),
        f"{100 * paired.delta:+.1f}",
        f"{100 * paired.low:+.1f} to {100 * paired.high:+.1f}",
        _p(paired.p_bootstrap),
        "" if paired.p_mcnemar is None else _p(paired.p_mcnemar),
        f"{better:,}",
        f"{worse:,}",
        reports.change(paired.detectable),
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def to_table(comparison: Comparison) -> Table:
    """Before and after, for the terminal."""
    title = f"{reports.one_line(comparison.before)} -> {reports.one_line(comparison.after)}"
    table = Table(title=Text(title), title_justify="left", caption=Text(NOTE), caption_justify="left")
    for position, heading in enumerate(HEADINGS):
        # Folded: of two names that begin alike, cut ones could not be told apart.
        table.add_column(heading, justify="left" if position < 2 else "right", overflow="fold")
    for row in comparison.rows:
        table.add_row(*map(Text, cells(row)))
    return table


def to_markdown(comparison: Comparison) -> str:
    """Before and after as a Markdown table."""
    lines = [f"{reports.one_line(comparison.before)} -> {reports.one_line(comparison.after)}", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", "|---|---|" + "---:|" * (len(HEADINGS) - 2)]
    lines += [f"| {' | '.join(cells(row))} |" for row in comparison.rows]
    return "\n".join([*lines, "", NOTE]) + "\n"
