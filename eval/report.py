"""From transcripts to numbers: report.json, report.md, and the table in the terminal.

{"format": 1, "model": "...", "tasks": {"gsm8k": {"n": 1319, "metrics": {"strict": {"n": 1319, "score": 0.31,
 "low": 0.29, "high": 0.34, "stderr": 0.013, "detectable": 0.05, "unparsed": 12, ...}}, "prompts_hash": "...",
 "data": {...}}}, "identity": {...}}
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from eval.protocol import EvalError, Task
from eval.stats import detectable_alone, interval, standard_error

FORMAT = 1
JSON_FILE = "report.json"
MARKDOWN_FILE = "report.md"
LISTED = 20  # disagreements in Markdown
DETECTABLE = (
    "Detectable: the least difference to another run of these items that a paired test finds with 80 % power at alpha "
    "0.05, were the answers of the two unrelated; runs of related models differ on fewer items and need less."
)


def summarize(task: Task, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Metrics and counts of one task. Each metric has its own n: the items that it applies to."""
    return {
        "version": task.version,
        "description": task.description,
        "n": len(records),
        "metrics": {name: _metric(task, name, records) for name in task.metrics if _applies(name, records)},
        "notes": _counted_notes(records),
        "finish_reasons": dict(Counter(step["finish_reason"] for record in records for step in record["steps"])),
        "prompt_tokens": sum(step["prompt_tokens"] for record in records for step in record["steps"]),
        "new_tokens": sum(step["new_tokens"] for record in records for step in record["steps"]),
        "prompts_hash": prompts_hash(records),
    }


def _applies(name: str, records: Sequence[dict[str, Any]]) -> bool:
    return any(name in record["values"] for record in records)


def _metric(task: Task, name: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    scored = [record for record in records if name in record["values"]]
    values = [record["values"][name] for record in scored]
    clusters = [record["cluster"] for record in scored]
    estimate = interval(values, clusters)
    reasons = Counter(record["unparsed"][name] for record in scored if name in record["unparsed"])
    row: dict[str, Any] = {"about": task.metrics[name], "n": len(scored)} | estimate._asdict()
    row |= {"stderr": standard_error(values, clusters), "detectable": detectable_alone(values, clusters)}
    row |= {"unparsed": reasons.total(), "unparsed_reasons": dict(reasons)}
    if set(values) <= {0.0, 1.0} and not lower_is_better(row["about"]):
        right = int(sum(values))
        row |= {"right": right, "wrong": len(values) - right - reasons.total()}
    return row


def lower_is_better(about: str) -> bool:
    """Whether a metric counts something bad, as its task says in these words: `repeated calls; lower is better`."""
    return "lower is better" in about


def _counted_notes(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for key, value in record["notes"].items():
            counts.setdefault(key, Counter())[value] += 1
    return {key: dict(counter.most_common()) for key, counter in counts.items()}


def prompts_hash(records: Sequence[dict[str, Any]]) -> str:
    """Over item ids and their first prompts: equal hashes mean that two runs asked the same."""
    lines = sorted(f"{record['item']} {record['steps'][0]['prompt_hash']}" for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: str | os.PathLike[str], report: dict[str, Any]) -> None:
    """report.json and report.md, each whole or not at all."""
    replace_file(Path(folder) / JSON_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    replace_file(Path(folder) / MARKDOWN_FILE, to_markdown(report))


def replace_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The report of a finished run. Raises EvalError where there is none or another version wrote it."""
    path = Path(folder) / JSON_FILE
    if not path.is_file():
        raise EvalError(f"{path} is not there: `python -m eval run MODEL --tasks ... --out {folder}` writes it")
    report = read_json(path)
    if report.get("format") != FORMAT:
        raise EvalError(f"{path} has format {report.get('format')!r}, this version reads {FORMAT}; evaluate again")
    return report


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file that an evaluation wrote. Raises EvalError where it has been cut or changed."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise EvalError(f"{path}: not JSON ({error}); delete its directory and evaluate again") from error
    if not isinstance(value, dict):
        raise EvalError(f"{path}: must be a JSON object, not {type(value).__name__}; evaluate again")
    return value


def to_markdown(report: dict[str, Any]) -> str:
    """The tables, what was left out, and what fixes the run."""
    lines = [f"# Evaluation of {one_line(report['model'])}", ""]
    for name, task in report["tasks"].items():
        lines += [f"## {name} (version {task['version']})", "", f"{task['description']}; {task['n']:,} items.", ""]
        lines += ["| metric | n | score | 95 % interval | unparsed | detectable | over |"]
        lines += ["|---|---:|---:|---|---:|---:|---|"]
        for metric, row in task["metrics"].items():
            cells = (metric, f"{row['n']:,}", percent(row["score"]), f"{_range(row)} ({row['method']})",
                     f"{row['unparsed']:,}", change(row["detectable"]), row["about"])  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
        for key, counts in {
            "left out": task["left_out"],
            "finish reasons": task["finish_reasons"],
            **task["notes"],
        }.items():
            if counts:
                listed = ", ".join(f"{one_line(value)} {count:,}" for value, count in counts.items())
                lines.append(f"- {key}: {listed}")
        lines += [f"- {name}, over all items: {percent(value)} %" for name, value in task.get("totals", {}).items()]
        lines += _second_opinion(task.get("second_opinion"))
        data = ", ".join(f"{one_line(path)} sha256 {digest[:16]}" for path, digest in task["data"].items())
        lines += [
            f"- data: {data or 'made by the task from its seed'}",
            f"- prompts: {task['prompts_hash'][:16]}, at most {task['max_new_tokens']} new tokens",
        ]
        lines.append("")
    lines += [DETECTABLE, ""]
    lines += ["## Run", "", "```json", json.dumps({"sampling": report["sampling"], "identity": report["identity"],
              "run": report["run"]}, indent=2), "```", ""]  # fmt: skip
    return "\n".join(lines)


def _second_opinion(opinion: dict[str, Any] | None) -> list[str]:
    """How far math-verify agrees with the strict scorer, and the first disagreements; report.json lists more."""
    if opinion is None:
        return []
    lines = []
    for metric, row in opinion["metrics"].items():
        verdicts = ", ".join(f"{verdict} {count:,}" for verdict, count in row["verdicts"].items())
        lines.append(f"- math-verify and {metric} agree on {row['agree']:,} of {row['n']:,}: {verdicts}")
    for case in opinion["disagreements"][:LISTED]:
        said = one_line(case["said"]).replace("`", "'")
        verdicts = f"{case['metric']} {case['strict']}, math-verify {case['math_verify']}"
        lines.append(f"  - {one_line(case['item'])}: {verdicts}; gold {case['gold']}; said `... {said}`")
    if opinion["disagreements_in_all"] > LISTED:
        lines.append(f"  - and {opinion['disagreements_in_all'] - LISTED:,} more")
    return lines


def to_tables(report: dict[str, Any]) -> list[Table]:
    """One table a task, narrow enough for 80 columns."""
    tables = []
    for name, task in report["tasks"].items():
        least = [row["detectable"] for row in task["metrics"].values() if row["detectable"] is not None]
        caption = f"detectable against an unrelated run: {change(max(least))} points" if least else "too few to compare"
        table = Table(title=Text(f"{name}: {one_line(report['model'])}"), title_justify="left",
                      caption=Text(caption), caption_justify="left")  # fmt: skip
        table.add_column("metric", no_wrap=True)
        for column in ("n", "score %", "95 % interval", "wrong", "unparsed"):
            table.add_column(column, justify="right")
        for metric, row in task["metrics"].items():
            wrong = f"{row['wrong']:,}" if "wrong" in row else ""
            table.add_row(
                metric, f"{row['n']:,}", percent(row["score"]), _range(row), wrong, f"{row['unparsed']:,}"
            )  # fmt: skip
        tables.append(table)
    return tables


def _range(row: dict[str, Any]) -> str:
    return f"{percent(row['low'])} to {percent(row['high'])}"


def percent(share: float) -> str:
    """One decimal, without a sign: 31.4."""
    return f"{100 * share:.1f}"


def change(share: float | None) -> str:
    """A difference of either sign: ±5.4; a dash where there is none to state."""
    return "–" if share is None else f"±{percent(share)}"


def one_line(text: Any) -> str:
    """Printable text on one line: control and format characters, which terminals obey, become a visible mark."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in str(text))
