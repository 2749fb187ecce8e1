"""`build` on real dialogues with real tokenizers: every row accounted for, every sample as the encoder gives it."""

from collections import Counter

import pytest
from datasets import load_from_disk

from data_prep.build import build
from data_prep.dialogue import content_hash
from data_prep.encode import Encoder, RejectedDialogue
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.split import SplitError
from recipes.load import validate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["qwen2_5", "llama3"])
def test_real_rows_are_packed_whole_or_quarantined(real_data_dir, load_test_tokenizer, tmp_path, name):
    encoder = Encoder(load_test_tokenizer(name))
    files = {
        "button": real_data_dir / "button" / "glaive.jsonl",
        "mathchatsync": real_data_dir / "mathchatsync" / "tutoring.json",
    }
    recipe = validate(
        {
            "name": "real",
            "model_name_or_path": name,
            "train_data": [{"source": source, "path": str(path)} for source, path in files.items()],
            "held_out_share": 0.1,
            "max_length": 1024,
            "max_rejected": 0.5,
            "learning_rate": 1e-4,
            "output_dir": "none",
        },
        "test",
    )
    report = build(recipe, tmp_path / "out", encoder)
    data = load_from_disk(str(tmp_path / "out"))
    packed = Counter(name for row in data["train"] for name in row["dialogue_id"].split())
    held_out = Counter(data["held_out"]["dialogue_id"])
    assert report.kept + report.rejected == report.read
    assert not set(packed) & set(held_out)

    with Quarantine(None) as quarantine:
        read = [row for source, path in files.items() for row in iter_dialogues(source, [str(path)], quarantine)]
    dialogues = list({content_hash(dialogue): dialogue for dialogue in reversed(read)}.values())[::-1]
    assert report.quality.duplicates == len(read) - len(dialogues) > 0  # the Glaive sample repeats itself
    expected = Counter()
    rejected = quarantine.rejected + report.quality.duplicates
    for dialogue, result in zip(dialogues, encoder.encode_batch(dialogues), strict=True):
        if isinstance(result, RejectedDialogue) or max(len(sample.input_ids) for sample in result) > 1024:
            rejected += 1
            continue
        expected[dialogue.id] += len(result)
        if dialogue.id in held_out:
            (sample,) = result
            row = data["held_out"][data["held_out"]["dialogue_id"].index(dialogue.id)]
            assert (row["input_ids"], row["kinds"]) == (sample.input_ids, sample.kinds)
    assert packed + held_out == expected
    assert report.rejected == rejected


def test_the_airline_rows_share_their_tools_and_say_so(real_data_dir, load_test_tokenizer, tmp_path):
    lines = (real_data_dir / "button" / "airline.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "airline.jsonl").write_text("".join(lines[:60]), encoding="utf-8")
    values = {
        "name": "airline",
        "model_name_or_path": "qwen2_5",
        "train_data": [{"source": "button", "path": str(tmp_path / "airline.jsonl")}],
        "held_out_share": 0.05,
        "max_rejected": 1,
        "learning_rate": 1e-4,
        "output_dir": "none",
    }
    encoder = Encoder(load_test_tokenizer("qwen2_5"))
    with pytest.raises(SplitError, match=r"form 1 group.s., the smallest of .*set group_by: content"):
        build(validate(values, "test"), tmp_path / "out", encoder)
    report = build(validate({**values, "group_by": "content"}, "test"), tmp_path / "out", encoder)
    assert report.held_out.dialogues + report.train.dialogues == report.kept
