"""BFCL's simulators and checker in a process of its own: `python -m eval.environments.bfcl_worker`, one line an answer.

    {"entry": {"id": ..., "initial_config": ..., "involved_classes": [...]}, "calls": ["cd(folder='tmp')"]}
        -> {"results": ["{\\"current_working_directory\\": \\"tmp\\"}"]}
    {"entry": ..., "turns": [[["cd(folder='tmp')"]]], "gold": [["cd(folder='tmp')"]]}
        -> {"passed": 1, "error": null}
    whatever took too long, too much memory or too many words to answer
        -> {"stopped": "time"}

The published executor evaluates call strings and keeps its simulators in globals, and one of them changes a constant of
its module. So every question is answered by a fork that has never answered another, under limits that the kernel
keeps. What comes here has been written by `eval.environments.bfcl.call_text`, or is the published gold.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any, NoReturn

MEMORY_BYTES = 1 << 30
CPU_S = 5  # of a question; gold calls take milliseconds
WALL_S = 60.0
ANSWER_BYTES = 16 << 20
OUT_OF_MEMORY = 3  # exit status


def main() -> None:
    """Say "ready", then answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a simulator prints is no answer
    from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING
    from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_checker  # noqa: F401  imported once, for all forks

    for name, module in CLASS_FILE_PATH_MAPPING.items():
        if not name.startswith(("WebSearch", "Memory")):  # of other benchmarks, with dependencies of their own
            __import__(module)
    print('"ready"', file=answers, flush=True)
    for line in sys.stdin:
        print(_in_a_fork(line), file=answers, flush=True)


def _in_a_fork(line: str) -> str:
    """The JSON that a fork answers with, or why it was stopped."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _answer_and_exit(line, reading, writing)
    os.close(writing)
    answer, stopped = _read(reading)
    os.close(reading)
    os.kill(child, signal.SIGKILL)  # not yet waited for, so the id is still its own
    _, status = os.waitpid(child, 0)
    if answer.endswith(b"\n"):
        return answer.decode("ascii").strip()
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        stopped = "time"
    elif os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY:
        stopped = "memory"
    return json.dumps({"stopped": stopped or "crash"})


def _answer_and_exit(line: str, reading: int, writing: int) -> NoReturn:
    """In the fork: answer and end, whatever happens."""
    status = 1
    try:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        data = (json.dumps(_answer(json.loads(line))) + "\n").encode("ascii")
        while data:
            data = data[os.write(writing, data) :]
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        os._exit(status)


def _read(reading: int) -> tuple[bytes, str | None]:
    """What the fork writes until it ends, and why reading ended before."""
    deadline, read = time.monotonic() + WALL_S, b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"", "time"
        piece = os.read(reading, 1 << 16)
        if not piece:
            return read, None
        read += piece
        if len(read) > ANSWER_BYTES:
            return b"", "output"


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

    entry = question["entry"]
    if "gold" in question:
        return _check(entry, question["turns"], question["gold"])
    results, _ = execute_multi_turn_func_call(
        question["calls"], entry["initial_config"], entry["involved_classes"], "model", entry["id"],
        long_context="long_context" in entry["id"],
    )  # fmt: skip
    return {"results": results}


def _check(entry: dict[str, Any], turns: list[list[list[str]]], gold: list[list[str]]) -> dict[str, Any]:
    """How many turns the published checker passes before the first that it fails, and the kind of that failure.

    It stops at a failure without always saying where, so it is shown ever more turns, on simulators of their own.
    """
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker

    def verdict(count: int) -> dict[str, Any]:
        return multi_turn_checker(turns[:count], gold[:count], entry, "", f"model{count}")

    if verdict(len(turns))["valid"]:
        return {"passed": len(turns), "error": None}
    for count in range(1, len(turns) + 1):
        found = verdict(count)
        if not found["valid"]:
            return {"passed": count - 1, "error": found["error_type"].removeprefix("multi_turn:")}
    raise AssertionError("the checker failed all turns together, and none one by one")


if __name__ == "__main__":
    main()
