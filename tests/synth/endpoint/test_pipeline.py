"""Stages, questions and runs: what a row is made of, what rejects it, and that timing decides nothing."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.pipeline import Row, Stage, Together
from data_prep.synth.endpoint.prompts import Prompts
from data_prep.synth.endpoint.run import Pipeline, add_endpoint_arguments, run_pipeline
from tests.synth.endpoint.loopback import Body, Faults, Loopback, loopback

PROMPT = """# Why
max_tokens: 50
temperature: 0.5
examples: ['{"word": "ape"}']
prompt: |
  Say a word about $what
"""


class Word(msgspec.Struct):
    word: str

    def __post_init__(self) -> None:
        if self.word == "bad":
            raise ValueError("the word is bad")


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "word.yaml").write_text(PROMPT)
    return Prompts(tmp_path / "prompts")


def word_pipeline(prompts: Prompts, seeds: int | None = None) -> Pipeline:
    """Each seed gets two words; a word ending in 3 is rejected; each word left gets one more."""

    async def two(seed: str, ask: Ask) -> list[str]:
        return [(await ask.json(prompts.fill("word", what=seed), Word, sample=n)).word + str(n) for n in range(2)]

    async def not_three(words: list[str], ask: Ask) -> Sequence[Sequence[str] | Rejected]:
        return [Rejected("three", word) if word.endswith("31") else [word] for word in words]

    async def one(word: str, ask: Ask) -> list[str]:
        return [(await ask.json(prompts.fill("word", what=word), Word)).word + f" {ask.rng.random():.6f}"]

    numbers = count() if seeds is None else range(seeds)
    return Pipeline(
        "words",
        [Stage("two", two), Together("not_three", not_three), Stage("one", one)],
        ((f"seed-{n}", f"seed {n}") for n in numbers),
        prompts,
        lambda row: {"value": row.value},
        {},
    )


def options(server: Loopback | None, out: Path, rows: int, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_endpoint_arguments(parser)
    parser.add_argument("--out")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    where = ["--base-url", server.url, "--model", "m"] if server else []
    return parser.parse_args([*where, "--out", str(out), "--rows", str(rows), "--timeout", "1", *more])


def echo(body: Body) -> str:
    _, about, what = body["messages"][0]["content"].partition("about ")
    return json.dumps({"word": what.strip().replace(" ", "-")} if about else {"ok": True})


def report_of(out: Path) -> dict[str, Any]:
    return json.loads(Path(f"{out}.report.json").read_text())


def stage(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in report["funnel"] if entry["stage"] == name)


def test_rows_and_their_order_depend_on_replies_and_never_on_when_they_came(tmp_path: Path, prompts: Prompts) -> None:
    def slowly(body: Body) -> str:
        time.sleep(random.uniform(0, 0.03))
        return echo(body)

    files = []
    for name, concurrency in (("a", 1), ("b", 8), ("c", 8)):
        out = tmp_path / f"{name}.jsonl"
        with loopback(slowly, Faults(text=0.2)) as server:
            assert run_pipeline(word_pipeline(prompts), options(server, out, 12, f"--concurrency={concurrency}")) == 0
        files.append((out.read_bytes(), Path(f"{out}.lineage.jsonl").read_bytes(), report_of(out)["funnel"]))
    assert files[0] == files[1] == files[2]
    assert len(files[0][0].splitlines()) == 12


def test_every_row_tells_where_it_came_from(tmp_path: Path, prompts: Prompts) -> None:
    out = tmp_path / "rows.jsonl"
    with loopback(echo) as server:
        run_pipeline(word_pipeline(prompts), options(server, out, 4))
        lineage = [json.loads(line) for line in Path(f"{out}.lineage.jsonl").read_text().splitlines()]
    assert [row["row"] for row in lineage] == ["0.0", "0.1", "1.0", "1.1"]
    assert [row["seed"] for row in lineage] == ["seed-0", "seed-0", "seed-1", "seed-1"]
    first = lineage[0]
    assert first["parents"] == ["0", "0.0", "0.0"]
    assert [stage["stage"] for stage in first["stages"]] == ["two", "not_three", "one"]
    asked = first["stages"][2]["asked"][0]
    assert (asked["prompt"], asked["model"]) == ("word", "m") and asked["prompt_tokens"] > 0 and asked["new_tokens"] > 0
    assert asked["prompt_sha256"] == prompts.digests()["word"] and len(asked["request"]) == 64


@pytest.mark.parametrize(
    ("replies", "code", "asked"),
    [
        (['{"word": "bad"}', '{"word": "good"}'], None, 2),
        (['{"word": "bad"}', '{"word": "bad"}'], "unusable_reply", 2),
        (["no idea", "{'word': 'good'}"], None, 2),
        (['{"word": 5}', '{"word": "go'], "unusable_reply", 2),
        (['<think>{"word": "bad"}</think>{"word": "good"}'], None, 1),
        (["", ""], "unusable_reply", 2),
    ],
)
def test_an_unusable_reply_is_fed_back_once_and_then_rejects_with_its_reason(
    tmp_path: Path, prompts: Prompts, replies: list[str], code: str | None, asked: int
) -> None:
    said = iter(replies)

    async def once(seed: str, ask: Ask) -> list[str]:
        return [(await ask.json(prompts.fill("word", what=seed), Word)).word]

    pipeline = word_pipeline(prompts, seeds=1)._replace(stages=[Stage("once", once)])
    out = tmp_path / "rows.jsonl"
    with loopback(lambda body: next(said)) as server:
        assert run_pipeline(pipeline, options(server, out, 1, "--structured", "off")) == (code is not None)
        assert len(server.bodies) == asked
        last = server.bodies[-1]["messages"]
    entry = stage(report_of(out), "once")
    assert entry["rejected"] == ({code: 1} if code else {})
    if asked == 2:
        assert [message["role"] for message in last] == ["user", "assistant", "user"]
        assert "can't be used" in last[2]["content"]
    if code:
        assert replies[-1] in entry["examples"][code][0]["message"] or not replies[-1]


def test_a_reply_that_was_cut_off_rejects_the_row_at_once(tmp_path: Path, prompts: Prompts) -> None:
    out = tmp_path / "rows.jsonl"
    with loopback(echo, Faults(text=1.0, kinds=("length",))) as server:
        assert run_pipeline(word_pipeline(prompts, 3), options(server, out, 5, "--structured", "off")) == 1
        assert len(server.bodies) == 3
    report = report_of(out)
    assert stage(report, "two")["rejected"] == {"length": 3}
    assert [example["seed"] for example in stage(report, "two")["examples"]["length"]] == ["seed-0", "seed-1", "seed-2"]
    assert "row 1 from seed-1: word: cut off" in Path(f"{out}.report.txt").read_text()
    assert (report["rows"], report["stopped"]) == (0, "there are no more seeds")


def test_schemas_are_sent_where_the_server_takes_them_and_left_out_where_it_does_not(
    tmp_path: Path, prompts: Prompts
) -> None:
    for kinds, sends in ((("none",), True), (("400",), False)):
        out = tmp_path / f"{kinds[0]}.jsonl"
        with loopback(echo, Faults(network=1.0, kinds=kinds)) as server:
            run_pipeline(word_pipeline(prompts, 1), options(server, out, 1))
            assert report_of(out)["structured"] is sends
            schema = server.bodies[-1].get("response_format")
        if sends:
            assert schema["json_schema"]["schema"]["required"] == ["word"]


def test_a_spent_budget_stops_cleanly_and_the_same_command_with_more_goes_on(tmp_path: Path, prompts: Prompts) -> None:
    out = tmp_path / "rows.jsonl"
    with loopback(echo) as server:
        small = options(server, out, 20, "--budget-tokens", "1000", "--structured", "off")
        assert run_pipeline(word_pipeline(prompts), small) == 1
        report = report_of(out)
        assert "budget" in report["stopped"] and 0 < report["rows"] < 20
        assert report["tokens"]["prompt"] + report["tokens"]["new"] <= 1000
        asked = len(server.bodies)
        assert run_pipeline(word_pipeline(prompts), options(server, out, 20, "--structured", "off")) == 0
        whole = out.read_bytes()
        assert report_of(out)["sent"]["sendings"] == len(server.bodies) > asked
    with loopback(echo) as server:
        run_pipeline(word_pipeline(prompts), options(server, tmp_path / "fresh.jsonl", 20, "--structured", "off"))
    assert whole == (tmp_path / "fresh.jsonl").read_bytes()


def test_a_budget_too_small_for_the_first_request_stops_cleanly(tmp_path: Path, prompts: Prompts) -> None:
    out = tmp_path / "rows.jsonl"
    with loopback(echo) as server:
        assert run_pipeline(word_pipeline(prompts), options(server, out, 5, "--budget-tokens", "10")) == 1
        assert server.bodies == []
    assert report_of(out)["rows"] == 0 and "budget" in report_of(out)["stopped"]


def test_a_model_that_keeps_every_row_is_asked_for_no_row_in_vain(tmp_path: Path, prompts: Prompts) -> None:
    pipeline = word_pipeline(prompts)
    pipeline = pipeline._replace(stages=pipeline.stages[2:])
    with loopback(echo) as server:
        assert run_pipeline(pipeline, options(server, tmp_path / "rows.jsonl", 9, "--structured", "off")) == 0
        assert len(server.bodies) == 9


def test_a_first_seed_that_fails_is_followed_by_few(tmp_path: Path, prompts: Prompts) -> None:
    async def all_but_the_first(seed: str, ask: Ask) -> list[str]:
        if seed == "seed 0":
            raise Rejected("first", seed)
        return [(await ask.json(prompts.fill("word", what=seed), Word)).word]

    pipeline = word_pipeline(prompts)._replace(stages=[Stage("one", all_but_the_first)])
    with loopback(echo) as server:
        assert run_pipeline(pipeline, options(server, tmp_path / "rows.jsonl", 1, "--structured", "off")) == 0
        assert len(server.bodies) <= 2


def test_a_model_that_never_does_the_task_ends_the_run_and_says_so(tmp_path: Path, prompts: Prompts) -> None:
    out = tmp_path / "rows.jsonl"
    with loopback(lambda body: "I would rather talk about the sea.") as server:
        assert run_pipeline(word_pipeline(prompts), options(server, out, 5, "--structured", "off")) == 1
    report = report_of(out)
    assert report["rows"] == 0 and "does not do the task" in report["stopped"]
    assert stage(report, "two")["taken"] == stage(report, "two")["rejected"]["unusable_reply"]
    assert len(stage(report, "two")["examples"]["unusable_reply"]) == 3


def test_a_dry_run_shows_every_prompt_and_the_cost_and_asks_nothing(
    tmp_path: Path, prompts: Prompts, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    more = ("--dry-run", "--price-in", "1000000", "--price-out", "0")
    assert run_pipeline(word_pipeline(prompts), options(None, out, 10, *more)) == 0
    shown = capsys.readouterr().out
    assert "Say a word about seed 0" in shown and prompts.digests()["word"] in shown
    assert "one seed asks 4 times and gives 2 rows" in shown and "20 requests" in shown
    assert "cost 0.00" not in shown
    assert not list(tmp_path.glob("rows*"))


def test_a_placeholder_that_is_not_filled_is_an_error(prompts: Prompts) -> None:
    with pytest.raises(KeyError, match="takes"):
        prompts.fill("word", who="you")


def test_ids_are_paths_that_grow_where_rows_multiply() -> None:
    assert Row((3, 1), "s", None).id == "3.1"
