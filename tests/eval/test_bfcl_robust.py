"""BFCL's task under calls that mean harm: literals only, nothing run as code, a worker that can always be killed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_prep.dialogue import ToolCall
from eval.environments import bfcl
from eval.environments.bfcl import NOT_MADE, BfclEnvironment, Executor, NotLiteral, call_text
from eval.protocol import EvalError, Item
from eval.tasks import bfcl_multi_turn as task
from tests.eval.bfcl_helpers import HERE, all_items, gold, needs_bfcl, play, replies_of
from tests.eval.helpers import reply_of


@pytest.fixture
def items() -> list[Item]:
    return all_items()


# ---- hostile calls


@pytest.mark.parametrize(
    "value",
    ["__import__('os').system('x')", "\\(", "\\\\(", "'\"(\n\x00\x1b", "ls (", "é\U0001f600",
     {"a (": [1, -2.5, None, True]}, "a" * 100_000, 10**4000, [[[]]], -0.0, 1e-300],
)  # fmt: skip
def test_a_value_survives_as_a_literal_and_no_bracket_in_it_can_open_a_call(value: Any) -> None:
    text = call_text(ToolCall("call_0", "echo", {"content": value}), {"echo"})
    assert text.count("(") == 1
    call: Any = ast.parse(text, mode="eval").body
    assert call.func.id == "echo" and ast.literal_eval(call.keywords[0].value) == value


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("__import__('os').abort", {}),
        ("os.abort", {}),
        ("cat\n", {}),
        ("_load_scenario", {}),
        ("echo", {"content=__import__('os').abort(), x": 1}),
        ("echo", {"class": 1}),
        ("echo", {"*a": 1}),
        ("echo", {"ﬁle": 1}),
        ("echo", {"content": float("nan")}),
        ("echo", {"content": [float("inf")]}),
        ("echo", {"content": 10**5000}),
        ("echo", {"content": {1: 2}}),
        ("echo", {"content": (1,)}),
        ("echo", {"content": json.loads("[" * 200 + "]" * 200)}),
    ],
)
def test_what_is_no_listed_function_with_literals_is_an_error_and_reaches_no_executor(
    name: str, arguments: dict[str, Any]
) -> None:
    call = ToolCall("call_0", name, arguments)
    with pytest.raises(NotLiteral):
        call_text(call, {"echo"})
    environment = BfclEnvironment({"id": "none"}, {"echo"})
    assert environment.execute(call).startswith("Error during execution: ")
    assert environment.calls == [NOT_MADE] and environment.refused == 1


@needs_bfcl
def test_hostile_calls_do_nothing_and_fail_no_other_entry(items: list[Item], tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    code = f"__import__('os').system('touch {planted}')"
    turns = gold(items[0])
    named = [ToolCall("c", "touch", {"file_name": text}) for text in (code, "__import__('os').abort()")]
    turns[0] = [ToolCall("c", code, {}), *named, *turns[0]]
    steps, score = play(items[0], replies_of(turns))
    results = [message.content for message in steps[-1].dialogue.messages if message.role == "tool"]
    assert "not defined" in results[0] and score.notes["refused_calls"] == "1"
    assert score.notes["failure"] == "instance_state_mismatch"  # a file of that name now is in the simulator
    for text in ("NaN", "9" * 5000, "[" * 900 + "]" * 900, '"\\ud800"'):
        said = f'<call>[{{"name": "touch", "arguments": {{"file_name": {text}}}}}]</call>'
        _, score = play(items[0], [reply_of(said, True), *replies_of(gold(items[0]))[2:]])
        assert score.values["success"] == 0.0 and score.unparsed["success"]
    assert not planted.exists()
    assert play(items[0], replies_of(gold(items[0])))[1].values["success"] == 1.0


@needs_bfcl
def test_text_that_looks_like_a_call_is_written_as_it_is(items: list[Item]) -> None:
    environment = BfclEnvironment(items[0].gold["entry"], {"touch", "echo", "cat"})
    environment.execute(ToolCall("c", "touch", {"file_name": "a.txt"}))
    environment.execute(ToolCall("c", "echo", {"content": "run cat(file) (twice)", "file_name": "a.txt"}))
    result = environment.execute(ToolCall("c", "cat", {"file_name": "a.txt"}))
    assert json.loads(result) == {"file_content": "run cat(file) (twice)"}


# ---- limits


@needs_bfcl
@pytest.mark.slow
def test_calls_that_take_too_much_are_stopped_counted_and_asked_no_second_time(items: list[Item]) -> None:
    item = next(item for item in items if "MathAPI" in item.gold["entry"]["involved_classes"])
    hang = ToolCall("c", "power", {"base": 7, "exponent": 10**9})
    turns = gold(item)
    turns[0] = [hang, *turns[0]]
    steps, score = play(item, replies_of(turns))
    assert score.notes["stopped_calls"] == "1" and score.values["success"] == 1.0  # it had no effect
    assert "the call was stopped" in next(m.content for m in steps[-1].dialogue.messages if m.role == "tool")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("while True: pass", "time"),
        ("time.sleep(60)", "time"),
        ("bytearray(4 << 30)", "memory"),
        ("return {'results': ['a' * (w.ANSWER_BYTES + 1)]}", "output"),
        ("os.abort()", "crash"),
        ("raise ValueError", "crash"),
        ("with open(path, 'w') as file: file.write('x')", "crash"),
    ],
)
def test_a_fork_that_breaks_a_limit_is_stopped_and_the_reason_is_said(answer: str, why: str, tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom eval.environments import bfcl_worker as w\npath = sys.argv[1]\n"
        f"w.CPU_S, w.WALL_S = 1, 4.0\ndef answer(question):\n    {answer}\nw._answer = answer\n"
        "print(w._in_a_fork('{}'))\nw._answer = lambda question: {'results': []}\nprint(w._in_a_fork('{}'))\n"
    )
    path = tmp_path / "written"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True,
                          cwd=bfcl.ROOT, timeout=120)  # fmt: skip
    assert list(map(json.loads, done.stdout.splitlines())) == [{"stopped": why}, {"results": []}]
    assert not path.exists() or not path.read_text()


@needs_bfcl
def test_a_worker_that_hangs_or_dies_is_replaced(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    question = {"entry": items[0].gold["entry"], "calls": ["pwd()"]}
    worker = Executor()
    try:
        before = worker.ask(question)
        assert worker.process is not None
        worker.process.kill()
        time.sleep(0.2)
        assert worker.ask(question) in (before, {"stopped": "crash"}) and worker.ask(question) == before
        os.kill(worker.process.pid, signal.SIGSTOP)
        with monkeypatch.context() as patched:
            patched.setattr(bfcl, "ANSWER_S", 0.5)
            assert worker.ask(question) == {"stopped": "crash"}
        assert worker.process is None and worker.ask(question) == before
    finally:
        worker.stop()


def test_a_missing_or_other_package_is_an_error_that_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvalError, match=r"pip install --no-deps bfcl-eval==2026\.3\.23 mpmath"):
        task.load([], None)
    monkeypatch.undo()
    if HERE:
        monkeypatch.setattr(bfcl, "VERSION", "1.0")
        with pytest.raises(EvalError, match=r"of version 2026\.3\.23; scores are those of 1\.0"):
            task.data_files([])
