"""An evaluation as a real process that is killed, or whose disk is full: it goes on, and ends with the same report."""

from __future__ import annotations

import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data_prep.dialogue import write_jsonl
from tests.eval.helpers import ask
from tests.eval.test_openai import said

pytestmark = pytest.mark.slow
CONCURRENCY = 4
DIALOGUES = 30
KILLS = 3


class Server(ThreadingHTTPServer):
    """Answers each request after a moment, by a rule from its body, and counts how often each was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = hashlib.sha256(body).hexdigest()
        self.server.sent[key] += 1
        time.sleep(0.01)
        answer = said(f"<final>It will be {int(key[:4], 16) % 30} degrees.</final>")[1]
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            assert self.server.sent[key], "whoever asked was killed"

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "held_out.jsonl"
    write_jsonl(str(path), [ask(f"City {number}", number) for number in range(DIALOGUES)])
    return path


def command(server: Server, data: Path, out: Path) -> list[str]:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    words = f"-m eval run m --backend openai --base-url {url} --tool-format button --tasks function_calls"
    files = ["--data", str(data), "--out", str(out)]
    return [sys.executable, *words.split(), "--batch-size", str(CONCURRENCY), *files]


def scores(out: Path) -> dict[str, Any]:
    """The report without what is of its process: time, packages."""
    return {key: value for key, value in json.loads((out / "report.json").read_text()).items() if key != "run"}


def finish(server: Server, data: Path, out: Path) -> dict[str, Any]:
    subprocess.run(command(server, data, out), check=True, capture_output=True)
    return scores(out)


def test_a_process_killed_at_random_moments_ends_with_the_same_report_and_asks_little_again(
    server: Server, data: Path, tmp_path: Path
) -> None:
    whole = finish(server, data, tmp_path / "whole")
    requests = server.sent.total()
    assert requests == 2 * DIALOGUES
    server.sent.clear()

    rng = random.Random(5)
    for kill in range(KILLS):
        process = subprocess.Popen(command(server, data, tmp_path / "killed"), stderr=subprocess.DEVNULL)
        until = server.sent.total() + rng.randrange(1, requests // KILLS)
        while server.sent.total() < until:
            assert process.poll() is None, f"ended before kill {kill}"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert finish(server, data, tmp_path / "killed") == whole
    assert len(server.sent) == requests
    assert server.sent.total() - requests <= KILLS * CONCURRENCY


def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    server: Server, data: Path, tmp_path: Path
) -> None:
    whole = finish(server, data, tmp_path / "whole")
    out = tmp_path / "full"
    for kilobytes in (1, 40):  # full at the first file, and amid the transcripts

        def limit(size: int = kilobytes * 1024) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        failed = subprocess.run(
            command(server, data, out), preexec_fn=limit, capture_output=True, text=True, check=False
        )
        assert failed.returncode == 2 and "make room and give the same command again" in failed.stderr, failed.stderr
        assert "Traceback" not in failed.stderr
        assert not (out / "report.json").exists()
    assert finish(server, data, out) == whole
