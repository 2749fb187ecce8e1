"""`python -m eval judge RUN_DIR --base-url URL --model NAME`: a model grades the open-ended answers of a finished run.

RUN_DIR/judge/NAME-1a2b3c4d/   one folder for each judge: model, server, temperature and rubrics make its name
    replies.jsonl              every reply, stored before it is used: a killed judging asks for nothing twice
    transcripts.jsonl, report.json, report.md    in the form of a run, so that `compare` pairs two runs with one judge

Scores are whole numbers from 1 to 5; as metrics they are (score - 1) / 4. What the judge failed to grade has no score,
and is counted apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from data_prep.chat_completions import public_url
from eval import judge_rubrics, transcripts
from eval import report as reports
from eval.backends.openai import OpenAIBackend
from eval.judge_calibration import calibrate
from eval.judge_report import make_report, to_markdown
from eval.judge_rubrics import prompt
from eval.judge_server import Ask, Judge, Judgement, ReplyStore, grade
from eval.protocol import EvalError

FOLDER = "judge"
REPLIES_FILE = "replies.jsonl"
Record = dict[str, Any]


def judge_run(
    run_dir: str, server: OpenAIBackend, temperature: float, limit: int | None, calibration_items: int, console: Console
) -> tuple[Path, dict[str, Any]]:
    """Grade a finished run and write the judge's folder; returns it with the report. Raises EvalError."""
    run_report = reports.read(run_dir)
    by_task = answers_to_judge(run_dir, limit)
    identity = judge_identity(server, temperature)
    folder = judge_folder(run_dir, identity)
    folder.mkdir(parents=True, exist_ok=True)
    judge = Judge(server, ReplyStore(folder / REPLIES_FILE), temperature)
    judged = {task: grade_answers(judge, records, console) for task, records in by_task.items()}
    report = make_report(run_report, judged, identity)
    if calibration_items:
        report["calibration"] = {
            task: calibrate(judge, records[:calibration_items], console) for task, records in by_task.items()
        }
    report["run"] |= {"requests": judge.asked, "replies_at_hand": judge.cached, "retries": server.retries}
    reports.replace_file(
        folder / transcripts.FILE, "".join(transcripts.to_line(row) for rows in judged.values() for row in rows)
    )
    reports.replace_file(folder / reports.JSON_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    reports.replace_file(folder / reports.MARKDOWN_FILE, to_markdown(report))
    return folder, report


def judge_identity(server: OpenAIBackend, temperature: float) -> dict[str, Any]:
    """Model, address without secrets, temperature, and the hash of every rubric."""
    rubrics = {task: judge_rubrics.load(task).sha256 for task in judge_rubrics.TASKS}
    return {
        "model": server.model,
        "base_url": public_url(server.base_url),
        "temperature": temperature,
        "rubrics": rubrics,
    }


def judge_folder(run_dir: str, identity: dict[str, Any]) -> Path:
    """Where this judge's scores of a run lie; named by the model and a hash over all that makes the judge."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", identity["model"])[-60:].strip("-.") or "model"
    return Path(run_dir) / FOLDER / f"{slug}-{digest}"


def answers_to_judge(run_dir: str, limit: int | None) -> dict[str, list[Record]]:
    """Finished items by task, the first `limit` of each. Raises EvalError where a judge can grade none of them."""
    by_task: dict[str, list[Record]] = {task: [] for task in judge_rubrics.TASKS}
    for record in transcripts.read(run_dir):
        by_task.get(record["task"], []).append(record)
    found = {task: records[:limit] for task, records in by_task.items() if records}
    if not found:
        tasks = ",".join(judge_rubrics.TASKS)
        raise EvalError(
            f"{run_dir} holds no answer for a judge; it grades those of `python -m eval run ... --tasks {tasks}`"
        )
    return found


def grade_answers(judge: Judge, records: Sequence[Record], console: Console) -> list[Record]:
    """A transcript for each item of one task, in the form of a run's."""
    criteria = judge_rubrics.load(records[0]["task"]).criteria
    answered = [record for record in records if record["steps"][0]["finish_reason"] != "rejected"]
    cells = [(record, criterion) for record in answered for criterion in criteria]
    prompts = [prompt(record, criterion, transcripts.said(record["steps"][0])) for record, criterion in cells]
    judgements = grade(judge, [Ask(text) for text in prompts], console, f"grading {records[0]['task']}")
    by_item: dict[str, list[tuple[str, str, Judgement]]] = {}
    for (record, criterion), text, judgement in zip(cells, prompts, judgements, strict=True):
        by_item.setdefault(record["item"], []).append((criterion, text, judgement))
    return [judged_record(record, by_item.get(record["item"], [])) for record in records]


def judged_record(record: Record, given: Sequence[tuple[str, str, Judgement]]) -> Record:
    """One item, given each criterion, what was asked and the judgement.

    The hash is that of the item's own prompt: `compare` looks at whether two runs were asked the same.
    """
    digest = record["steps"][0]["prompt_hash"]
    scored = {criterion: judgement.score for criterion, _, judgement in given if judgement.score is not None}
    failed = {criterion: f"failed: {judgement.failure}" for criterion, _, judgement in given if judgement.failure}
    return {
        "task": record["task"],
        "item": record["item"],
        "cluster": record["cluster"],
        "values": {criterion: (score - 1) / 4 for criterion, score in scored.items()},
        "unparsed": {},
        "notes": {criterion: str(score) for criterion, score in scored.items()}
        | (failed if given else {"not_graded": "no answer was generated"}),
        "gold": record["gold"],
        "steps": [_step(digest, text, judgement.reply, judgement.failure) for _, text, judgement in given]
        or [_step(digest, "", "", "not_graded")],
    }


def _step(digest: str, asked: str, said: str, failure: str | None) -> Record:
    return {"text": said, "message": None, "error": failure, "finish_reason": "stop", "prompt": asked,
            "prompt_hash": digest, "prompt_tokens": 0, "new_tokens": 0}  # fmt: skip
