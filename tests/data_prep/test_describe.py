"""Laws of `python -m data_prep describe`: counts with known answers, two files, text, JSON and HTML."""

from __future__ import annotations

import json
import math
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from data_prep.cli.describe import main
from data_prep.describe import entropy, outline
from data_prep.describe_calls import Trail
from data_prep.describe_table import plots, quantile, spread
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.synth.cli import main as synth

REAL = Path(os.environ.get("REAL_DATA_DIR", "absent"))
FORECAST = {"type": "function", "function": {"name": "forecast", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}}  # fmt: skip
BOOK = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {
    "date": {"type": "string"}}}}}  # fmt: skip


def call(number: int, name: str, arguments: dict) -> dict:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def row(city: str, day: str) -> dict:
    return {
        "messages": [
            {"role": "user", "content": f"Book the driest of the next 3 days in {city}, please, for all of us"},
            {"role": "assistant", "content": "", "tool_calls": [
                call(0, "forecast", {"city": city, "days": 3}), call(1, "forecast", {"city": city, "days": 3})]},
            {"role": "tool", "tool_call_id": "call_0", "name": "forecast", "content": json.dumps({"driest": day})},
            {"role": "tool", "tool_call_id": "call_1", "name": "forecast", "content": '{"error": "down"}'},
            {"role": "assistant", "content": "", "tool_calls": [call(2, "book", {"date": day})]},
            {"role": "tool", "tool_call_id": "call_2", "name": "book", "content": '"done"'},
            {"role": "assistant", "content": "Booked.", "train": False},
        ],
        "tools": [FORECAST, BOOK],
    }  # fmt: skip


@pytest.fixture
def file(tmp_path) -> str:
    rows = [row("Oslo", "2025-03-04"), row("Oslo", "2025-03-04"), row("Lima", "2025-09-01"), {"messages": "none"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(path)


def described(tmp_path, *argv: str) -> list[dict]:
    assert main([*argv, "--json", str(tmp_path / "out.json")]) == 0
    return json.loads((tmp_path / "out.json").read_text())


def test_the_counts_of_a_file_made_by_hand(file, tmp_path):
    (found,) = described(tmp_path, file)
    assert (found["source"], found["read"], found["dialogues"]) == ("messages", 4, 3)
    assert found["rejected"] == {"row_keys": 1} and "rows.jsonl:4" in found["rejected_examples"][0]
    assert found["messages"] == {"assistant": 9, "tool": 9, "user": 3}
    assert found["calls"] == {"3": 3} and found["calls_per_turn"] == {"1": 3, "2": 3}
    assert found["parallel_share"] == 0.5 and found["depth"] == {"2": 3}
    assert found["failed_results"] == 3 and found["untrained_turns"] == 3
    assert found["tools_called"] == {"forecast": 6, "book": 3} and found["distinct_tools"] == 2
    assert found["argument_types"] == {"string": 9, "integer": 6}
    assert found["argument_origins"] == {"user": 12, "result": 3}
    assert found["distinct_arguments"] == 5  # two cities, one number of days, two dates
    assert found["tool_entropy"] == pytest.approx(math.log2(3) - 2 / 3)
    assert (found["duplicates"], found["near_duplicates"]) == (1, 1)
    assert found["tokens"] is None and found["contaminated"] is None


def test_evaluation_text_is_found_and_named(file, tmp_path):
    evaluation = tmp_path / "items.jsonl"
    question = "Book the driest of the next 3 days in Lima, please, for all of us"
    evaluation.write_text(json.dumps({"question": question, "answer": "no"}) + "\n")
    (found,) = described(tmp_path, file, "--against", str(evaluation))
    assert found["contaminated"] == {str(evaluation): 1}
    assert "items.jsonl:1" in found["contaminated_examples"][0]


def test_two_files_stand_side_by_side_in_text_and_html(file, tmp_path, capsys):
    other = str(tmp_path / "synth.jsonl")
    synth(["button", "--out", other, "--rows", "30", "--errors", "0.5"])
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert main([file, other, "--html", str(page)]) == 0
    text = capsys.readouterr().out
    calls = next(line for line in text.splitlines() if "parallel" in line)
    assert calls.count("%") == 2 and "5 random rows" in text and "3 random rows" in text
    html = page.read_text()
    assert html.count("<svg") >= 5 and "src=" not in html and "http" not in html.replace("http-equiv", "")
    body = html[html.index("<body>") : html.index("</body>") + 7]
    assert ElementTree.fromstring(body).tag == "body"  # every tag is closed, every text escaped


def test_data_that_looks_like_markup_or_moves_the_cursor_is_only_shown(tmp_path, capsys):
    path = tmp_path / "evil.jsonl"
    talk = [
        {"role": "user", "content": "<script>alert(1)</script> \x1b[2J [red]"},
        {"role": "assistant", "content": "x"},
    ]
    path.write_text(json.dumps({"messages": talk}) + "\n")
    assert main([str(path), "--html", str(tmp_path / "page.html")]) == 0
    assert "\x1b" not in capsys.readouterr().out
    html = (tmp_path / "page.html").read_text()
    assert "<script" not in html and "&lt;script&gt;" in html and "\x1b" not in html


def test_a_file_without_a_dialogue_is_an_error_that_says_why(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"traj": []}\n')
    with pytest.raises(ValueError, match=r"none of 1 rows is a dialogue of source 'messages' \(row_keys 1\).*traj"):
        main([str(path)])


def test_the_same_seed_shows_the_same_rows_and_every_row_has_the_same_chance(tmp_path):
    path = str(tmp_path / "synth.jsonl")
    synth(["mathchat", "--out", path, "--rows", "20"])
    shown = [described(tmp_path, path, "--seed", str(seed))[0]["rows"] for seed in (1, 1, *range(2, 12))]
    assert shown[0] == shown[1] != shown[2]
    assert len({row for rows in shown for row in rows}) > 15


def test_a_call_is_one_deeper_than_what_it_needs_and_what_the_user_said_needs_nothing():
    trail = Trail()
    trail.take(Message(role="user", content="Rooms for Ann in Oslo, 2 nights"))
    for number, (arguments, result) in enumerate(
        [({"city": "OSLO", "nights": 2}, '{"id": 7, "city": "Oslo"}'), ({"hotel": 7}, '{"rooms": [{"n": 41}]}'),
         ({"room": 41, "city": "Oslo"}, "1"), ({"new": "made up"}, "1")]
    ):  # fmt: skip
        trail.take(Message(role="assistant", tool_calls=(ToolCall(f"c{number}", "f", arguments),)))
        trail.take(Message(role="tool", tool_call_id=f"c{number}", content=result))
    assert trail.depth == 3
    assert trail.origins == {"user": 3, "result": 2, "elsewhere": 1}


def test_the_depth_of_a_synthetic_chain_is_its_length(tmp_path):
    path = str(tmp_path / "synth.jsonl")
    synth(["button", "--out", path, "--rows", "40", "--min-calls", "4", "--max-calls", "6", "--no-bottom-up"])
    (apart,) = described(tmp_path, path)
    assert set(apart["depth"]) == {"1"}
    synth(["button", "--out", path, "--rows", "40", "--min-calls", "4", "--max-calls", "6"])
    (chained,) = described(tmp_path, path)
    assert max(map(int, chained["depth"])) == 6 and set(chained["argument_origins"]) == {"user", "result"}


def test_statistics_have_their_textbook_values():
    assert entropy([1, 1, 1, 1]) == 2 and entropy([5]) == 0 and entropy([]) == 0
    counts = {1: 5, 2: 4, 10: 1}
    assert [quantile(counts, share) for share in (0.05, 0.5, 0.9, 0.95, 1.0)] == [1, 1, 2, 10, 10]
    assert spread(counts) == "mean 2.3, median 1, 5-95 %: 1-10, at most 10" and spread({}) == ""


def test_an_outline_cuts_long_turns_and_marks_what_is_untrained():
    messages = (Message(role="user", content="a" * 300), Message(role="assistant", content="b", train=False))
    text = outline(Dialogue(id="x", source="s", messages=messages), width=10)
    assert text == "x\nuser: aaaaaaaaaa…\nassistant (untrained): b"


@pytest.mark.skipif(not REAL.is_dir(), reason="REAL_DATA_DIR is not set: no real data to describe")
@pytest.mark.parametrize(
    ("name", "source", "dialogues", "calls"),
    [
        ("button/airline.jsonl", "button", 200, 1_164),
        ("button/glaive.jsonl", "button", 152, 210),
        ("glaive/glaive_toolcall_en_demo.json", "sharegpt", 299, 210),
        ("mathchatsync/tutoring.json", "mathchatsync", 400, 0),
        ("gsm8k/test.jsonl", "gsm8k", 1_319, 0),
    ],
)
def test_real_files_of_every_kind_are_described(name, source, dialogues, calls, tmp_path):
    (found,) = described(tmp_path, str(REAL / name))
    total = sum(int(count) * times for count, times in found["calls"].items())
    assert (found["source"], found["dialogues"], total) == (source, dialogues, calls)
    assert len(found["rows"]) == 5


def test_plots_of_two_files_share_their_bars(file, tmp_path):
    from data_prep.describe import describe

    both = [describe(file, "messages"), describe(file, "messages")]
    for plot in plots(both):
        assert all(len(shares) == len(plot.labels) and sum(shares) == pytest.approx(1) for shares in plot.shares)
