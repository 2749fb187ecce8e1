"""The report of a judge: that of a run over its scores, their means from 1 to 5, failures, and the calibration."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from eval import judge_rubrics
from eval import report as reports
from eval.judge_server import MAX_TOKENS
from eval.tasks import TASKS
from recipes.manifest import git_state, package_versions

Record = dict[str, Any]
SCORE_COLUMNS = ("criterion", "n", "mean", "95 % interval", "failed")
PLANTED_COLUMNS = ("criterion", "planted", "n", "ranked right %", "95 % interval", "tied", "failed")
AGAIN_COLUMNS = ("criterion", "n", "same %", "mean difference", "failed")


def make_report(
    run_report: dict[str, Any], judged: Mapping[str, Sequence[Record]], identity: dict[str, Any]
) -> dict[str, Any]:
    """`tasks` as in a run's report, each metric with its `mean` of 5; `failures` by task, criterion and reason."""
    return {
        "format": reports.FORMAT,
        "model": run_report["model"],
        "tasks": {task: _summary(task, run_report["tasks"][task]["data"], rows) for task, rows in judged.items()},
        "failures": {task: failures(task, rows) for task, rows in judged.items()},
        "sampling": {"judge": identity, "max_tokens": MAX_TOKENS},
        "identity": {"backend": "judge"} | identity,
        "run": {"packages": package_versions(), "git": git_state()},
    }


def _summary(task: str, data: dict[str, str], records: Sequence[Record]) -> dict[str, Any]:
    metrics = {name: f"{name}, graded 1 to 5, shown as 0 to 100 %" for name in judge_rubrics.load(task).criteria}
    summary = reports.summarize(dataclasses.replace(TASKS[task], metrics=metrics), records)
    for row in summary["metrics"].values():
        row |= {"mean": _of_five(row["score"]), "mean_low": _of_five(row["low"]), "mean_high": _of_five(row["high"])}
    return summary | {"left_out": {}, "data": data, "max_new_tokens": MAX_TOKENS}


def _of_five(share: float) -> float:
    return 1 + 4 * share


def failures(task: str, records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """How many answers have no score, by criterion and reason."""
    return {
        name: dict(Counter(_reason(record, name) for record in records if name not in record["values"]))
        for name in judge_rubrics.load(task).criteria
    }


def _reason(record: Record, criterion: str) -> str:
    return str(record["notes"].get(criterion, "no answer was generated")).removeprefix("failed: ")


def score_rows(report: dict[str, Any], task: str) -> list[tuple[str, ...]]:
    """SCORE_COLUMNS of one task."""
    rows: list[tuple[str, ...]] = []
    for criterion, reasons in report["failures"][task].items():
        row = report["tasks"][task]["metrics"].get(criterion)
        failed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "0"
        scored = (
            (f"{row['n']:,}", f"{row['mean']:.2f}", f"{row['mean_low']:.2f} to {row['mean_high']:.2f}")
            if row
            else ("0", "", "")
        )
        rows.append((criterion, *scored, failed))
    return rows


def planted_rows(calibration: dict[str, Any]) -> list[tuple[str, ...]]:
    """PLANTED_COLUMNS of one task."""
    return [
        (criterion, kind, f"{cell['n']:,}", *_share(cell), f"{cell['tied']:,}", f"{cell['failed']:,}")
        for criterion, kinds in calibration["planted"].items()
        for kind, cell in kinds.items()
    ]


def _share(cell: dict[str, Any]) -> tuple[str, str]:
    if not cell["n"]:
        return "", ""
    return reports.percent(cell["ranked_right"]), f"{reports.percent(cell['low'])} to {reports.percent(cell['high'])}"


def again_rows(calibration: dict[str, Any]) -> list[tuple[str, ...]]:
    """AGAIN_COLUMNS of one task."""
    return [
        (
            criterion,
            f"{cell['n']:,}",
            *((reports.percent(cell["same"]), f"{cell['mean_difference']:.2f}") if cell["n"] else ("", "")),
            f"{cell['failed']:,}",
        )
        for criterion, cell in calibration["again"].items()
    ]


def sections(report: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows of every table."""
    found: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = []
    for task in report["tasks"]:
        found.append((f"{task}: mean score of 5", SCORE_COLUMNS, score_rows(report, task)))
    for task, calibration in report.get("calibration", {}).items():
        found.append((f"{task}: planted good answers above bad ones", PLANTED_COLUMNS, planted_rows(calibration)))
        found.append((f"{task}: the judge asked again", AGAIN_COLUMNS, again_rows(calibration)))
    return found


def to_tables(report: dict[str, Any]) -> list[Table]:
    """For the terminal."""
    tables = []
    for title, columns, rows in sections(report):
        table = Table(title=Text(title), title_justify="left")
        for column in columns:
            table.add_column(column, justify="left" if column in ("criterion", "planted", "failed") else "right")
        for row in rows:
            table.add_row(*map(Text, row))
        tables.append(table)
    return tables


def to_markdown(report: dict[str, Any]) -> str:
    """The judge's tables, then the report in the form of a run's."""
    judge = report["identity"]
    lines = [f"# Grades of {reports.one_line(report['model'])} by {reports.one_line(judge['model'])}", ""]
    for title, columns, rows in sections(report):
        lines += [f"## {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(map(reports.one_line, row))} |" for row in rows] + [""]
    return "\n".join(lines) + reports.to_markdown(report).partition("\n")[2]
