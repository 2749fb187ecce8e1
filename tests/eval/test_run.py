"""Runs: resumed, never mixed; reports that count right; hostile output that stays data; comparisons that refuse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from data_prep import button
from data_prep.dialogue import Dialogue, write_jsonl
from eval import html_compare, transcripts
from eval.__main__ import main
from eval.compare import compare_runs, to_markdown, to_table
from eval.protocol import EvalError
from eval.report import one_line, to_tables
from eval.report import to_markdown as report_markdown
from eval.run import evaluate, load_tasks
from eval.tasks import TASKS, function_calls
from tests.eval.helpers import ScriptedBackend, ask, gold_speaker

CITIES = ("Oslo", "Bergen", "Vadsø", "Ålesund", "Hamar")
EVIL = "</pre><script>alert(1)</script>\x1b[2J\x1b]0;owned\x07\u202e\ud800<img src=x onerror=alert(1)>"


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "held_out.jsonl"
    path.parent.mkdir()
    write_jsonl(str(path), [ask(city, index) for index, city in enumerate(CITIES)])
    return path.parent


def run(backend: ScriptedBackend, data: Path, out: Path, limit: int | None = None, **options: Any) -> dict[str, Any]:
    tasks = [TASKS["function_calls"]]
    loaded = load_tasks(tasks, [str(data)], limit)
    quiet = Console(file=open(os.devnull, "w"))  # noqa: SIM115
    try:
        return evaluate(backend, "model", tasks, loaded, [str(data)], out, console=quiet, **options)
    finally:
        quiet.file.close()


def gold(data: Path) -> Callable[[Dialogue], str]:
    return gold_speaker(function_calls.load([str(data)], None).items)


def metrics(report: dict[str, Any]) -> dict[str, Any]:
    return report["tasks"]["function_calls"]["metrics"]


def test_the_gold_scores_one_over_the_right_denominators(held_out: Path, tmp_path: Path) -> None:
    report = run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "out")
    for name in ("schema_valid_call", "name_and_arguments_exact"):
        row = metrics(report)[name]
        assert (row["n"], row["score"], row["high"], row["right"], row["wrong"], row["unparsed"]) == (5, 1, 1, 5, 0, 0)
        assert row["low"] < 0.8
    assert metrics(report)["answer_same"]["n"] == 5
    assert report["tasks"]["function_calls"]["notes"]["gold"] == {"call": 5, "answer": 5}
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


def test_a_killed_run_goes_on_and_ends_with_the_same_report(held_out: Path, tmp_path: Path) -> None:
    whole = run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "whole")
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        run(ScriptedBackend(gold(held_out), dies_after=4), held_out, out)
    with open(out / transcripts.FILE, "a") as file:
        file.write('{"task": "function_calls", "item": "weath')  # the kill came in the middle of a line
    backend = ScriptedBackend(gold(held_out))
    assert run(backend, held_out, out) == whole
    assert backend.replies == 10 - 4
    assert len(transcripts.read(out)) == 10
    assert run(ScriptedBackend(gold(held_out), dies_after=0), held_out, out) == whole  # all done: nothing is asked


def test_a_report_does_not_depend_on_the_order_in_which_items_ended(held_out: Path, tmp_path: Path) -> None:
    whole = run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "out")
    path = tmp_path / "out" / transcripts.FILE
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    again = run(ScriptedBackend(gold(held_out), dies_after=0), held_out, tmp_path / "out")
    assert json.dumps(again["tasks"]) == json.dumps(whole["tasks"])  # to the last digit and in the same order


def test_a_directory_with_another_run_is_refused_and_left_as_it_is(held_out: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(ScriptedBackend(gold(held_out)), held_out, out)
    before = (out / transcripts.FILE).read_bytes()
    with pytest.raises(EvalError, match=r"identity\.backend: scripted there, other here"):
        run(ScriptedBackend(gold(held_out), backend="other"), held_out, out)
    with pytest.raises(EvalError, match="max_new_tokens"):
        run(ScriptedBackend(gold(held_out)), held_out, out, max_new_tokens=7)
    with pytest.raises(EvalError, match="items: 10 there, 4 here"):
        run(ScriptedBackend(gold(held_out)), held_out, out, limit=4)
    assert (out / transcripts.FILE).read_bytes() == before
    with pytest.raises(EvalError, match="is in use and holds no evaluation"):
        run(ScriptedBackend(gold(held_out)), held_out, held_out)


def test_a_second_process_is_kept_out_of_a_run_and_writes_nothing(held_out: Path, tmp_path: Path) -> None:
    first = ScriptedBackend(gold(held_out))

    def say(dialogue: Dialogue) -> str:
        with pytest.raises(EvalError, match="another process"):
            run(ScriptedBackend(first.say), held_out, tmp_path / "out")
        return gold(held_out)(dialogue)

    report = run(ScriptedBackend(say), held_out, tmp_path / "out")
    assert report["tasks"]["function_calls"]["n"] == 10 == len(transcripts.read(tmp_path / "out"))


def test_hostile_output_is_counted_and_shown_but_never_obeyed(held_out: Path, tmp_path: Path) -> None:
    replies = {
        "Oslo": EVIL,
        "Bergen": f'<call>[{{"name": {json.dumps(EVIL)}, "arguments": {{"city": "__import__(1).abort()"}}}}]</call>',
        "Vadsø": '<call>[{"name": "forecast", "arguments": {"city": 1e999}}]</call>',
        "Ålesund": '<call>[{"name": "forecast", "arguments": ' + '{"a":' * 900 + "1" + "}" * 901 + "]</call>",
        "Hamar": "<final>" + "9" * 1_000_000 + "</final>",
    }

    def say(dialogue: Dialogue) -> str:
        return next(text for city, text in replies.items() if city in dialogue.messages[0].content)

    out, better = tmp_path / "out", tmp_path / "better"
    report = run(ScriptedBackend(say), held_out, out)
    row = metrics(report)["schema_valid_call"]
    assert (row["n"], row["right"], row["unparsed"] + row["wrong"]) == (5, 0, 5)
    assert row["unparsed_reasons"]["no_action"] == 1
    written = (out / transcripts.FILE).read_bytes()
    assert not {*range(0, 10), *range(11, 32), 127} & set(written), "control characters must be escaped"
    run(ScriptedBackend(gold(held_out)), held_out, better)
    html_compare.write(tmp_path / "page.html", out, better)
    for path in (tmp_path / "page.html", out / "report.html"):
        page = path.read_text(encoding="utf-8")
        assert page.count("<script") == 2 and "<img" not in page and "\x1b" not in page
        assert "\\u003cscript\\u003ealert(1)\\u003c/script" in page


def test_names_cannot_steer_the_terminal(held_out: Path, tmp_path: Path) -> None:
    assert "\x1b" not in one_line("a\x1b[31mb\n\u202e") and "\n" not in one_line("a\nb")
    report = run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "out")
    pair = compare_runs(tmp_path / "out", tmp_path / "out")._replace(before=EVIL, after=EVIL)
    console = Console(width=150, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for table in (*to_tables(report | {"model": EVIL}), to_table(pair)):
        console.print(table)
    console.file.close()
    shown = console.export_text()
    assert not {"\x1b", "\x07", "\u202e", "\ud800"} & set(shown) and "<script>" in shown


def test_tables_and_markdown_show_n_score_interval_and_unparsed(held_out: Path, tmp_path: Path) -> None:
    report = run(ScriptedBackend(lambda dialogue: "no action"), held_out, tmp_path / "out")
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for table in to_tables(report):
        console.print(table)
    console.file.close()
    line = next(line for line in console.export_text().splitlines() if "name_and_arguments_exact" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")][1:] == ["5", "0.0", "0.0 to 43.4", "0", "5"]
    assert "| name_and_arguments_exact | 5 | 0.0 | 0.0 to 43.4 (wilson) | 5 | – |" in report_markdown(report)


def test_compare_pairs_items_and_tells_what_changed(held_out: Path, tmp_path: Path) -> None:
    run(ScriptedBackend(lambda dialogue: "no action"), held_out, tmp_path / "before")
    run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "after")
    pair = compare_runs(tmp_path / "before", tmp_path / "after")
    row = next(row.paired for row in pair.rows if row.metric == "name_and_arguments_exact")
    assert (row.n, row.before, row.after, row.delta, row.gained, row.lost) == (5, 0.0, 1.0, 1.0, 5, 0)
    assert row.p_mcnemar == pytest.approx(2 / 2**5)
    assert "| +100.0 |" in to_markdown(pair)
    page = html_compare.to_html(pair, tmp_path / "before", tmp_path / "after")
    assert page.count("<tr data-task") == len(pair.rows)


def test_compare_pairs_runs_whose_tasks_were_named_in_another_order(held_out: Path, tmp_path: Path) -> None:
    names, folders = ("function_calls", "calls"), (tmp_path / "a", tmp_path / "b")
    loaded = load_tasks([TASKS[name] for name in names], [str(held_out)], None)
    for folder, ordered in zip(folders, (names, names[::-1]), strict=True):
        backend, tasks = ScriptedBackend(gold(held_out)), [TASKS[name] for name in ordered]
        evaluate(backend, "model", tasks, loaded, [str(held_out)], folder, console=Console(quiet=True))
    assert {row.task for row in compare_runs(*folders).rows} == set(names)
    html_compare.write(tmp_path / "compare.html", *folders)


def test_compare_refuses_runs_that_did_not_ask_the_same_and_says_which(held_out: Path, tmp_path: Path) -> None:
    run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "a")
    native = {"tool_format": "native", "template_sha256": "1" * 64}
    run(ScriptedBackend(gold(held_out), encoder=native), held_out, tmp_path / "prompts")
    with pytest.raises(EvalError, match=r"the prompts differ \(tool format button.*tool format native.*--tool-format"):
        compare_runs(tmp_path / "a", tmp_path / "prompts")
    run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "tokens", max_new_tokens=9)
    with pytest.raises(EvalError, match=r"the token limit differs \(512 before, 9 after\)"):
        compare_runs(tmp_path / "a", tmp_path / "tokens")
    with open(held_out / "held_out.jsonl", "a") as file:
        file.write("\n")
    run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "data2")
    with pytest.raises(EvalError, match="the data differ"):
        compare_runs(tmp_path / "a", tmp_path / "data2")
    with pytest.raises(EvalError, match=r"report\.json is not there"):
        compare_runs(tmp_path / "a", tmp_path / "nothing")


def test_rows_that_cannot_be_read_are_counted_in_the_report(held_out: Path, tmp_path: Path) -> None:
    with open(held_out / "held_out.jsonl", "a") as file:
        file.write("{broken\n")
    report = run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "out")
    assert report["tasks"]["function_calls"]["left_out"] == {"unreadable_json": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "m", "--tasks", "gsm9k", "--out", "OUT"], "unknown task 'gsm9k'; known: function_calls"),
        (["run", "m", "--tasks", "gsm8k", "--data", "DATA", "--out", "OUT"], "python -m data_prep download gsm8k"),
        (["run", "./gone", "--tasks", "function_calls", "--data", "DATA", "--out", "OUT"], "./gone: no such directory"),
        (
            ["run", "ADAPTER", "--tasks", "function_calls", "--data", "DATA", "--out", "OUT"],
            "needs its base model /gone/base",
        ),
        (["compare", "DATA", "DATA"], "report.json is not there"),
    ],
)
def test_bad_input_ends_with_a_message_and_status_2(
    arguments: list[str], message: str, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/gone/base"}))
    places = {"OUT": str(tmp_path / "out"), "DATA": str(held_out), "ADAPTER": str(adapter)}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_and_folders_that_are_not_what_they_should_be_end_with_a_message(
    held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ScriptedBackend(gold(held_out)), held_out, tmp_path / "good")
    for name in ("cut", "list"):
        (tmp_path / name).mkdir()
    for file in ("report.json", "run.json"):
        (tmp_path / "cut" / file).write_text("{")
        (tmp_path / "list" / file).write_text("[]")
    (tmp_path / "file").write_text("")
    good, local = str(tmp_path / "good"), ["--backend", "openai", "--tasks", "program", "--limit", "1"]
    cases = [["compare", str(tmp_path / name), good] for name in ("cut", "list")]
    cases += [["run", "m", *local, "--out", str(tmp_path / name)] for name in ("cut", "list", "file/inside")]
    cases += [["join", str(tmp_path / name), "--out", str(tmp_path / "joined")] for name in ("cut", "list")]
    cases += [["judge", str(tmp_path / "cut"), "--model", "m"]]
    cases += [["compare", good, good, "--out", str(tmp_path / "missing" / name)] for name in ("a.html", "a.md")]
    for arguments in cases:
        assert main(arguments) == 2, arguments
        assert str(tmp_path) in capsys.readouterr().err.splitlines()[-1]


def test_list_names_every_task_and_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for task in TASKS.values():
        assert task.name in shown and all(metric in shown for metric in task.metrics)


def test_the_backend_sees_buttons_own_prompt(held_out: Path) -> None:
    item = function_calls.load([str(held_out)], 1).items[0]
    assert button.to_messages(item.dialogue)[0]["content"].startswith("You are an expert in using functions")
