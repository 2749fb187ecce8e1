"""Merging an adapter: the same model without PEFT."""

from __future__ import annotations

import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture
def adapter(tiny_checkpoint, tmp_path):
    """A random adapter, saved as training saves one."""
    base = shutil.copytree(tiny_checkpoint, tmp_path / "base")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path / "adapter")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "manifest.json").write_text('{"format": 1}')
    return tmp_path / "adapter"


def test_a_merged_model_says_what_the_adapter_said(adapter, tmp_path, capsys):
    out = tmp_path / "merged"
    assert main(["merge", str(adapter), "--out", str(out)]) == 0
    assert "differ from the adapter's by at most" in capsys.readouterr().out
    base, merged = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tmp_path / "base", out))
    ids = torch.arange(3, 50)[None]
    plain = base(ids).logits
    torch.testing.assert_close(merged(ids).logits, PeftModel.from_pretrained(base, adapter)(ids).logits)
    assert not torch.allclose(merged(ids).logits, plain, atol=1e-3)
    assert (out / "manifest.json").exists() and AutoTokenizer.from_pretrained(out).chat_template


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merge_that_loses_the_adapter_is_refused_in_every_dtype(adapter, dtype, tmp_path, capsys, monkeypatch):
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(base).to(dtype).save_pretrained(base)
    assert main(["merge", str(adapter), "--out", str(tmp_path / "merged")]) == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto").dtype == dtype
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self, safe_merge: self.unload(), raising=False)
    assert main(["merge", str(adapter), "--out", str(tmp_path / "lost")]) == 1
    assert "the adapter itself changes them by up to" in capsys.readouterr().err and not (tmp_path / "lost").exists()


def test_damaged_weights_of_an_adapter_are_named(adapter, tmp_path, capsys):
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert main(["merge", str(adapter), "--out", str(tmp_path / "merged")]) == 1
    assert "its weights are damaged" in capsys.readouterr().err


def test_merging_without_the_base_model_or_into_a_folder_in_use_is_refused(adapter, tmp_path, capsys):
    assert main(["merge", str(tmp_path / "base"), "--out", str(tmp_path / "x")]) == 1
    assert "is no adapter directory" in capsys.readouterr().err
    assert main(["merge", str(adapter), "--out", str(tmp_path / "base")]) == 1
    assert "exists already" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "base")
    assert main(["merge", str(adapter), "--out", str(tmp_path / "x")]) == 1
    assert "its base model" in capsys.readouterr().err and not (tmp_path / "x").exists()
