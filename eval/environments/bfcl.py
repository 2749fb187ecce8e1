"""BFCL's multi-turn simulators behind the one agent loop; the published code runs in `eval.environments.bfcl_worker`.

    environment = BfclEnvironment(entry, functions={"cd", "ls", ...})
    environment.execute(ToolCall("call_0", "cd", {"folder": "tmp"}))      -> '{"current_working_directory": "tmp"}'
    environment.calls                                                     == ["cd(folder='tmp')"]

    pip install --no-deps bfcl-eval==2026.3.23 mpmath

The published executor is `eval` on a call string. Such a string is written here only: a function of the entry, argument
names that are identifiers, and literals whose text holds no bracket that could open a call.
"""

from __future__ import annotations

import atexit
import importlib.metadata
import importlib.util
import json
import keyword
import math
import os
import select
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.dialogue import ToolCall
from eval.agent import MAX_DEPTH
from eval.protocol import EvalError

VERSION = "2026.3.23"
INSTALL = f"pip install --no-deps bfcl-eval=={VERSION} mpmath"
ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
ANSWER_S = 120.0  # the worker's own limits are tighter
MAX_STOPPED = 3  # calls of an episode that run into a limit; after that none is executed
MAX_KEPT = 1_000  # episodes whose results are kept
NOT_MADE = "call_not_made()"  # in the place of a refused or stopped call; the executor knows no such function


def package_folder() -> Path:
    """Where bfcl_eval is; it is not imported. Raises EvalError where it or mpmath is missing or of another version."""
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or spec.origin is None:
        raise EvalError(f"bfcl_multi_turn needs the package bfcl-eval; install it with `{INSTALL}`")
    if importlib.util.find_spec("mpmath") is None:
        raise EvalError(f"bfcl_multi_turn needs mpmath beside bfcl-eval; install it with `{INSTALL}`")
    try:
        version = importlib.metadata.version("bfcl-eval")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    if version != VERSION:
        raise EvalError(f"bfcl-eval is of version {version}; scores are those of {VERSION}: `{INSTALL}`")
    return Path(spec.origin).parent


class NotLiteral(ValueError):
    """A call that cannot be written as a function of the entry with literal arguments."""


def call_text(call: ToolCall, functions: Collection[str]) -> str:
    """`cd(folder='tmp')`. Raises NotLiteral, in the words that the published executor would use where it has any."""
    if call.name not in functions:
        raise NotLiteral(f"name {call.name[:80]!r} is not defined")
    for name in call.arguments:
        if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
            raise NotLiteral(f"{call.name}() got an unexpected keyword argument {name[:80]!r}")
    return f"{call.name}({', '.join(f'{name}={literal(value)}' for name, value in call.arguments.items())})"


def literal(value: Any, depth: int = 0) -> str:
    """Python's text of a JSON value. Raises NotLiteral for anything else, NaN and infinity among it.

    The executor puts the simulator's name before whatever looks like a call, in quoted text too. Therefore `(` is
    written as its escape: every other backslash in a repr belongs to a pair, so it stays an escape.
    """
    if depth > MAX_DEPTH:
        raise NotLiteral("arguments nest too deep")
    if value is None or type(value) is bool:
        return repr(value)
    if type(value) is str:
        return repr(value).replace("(", "\\x28")
    if type(value) is float and math.isfinite(value):
        return repr(value)
    if type(value) is list:
        return f"[{', '.join(literal(inner, depth + 1) for inner in value)}]"
    if type(value) is dict and all(type(key) is str for key in value):
        pairs = (f"{literal(key)}: {literal(inner, depth + 1)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if type(value) is int:
        try:
            return repr(value)
        except ValueError as error:  # more digits than Python writes
            raise NotLiteral("an integer has too many digits") from error
    raise NotLiteral("an argument is no JSON value")


class Verdict(NamedTuple):
    """Turns that the published checker passes before its first failure, and that failure's kind."""

    passed: int
    error: str | None


class Executor:
    """The worker: started when first asked, killed when late, started again when asked again.

    Results of running episodes are kept, so that replaying one executes nothing twice. An episode is known by its
    entry's id and the calls made so far, which is all that decides its results.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.kept: OrderedDict[str, tuple[list[str], list[str]]] = OrderedDict()  # entry -> calls, their results
        self.stopped: dict[str, dict[tuple[str, ...], str]] = {}  # entry -> calls of which the last was stopped -> why

    def result(self, entry: dict[str, Any], calls: Sequence[str]) -> tuple[str | None, str | None]:
        """The last call's result after those before it, or why it was stopped: `time`, `memory`, `output`, `crash`."""
        calls = list(calls)
        known, results = self.kept.get(entry["id"], ([], []))
        if known[: len(calls)] == calls:
            return results[len(calls) - 1], None
        if why := self.stopped.get(entry["id"], {}).get(tuple(calls)):
            return None, why
        answer = self.ask({"entry": entry, "calls": calls})
        if "stopped" in answer:
            self.stopped.setdefault(entry["id"], {})[tuple(calls)] = answer["stopped"]
            return None, answer["stopped"]
        self.kept[entry["id"]] = calls, answer["results"]
        if len(self.kept) > MAX_KEPT:
            self.forget(next(iter(self.kept)))
        return answer["results"][-1], None

    def check(
        self, entry: dict[str, Any], turns: Sequence[Sequence[Sequence[str]]], gold: Sequence[Sequence[str]]
    ) -> Verdict:
        """What the published checker says of turns, each a list of steps, each a list of calls."""
        answer = self.ask({"entry": entry, "turns": turns, "gold": gold})
        return Verdict(0, "stopped_" + answer["stopped"]) if "stopped" in answer else Verdict(**answer)

    def forget(self, entry_id: str) -> None:
        """Let go of a finished episode's results."""
        self.kept.pop(entry_id, None)
        self.stopped.pop(entry_id, None)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer; {"stopped": why} where there is none. Raises EvalError where no worker starts."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            answer = self._line(ANSWER_S)
        except BrokenPipeError:
            answer = None
        if answer is None:
            self.stop()
            return {"stopped": "crash"}
        return json.loads(answer)

    def _start(self) -> None:
        self.stop()
        command = [sys.executable, "-m", "eval.environments.bfcl_worker"]
        # Simulators make dates of local time; a session of its own, so that the worker and its fork die together.
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, encoding="ascii",
                                        env={**os.environ, "TZ": "UTC", "PYTHONHASHSEED": "0"},
                                        start_new_session=True)  # fmt: skip
        if self._line(START_S) is None:
            self.stop()
            raise EvalError(f"bfcl-eval's simulators do not start; install them again with `{INSTALL}`")

    def _line(self, timeout_s: float) -> str | None:
        """The worker's next line; None where it is late or gone."""
        assert self.process is not None and self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        return (self.process.stdout.readline() if readable else "") or None

    def stop(self) -> None:
        """Kill the worker and what it forked, if there is one."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            self.process = None


@cache
def executor() -> Executor:
    """The one worker of this process."""
    made = Executor()
    atexit.register(made.stop)
    return made


class BfclEnvironment:
    """One entry's simulators; implements eval.agent.Environment.

    calls: one text a call, NOT_MADE for those that were `refused` (no such function, no literals) or `stopped`.
    """

    def __init__(self, entry: dict[str, Any], functions: Collection[str]):
        self.entry = entry
        self.functions = functions
        self.calls: list[str] = []
        self.refused = 0
        self.stopped: list[str] = []

    def execute(self, call: ToolCall) -> str:
        """The result's text; an error is worded as the published executor words one."""
        error = f"stopped after {MAX_STOPPED} calls that took too much time or memory"
        if len(self.stopped) < MAX_STOPPED:
            try:
                self.calls.append(call_text(call, self.functions))
                result, why = executor().result(self.entry, self.calls)
                if result is not None:
                    return result
                self.calls.pop()
                self.stopped.append(str(why))
                error = f"the call was stopped ({why})"
            except NotLiteral as refusal:
                self.refused += 1
                error = str(refusal)
        self.calls.append(NOT_MADE)
        return f"Error during execution: {error}"
