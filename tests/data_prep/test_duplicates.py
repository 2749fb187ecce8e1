"""What occurs again is set aside once, named after the first, and counted; what only looks alike stays."""

import json
import tracemalloc
from pathlib import Path

import pytest

from data_prep.build import build
from data_prep.dialogue import Dialogue, content_hash
from data_prep.duplicates import Duplicates, shingles
from data_prep.split import SplitError
from tests.data_prep.byte_encoder import byte_encoder, chat, recipe_of, write_rows

LONG = (
    "A farmer drives to the market on Monday with eighteen crates of apples, sells two thirds of them before noon, "
    "gives one crate to a neighbour, and wants to know how many crates are left for the ride home in the evening"
)


def dialogue(number, *texts, **keys):
    return Dialogue.from_dict(chat(number, *texts, **keys))


def codes(mode, dialogues):
    duplicates = Duplicates(mode)
    found = [duplicates.find_or_add(dialogue, content_hash(dialogue)) for dialogue in dialogues]
    return [duplicate.code if duplicate else None for duplicate in found]


def quarantined(out):
    return [json.loads(line) for line in (Path(out) / "quarantine.jsonl").read_text().splitlines()]


def test_equal_messages_and_tools_are_a_duplicate_whatever_id_and_meta_say():
    same = [
        dialogue(1, "a", "b"),
        dialogue(2, "a", "b", meta={"seed": "x"}),
        dialogue(3, "a", "c"),
        dialogue(4, "a", "b"),
    ]
    assert codes("exact", same) == [None, "duplicate", None, "duplicate"]
    assert codes("none", same) == [None] * 4


def test_a_near_duplicate_changes_a_few_words_and_no_more():
    near = LONG.replace("eighteen", "twenty")
    far = LONG.replace("farmer", "driver").replace("apples", "pears").replace("neighbour", "friend")
    made = [
        dialogue(1, LONG, "Five."),
        dialogue(2, near, "Five."),
        dialogue(3, LONG.upper(), "five"),
        dialogue(4, far, "5"),
    ]
    assert codes("near", made) == [None, "near_duplicate", "near_duplicate", None]
    assert codes("exact", made) == [None] * 4


def test_a_near_duplicate_names_the_first_row_even_where_one_between_was_set_aside():
    duplicates = Duplicates("near")
    made = [dialogue(n, LONG + "!" * n, "Five.") for n in range(3)]
    found = [duplicates.find_or_add(one, content_hash(one)) for one in made]
    assert found[0] is None and "'chat-0'" in found[1].message and "'chat-0'" in found[2].message


def test_short_texts_are_compared_whole():
    assert shingles("Yes.") == ["yes"] and shingles("") == [""]
    assert codes("near", [dialogue(1, "Yes.", "Good."), dialogue(2, "No.", "Good.")]) == [None, None]


def test_other_arguments_of_one_call_are_not_near():
    def call(city):
        made = {"id": "c", "type": "function", "function": {"name": "forecast", "arguments": {"city": city}}}
        asked = {"role": "user", "content": "weather?"}
        return Dialogue.from_dict({"id": city, "messages": [asked, {"role": "assistant", "tool_calls": [made]}]})

    assert codes("near", [call("Oslo"), call("Rome"), call("Oslo")]) == [None, None, "duplicate"]


def test_tool_definitions_that_nearly_repeat_one_another_are_counted_and_kept():
    def tool(name):
        parameters = {"type": "object", "properties": {"city": {"type": "string", "description": LONG}}}
        return {"type": "function", "function": {"name": name, "description": LONG, "parameters": parameters}}

    duplicates = Duplicates("near")
    for number, name in enumerate(("get_forecast", "get_forecast", "fetch_forecast")):
        made = dialogue(number, f"question {number}", f"answer {number}", tools=[tool(name)])
        assert duplicates.find_or_add(made, content_hash(made)) is None
    counts = duplicates.tool_counts()
    assert counts is not None and (counts.distinct, counts.near_duplicates) == (2, 1)
    assert Duplicates("exact").tool_counts() is None


@pytest.fixture(scope="module")
def encoder():
    return byte_encoder()


@pytest.mark.parametrize("mode", ["none", "exact", "near"])
def test_a_build_sets_duplicates_aside_and_still_adds_up(tmp_path, encoder, mode):
    rows = [chat(1, LONG, "5"), chat(2, LONG, "5"), chat(3, LONG + "!", "5"), chat(4, "other", "7"), {"id": "broken"}]
    recipe = recipe_of(write_rows(tmp_path / "rows.jsonl", rows), deduplicate=mode, max_length=400, max_rejected=0.2)
    report = build(recipe, tmp_path / "out", encoder)
    wanted = {"none": (0, 0), "exact": (1, 0), "near": (1, 1)}[mode]
    assert (report.quality.duplicates, report.quality.near_duplicates) == wanted
    assert report.read == 5 == report.kept + report.rejected and report.kept == 4 - sum(wanted)
    assert report.train.dialogues == report.kept
    found = {entry["raw"]["id"]: entry for entry in quarantined(tmp_path / "out")}
    assert len(found) == report.rejected
    if mode != "none":
        assert found["chat-2"]["code"] == "duplicate" and found["chat-2"]["row"] == 2
        assert found["chat-2"]["message"] == "the same messages and tools as 'chat-1'"
        assert report.quality.line() in (tmp_path / "out" / "summary.md").read_text()


def test_duplicates_do_not_count_as_bad_rows(tmp_path, encoder):
    rows = write_rows(tmp_path / "rows.jsonl", [chat(number, "same", "same") for number in range(9)])
    assert build(recipe_of(rows, max_rejected=0), tmp_path / "out", encoder).rejected == 8


def test_duplicates_across_files_of_the_training_data_are_found(tmp_path, encoder):
    first = write_rows(tmp_path / "a.jsonl", [chat(1, "a", "b")])
    second = write_rows(tmp_path / "b.jsonl", [chat(2, "a", "b"), chat(3, "c", "d")])
    report = build(recipe_of(first, second), tmp_path / "out", encoder)
    assert report.quality.duplicates == 1 and report.train.dialogues == 2


def held_out_recipe(tmp_path, train, held_out, mode):
    path = write_rows(tmp_path / "held_out.jsonl", held_out)
    held_out_data = [{"source": "messages", "path": [str(path)]}]
    train = write_rows(tmp_path / "train.jsonl", train)
    return recipe_of(train, held_out_data=held_out_data, deduplicate=mode, max_length=400)


@pytest.mark.parametrize("mode", ["exact", "near"])
def test_a_held_out_row_that_is_trained_on_is_an_error_and_not_a_duplicate(tmp_path, encoder, mode):
    recipe = held_out_recipe(tmp_path, [chat(1, LONG, "5")], [chat(2, LONG, "5"), chat(3, "x", "y")], mode)
    with pytest.raises(SplitError, match="overlap in 1 rows"):
        build(recipe, tmp_path / "out", encoder)


def test_a_held_out_row_near_a_training_row_is_set_aside(tmp_path, encoder):
    recipe = held_out_recipe(tmp_path, [chat(1, LONG, "5")], [chat(2, LONG + "?", "5"), chat(3, "x", "y")], "near")
    report = build(recipe, tmp_path / "out", encoder)
    assert (report.train.dialogues, report.held_out.dialogues, report.quality.near_duplicates) == (1, 1, 1)
    assert quarantined(tmp_path / "out")[0]["raw"]["id"] == "chat-2"


def test_exact_costs_less_than_200_bytes_a_row():
    duplicates = Duplicates("exact")
    rows = 20_000
    made = [(Dialogue.from_dict(chat(number)), f"{number:016x}") for number in range(rows)]
    tracemalloc.start()
    try:
        for one, digest in made:
            duplicates.find_or_add(one, digest)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / rows < 200


@pytest.mark.slow
def test_real_problems_with_other_numbers_are_told_from_copies(real_data_dir):
    """GSM8K's training rows hold no two problems alike; each planted copy with one word changed is found."""
    lines = (real_data_dir / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2000]
    rows = [json.loads(line) for line in lines]
    made = [dialogue(number, row["question"], row["answer"]) for number, row in enumerate(rows)]
    copies = [
        dialogue(10_000 + number, rows[number]["question"] + " Please help.", rows[number]["answer"])
        for number in range(0, 2000, 10)
        if len(rows[number]["question"]) + len(rows[number]["answer"]) > 300
    ]
    found = codes("near", [*made, *copies])
    wrong, right = sum(code is not None for code in found[: len(made)]), sum(map(bool, found[len(made) :]))
    print(f"near duplicates: {right} of {len(copies)} planted, {wrong} of {len(made)} real rows")
    assert right / len(copies) >= 0.95 and wrong == 0
