"""Sampling: a turn's draws depend on the seed, the dialogue and its prompt, never on what it is batched with."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from rich.console import Console

from data_prep.dialogue import Dialogue, Message, write_jsonl
from data_prep.encode import Encoder
from eval.__main__ import main
from eval.backends.choose import chooser, drawn
from eval.backends.hf import HfBackend, Loaded
from eval.backends.openai import OpenAIBackend
from eval.protocol import GREEDY, EvalError, Request, Sampling
from eval.run import evaluate, load_tasks
from eval.tasks import TASKS
from tests.eval.helpers import ScriptedBackend, ask, tiny_model, tiny_tokenizer
from tests.eval.test_decode import QUESTIONS, STOPS, Bursting

SAMPLING = Sampling(temperature=1.5, top_p=0.9, seed=3)


def said(rows: int, sampling: Sampling, model: torch.nn.Module | None = None) -> list[list[str]]:
    """Two rounds of nine conversations."""
    encoder = Encoder(tiny_tokenizer(), tool_format="button", control_text="plain")
    backend = HfBackend(Loaded("tiny", model or tiny_model(), encoder, STOPS, []), rows, sampling)
    heard: list[list[str]] = [[] for _ in QUESTIONS]

    def follow_up(index: int, reply) -> Request | None:
        heard[index].append(reply.text)
        own, more = Message(role="assistant", content=reply.text), Message(role="user", content="And then?")
        dialogue = QUESTIONS[index]
        longer = Dialogue(id=dialogue.id, source="x", messages=(*dialogue.messages, own, more))
        return Request(longer, 9) if len(heard[index]) == 1 else None

    backend.generate([Request(dialogue, 9) for dialogue in QUESTIONS], follow_up)
    return heard


def test_a_sampled_turn_is_the_same_alone_in_any_batch_and_after_memory_ran_out() -> None:
    alone = said(1, SAMPLING)
    assert said(4, SAMPLING) == said(32, SAMPLING) == alone
    assert said(8, SAMPLING, Bursting(tiny_model(), 2)) == alone
    assert said(4, SAMPLING._replace(seed=4)) != alone
    assert said(4, GREEDY) != alone


def test_left_padded_batches_draw_what_the_engine_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = said(4, SAMPLING)
    monkeypatch.setattr("eval.backends.hf.has_plain_cache", lambda model: False)
    assert said(4, SAMPLING) == engine


def test_tokens_come_as_often_as_their_probability_says_and_none_from_outside_top_p() -> None:
    logits = torch.tensor([[0.4, 0.05, 0.3, 0.25]]).log()
    draws = [random.Random(seed).random for seed in range(4000)]
    wanted = {1.0: [0.4, 0.05, 0.3, 0.25], 0.6: [0.4 / 0.7, 0.0, 0.3 / 0.7, 0.0]}
    for top_p, shares in wanted.items():
        counts = Counter(drawn(logits.expand(4000, -1), draws, Sampling(1.0, top_p, 0)))
        assert [counts[token] / 4000 for token in range(4)] == pytest.approx(shares, abs=0.03)
        assert counts[1] == 0 or top_p == 1


def test_a_high_draw_and_a_cold_temperature_stay_inside_the_vocabulary() -> None:
    logits = torch.tensor([[3.0, -1e9, 2.0], [0.0, 5.0, -1e9]])
    assert chooser(Sampling(1.0, 1.0, 0))(logits, [lambda: 1 - 2**-53] * 2) == [2, 1]
    assert chooser(Sampling(1e-3, 1.0, 0))(logits, [lambda: 0.999] * 2) == [0, 1]
    assert chooser(Sampling(1.0, 1e-9, 0))(logits, [lambda: 0.999] * 2) == [0, 1]


def test_sampling_stands_in_the_report_and_another_seed_is_another_run(tmp_path: Path) -> None:
    write_jsonl(str(tmp_path / "held_out.jsonl"), [ask("Oslo", 0)])
    tasks = [TASKS["function_calls"]]
    loaded = load_tasks(tasks, [str(tmp_path)], None)

    def report(sampling: Sampling, out: Path) -> dict:
        backend = ScriptedBackend(lambda dialogue: "no", sampling=sampling.facts())
        with open(os.devnull, "w") as nowhere:
            return evaluate(backend, "m", tasks, loaded, [str(tmp_path)], out, console=Console(file=nowhere))

    made = report(SAMPLING, tmp_path / "out")
    assert made["sampling"] == {"do_sample": True, "temperature": 1.5, "top_p": 0.9, "seed": 3}
    assert "sampling" not in made["identity"]
    with pytest.raises(EvalError, match=r"sampling\.seed: 3 there, 4 here"):
        report(SAMPLING._replace(seed=4), tmp_path / "out")
    # Greedy decoding has no seed: two of them are one run.
    assert report(GREEDY, tmp_path / "greedy") == report(GREEDY._replace(seed=9, top_p=0.5), tmp_path / "greedy")


def test_a_server_is_asked_with_the_same_parameters() -> None:
    request = Request(QUESTIONS[0], 9)
    greedy = OpenAIBackend("m", "http://x", 1).body(request)
    sampled = OpenAIBackend("m", "http://x", 1, sampling=SAMPLING).body(request)
    assert greedy["temperature"] == 0 and "seed" not in greedy
    assert (sampled["temperature"], sampled["top_p"]) == (1.5, 0.9)
    assert sampled["seed"] == OpenAIBackend("m", "http://x", 8, sampling=SAMPLING).body(request)["seed"]
    json.dumps(sampled)


@pytest.mark.parametrize("options", [["--temperature", "-1"], ["--top-p", "0"], ["--top-p", "1.5"]])
def test_impossible_sampling_is_refused(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(str(tmp_path / "held_out.jsonl"), [ask("Oslo", 0)])
    arguments = ["run", "m", "--tasks", "function_calls", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 2
    assert "--temperature must be 0 or more, and --top-p over 0" in capsys.readouterr().err
