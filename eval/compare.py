"""`python -m eval compare BEFORE AFTER [--out FILE.html]`: the same items before and after, with paired tests.

Refuses runs that did not ask the same: other tasks, task versions, data, prompts or token limits.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from eval import report as reports
from eval import transcripts
from eval.protocol import EvalError
from eval.stats import Paired, compare

HEADINGS = ("task", "metric", "n", "before %", "after %", "change", "95 % interval", "p (bootstrap)", "p (McNemar)",
            "gained", "lost")  # fmt: skip


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
    if list(old["tasks"]) != list(new["tasks"]):
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


def _cells(row: Row) -> tuple[str, ...]:
    paired = row.paired
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
        f"{paired.gained:,}",
        f"{paired.lost:,}",
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def to_table(comparison: Comparison) -> Table:
    """Before and after, for the terminal."""
    title = f"{reports.one_line(comparison.before)} -> {reports.one_line(comparison.after)}"
    table = Table(title=Text(title), title_justify="left")
    for position, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if position < 2 else "right")
    for row in comparison.rows:
        table.add_row(*map(Text, _cells(row)))
    return table


def to_markdown(comparison: Comparison) -> str:
    """Before and after as a Markdown table."""
    lines = [f"{reports.one_line(comparison.before)} -> {reports.one_line(comparison.after)}", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", "|---|---|" + "---:|" * (len(HEADINGS) - 2)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in comparison.rows]
    return "\n".join(lines) + "\n"


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1b1b}
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;border-bottom:1px solid #ddd;text-align:right}
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}th{border-bottom:2px solid #888}
.bar{display:inline-block;height:.55rem;background:#b8c4d6;vertical-align:middle}.bar.after{background:#2f6db5}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:.6rem;border-radius:4px}
.note{color:#555}
"""


NOTE = (
    "Items are paired by id. Where several turns belong to one dialogue, the bootstrap draws whole dialogues; "
    "McNemar's exact test takes items as independent."
)


def to_html(comparison: Comparison, examples: Sequence[tuple[str, str, str]]) -> str:
    """One self-contained page: the table, a bar per score, and answers side by side; all text escaped, no script.

    examples: (title, text before, text after).
    """
    body = [f"<h1>{_e(comparison.before)} &rarr; {_e(comparison.after)}</h1>", "<table><thead><tr>"]
    body += [f"<th>{_e(heading)}</th>" for heading in (*HEADINGS, "")] + ["</tr></thead><tbody>"]
    for row in comparison.rows:
        bars = "".join(
            f'<div><span class="bar {name}" style="width:{100 * share:.1f}px"></span></div>'
            for name, share in (("before", row.paired.before), ("after", row.paired.after))
        )
        cells = "".join(f"<td>{_e(cell)}</td>" for cell in _cells(row))
        body.append(f'<tr title="{_e(row.about)}">{cells}<td style="text-align:left">{bars}</td></tr>')
    body.append("</tbody></table>")
    body.append(f'<p class="note">{NOTE}</p>')
    for title, left, right in examples:
        body.append(f"<h3>{_e(title)}</h3><p>before</p><pre>{_e(left)}</pre><p>after</p><pre>{_e(right)}</pre>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    title = f"<title>{_e(comparison.before)} and {_e(comparison.after)}</title>"
    opening = f"<!doctype html><html lang='en'><head>{head}{title}<style>{STYLE}</style></head>"
    return f"{opening}<body>{''.join(body)}</body></html>\n"


def _e(text: str) -> str:
    """Escaped for HTML, without the control characters that HTML cannot hold."""
    return html.escape("".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and ord(c) != 127)), quote=True)


def changed_examples(
    before: str | os.PathLike[str], after: str | os.PathLike[str], most: int = 10
) -> list[tuple[str, str, str]]:
    """Items whose scores changed: (title, last turn before, last turn after)."""
    old = {(row["task"], row["item"]): row for row in transcripts.read(before)}
    examples = []
    for row in transcripts.read(after):
        earlier = old.get((row["task"], row["item"]))
        if earlier is not None and earlier["values"] != row["values"]:
            title = f"{row['task']}: {row['item']}"
            examples.append((title, earlier["steps"][-1]["text"], row["steps"][-1]["text"]))
    return examples[:most]


def write_html(path: str | os.PathLike[str], before: str | os.PathLike[str], after: str | os.PathLike[str]) -> None:
    """Write the comparison page. Raises EvalError as `compare_runs` does, OSError where the file cannot be written."""
    page = to_html(compare_runs(before, after), changed_examples(before, after))
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(page)
