"""A loopback judge: an OpenAI-compatible server with planted faults, whose replies a function makes; a finished run."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console

from data_prep.dialogue import Dialogue
from eval.backends.openai import OpenAIBackend
from eval.run import evaluate, load_tasks
from eval.tasks import TASKS
from tests.eval.helpers import ScriptedBackend

Say = Callable[[str], str]


class JudgeServer(ThreadingHTTPServer):
    """`say(last user message)` is the reply, unless `faults` holds one for this request; every body is kept."""

    daemon_threads = True
    say: Say
    faults: list[Any]
    bodies: list[dict[str, Any]]
    dies_after: int | None = None

    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.server_address[1]}/v1?key=secret"


class Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if self.server.dies_after is not None and len(self.server.bodies) > self.server.dies_after:
            fault = 401  # ends the judging at once, as a kill would
        if fault == "hang":
            time.sleep(1.0)
        if fault in ("hang", "cut"):
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 900\r\n\r\n{")
            return
        said = fault if isinstance(fault, str) else self.server.say(body["messages"][0]["content"])
        reply = {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}
        content = json.dumps(reply).encode()
        self.send_response(fault if isinstance(fault, int) else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def judge_server(say: Say, faults: Sequence[Any] = ()) -> Iterator[JudgeServer]:
    """A running server; faults are statuses, `hang`, `cut`, or texts said in place of `say`'s."""
    made = JudgeServer(("127.0.0.1", 0), Handler)
    made.say, made.faults, made.bodies = say, list(faults), []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def client(server: JudgeServer, concurrency: int = 4) -> OpenAIBackend:
    return OpenAIBackend("judge/m", server.url(), concurrency, first_pause_s=0.0, timeout_s=0.5)


def quiet() -> Console:
    return Console(quiet=True)


def reply_in(prompt: str) -> str:
    """The reply that a judge's prompt shows."""
    found = re.search(r"<reply[^>]*>\n(.*?)\n</reply", prompt, re.DOTALL)
    assert found
    return found[1]


ROWS = [("Ann", 3, 4), ("Ben", 5, 6), ("Cleo", 7, 8), ("Dora", 9, 11)]


def write_data(folder: Path) -> None:
    """Rows of our own in the published schema of both open-ended tasks."""
    mathchat = folder / "mathchat"
    mathchat.mkdir(parents=True)
    analyses, problems = [], []
    for name, a, b in ROWS:
        question = f"{name} has {a} bags of {b} nuts. How many nuts does {name} have?"
        answer = f"{a} * {b} = <<{a}*{b}={a * b}>>{a * b}\n#### {a * b}"
        dialogue = (
            f"A: {question}\n\nB: {a} + {b} = {a + b}, so {a + b}.\n\nA: You added. {name} has {a} * {b} = {a * b}."
        )
        analyses.append({"question": question, "answer": answer,
                         "error_correction": f"{dialogue} The answer is {a * b}."})  # fmt: skip
        new = f"New Problem: {name} fills {b} jars with {a} figs.\n\nSolution: {b} * {a} = {a * b}.\n#### {a * b}"
        problems.append({"question": question, "answer": answer, "new_problem": new})
    for file, rows in (("error_analysis", analyses), ("P2P_Generation", problems)):
        (mathchat / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def finished_run(
    folder: Path, say: Callable[[Dialogue], str], tasks: str = "error_analysis problem_generation"
) -> Path:
    """A run of the open-ended tasks over `write_data`'s rows, in which the model says what `say` says."""
    data, out = folder / "data", folder / "run"
    if not data.exists():
        write_data(data)
    chosen = [TASKS[f"mathchat_{name}"] for name in tasks.split()]
    loaded = load_tasks(chosen, [str(data)], None)
    with open(os.devnull, "w") as nowhere:
        evaluate(ScriptedBackend(say), "model", chosen, loaded, [str(data)], out, console=Console(file=nowhere))
    return out
