"""The laws of a build: nothing silent, nothing cut through, nothing on both sides, the same bytes every time."""

import json
from collections import Counter
from pathlib import Path

import pytest
from datasets import load_from_disk

from data_prep.build import build, build_key, main
from data_prep.build_dir import BuildError
from data_prep.encode import ANSWER, STOP
from data_prep.mixture import MixtureError
from data_prep.quarantine import TooManyRejected
from data_prep.split import SplitError
from tests.data_prep.byte_encoder import byte_encoder, byte_tokenizer, chat, recipe_of, write_rows


@pytest.fixture(scope="module")
def encoder():
    return byte_encoder()


@pytest.fixture
def chats(tmp_path):
    return write_rows(tmp_path / "chats.jsonl", [chat(number) for number in range(40)])


def rows_of(out, split="train"):
    return list(load_from_disk(str(out))[split])


def quarantined(out):
    return [json.loads(line) for line in (Path(out) / "quarantine.jsonl").read_text().splitlines()]


def test_every_dialogue_is_there_once_with_the_ids_the_encoder_gives_it(tmp_path, chats, encoder):
    report = build(recipe_of(chats, packing=False, held_out_share=0.1), tmp_path / "out", encoder)
    train, held_out = rows_of(tmp_path / "out"), rows_of(tmp_path / "out", "held_out")
    ids = [row["dialogue_id"] for row in (*train, *held_out)]
    assert sorted(ids) == sorted(f"chat-{number}" for number in range(40))
    assert (len(train), len(held_out)) == (report.train.rows, report.held_out.rows) == (36, 4)
    text = encoder.tokenizer.decode(train[0]["input_ids"])
    assert text.count("<|im_start|>") == 2 and train[0]["dialogue_id"].removeprefix("chat-") in text
    trained = [token for token in train[0]["labels"] if token != -100]
    assert encoder.tokenizer.decode(trained) == f"answer {train[0]['dialogue_id'].removeprefix('chat-')}<|im_end|>"
    assert set(train[0]["kinds"]) == {0, ANSWER, STOP}


def test_packed_rows_hold_whole_dialogues_within_max_length(tmp_path, chats, encoder):
    report = build(recipe_of(chats), tmp_path / "packed", encoder)
    build(recipe_of(chats, packing=False), tmp_path / "plain", encoder)
    plain = {row["dialogue_id"]: row for row in rows_of(tmp_path / "plain")}
    packed = rows_of(tmp_path / "packed")
    assert len(packed) == report.train.rows < 40
    seen = Counter()
    for row in packed:
        assert sum(row["seq_lengths"]) == len(row["input_ids"]) == len(row["labels"]) == len(row["kinds"]) <= 200
        parts = [plain[name] for name in row["dialogue_id"].split()]
        for column in ("input_ids", "labels", "kinds", "seq_lengths"):
            assert row[column] == [value for part in parts for value in part[column]]
        seen.update(row["dialogue_id"].split())
    assert seen == Counter(plain.keys())
    assert report.train.packing_efficiency == pytest.approx(report.train.tokens / (200 * len(packed)))


def test_dialogues_that_begin_alike_share_a_row_and_take_fewer_positions_than_tokens(tmp_path, encoder):
    rows = [chat(number) for number in range(40)]
    for number, row in enumerate(rows):  # four systems in turn, each longer than MIN_SHARED bytes
        row["messages"].insert(0, {"role": "system", "content": f"system {number % 4} " + "says the same " * 6})
    path = write_rows(tmp_path / "systems.jsonl", rows)
    report = build(recipe_of(path, share_prefixes=True, max_length=500), tmp_path / "shared", encoder)
    build(recipe_of(path, packing=False, max_length=500), tmp_path / "plain", encoder)
    plain = {row["dialogue_id"]: row for row in rows_of(tmp_path / "plain")}
    seen = Counter()
    for row in rows_of(tmp_path / "shared"):
        names = row["dialogue_id"].split()
        assert len({int(name.removeprefix("chat-")) % 4 for name in names}) == 1
        assert row["input_ids"] == [token for name in names for token in plain[name]["input_ids"]]
        seen.update(names)
    assert seen == Counter(plain.keys())
    assert any(note.startswith("share_prefixes: ") for note in report.notes)
    assert report.train.packing_efficiency <= 1 < report.train.tokens / (500 * report.train.rows)


def test_the_held_out_side_is_never_packed_and_written_as_dialogues(tmp_path, chats, encoder):
    build(recipe_of(chats, held_out_share=0.25), tmp_path / "out", encoder)
    held_out = rows_of(tmp_path / "out", "held_out")
    assert all(len(row["seq_lengths"]) == 1 for row in held_out)
    written = [json.loads(line) for line in (tmp_path / "out" / "held_out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in written] == [row["dialogue_id"] for row in held_out]
    train_ids = {row["id"] for row in json.loads((tmp_path / "out" / "train_ids.json").read_text())}
    assert len(train_ids) == 30 and not train_ids & {row["id"] for row in written}


def all_bytes(out):
    files = sorted(path for path in Path(out).rglob("*") if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_equal_inputs_and_seed_give_equal_bytes_and_another_seed_does_not(tmp_path, chats, encoder):
    recipe = recipe_of(chats, held_out_share=0.1)
    for name in ("a", "b"):
        build(recipe, tmp_path / name, byte_encoder())
    first, second = all_bytes(tmp_path / "a"), all_bytes(tmp_path / "b")
    assert len([name for name in first if name.endswith(".arrow")]) == 2
    assert first == second
    build(recipe_of(chats, held_out_share=0.1, seed=7), tmp_path / "c", encoder)
    assert all_bytes(tmp_path / "c")["train/data-00000-of-00001.arrow"] != first["train/data-00000-of-00001.arrow"]


def test_an_unchanged_build_is_found_and_a_changed_one_says_what_changed(tmp_path, chats, encoder, capsys):
    recipe = recipe_of(chats)
    first = build(recipe, tmp_path / "out", encoder)
    marker = (tmp_path / "out" / "build.json").stat().st_mtime_ns
    assert build(recipe, tmp_path / "out", encoder) == first
    assert "up to date" in capsys.readouterr().out
    assert (tmp_path / "out" / "build.json").stat().st_mtime_ns == marker
    write_rows(chats, [chat(number) for number in range(41)])
    assert build(recipe, tmp_path / "out", encoder).train.dialogues == 41
    assert "building again, because this changed: input files" in capsys.readouterr().out
    build(recipe_of(chats, train_on=["call", "answer"]), tmp_path / "out", byte_encoder(control_text="plain"))
    assert "this changed: recipe, encoder" in capsys.readouterr().out


def test_a_training_setting_does_not_make_the_data_again(tmp_path, chats, encoder, capsys):
    build(recipe_of(chats), tmp_path / "out", encoder)
    build(recipe_of(chats, learning_rate=3e-4, num_train_epochs=3), tmp_path / "out", encoder)
    assert "up to date" in capsys.readouterr().out


def test_loss_weights_do_not_make_the_data_again_and_only_last_turn_does(chats, encoder):
    keys = [build_key(recipe_of(chats, **fields), encoder)[0]
            for fields in ({}, {"loss_weights": {"call": 2}}, {"only_last_turn": True})]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]


def several_turns(tmp_path, last_only):
    """20 dialogues of one to four answers, some with a mark of the row's own; `last_only` marks all but the last."""
    rows = [chat(number, *(f"{number} turn {k}" for k in range(2 * (number % 4 + 1)))) for number in range(20)]
    for number, row in enumerate(rows):
        answers = [message for message in row["messages"] if message["role"] == "assistant"]
        if number % 3 == 0 and len(answers) > 1:
            answers.pop()["train"] = False
        for answer in answers[:-1] if last_only else ():
            answer["train"] = False
    return write_rows(tmp_path / f"{last_only}.jsonl", rows)


@pytest.mark.parametrize("over_length", ["drop", "truncate_turns"])
def test_only_last_turn_trains_what_marks_on_all_earlier_turns_train(tmp_path, encoder, over_length):
    fields = {"max_length": 150, "over_length": over_length, "max_rejected": 1, "held_out_share": 0.2, "group_by": "id"}
    by_key = recipe_of(several_turns(tmp_path, False), only_last_turn=True, **fields)
    by_marks = recipe_of(several_turns(tmp_path, True), **fields)
    reasons = build(by_key, tmp_path / "key", encoder).rejected_by_reason
    assert reasons["over_length"] and build(by_marks, tmp_path / "marks", encoder).rejected_by_reason == reasons
    for split in ("train", "held_out"):
        rows = rows_of(tmp_path / "key", split)
        assert rows == rows_of(tmp_path / "marks", split) and rows
        for row in rows:
            assert row["kinds"].count(STOP) == len(row["seq_lengths"])


def test_a_row_whose_mark_is_no_yes_or_no_is_quarantined_with_the_message_named(tmp_path, encoder):
    rows = [chat(0), chat(1)]
    rows[1]["messages"][1]["train"] = "false"
    build(recipe_of(write_rows(tmp_path / "rows.jsonl", rows), max_rejected=1), tmp_path / "out", encoder)
    [entry] = quarantined(tmp_path / "out")
    assert (entry["row"], entry["code"]) == (2, "train_type")
    assert entry["message"] == "message 1: 'train' must be true, false, 1 or 0, not 'false'"


def test_held_out_dialogues_keep_their_own_marks_for_the_evaluation(tmp_path, encoder):
    recipe = recipe_of(several_turns(tmp_path, False), only_last_turn=True, held_out_share=0.4, group_by="id")
    build(recipe, tmp_path / "out", encoder)
    written = [json.loads(line) for line in (tmp_path / "out" / "held_out.jsonl").read_text().splitlines()]
    raw = {row["id"]: row for row in map(json.loads, (tmp_path / "False.jsonl").read_text().splitlines())}
    assert [row["messages"] for row in written] == [raw[row["id"]]["messages"] for row in written]
    assert any(len(row["messages"]) > 2 for row in written)


def test_a_damaged_build_is_made_again(tmp_path, chats, encoder, capsys):
    build(recipe_of(chats), tmp_path / "out", encoder)
    data = tmp_path / "out" / "train" / "data-00000-of-00001.arrow"
    data.write_bytes(data.read_bytes()[:-100])
    build(recipe_of(chats), tmp_path / "out", encoder)
    assert "up to date" not in capsys.readouterr().out
    assert sum(len(row["seq_lengths"]) for row in rows_of(tmp_path / "out")) == 40


LONG = "x" * 90


def long_rows():
    """Three turns of 10, 90 and 90 characters; a short one; one whose first turn is over the limit already."""
    return [chat(0, "q", "short ok", "q", LONG, "q", LONG), chat(1), chat(2, LONG + LONG, LONG)]


def test_over_length_drop_quarantines_and_counts(tmp_path, encoder):
    path = write_rows(tmp_path / "long.jsonl", long_rows())
    report = build(recipe_of(path, max_rejected=0.7), tmp_path / "out", encoder)
    assert (report.read, report.kept, report.rejected_by_reason) == (3, 1, {"over_length": 2})
    found = quarantined(tmp_path / "out")
    assert [(row["row"], row["code"]) for row in found] == [(1, "over_length"), (3, "over_length")]
    assert found[0]["raw"]["id"] == "chat-0" and "over max_length 200" in found[0]["message"]


def test_truncate_turns_cuts_whole_turns_and_ends_in_a_trained_one(tmp_path, encoder):
    path = write_rows(tmp_path / "long.jsonl", long_rows())
    recipe = recipe_of(path, over_length="truncate_turns", max_rejected=0.5, packing=False)
    report = build(recipe, tmp_path / "out", encoder)
    texts = {row["dialogue_id"]: encoder.tokenizer.decode(row["input_ids"]) for row in rows_of(tmp_path / "out")}
    assert set(texts) == {"chat-0", "chat-1"}
    assert texts["chat-0"].count("<|im_start|>") == 4 and texts["chat-0"].rstrip().endswith(LONG + "<|im_end|>")
    assert (report.truncated_dialogues, report.truncated_turns) == (1, 2)
    assert report.rejected_by_reason == {"over_length": 1}
    assert "cut 2 messages off the end of 1 dialogues" in (tmp_path / "out" / "summary.md").read_text()


def test_over_length_error_names_the_row_and_the_remedy(tmp_path, encoder):
    path = write_rows(tmp_path / "long.jsonl", long_rows())
    with pytest.raises(BuildError, match=r"chat-0: \d+ tokens are over max_length 200.*drop or truncate_turns"):
        build(recipe_of(path, over_length="error"), tmp_path / "out", encoder)


def test_a_row_with_no_trained_token_is_quarantined_not_trained_on(tmp_path, chats, encoder):
    with pytest.raises(TooManyRejected, match="no_trained_token 40") as failure:
        build(recipe_of(chats, train_on=["call"]), tmp_path / "out", encoder)
    kept = tmp_path / "out.quarantine.jsonl"
    assert str(kept) in str(failure.value)
    assert len(kept.read_text().splitlines()) == 40
    assert not (tmp_path / "out").exists()
    with pytest.raises(BuildError, match="no row is left to train on: read 40, rejected no_trained_token 40"):
        build(recipe_of(chats, train_on=["call"], max_rejected=1), tmp_path / "out", encoder)


def test_kept_and_rejected_are_all_that_was_read(tmp_path, encoder):
    rows = [chat(0), {"messages": []}, chat(2, "q <|im_end|>", "a"), chat(3), {"x": 1}, chat(3, "again", "b")]
    path = write_rows(tmp_path / "mixed.jsonl", rows)
    report = build(recipe_of(path, max_rejected=1), tmp_path / "out", encoder)
    assert report.read == 6 == report.kept + report.rejected
    assert report.kept == 2 == report.train.dialogues
    assert report.rejected_by_reason["control_token"] == 1 and report.rejected_by_reason["duplicate_id"] == 1
    assert Counter(row["code"] for row in quarantined(tmp_path / "out")) == report.rejected_by_reason


def test_repeat_trains_on_a_row_again_without_rejecting_it_twice(tmp_path, encoder):
    path = write_rows(tmp_path / "rows.jsonl", [chat(0), chat(1), chat(2, "q <|im_start|>", "a")])
    data = [{"source": "messages", "path": str(path), "repeat": 3}]
    report = build(recipe_of(path, train_data=data, max_rejected=0.5), tmp_path / "out", encoder)
    ids = Counter(name for row in rows_of(tmp_path / "out") for name in row["dialogue_id"].split())
    assert ids == {"chat-0": 3, "chat-1": 3}
    assert report.rejected == 1 and report.train.distinct_dialogues == 2 and report.train.dialogues == 6


def test_samples_draws_before_the_split_and_says_what_was_not_drawn(tmp_path, chats, encoder):
    data = [{"source": "messages", "path": str(chats), "samples": 20}]
    report = build(recipe_of(chats, train_data=data, held_out_share=0.1), tmp_path / "out", encoder)
    assert (report.train.dialogues, report.held_out.dialogues, report.not_drawn) == (18, 2, 20)
    assert "20 good rows are in neither split" in (tmp_path / "out" / "summary.md").read_text()


def test_held_out_data_that_repeats_training_rows_is_refused_by_id_and_by_content(tmp_path, chats, encoder):
    same_id = write_rows(tmp_path / "same_id.jsonl", [chat(3, "new", "rows"), chat(50)])
    same_content = write_rows(tmp_path / "same.jsonl", [{**chat(4), "id": "other"}])
    apart = write_rows(tmp_path / "apart.jsonl", [chat(60), chat(61)])
    for path, named in (
        (same_id, "held-out 'chat-3' = train 'chat-3' .same id"),
        (same_content, "'other' = train 'chat-4'"),
    ):
        with pytest.raises(SplitError, match=named):
            data = [{"source": "messages", "path": str(path)}]
            build(recipe_of(chats, held_out_data=data), tmp_path / "out", encoder)
    report = build(
        recipe_of(chats, held_out_data=[{"source": "messages", "path": str(apart)}]), tmp_path / "out", encoder
    )
    assert (report.train.dialogues, report.held_out.dialogues) == (40, 2)


def test_a_split_that_cannot_be_made_names_the_remedy(tmp_path, encoder):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    path = write_rows(tmp_path / "rows.jsonl", [chat(number, tools=tools) for number in range(10)])
    with pytest.raises(SplitError, match=r"train_data.0. .messages: rows.jsonl.*1 group.*set group_by: content"):
        build(recipe_of(path, held_out_share=0.2, max_length=5000), tmp_path / "out", encoder)
    recipe = recipe_of(path, held_out_share=0.2, group_by="content", max_length=5000)
    assert build(recipe, tmp_path / "out", encoder).held_out.dialogues == 2


def test_a_file_listed_twice_is_refused(tmp_path, chats, encoder):
    with pytest.raises(MixtureError, match="listed twice; set repeat"):
        build(recipe_of(chats, chats), tmp_path / "out", encoder)


def test_held_out_rows_are_never_weighted_or_repeated(tmp_path, chats, encoder):
    data = [{"source": "messages", "path": str(chats), "repeat": 2}]
    with pytest.raises(MixtureError, match=r"held_out_data\[0\]: weight and repeat are for training"):
        build(recipe_of(write_rows(tmp_path / "b.jsonl", [chat(99)]), held_out_data=data), tmp_path / "out", encoder)


def test_the_report_counts_what_the_data_set_holds(tmp_path, chats, encoder):
    report = build(recipe_of(chats, held_out_share=0.1), tmp_path / "out", encoder)
    for split, rows in (
        (report.train, rows_of(tmp_path / "out")),
        (report.held_out, rows_of(tmp_path / "out", "held_out")),
    ):
        kinds = Counter(kind for row in rows for kind in row["kinds"])
        trained = [label for row in rows for label in row["labels"] if label != -100]
        assert [count.tokens for count in split.by_kind.values()] == [kinds[kind] for kind in range(5)]
        assert split.trained_tokens == len(trained) == kinds[ANSWER] + kinds[STOP]
        lengths = [length for row in rows for length in row["seq_lengths"]]
        assert split.length_percentiles["p100"] == max(lengths) and split.tokens == sum(lengths)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["train"]["tokens"] == report.train.tokens
    assert (tmp_path / "out" / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_builds_and_overrides(tmp_path, chats, capsys):
    byte_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "recipe.yaml").write_text(
        f"name: cli\nmodel_name_or_path: {tmp_path}/model\nchat_template: chatml\nheld_out_share: 0\n"
        f"train_data: [{{source: messages, path: {chats}}}]\nlearning_rate: 1e-4\noutput_dir: none\n"
    )
    arguments = [str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out"), "max_length=300", "packing=false"]
    assert main(arguments) == 0
    assert "train 40 dialogues in 40 rows" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["max_length"] == 300


def test_a_model_without_a_tokenizer_is_named(tmp_path, chats):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BuildError, match=r"no encoder for the model '.*empty'"):
        build(recipe_of(chats, model_name_or_path=str(tmp_path / "empty")), tmp_path / "out")


def test_the_data_set_trains_unmodified(tmp_path, chats, encoder):
    import torch

    build(recipe_of(chats, packing=False), tmp_path / "out", encoder)
    data = load_from_disk(str(tmp_path / "out"))["train"].select_columns(["input_ids", "labels"]).with_format("torch")
    logits = torch.zeros(len(data[0]["input_ids"]), len(encoder.tokenizer), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits[:-1], data[0]["labels"][1:].long())
    loss.backward()
    rows_with_gradient = (logits.grad.abs().sum(1) > 0).sum().item()
    assert rows_with_gradient == sum(label != -100 for label in data[0]["labels"].tolist())
