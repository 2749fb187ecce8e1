"""BUTTON's pipeline end to end, as a process of its own, against the loopback model with every fault switched on."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from data_prep.quarantine import Quarantine, iter_dialogues
from tests.synth.endpoint.button_model import SENTINEL, say
from tests.synth.endpoint.loopback import NETWORK, Faults, Loopback, loopback

REPOSITORY = Path(__file__).resolve().parents[3]
CONCURRENCY = 8
FAULTS = Faults(network=0.06, text=0.05, hang_s=2.0)


def start(server: Loopback, out: Path, rows: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "data_prep", "synth", "button", "--out", str(out), "--rows", str(rows),
               "--base-url", server.url, "--model", "m", "--concurrency", str(CONCURRENCY), "--timeout", "1", *more]  # fmt: skip
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def undisturbed(tmp_path: Path, rows: int) -> bytes:
    """What a run without network faults and kills makes; the text's faults belong to the model and stay."""
    out = tmp_path / "undisturbed.jsonl"
    with loopback(say, FAULTS._replace(network=0.0)) as server:
        finish(start(server, out, rows))
    return out.read_bytes()


def killed_and_resumed(server: Loopback, out: Path, rows: int, kills: int, share_s: float) -> int:
    """Kill the run at random points, each time later; then let it finish. Returns how many kills met a running one."""
    rng = random.Random(0)
    met = 0
    for _ in range(kills):
        process = start(server, out, rows)
        before = len(server.bodies)
        while process.poll() is None and len(server.bodies) == before:  # importing takes seconds; kill at work
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, share_s))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            met += 1
        process.communicate()
    finish(start(server, out, rows))
    return met


def compare_with_kills(tmp_path: Path, rows: int, kills: int, share_s: float) -> dict[str, Any]:
    """The issue's promise; returns the figures."""
    expected = undisturbed(tmp_path, rows)
    out = tmp_path / "killed.jsonl"
    with loopback(say, FAULTS) as server:
        met = killed_and_resumed(server, out, rows, kills, share_s)
        served, faulted = server.served, server.faulted
    report = json.loads((tmp_path / "killed.jsonl.report.json").read_text())
    repeated = sum(count - 1 for count in served.values())
    lost = sum(faulted[kind] for kind in ("hang", "cut", "half a body"))
    assert out.read_bytes() == expected
    assert repeated <= met * CONCURRENCY + lost
    assert repeated <= report["sent"]["repeats"] <= met * CONCURRENCY + lost
    assert report["rows"] == rows and report["sent"]["runs"] == kills + 1
    check_rows(out, rows)
    return {"kills": met, "requests": served.total(), "repeated": repeated, "lost": lost, "faults": dict(faulted)}


def check_rows(path: Path, rows: int) -> None:
    """Nothing malformed, by the source's reader and by a validator that shares no code with it; nothing leaked."""
    text = path.read_text(encoding="utf-8")
    assert SENTINEL not in text and SENTINEL.lower() not in text.lower()
    with Quarantine(None) as quarantine:
        assert len(list(iter_dialogues("button", [str(path)], quarantine))) == rows
    assert quarantine.rejected == 0
    for line in text.splitlines():
        validate(json.loads(line)["messages"])


def validate(messages: list[dict[str, str]]) -> None:
    """An independent reading of BUTTON's format: alternation, tags, calls by JSON schema, results in call order."""
    listed = json.loads(messages[0]["content"].split("<tool>\n")[1].split("\n</tool>")[0])
    tools = {tool["name"]: tool for tool in listed}
    assert len(tools) == len(listed)
    parallel_off = "one function at a time" in messages[0]["content"]
    before, calls = "system", []
    for message in messages[1:]:
        role, content = message["role"], message["content"]
        assert role in {"system": ["user"], "user": ["assistant"], "tool": ["assistant"],
                        "assistant": ["tool"] if calls else ["user"]}[before]  # fmt: skip
        if role == "assistant":
            body = content.partition("<call>" if "<call>" in content else "<final>")
            assert body[0].strip() and body[2].endswith("</call>" if "<call>" in content else "</final>")
            calls = json.loads(body[2].removesuffix("</call>")) if "<call>" in content else []
            assert len(calls) <= 1 or not parallel_off
            for call in calls:
                tool = tools[call["name"]]
                schema = {"type": "object", "properties": tool["parameters"], "required": tool["required"],
                          "additionalProperties": False}  # fmt: skip
                jsonschema.validate(call["arguments"], schema)
        elif role == "tool":
            results = json.loads(content)
            assert [(r["name"], r["arguments"]) for r in results] == [(c["name"], c["arguments"]) for c in calls]
            for result in results:
                if "error" not in result["results"]:
                    assert set(result["results"]) == set(tools[result["name"]]["responses"])
        before = role
    assert before == "assistant" and not calls


def test_a_run_killed_at_random_points_makes_the_same_rows_and_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    compare_with_kills(tmp_path, rows=20, kills=3, share_s=1.5)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("FULL_SYNTH"), reason="minutes; FULL_SYNTH=1 runs it")
def test_200_rows_come_out_whatever_the_server_does_and_ten_kills_change_nothing(tmp_path: Path) -> None:
    print(compare_with_kills(tmp_path, rows=200, kills=10, share_s=12.0))
