"""MathChatsync's pipeline and the re-made benchmark, as processes, against a rule-based model with faults and lies."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.synth.maths.dialogues import make_gsm8k_row
from eval.tasks import TASKS
from tests.eval.helpers import reply_of
from tests.synth.endpoint.kills import FAULTS, compare_with_kills, finish, start
from tests.synth.endpoint.loopback import loopback
from tests.synth.endpoint.maths_model import Model, proven

WRONG = 0.06
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


def make_with_kills(tmp_path: Path, rows: int, kills: int) -> dict[str, Any]:
    """Rows from a model of which one final number in 16 is wrong, the run killed and resumed; returns the figures."""
    seeds, golds = write_seeds(tmp_path, 3 * rows)
    in_test, test_set, model = list(golds)[1], tmp_path / "test.jsonl", Model(WRONG)
    test_set.write_text(json.dumps({"question": in_test, "answer": "#### 1"}) + "\n")
    options = ("--seeds", str(seeds), "--decontaminate", str(test_set))
    out, figures = compare_with_kills("mathchat", model.say, tmp_path, rows, kills, *options)
    made = check_rows(out, rows, golds, model)
    assert not any(row["conversations"][0]["value"].startswith(in_test) for row in made)
    funnel = {stage["stage"]: stage for stage in json.loads(Path(f"{out}.report.json").read_text())["funnel"]}
    assert set(funnel["read"]["rejected"]) == {"contaminated"}  # the item itself, and whatever tells its story again
    wrong = Counter(
        {
            f"{name}, {code}": n
            for name, stage in funnel.items()
            for code, n in stage["discarded"].items()
            if "wrong" in code
        }
    )
    assert wrong
    depths = Counter(len(row["conversations"]) // 2 for row in made)
    return {**figures, "planted": len(model.planted), "discarded": dict(wrong), "depths": dict(sorted(depths.items()))}


def test_a_killed_run_makes_the_same_rows_and_a_wrong_number_gets_into_none(tmp_path: Path) -> None:
    make_with_kills(tmp_path, rows=20, kills=3)


def test_the_published_form_has_no_marks_and_a_rationale_is_read_as_thinking(tmp_path: Path) -> None:
    seeds, _ = write_seeds(tmp_path, 20)
    calm = ("--seeds", str(seeds), "--timeout", "60")
    plain, thoughtful = tmp_path / "plain.json", tmp_path / "thoughtful.jsonl"
    with loopback(Model().say) as server:
        finish(start("mathchat", server, plain, 4, *calm, "--decontaminate", "--faithful"))
        finish(start("mathchat", server, thoughtful, 4, *calm, "--decontaminate", "--rationale"))
    rows = json.loads(plain.read_text())
    assert {frozenset(turn) for row in rows for turn in row["conversations"]} == {frozenset(("from", "value"))}
    assert all(set(row) == {"conversations"} for row in rows) and len(rows) == 4
    with Quarantine(None) as quarantine:
        dialogues = list(iter_dialogues("mathchatsync", [str(thoughtful)], quarantine))
    for dialogue in dialogues:
        for message in dialogue.messages:
            assert bool(message.thinking) == (message.role == "assistant" and message.train)
    with Quarantine(None) as quarantine:
        assert len(list(iter_dialogues("mathchatsync", [str(plain)], quarantine))) == 4
    assert any(not message.train for dialogue in dialogues for message in dialogue.messages)


def test_a_benchmark_made_from_own_problems_is_read_and_its_references_score_full_marks(tmp_path: Path) -> None:
    seeds, golds = write_seeds(tmp_path, 20)
    model = Model(WRONG)
    with loopback(model.say, FAULTS._replace(network=0.0)) as server:
        finish(
            start(
                "mathchat_benchmark",
                server,
                tmp_path / "mine" / "items.jsonl",
                6,
                "--seeds",
                str(seeds),
                "--timeout",
                "60",
            )
        )
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
