"""convert and check through the real command line: every row is kept or on file, outputs are whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.__main__ import COMMANDS, main
from data_prep.checks import REASONS
from data_prep.dialogue import Dialogue
from data_prep.outfile import OutFile, OutputError
from data_prep.quarantine import Quarantine, TooManyRejected, iter_dialogues
from data_prep.sources import WrongSourceError

GOOD = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]}
EMPTY_TURN = {"conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": "Hi"}]}
NO_ANSWER = {"conversations": [{"from": "human", "value": "Hello"}]}
LINES = {
    "good": json.dumps(GOOD),
    "empty_turn": json.dumps(EMPTY_TURN),
    "no_assistant": json.dumps(NO_ANSWER),
    "unreadable_json": '{"conversations": [',
    "row_type": "[1]",
    "not_unicode": '{"conversations": [{"from": "human", "value": "caf\\ufffd"}, {"from": "gpt", "value": "x"}]}',
}


def write_lines(path: Path, lines: list[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*argv: str | Path) -> int:
    return main([str(argument) for argument in argv])


@given(st.lists(st.sampled_from(["good", "empty_turn", "no_assistant", "unreadable_json", "row_type"]), max_size=8))
def test_kept_and_rejected_rows_are_the_rows_read(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]):
    folder = tmp_path_factory.mktemp("rows")
    name = write_lines(folder / "rows.jsonl", [LINES["good"], *(LINES[kind] for kind in kinds)])
    with Quarantine(folder / "quarantine.jsonl") as quarantine:
        kept = list(iter_dialogues("mathchatsync", [name], quarantine))
    bad = [kind for kind in kinds if kind != "good"]
    assert (quarantine.read, quarantine.kept, quarantine.rejected) == (len(kinds) + 1, len(kept), len(bad))
    on_file = entries(folder / "quarantine.jsonl")
    assert [entry["code"] for entry in on_file] == bad
    assert [entry["row"] for entry in on_file] == [k for k, kind in enumerate(kinds, start=2) if kind != "good"]
    assert all(entry["code"] in REASONS and entry["file"] == name for entry in on_file)


def test_the_quarantine_holds_the_raw_row(tmp_path: Path):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"], LINES["empty_turn"], LINES["unreadable_json"]])
    assert run("convert", "--source", "mathchatsync", "--in", name, "--out", tmp_path / "o.jsonl",
               "--max-rejected", "1") == 0  # fmt: skip
    assert [entry["raw"] for entry in entries(tmp_path / "quarantine.jsonl")] == [EMPTY_TURN, LINES["unreadable_json"]]


def test_half_a_surrogate_pair_reaches_the_quarantine_as_its_escape(tmp_path: Path):
    row = {"messages": [{"role": "user", "content": "\ud83d"}, {"role": "assistant", "content": "x"}]}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row]))
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        assert not list(iter_dialogues("messages", [str(path)], quarantine))
    (entry,) = entries(tmp_path / "q.jsonl")
    assert entry["code"] == "not_unicode" and entry["raw"] == row


def test_convert_says_what_it_kept_and_writes_canonical_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"]] * 20 + [LINES["empty_turn"]])
    out, report = tmp_path / "deep" / "out.jsonl", tmp_path / "report.json"
    assert run("convert", "--source", "mathchatsync", "--in", name, "--out", out, "--report", report) == 0
    assert f"kept 20 of 21 (empty_turn 1) -> {out.with_name('quarantine.jsonl')}" in capsys.readouterr().out
    dialogues = [Dialogue.from_dict(row) for row in entries(out)]
    assert [dialogue.id for dialogue in dialogues] == [f"mathchatsync-rows-{k}" for k in range(1, 21)]
    assert json.loads(report.read_text())["by_reason"] == {"empty_turn": 1}
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.jsonl", "quarantine.jsonl"]


@pytest.mark.parametrize("source", ["messages", "sharegpt"])
def test_a_turns_key_that_is_not_read_is_named_with_the_turns_that_hold_something_under_it(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    turns = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello.", "weight": 1}],
        "sharegpt": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello.", "weight": 1}],
    }[source]
    turns[1] |= {"reasoning_details": [{"text": "A greeting."}], "refusal": None}
    row = {"messages" if source == "messages" else "conversations": turns, "category": "greetings"}
    name = write_lines(tmp_path / "rows.jsonl", [json.dumps(row)] * 3)
    report = tmp_path / "report.json"
    assert run("check", "--source", source, "--in", name, "--report", report) == 0
    assert "note: 3 turns have a key 'reasoning_details', which is not read\n" in capsys.readouterr().out
    assert json.loads(report.read_text())["unread_keys"] == {"reasoning_details": 3}


def test_over_max_rejected_convert_leaves_only_the_quarantine(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"], LINES["empty_turn"]])
    out = tmp_path / "o" / "out.jsonl"
    assert run("convert", "--source", "mathchatsync", "--in", name, "--out", out) == 1
    assert [path.name for path in out.parent.iterdir()] == ["quarantine.jsonl"]
    assert "1 of 2 rows rejected (50.0%), at most 5.0% allowed: empty_turn 1" in capsys.readouterr().err


def test_check_fails_on_one_bad_row_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"], LINES["empty_turn"]])
    assert run("check", "--source", "mathchatsync", "--in", name) == 1
    assert f"empty_turn 1: {REASONS['empty_turn']}; first: {name}:2: message 0 (user)" in capsys.readouterr().out
    assert run("check", "--source", "mathchatsync", "--in", name, "--max-rejected", "0.5") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_over_long_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"]])
    assert run("check", "--source", "mathchatsync", "--in", name, "--max-chars", "5") == 1
    assert "kept 0 of 1 (over_long 1)" in capsys.readouterr().out


@pytest.mark.parametrize(("source", "row", "likely"), [
    ("button", GOOD, "mathchatsync"),
    ("messages", GOOD, "mathchatsync"),
    ("gsm8k", {**GOOD, "tools": "[]"}, "sharegpt"),
    ("mathchatsync", {"question": "q", "answer": "a"}, "gsm8k"),
    ("sharegpt", {"messages": [{"role": "assistant", "content": "<final>x</final>"}]}, "button"),
    ("button", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
])  # fmt: skip
def test_the_wrong_source_for_a_file_fails_and_names_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, row: dict, likely: str
):
    name = write_lines(tmp_path / "rows.jsonl", [json.dumps(row)])
    assert run("convert", "--source", source, "--in", name, "--out", tmp_path / "o" / "out.jsonl") == 1
    assert f"it looks like '{likely}': use --source {likely}" in capsys.readouterr().err
    assert not list((tmp_path / "o").iterdir()), "nothing is left behind"


def test_button_rows_are_not_taken_for_plain_messages(tmp_path: Path):
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Hm.<call>[]</call>"},
                        {"role": "tool", "content": "[]"}]}  # fmt: skip
    with Quarantine(None) as quarantine, pytest.raises(WrongSourceError, match="looks like 'button'"):
        list(iter_dialogues("messages", [write_lines(tmp_path / "rows.jsonl", [json.dumps(row)])], quarantine))


@pytest.mark.parametrize(("name", "text", "message"), [
    ("missing.jsonl", None, "no such file"),
    ("empty.jsonl", "", "the file is empty"),
    ("blank.jsonl", "\n\n", "holds no rows"),
    ("none.json", "[]", "holds no rows"),
    ("broken.json", '[{"a": 1},', "broken JSON list at character"),
])  # fmt: skip
def test_bad_files_end_the_command_with_a_named_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert run("check", "--source", "mathchatsync", "--in", tmp_path / name) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / name}") and message in error


def test_duplicate_ids_are_rejected_and_equal_contents_are_not(tmp_path: Path):
    lines = [json.dumps({**GOOD, "id": name}) for name in ("a", "b", "a")]
    with Quarantine(None) as quarantine:
        kept = list(iter_dialogues("mathchatsync", [write_lines(tmp_path / "rows.jsonl", lines)], quarantine))
    assert [dialogue.id for dialogue in kept] == ["a", "b"]
    assert quarantine.by_reason == {"duplicate_id": 1}
    assert "rows.jsonl:1 already" in quarantine.examples["duplicate_id"]


def test_files_of_one_name_in_two_folders_get_ids_of_their_own(tmp_path: Path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        names.append(write_lines(tmp_path / folder / "rows.jsonl", [LINES["good"], json.dumps({**GOOD, "id": 7})]))
    with Quarantine(None) as quarantine:
        ids = [dialogue.id for name in names for dialogue in iter_dialogues("sharegpt", [name], quarantine)]
    assert ids == ["sharegpt-rows-1", "sharegpt-rows-id7", "sharegpt-b.rows-1", "sharegpt-b.rows-id7"]


def test_a_dialogue_rejected_later_is_counted_with_its_file_and_row(tmp_path: Path):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"], LINES["good"]])
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        for dialogue in iter_dialogues("sharegpt", [name], quarantine):
            if dialogue.id.endswith("-2"):
                quarantine.reject(dialogue, "control_token", "forged")
    assert (quarantine.read, quarantine.kept, quarantine.rejected) == (2, 1, 1)
    (entry,) = entries(tmp_path / "q.jsonl")
    assert (entry["file"], entry["row"], entry["raw"]["source"]) == (name, 2, "sharegpt")
    with pytest.raises(TooManyRejected, match="control_token 1"):
        quarantine.check(0.4)
    quarantine.check(0.5)


def test_a_full_disk_is_named_and_leaves_no_half_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"]] * 500)
    out = tmp_path / "o" / "out.jsonl"
    out.parent.mkdir()
    Path(f"{out}.part").symlink_to("/dev/full")  # what is written goes to a device that is always full
    assert run("convert", "--source", "sharegpt", "--in", name, "--out", out) == 1
    error = capsys.readouterr().err
    assert f"{out}: can't be written (No space left on device)" in error
    assert not list(out.parent.iterdir())


def test_a_failed_run_leaves_the_earlier_output_as_it_was(tmp_path: Path):
    with OutFile(tmp_path / "out") as out:
        out.write(b"first")
    with pytest.raises(RuntimeError), OutFile(tmp_path / "out") as out:
        out.write(b"second")
        raise RuntimeError("stopped")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"first")]


def test_an_output_that_cannot_be_created_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path, cause in ((tmp_path / "file" / "out", "exists|Not a directory"), (tmp_path, "is a folder")):
        with pytest.raises(OutputError, match=cause), OutFile(path):
            pass


def test_an_input_is_never_overwritten(tmp_path: Path):
    name = write_lines(tmp_path / "rows.jsonl", [LINES["good"]])
    for out in (name, tmp_path / "quarantine.jsonl"):
        with pytest.raises(SystemExit) as refused:
            run("convert", "--source", "sharegpt", "--in", name, "--out", out)
        assert refused.value.code == 2
    assert (tmp_path / "rows.jsonl").read_text() == LINES["good"] + "\n"


def test_every_command_answers_help_without_loading_torch():
    code = "import sys; from data_prep.__main__ import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n" \
           "assert 'torch' not in sys.modules"  # fmt: skip
    for command in ("convert", "check", "download"):
        done = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True,
                              env={**os.environ, "COLUMNS": "120"})  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"usage: python -m data_prep {command}" in done.stdout


def test_an_unknown_command_lists_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["covnert"])
    error = capsys.readouterr().err
    assert all(command in error for command in COMMANDS)
