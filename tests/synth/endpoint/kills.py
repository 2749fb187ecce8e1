"""A pipeline run as a process of its own, killed at random points, compared with an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.synth.endpoint.loopback import Body, Faults, Loopback, loopback

REPOSITORY = Path(__file__).resolve().parents[3]
CONCURRENCY = 8
TIMEOUT_S = 5.0  # a machine that many share may take seconds over an honest reply
FAULTS = Faults(network=0.06, text=0.05, hang_s=TIMEOUT_S + 1)


def start(kind: str, server: Loopback, out: Path, rows: int, *more: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "data_prep", "synth", kind, "--out", str(out), "--rows", str(rows), "--model", "m"),
        *("--base-url", server.url, "--concurrency", str(CONCURRENCY), "--timeout", str(TIMEOUT_S), *more),
    ]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=3600)
    assert process.returncode == 0, errors


def undisturbed(kind: str, say: Callable[[Body], str], tmp_path: Path, rows: int, *more: str) -> tuple[bytes, int]:
    """What a run without network faults and kills makes; the text's faults belong to the model and stay.

    Returns its rows, and how many requests they took.
    """
    out = tmp_path / "undisturbed.jsonl"
    with loopback(say, FAULTS._replace(network=0.0)) as server:
        finish(start(kind, server, out, rows, *more, "--timeout", "60"))  # nothing hangs here
    return out.read_bytes(), len(server.bodies)


def killed_and_resumed(
    kind: str, server: Loopback, out: Path, rows: int, kills: int, requests: int, *more: str
) -> None:
    """Kill the run `kills` times, each at a random moment of its work; then let it finish.

    `requests` is how many it has to make in all: they are spread so that each kill hits, whatever the machine's speed.
    """
    rng = random.Random(0)
    for _ in range(kills):
        process = start(kind, server, out, rows, *more)
        moment = len(server.bodies) + rng.randint(1, requests // kills)
        while process.poll() is None and len(server.bodies) < moment:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))  # into the middle of writing and reading, too
        assert process.poll() is None, "the run ended before its last kill"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(kind, server, out, rows, *more))


def outcomes(store: Path) -> Counter[str | None]:
    """How each sending ended, by the store: `reply`, `timeout`, `cut`, a refusal; None is one that a kill cut off."""
    with closing(sqlite3.connect(store)) as database:
        return Counter(outcome for (outcome,) in database.execute("SELECT outcome FROM sendings"))


def compare_with_kills(
    kind: str, say: Callable[[Body], str], tmp_path: Path, rows: int, kills: int, *more: str
) -> tuple[Path, dict[str, Any]]:
    """Asserts that kills and faults change no row, and that repeats stay within what was in flight.

    `more` are further options. Returns the file of rows and the figures.
    """
    expected, requests = undisturbed(kind, say, tmp_path, rows, *more)
    out = tmp_path / "killed.jsonl"
    with loopback(say, FAULTS) as server:
        killed_and_resumed(kind, server, out, rows, kills, requests, *more)
        served, faulted = server.served, server.faulted
    report = json.loads((tmp_path / "killed.jsonl.report.json").read_text())
    repeated = sum(count - 1 for count in served.values())
    ended = outcomes(tmp_path / "killed.jsonl.requests.sqlite")
    lost = ended["timeout"] + ended["cut"]
    assert out.read_bytes() == expected
    assert ended[None] <= kills * CONCURRENCY
    assert repeated <= ended[None] + lost
    assert repeated <= report["sent"]["repeats"] <= kills * CONCURRENCY + lost
    assert report["rows"] == rows and report["sent"]["runs"] == kills + 1
    return out, {
        "kills": kills,
        "requests": served.total(),
        "repeated": repeated,
        "lost": lost,
        "faults": dict(faulted),
    }
