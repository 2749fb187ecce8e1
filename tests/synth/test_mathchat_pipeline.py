"""MathChatsync's pipeline and the re-made benchmark, as processes, against a rule-based model with faults and lies."""

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

import pytest

from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.synth.maths.dialogues import make_gsm8k_row
from eval.tasks import TASKS
from tests.eval.helpers import reply_of
from tests.synth.endpoint.loopback import Faults, Loopback, loopback
from tests.synth.endpoint.maths_model import Model, proven

REPOSITORY = Path(__file__).resolve().parents[2]
CONCURRENCY = 8
WRONG = 0.06
FAULTS = Faults(network=0.06, text=0.05, hang_s=2.0)
TASKS_MADE = (
    "mathchat_follow_up",
    "mathchat_error_correction",
    "mathchat_error_analysis",
    "mathchat_problem_generation",
)


def write_seeds(folder: Path, count: int) -> tuple[Path, dict[str, int]]:
    """A question/answer file in GSM8K's form, and the gold number of each question."""
    rows = [make_gsm8k_row("train", 0, index) for index in range(count)]
    path = folder / "seeds.jsonl"
    path.write_text("".join(json.dumps({"question": r["question"], "answer": r["answer"]}) + "\n" for r in rows))
    return path, {row["question"]: int(row["answer"].rpartition("####")[2]) for row in rows}


def start(server: Loopback, kind: str, seeds: Path, out: Path, rows: int, *more: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "data_prep", "synth", kind, "--seeds", str(seeds), "--out", str(out)),
        *("--rows", str(rows), "--base-url", server.url, "--model", "m", "--timeout", "1.5"),
        *("--concurrency", str(CONCURRENCY), *more),
    ]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=3600)  # the machine may be shared by many
    assert process.returncode == 0, errors


def kill_after(process: subprocess.Popen[str], server: Loopback, requests: int) -> bool:
    """SIGKILL once so many further requests arrived; whether that met a running process."""
    until = len(server.bodies) + requests
    while process.poll() is None and len(server.bodies) < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def outcomes(store: Path) -> Counter[str | None]:
    """How each sending ended, by the store: None is one that a kill cut off."""
    with sqlite3.connect(store) as database:
        found = Counter(outcome for (outcome,) in database.execute("SELECT outcome FROM sendings"))
    database.close()
    return found


def check_rows(path: Path, rows: int, golds: dict[str, int], model: Model) -> list[dict[str, Any]]:
    """Nothing malformed by the reader and by a validator that shares no code with it; no planted number in any row."""
    with Quarantine(None) as quarantine:
        assert len(list(iter_dialogues("mathchatsync", [str(path)], quarantine))) == rows
    assert quarantine.rejected == 0
    made = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [problem for row in made for problem in proven(row, golds)] == []
    said = {turn["value"] for row in made for turn in row["conversations"]}
    assert model.planted and not model.planted & said
    return made


def compare_with_kills(tmp_path: Path, rows: int, kills: int) -> dict[str, Any]:
    """The same rows after kills as without; returns the figures."""
    seeds, golds = write_seeds(tmp_path, 3 * rows)
    test_set = tmp_path / "test.jsonl"
    in_test = list(golds)[1]
    test_set.write_text(json.dumps({"question": in_test, "answer": "#### 1"}) + "\n")
    calm, killed, model = tmp_path / "calm.jsonl", tmp_path / "killed.jsonl", Model(WRONG)
    with loopback(model.say, FAULTS._replace(network=0.0)) as server:
        finish(start(server, "mathchat", seeds, calm, rows, "--decontaminate", str(test_set)))
        needed = len(server.bodies)
    rng = random.Random(0)
    with loopback(model.say, FAULTS) as server:
        met = 0
        for _ in range(kills):
            process = start(server, "mathchat", seeds, killed, rows, "--decontaminate", str(test_set))
            met += kill_after(process, server, rng.randrange(1, 2 * needed // (kills + 2)))
        finish(start(server, "mathchat", seeds, killed, rows, "--decontaminate", str(test_set)))
        repeated, faulted = sum(count - 1 for count in server.served.values()), dict(server.faulted)
    assert killed.read_bytes() == calm.read_bytes()
    ended = outcomes(tmp_path / "killed.jsonl.requests.sqlite")
    assert met >= kills - 1 and ended[None] <= met * CONCURRENCY
    assert repeated <= ended[None] + ended["timeout"] + ended["cut"]
    made = check_rows(killed, rows, golds, model)
    assert not any(row["conversations"][0]["value"].startswith(in_test) for row in made)
    report = json.loads((tmp_path / "killed.jsonl.report.json").read_text())
    funnel = {entry["stage"]: entry for entry in report["funnel"]}
    assert funnel["read"]["rejected"]["contaminated"] == 1
    wrong = {code: n for entry in report["funnel"] for code, n in entry["discarded"].items() if "wrong_final" in code}
    assert wrong
    depths = Counter(len(row["conversations"]) // 2 for row in made)
    return {"kills": met, "requests": needed, "repeated": repeated, "ended": dict(ended), "faults": faulted,
            "planted": len(model.planted), "discarded": wrong, "depths": dict(sorted(depths.items()))}  # fmt: skip


def test_a_killed_run_makes_the_same_rows_and_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    compare_with_kills(tmp_path, rows=20, kills=3)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("FULL_SYNTH"), reason="minutes; FULL_SYNTH=1 runs it")
def test_200_dialogues_come_out_whatever_the_server_does_and_ten_kills_change_nothing(tmp_path: Path) -> None:
    figures = compare_with_kills(tmp_path, rows=200, kills=10)
    assert figures["kills"] == 10
    print(figures)


def test_the_published_form_has_no_marks_and_a_rationale_is_read_as_thinking(tmp_path: Path) -> None:
    seeds, _ = write_seeds(tmp_path, 20)
    plain, thoughtful = tmp_path / "plain.json", tmp_path / "thoughtful.jsonl"
    with loopback(Model().say) as server:
        finish(start(server, "mathchat", seeds, plain, 8, "--decontaminate", "--faithful"))
        finish(start(server, "mathchat", seeds, thoughtful, 8, "--decontaminate", "--rationale"))
    rows = json.loads(plain.read_text())
    assert {frozenset(turn) for row in rows for turn in row["conversations"]} == {frozenset(("from", "value"))}
    assert all(set(row) == {"conversations"} for row in rows) and len(rows) == 8
    with Quarantine(None) as quarantine:
        dialogues = list(iter_dialogues("mathchatsync", [str(thoughtful)], quarantine))
    for dialogue in dialogues:
        for message in dialogue.messages:
            assert bool(message.thinking) == (message.role == "assistant" and message.train)
    with Quarantine(None) as quarantine:
        assert len(list(iter_dialogues("mathchatsync", [str(plain)], quarantine))) == 8
    assert any(not message.train for dialogue in dialogues for message in dialogue.messages)


def test_a_benchmark_made_from_own_problems_is_read_and_its_references_score_full_marks(tmp_path: Path) -> None:
    seeds, golds = write_seeds(tmp_path, 20)
    model = Model(WRONG)
    with loopback(model.say, FAULTS._replace(network=0.0)) as server:
        finish(start(server, "mathchat_benchmark", seeds, tmp_path / "mine" / "items.jsonl", 6))
    asked = []
    for name in TASKS_MADE:
        loaded = TASKS[name].load([str(tmp_path / "mine")], None)
        assert len(loaded.items) == 6 and loaded.left_out == {}
        asked.append([golds_of(name, item.gold) for item in loaded.items])
        for item in loaded.items:
            values = play_references(name, item)
            assert {metric: value for metric, value in values.items() if value != 1.0} == {}, (name, item.id)
            assert not item.gold.get("attempt_right")
    assert asked[0] == asked[1] == asked[2] == asked[3]  # the same problems in all four files, each with its gold
    items = [json.loads(line) for line in (tmp_path / "mine" / "items.jsonl").read_text().splitlines()]
    assert [row["answer"].rpartition("#### ")[2] for row in items] == [str(golds[row["question"]]) for row in items]


def golds_of(name: str, gold: dict[str, Any]) -> str:
    """The first round's reference answer."""
    return gold["answers"][0] if name == "mathchat_follow_up" else gold["answer"]


def play_references(name: str, item: Any) -> dict[str, float]:
    """The scores when the model says the reference turns."""
    from eval.protocol import Step
    from eval.tasks import mathchat_error_analysis, mathchat_error_correction, mathchat_follow_up
    from eval.tasks import mathchat_problem_generation as generation

    modules = (mathchat_follow_up, mathchat_error_correction, mathchat_error_analysis, generation)
    feed = {module.TASK.name: module.feed for module in modules}[name](item)
    steps: list[Step] = []
    while (request := TASKS[name].next_request(item, steps)) is not None:
        steps.append(Step(request.dialogue, reply_of(feed[len(steps)].content)))
    score = TASKS[name].score(item, steps)
    assert score.unparsed == {}
    return score.values
