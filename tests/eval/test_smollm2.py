"""The real 135 M model: engine against plain `generate`, checkpoints, adapters and the whole command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data_prep.dialogue import write_jsonl
from eval.__main__ import main
from eval.backends.hf import HfBackend, load_model
from eval.protocol import EvalError, Reply, Request
from eval.tasks import function_calls
from tests.eval.helpers import ask
from training.smollm2 import smollm2_dir

# peft 0.21 reads a property that transformers 5.23 deprecates.
DEPRECATED = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(DEPRECATED)]


def test_a_batch_says_what_plain_generate_says_one_by_one(real_data_dir: Path) -> None:
    loaded = load_model(str(smollm2_dir()), tool_format="button")
    items = function_calls.load([str(real_data_dir / "button" / "glaive.jsonl")], 4).items
    replies: dict[int, Reply] = {}
    backend = HfBackend(loaded, 3)
    backend.generate(
        [Request(item.dialogue, 12) for item in items], lambda index, reply: replies.__setitem__(index, reply)
    )
    for index, item in enumerate(items):
        ids = torch.tensor([loaded.encoder.prompt_ids(item.dialogue)])
        with torch.inference_mode():
            out = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12,
                                        do_sample=False, eos_token_id=loaded.stop_ids, pad_token_id=0)  # fmt: skip
        said = [token for token in out[0, ids.shape[1] :].tolist() if token not in loaded.stop_ids]
        assert replies[index].text == loaded.encoder.tokenizer.decode(said)


def test_run_resume_and_compare_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(str(tmp_path / "held_out.jsonl"), [ask("Oslo", 0)])
    for name in ("a", "a", "b"):
        assert main(["run", str(smollm2_dir()), "--tasks", "function_calls", "--data", str(tmp_path), "--out",
                     str(tmp_path / name), "--max-new-tokens", "8", "--tool-format", "button"]) == 0  # fmt: skip
    assert "name_and_arguments_exact" in capsys.readouterr().out
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert len(report["identity"]["model"][str(smollm2_dir())]["model.safetensors"]) == 64
    assert report["identity"]["encoder"]["tool_format"] == "button"
    assert report["identity"]["dtype"] == "float32"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html")]) == 0
    assert "+0.0" in (tmp_path / "page.html").read_text()


def test_an_adapter_is_evaluated_on_its_base_as_its_manifest_says(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from recipes.manifest import FORMAT

    base = load_model(str(smollm2_dir()), tool_format="button")
    model = AutoModelForCausalLM.from_pretrained(smollm2_dir())
    adapter = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    adapter.save_pretrained(tmp_path)
    base.encoder.tokenizer.save_pretrained(tmp_path)
    facts = base.encoder.facts()
    (tmp_path / "manifest.json").write_text(json.dumps({"format": FORMAT, "encoder": facts}))
    loaded = load_model(str(tmp_path))
    assert loaded.encoder.tool_format == "button"
    assert loaded.sources == [str(tmp_path), str(smollm2_dir())]
    says = []
    for backend in (HfBackend(base, 2), HfBackend(loaded, 2)):
        backend.generate([Request(ask("Oslo", 0).before(1), 6)], lambda index, reply: says.append(reply.text))
    assert says[0] == says[1]  # a new LoRA adds nothing yet
    (tmp_path / "manifest.json").write_text(
        json.dumps({"format": FORMAT, "encoder": facts | {"template_sha256": "0" * 64}})
    )
    with pytest.raises(EvalError, match=r"is not the one in manifest\.json"):
        load_model(str(tmp_path))
