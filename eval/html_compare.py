"""`python -m eval compare BEFORE AFTER --out FILE.html`: paired scores, both transcripts of each item.

`#task=calls&metric=name_right&filter=gained&item=ID` after the file's name opens it filtered.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eval import report as reports
from eval import transcripts
from eval.compare import HEADINGS, NOTE, Comparison, cells, compare_runs
from eval.html_page import Mark, page
from eval.html_parts import fitted, item_of
from eval.html_report import task_facts

SIDES = ("before", "after")


def to_html(comparison: Comparison, before: str | os.PathLike[str], after: str | os.PathLike[str]) -> str:
    """The page of two compared run directories."""
    summaries = {"before": reports.read(before)["tasks"], "after": reports.read(after)["tasks"]}
    items, cut = fitted(_pairs(before, after))
    facts = [task_facts(name, task) for name, task in summaries["before"].items()]
    rows = []
    for row in comparison.rows:
        metrics = {side: summaries[side][row.task]["metrics"][row.metric] for side in SIDES}
        marks = [Mark(side, metrics[side]["score"], metrics[side]["low"], metrics[side]["high"]) for side in SIDES]
        rows.append(
            {"row": row, "cells": cells(row)[2:], "marks": marks, "certain": row.paired.low * row.paired.high > 0}
        )
    return page("compare", {"tasks": facts, "items": items}, before=comparison.before, after=comparison.after,
                headings=HEADINGS[2:], rows=rows, note=NOTE, cut=cut)  # fmt: skip


def _pairs(before: str | os.PathLike[str], after: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Items with what each run said; `after` repeats no prompt that `before` showed in the same place."""
    later = {(record["task"], record["item"]): record for record in transcripts.read(after)}
    pairs = []
    for record in transcripts.read(before):
        old, new = item_of(record), item_of(later[record["task"], record["item"]])
        for left, right in zip(old["steps"], new["steps"], strict=False):
            if left["prompt"] == right["prompt"]:
                right["prompt"] = None
        sides = {
            side: {key: item[key] for key in ("values", "unparsed", "notes", "steps")}
            for side, item in zip(SIDES, (old, new), strict=True)
        }
        pairs.append({"task": record["task"], "id": old["id"], "gold": old["gold"]} | sides)
    return pairs


def write(path: str | os.PathLike[str], before: str | os.PathLike[str], after: str | os.PathLike[str]) -> None:
    """Write the comparison page. Raises EvalError as `compare_runs` does, OSError where the file cannot be written."""
    reports.replace_file(Path(path), to_html(compare_runs(before, after), before, after))
