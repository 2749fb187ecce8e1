"""The vLLM backend's requests, against a stand-in that records them. This is no run of vLLM: none was made by us."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from data_prep.encode import Encoder
from eval.backends.vllm import VllmBackend, VllmParts, load_vllm, lora_rank
from eval.protocol import EvalError, Reply, Request, Sampling
from tests.eval.helpers import tiny_tokenizer
from tests.eval.test_decode import QUESTIONS

STOP = 2


class RecordingEngine:
    """Takes what `vllm.LLM.generate` takes; every turn says `ok` and stops."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []

    def generate(self, prompts: Any, params: Any, *, use_tqdm: bool, lora_request: Any) -> list[Any]:
        self.calls.append((prompts, params))
        assert lora_request == "adapter" and use_tqdm is False
        ids = [*tiny_tokenizer()("ok")["input_ids"], STOP]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids)]) for _ in prompts]


def talk(sampling: Sampling, turns: int) -> tuple[RecordingEngine, list[Reply], Encoder]:
    """Two rounds of each question."""
    engine, encoder = RecordingEngine(), Encoder(tiny_tokenizer(), tool_format="button", control_text="plain")
    config = SimpleNamespace(max_position_embeddings=4096)
    backend = VllmBackend(VllmParts(engine, dict, "adapter", encoder, [STOP], config, [], 1, {}), turns, sampling)
    heard: list[tuple[int, Reply]] = []

    def follow_up(index: int, reply: Reply) -> Request | None:
        heard.append((index, reply))
        again = sum(which == index for which, _ in heard) == 1
        return Request(QUESTIONS[index], 7) if again else None

    backend.generate([Request(dialogue, 9) for dialogue in QUESTIONS], follow_up)
    assert sorted(index for index, _ in heard) == sorted([*range(len(QUESTIONS))] * 2)
    return engine, [reply for _, reply in heard], encoder


def test_the_engine_gets_the_encoders_ids_and_exact_stops_and_each_turn_is_answered_once() -> None:
    engine, replies, encoder = talk(Sampling(), turns=4)
    prompts, params = engine.calls[0]
    assert [prompt["prompt_token_ids"] for prompt in prompts] == [encoder.prompt_ids(one) for one in QUESTIONS[:4]]
    assert params[0] == {"max_tokens": 9, "temperature": 0.0, "top_p": 1.0, "seed": None, "stop_token_ids": [STOP],
                         "ignore_eos": True, "detokenize": False}  # fmt: skip
    assert all(len(prompts) <= 4 for prompts, _ in engine.calls)
    assert [one["max_tokens"] for one in engine.calls[1][1]] == [7] * 4, "begun conversations go on first"
    assert all((reply.text, reply.finish_reason) == ("ok", "stop") for reply in replies)


def test_every_sampled_turn_has_a_seed_of_its_own_whatever_it_is_batched_with() -> None:
    seeds = []
    for turns in (2, 9):
        calls = talk(Sampling(0.7, 0.9, 5), turns)[0].calls
        pairs = [(str(p), q["seed"]) for prompts, params in calls for p, q in zip(prompts, params, strict=True)]
        seeds.append(dict(pairs))
    assert seeds[0] == seeds[1] and len(set(seeds[0].values())) == len(QUESTIONS)


def test_an_adapters_rank_is_rounded_up_to_one_that_vllm_has(tmp_path: Any) -> None:
    for rank, wanted in ((4, 8), (16, 16), (65, 128)):
        (tmp_path / "adapter_config.json").write_text(f'{{"r": {rank}}}')
        assert lora_rank(str(tmp_path)) == wanted
    (tmp_path / "adapter_config.json").write_text('{"r": 1024}')
    with pytest.raises(EvalError, match="python -m training merge"):
        lora_rank(str(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_without_the_extra_the_error_names_it() -> None:
    with pytest.raises(EvalError, match=r"needs the extra vllm .* pip install -e '\.\[vllm\]'"):
        load_vllm("anything")
