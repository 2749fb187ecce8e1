"""transcripts.jsonl: every item with what the model was shown, what it said, how that was read, and its score.

    {"task": "gsm8k", "item": "gsm8k-0", "cluster": "gsm8k-0", "gold": {...}, "values": {"strict": 1.0}, "unparsed": {},
     "notes": {}, "steps": [{"prompt": "...", "prompt_hash": "...", "text": "...", "message": {...}, "error": null}]}

Lines are written as items finish, so a killed run goes on where it was. Everything is escaped to ASCII: a terminal that
shows the file obeys nothing a model wrote.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.dialogue import message_to_dict
from eval.protocol import EvalError, Item, Reply, Score, Step, Task

FILE = "transcripts.jsonl"


def make_record(task: Task, item: Item, steps: Sequence[Step], score: Score) -> dict[str, Any]:
    """One line of the file, as a dict."""
    return {
        "task": task.name,
        "item": item.id,
        "cluster": item.cluster,
        "values": score.values,
        "unparsed": score.unparsed,
        "notes": score.notes,
        "gold": item.gold,
        "steps": [_step_to_dict(step.reply) for step in steps],
    }


def _step_to_dict(reply: Reply) -> dict[str, Any]:
    row = reply._asdict()
    row["message"] = _representable(message_to_dict(reply.message)) if reply.message is not None else None
    return row


def _representable(message: dict[str, Any]) -> Any:
    """The message, or a remark where its arguments are no JSON that can be written (NaN, 1e999, nested too deep)."""
    try:
        json.dumps(message, allow_nan=False)
    except (ValueError, RecursionError) as error:
        return {"role": "assistant", "unrepresentable": type(error).__name__}
    return message


def append(file: Any, record: dict[str, Any]) -> None:
    """Write one record and flush it, so that a kill loses only what was being generated."""
    file.write(to_line(record))
    file.flush()


def to_line(record: dict[str, Any]) -> str:
    """A record as a line of the file."""
    return json.dumps(record, allow_nan=False) + "\n"


def said(step: dict[str, Any]) -> str:
    """What the model said in a step, as scorers read it: the parsed turn's content, else the bare text."""
    return str((step["message"] or {}).get("content") or step["text"])


def read(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All records of a run by task and item, so that no score depends on the order in which items ended.

    A last line that a kill cut short is left out. Raises EvalError for a broken file.
    """
    path = Path(folder) / FILE
    records = []
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise EvalError(f"{path}:{number}: not JSON ({error}); evaluate into a new directory") from error
    return sorted(records, key=lambda record: (record["task"], natural(record["item"])))


def natural(text: str) -> list[tuple[int, str]]:
    """Sorting key by which item-9 comes before item-10."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d{1,18})", text)]


def cut_partial_line(folder: str | os.PathLike[str]) -> None:
    """Drop a last line without its line end, so that appending starts on a line of its own."""
    path = Path(folder) / FILE
    if path.is_file():
        whole = path.read_bytes().rfind(b"\n") + 1
        os.truncate(path, whole)
