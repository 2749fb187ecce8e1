"""results.json: the scores in the form of lm-evaluation-harness, for tools that read it (leaderboards, plots).

    {"results": {"gsm8k": {"alias": "gsm8k", "sample_len": 1319, "strict,none": 0.31, "strict_stderr,none": 0.013}},
     "configs": {...}, "versions": {"gsm8k": 1}, "n-shot": {"gsm8k": 0}, "n-samples": {...}, ...}

The form is that of lm_eval 0.4.13 (`lm_eval/result_schema.py`). `none` is its name for "no filter". Left out is what a
run here does not know: date, duration, torch's environment. Its own tasks of these names prompt and score otherwise.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from eval import report as reports

FILE = "results.json"
FOLLOWED = "0.4.13"


def to_harness(report: dict[str, Any]) -> dict[str, Any]:
    """The report in lm_eval's form."""
    tasks = report["tasks"]
    identity, run = report["identity"], report["run"]
    better = {name: _higher_is_better(task) for name, task in tasks.items()}
    counts = {
        name: {"original": task["n"] + sum(task["left_out"].values()), "effective": task["n"]}
        for name, task in tasks.items()
    }
    return {
        "results": {name: _metrics(name, task) for name, task in tasks.items()},
        "group_subtasks": {},
        "configs": {name: _config(name, task, better[name], report["sampling"]) for name, task in tasks.items()},
        "versions": {name: task["version"] for name, task in tasks.items()},
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": better,
        "n-samples": counts,
        "config": {
            "model": identity["backend"],
            "model_args": {"pretrained": report["model"]},
            "batch_size": run.get("batch_size"),
            "device": run.get("device"),
            "gen_kwargs": report["sampling"],
        },
        "git_hash": (run.get("git") or {}).get("commit"),
        "transformers_version": run.get("packages", {}).get("transformers"),
        "lm_eval_version": f"form of {FOLLOWED}, written by multiturn-recipes",
        "task_hashes": {name: task["prompts_hash"] for name, task in tasks.items()},
        "model_source": identity["backend"],
        "model_name": report["model"],
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", report["model"]),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": (identity.get("encoder") or {}).get("template_sha256"),
    }


def _metrics(name: str, task: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "alias": name, "sample_len": task["n"]}
    row["sample_count"] = {f"{metric},none": facts["n"] for metric, facts in task["metrics"].items()}
    for metric, facts in task["metrics"].items():
        row[f"{metric},none"] = facts["score"]
        row[f"{metric}_stderr,none"] = "N/A" if facts["stderr"] is None else facts["stderr"]
    return row


def _higher_is_better(task: dict[str, Any]) -> dict[str, bool]:
    return {metric: not reports.lower_is_better(facts["about"]) for metric, facts in task["metrics"].items()}


def _config(name: str, task: dict[str, Any], better: dict[str, bool], sampling: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": name,
        "description": task["description"],
        "output_type": "generate_until",
        "num_fewshot": 0,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": higher} for metric, higher in better.items()
        ],
        "generation_kwargs": sampling | {"max_gen_toks": task["max_new_tokens"]},
        "metadata": {"version": task["version"]},
    }


def write(folder: str | os.PathLike[str], report: dict[str, Any]) -> None:
    """Write FOLDER/results.json, whole or not at all."""
    text = json.dumps(to_harness(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    reports.replace_file(Path(folder) / FILE, text)
