"""What a run says of itself while it trains: losses and accuracies by kind and source, samples, the page."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset

from tests.data_prep.byte_encoder import byte_tokenizer
from tests.training.helpers import VOCABULARY, encoded_row, joined_rows
from tests.training.lives import same_bits
from tests.training.test_train import fails, run
from training import watch_samples
from training.attention import BY_DIALOGUE
from training.collate import FILLER, collate
from training.loss import token_scores
from training.progress import read_metrics
from training.run_page import POINTS, plot, plots
from training.tiny import tiny_model
from training.watch import ARGUMENTS, GROUPS, NAME, Watch, call_parts, sources_of
from training.watch_samples import held_out_turns

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")

CALLS = [("f", {"name": "Bob", "arguments": {"x": [1, {"y": "}"}]}}), ("get_weather", {}), ("say", {"text": 'a "}" b'})]
FORMS = {
    "button": lambda calls: "<call>" + json.dumps([{"name": n, "arguments": a} for n, a in calls]) + "</call>",
    "qwen": lambda calls: "".join(
        f"<tool_call>\n{json.dumps({'name': n, 'arguments': a})}\n</tool_call>" for n, a in calls
    ),
    "llama": lambda calls: ";".join(json.dumps({"name": n, "parameters": a}) for n, a in calls),
    "openai": lambda calls: json.dumps(
        [{"id": "c", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}} for n, a in calls]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_names_and_arguments_are_found_in_the_text_of_calls(form):
    text = FORMS[form](CALLS)
    parts = [(text[start:end], kind) for start, end, kind in call_parts(text)]
    assert [part for part, kind in parts if kind == NAME] == [name for name, _ in CALLS]
    arguments = [json.loads(part) for part, kind in parts if kind == ARGUMENTS]
    assert [json.loads(one) if isinstance(one, str) else one for one in arguments] == [given for _, given in CALLS]


@pytest.mark.parametrize("text", ["", "no call", '{"a": 1', '{"name": 3}', "[1, {}]", '{"arguments": {"name": "x"}}'])
def test_text_that_is_no_call_has_no_name(text):
    assert not [part for part in call_parts(text) if part[2] == NAME]


def test_a_calls_tokens_are_name_arguments_or_markup_as_its_text_says():
    tokenizer = byte_tokenizer()
    text = FORMS["button"](CALLS)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    row = {"input_ids": [5, *ids], "labels": [-100, *ids], "kinds": [0] + [2] * len(ids),
           "seq_lengths": [len(ids) + 1], "source": "s"}  # fmt: skip
    watch = Watch(tokenizer, ["s"], torch.device("cpu"))
    groups = watch.groups(collate([row]), [row])
    said = {kind: tokenizer.decode([i for i, group in zip(ids, groups.tolist(), strict=True) if group == kind])
            for kind in (NAME, ARGUMENTS)}  # fmt: skip
    assert said[NAME] == "".join(name for name, _ in CALLS)
    assert said[ARGUMENTS] == "".join(json.dumps(arguments) for _, arguments in CALLS)


@pytest.mark.parametrize("share_prefixes", [False, True])
def test_losses_and_accuracies_by_kind_and_source_are_those_of_each_dialogue_alone(share_prefixes):
    rng = random.Random(4)
    singles = [{**encoded_row(seed), "source": rng.choice("ab")} for seed in range(9)]
    rows: list[dict[str, Any]] = []
    for start in (0, 3, 6):  # three rows of three dialogues, and a filler
        part = singles[start : start + 3]
        rows.append({**joined_rows(part), "source": " ".join(row["source"] for row in part)})
    rows.append({**FILLER, "source": ""})
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE).eval()
    watch = Watch(byte_tokenizer(), sources_of([row["source"] for row in rows]), torch.device("cpu"))
    batch = collate(rows, share_prefixes)
    watch.add(watch.groups(batch, rows), *token_scores(model, batch, BY_DIALOGUE))
    metrics = watch.metrics(watch.take())

    by_hand: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for row in singles:
        ids = torch.tensor(row["input_ids"])
        logits = model(input_ids=ids[None]).logits[0].float()
        for place in range(1, len(ids)):
            if row["labels"][place] != -100:
                token = (
                    F.cross_entropy(logits[place - 1], ids[place]).item(),
                    bool(logits[place - 1].argmax() == ids[place]),
                )
                for name in ("", f"_{GROUPS[row['kinds'][place]]}", f"_source_{row['source']}"):
                    by_hand[name].append(token)
    for name, tokens in by_hand.items():
        assert metrics[f"accuracy{name}"] == pytest.approx(sum(right for _, right in tokens) / len(tokens)), name
        if name:
            assert metrics[f"loss{name}"] == pytest.approx(sum(loss for loss, _ in tokens) / len(tokens), rel=1e-5), (
                name
            )
    assert not watch.sums.any()


def test_a_run_logs_what_it_watches_and_trackers_get_the_same_names(write_recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = run(write_recipe(max_steps=2, eval_steps=2, report_to="tensorboard"))
    rows = read_metrics(output / "metrics.jsonl")
    training, held_out = rows[0], rows[-1]
    watched = {f"{what}_{kind}" for what in ("loss", "accuracy") for kind in ("thought", "answer", "stop")}
    assert {"accuracy", "padding_share", "peak_memory_gib", "eta_s", "grad_norm", "tokens_per_s"} | watched <= set(
        training
    )
    assert {f"held_out_{name}" for name in (*watched, "loss", "accuracy")} <= set(held_out)
    assert not any("context" in name or "source" in name for name in (*training, *held_out))  # one source is no news
    events = next(output.rglob("events.out.tfevents.*"))
    tags = EventAccumulator(str(events.parent)).Reload().Tags()["scalars"]
    assert {f"train/{name}" for name in (set(training) | set(held_out)) - {"step", "epoch"}} <= set(tags)


def test_generating_samples_leaves_the_weights_and_the_random_numbers_alone(write_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(watch_samples, "MAX_NEW_TOKENS", 24)
    recipe = write_recipe(max_steps=4, use_peft=True, lora_dropout=0.1, save_steps=2)
    plain = run(recipe).rename(tmp_path / "plain")
    output = run(recipe, "sample_every=2")
    assert same_bits(plain, output)
    rows = read_metrics(output / "samples.jsonl")
    assert [row["step"] for row in rows] == [2] * 4 + [4] * 4
    for row in rows:
        assert row["prompt"].endswith("<|im_start|>assistant\n") and row["gold"].endswith("<|im_end|>")
        assert row["stopped"] == row["generated"].endswith("<|im_end|>")
    page = (output / "run.html").read_text()
    assert "Generated, beside gold" in page and "finished" in page


def test_a_sample_is_the_turn_that_the_built_data_holds():
    row = {"input_ids": [1, 2, 3, 4, 5, 6, 7, 8], "kinds": [0, 0, 1, 3, 4, 0, 3, 4], "seq_lengths": [8],
           "labels": [0] * 8, "dialogue_id": "d"}  # fmt: skip
    first, second = held_out_turns(Dataset.from_list([row, row]))
    assert (first.prompt, first.gold) == ([1, 2], [3, 4, 5])
    assert (second.prompt, second.gold) == ([1, 2, 3, 4, 5, 6], [7, 8])


def test_samples_need_something_held_out(write_recipe, capsys):
    assert "sample_every: nothing is held out" in fails(capsys, write_recipe(held_out_share=0, sample_every=2))


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text: str) -> None:
        self.text += text


def test_the_page_runs_and_loads_nothing_that_a_model_or_a_recipe_wrote(tmp_path):
    from rich.console import Console
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from training.run_page import RunPage

    evil = '</pre><script>alert(1)</script><img src="http://x" onerror=alert(1)>'
    sample = {"step": 1, "dialogue": evil, "prompt": evil, "gold": evil, "generated": evil + "\ud800", "stopped": False}
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    state, control = TrainerState(global_step=1, max_steps=9, is_world_process_zero=True), TrainerControl()
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    with pytest.raises(RuntimeError), RunPage(tmp_path, evil, Console(quiet=True)) as page:
        page.on_train_begin(arguments, state, control)
        page.on_log(arguments, state, control, {"loss": float("nan"), f"loss_source_{evil}": 1.0, "eta_s": 60.0})
        while_training = Page(tmp_path / "run.html")
        raise RuntimeError(evil)
    shown = Page(tmp_path / "run.html")
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in (*shown.tags, *while_training.tags)}
    assert shown.text.count("alert(1)") >= 5 and "ended by an error" in shown.text
    refreshes = [
        [tag for tag, given in page.tags if given.get("http-equiv") == "refresh"] for page in (while_training, shown)
    ]
    assert refreshes == [["meta"], []]
    policies = [given["content"] for _, given in shown.tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_plot_of_a_long_run_is_thin_and_keeps_its_ends():
    points = [(float(step), float(step % 7)) for step in range(1, 10_001)]
    made = plot("loss", {"training": points})
    assert made is not None and made.first_step <= 10_000 / POINTS + 1 and made.last_step == 10_000
    assert len(made.curves[0].points.split()) <= POINTS and made.curves[0].last == points[-1][1]
    assert plot("loss", {"training": []}) is None and plots([]) == []
