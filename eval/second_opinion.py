"""What math-verify says about every number that `strict` scored; where the two differ is listed in the report.

    opinions = summarize(task, records)
    {"metrics": {"strict_r1": {"n": 1000, "agree": 997, "verdicts": {"right": 998, "wrong": 2}}}, "disagreements": [
      {"item": "follow_up-3", "metric": "strict_r1", "strict": "unparsed", "math_verify": "right", "gold": "14",
       "said": "..."}]}

It is asked for an opinion only: no score depends on it. It runs in a process that is killed when it takes too long, and
reads the last MAX_CHARS of a text, where answers stand.
"""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from data_prep.numbers import gold_numbers, stated_answer
from eval import transcripts
from eval.protocol import Task

ROOT = Path(__file__).resolve().parents[1]
MAX_CHARS = 1_000
START_S = 120.0  # sympy is slow to import on a busy machine
ANSWER_S = 120.0  # wall time; the worker ends itself after seconds of CPU time
MAX_SLOW = 20  # after as many time-outs the rest goes unasked: hostile output shall not make a report take hours
MAX_LISTED = 200
SAID_CHARS = 160
_UNIT = re.compile(r"(\\boxed\{\\?\$?\d[\d,.]{0,40}(?:\\?%)?)(?:\\ |\s|\\text\{){1,3}[A-Za-z][A-Za-z /.-]{0,60}\}{1,2}")
OPINIONS = ("right", "wrong", "unparsed")


class Worker:
    """`eval.math_verify_worker`, started when first asked and again after its end; for a with block."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.slow = 0
        self.startable = True

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def ask(self, golds: Sequence[Fraction], text: str) -> str:
        """Whether the text answers one of the golds: one of OPINIONS, or why there is none.

        `timeout` and `failed` are this question's; `not_asked` comes after MAX_SLOW time-outs, `unavailable` where
        math-verify does not start.
        """
        if self.slow >= MAX_SLOW:
            return "not_asked"
        if self.process is not None and self.process.poll() is not None:
            self.stop()
        if self.process is None and not self._start():
            return "unavailable"
        assert self.process is not None and self.process.stdin is not None
        question = {"golds": [value.as_integer_ratio() for value in golds], "text": _readable(text)}
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            verdict = self._line(ANSWER_S)
        except BrokenPipeError:  # the kernel ended it after its last answer
            verdict = None
        if verdict is None:
            self.stop()
        self.slow += verdict in (None, "timeout")
        return verdict or "timeout"

    def _start(self) -> bool:
        if self.startable:
            command = [sys.executable, "-m", "eval.math_verify_worker"]
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True, encoding="ascii")  # fmt: skip
            self.startable = self._line(START_S) == "ready"
            if not self.startable:
                self.stop()
        return self.startable

    def _line(self, timeout_s: float) -> str | None:
        """The worker's next line; None where it is late or gone."""
        assert self.process is not None and self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        line = self.process.stdout.readline() if readable else ""
        return str(json.loads(line)) if line else None

    def stop(self) -> None:
        """Kill the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def _readable(text: str) -> str:
    """The end of a text, `\\ANSWER` as a box, and no unit in a box: math-verify multiplies its letters."""
    return _UNIT.sub(r"\1}", text[-MAX_CHARS:].replace("\\ANSWER{", "\\boxed{"))


def _golds(gold: str) -> list[Fraction]:
    """The reference's value; as a share too where it is a percentage, which math-verify reads as a share."""
    value = gold_numbers(gold)[0].value
    return [value, value / 100] if "%" in (stated_answer(gold) or "") else [value]


def summarize(task: Task, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Agreement by metric over the opinions that could be had, and the disagreements, the first MAX_LISTED of them."""
    assert task.claims is not None
    verdicts: dict[str, Counter[str]] = {}
    agree: Counter[str] = Counter()
    disagreements = []
    with Worker() as worker:
        for record in records:
            for suffix, gold, said in task.claims(record["gold"], [transcripts.said(step) for step in record["steps"]]):
                metric = "strict" + suffix
                if metric not in record["values"]:
                    continue
                golds = _golds(gold)
                opinion = worker.ask(golds, said)
                verdicts.setdefault(metric, Counter())[opinion] += 1
                right = record["values"][metric] == 1.0
                if opinion in OPINIONS and right == (opinion == "right"):
                    agree[metric] += 1
                elif opinion in OPINIONS:
                    strict = "right" if right else "unparsed" if metric in record["unparsed"] else "wrong"
                    disagreements.append(
                        {"item": record["item"], "metric": metric, "strict": strict, "math_verify": opinion,
                         "gold": str(golds[0]), "said": said[-SAID_CHARS:]}
                    )  # fmt: skip
    metrics = {
        metric: {"n": sum(counts[opinion] for opinion in OPINIONS), "agree": agree[metric], "verdicts": dict(counts)}
        for metric, counts in verdicts.items()
    }
    return {"metrics": metrics, "disagreements": disagreements[:MAX_LISTED], "disagreements_in_all": len(disagreements)}
