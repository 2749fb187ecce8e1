"""Ways to train beside full and LoRA, new control tokens, and what adapters leave of tied embeddings."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import train
from eval.backends.hf import load_model as load_for_eval
from recipes import load_recipe
from recipes.schema import RecipeError
from training.__main__ import main as command
from training.arguments import training_arguments
from training.launch import Launch
from training.progress import read_metrics

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
THOUGHT = ["<|think|>", "<|/think|>"]


@pytest.fixture
def tied_checkpoint(tiny_checkpoint, tmp_path):
    """The tiny checkpoint with its head and its embeddings one tensor."""
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "tied")
    AutoTokenizer.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "tied")
    return tmp_path / "tied"


def run(recipe, *overrides):
    assert train.main([str(recipe), *overrides]) == 0
    return recipe.parent / "run"


@pytest.mark.parametrize(
    ("changes", "in_config", "in_weights"),
    [({"use_rslora": True}, "use_rslora", "lora_A"), ({"use_dora": True}, "use_dora", "lora_magnitude_vector")],
)
def test_rslora_and_dora_are_trained_and_saved_as_what_they_are(write_recipe, changes, in_config, in_weights):
    output = run(write_recipe(use_peft=True, lora_r=4, max_steps=2, **changes))
    assert json.loads((output / "adapter_config.json").read_text())[in_config] is True
    assert any(in_weights in name for name in load_file(output / "adapter_model.safetensors"))


def test_neftune_changes_the_training_loss_and_not_what_the_model_is(write_recipe, tmp_path):
    recipe = write_recipe(max_steps=1, learning_rate=1e-12)
    plain = read_metrics(run(recipe) / "metrics.jsonl")
    noisy = run(recipe, "neftune_noise_alpha=50", f"output_dir={tmp_path / 'noisy'}").parent / "noisy"
    rows = read_metrics(noisy / "metrics.jsonl")
    assert rows[0]["loss"] != pytest.approx(plain[0]["loss"], rel=1e-4)
    assert rows[-1]["held_out_loss"] == pytest.approx(plain[-1]["held_out_loss"], rel=1e-6)


def test_adams_settings_reach_the_trainer(write_recipe):
    recipe = load_recipe(write_recipe(adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6))
    arguments = training_arguments(recipe, Launch("NO", 1, 0, "cpu", []), holds_out=False)
    assert (arguments.adam_beta1, arguments.adam_beta2, arguments.adam_epsilon) == (0.8, 0.95, 1e-6)


def test_new_tokens_begin_as_the_mean_in_spare_rows_too_and_their_ids_are_used(write_recipe, tiny_checkpoint):
    before = AutoModelForCausalLM.from_pretrained(tiny_checkpoint).get_input_embeddings().weight
    # Near nothing is learnt at this rate: what is saved is what the rows began as.
    output = run(write_recipe(new_tokens=THOUGHT, max_steps=1, learning_rate=1e-12))
    tokenizer, model = AutoTokenizer.from_pretrained(output), AutoModelForCausalLM.from_pretrained(output)
    ids = tokenizer.convert_tokens_to_ids(THOUGHT)
    assert tokenizer.encode("".join(THOUGHT), add_special_tokens=False) == ids
    table = model.get_input_embeddings().weight
    known = ids[0]
    assert known < before.shape[0] < ids[1] + 1 == len(tokenizer), "one token takes a spare row, the other a row more"
    assert table.shape[0] == model.get_output_embeddings().weight.shape[0] == len(tokenizer)
    torch.testing.assert_close(table[:known], before[:known])
    torch.testing.assert_close(table[ids], before[:known].mean(0).expand(2, -1))


def test_an_adapter_with_new_tokens_on_tied_embeddings_stays_tied_through_save_merge_and_reload(
    write_recipe, tied_checkpoint, tmp_path, capsys
):
    recipe = write_recipe(
        model_name_or_path=str(tied_checkpoint), use_peft=True, lora_r=4, max_steps=3, learning_rate=1e-2,
        new_tokens=THOUGHT, lora_modules_to_save=["embed_tokens", "lm_head"],
    )  # fmt: skip
    adapter, merged = run(recipe), tmp_path / "merged"
    assert command(["merge", str(adapter), "--out", str(merged)]) == 0
    assert "differ from the adapter's by at most" in capsys.readouterr().out
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert model.config.tie_word_embeddings
    assert model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    untrained = AutoModelForCausalLM.from_pretrained(tied_checkpoint).get_input_embeddings().weight
    assert not torch.allclose(model.get_input_embeddings().weight[: len(untrained)], untrained, atol=1e-4)
    ids = torch.arange(3, 40)[None]
    torch.testing.assert_close(
        load_for_eval(str(merged)).model(ids).logits,
        load_for_eval(str(adapter)).model(ids).logits,
        rtol=1e-4,
        atol=1e-5,
    )


def test_new_tokens_under_an_adapter_that_leaves_the_embeddings_alone_are_refused(write_recipe):
    with pytest.raises(RecipeError, match=r"lora_modules_to_save: \[embed_tokens, lm_head\]"):
        load_recipe(write_recipe(new_tokens=THOUGHT, use_peft=True))


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_qlora_without_bitsandbytes_says_what_to_install(write_recipe, capsys):
    assert train.main([str(write_recipe(use_peft=True, load_in_4bit=True))]) == 1
    assert "load_in_4bit needs bitsandbytes" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs extra bitsandbytes")
def test_qlora_keeps_frozen_weights_in_four_bits_and_learns(write_recipe):
    output = run(write_recipe(use_peft=True, load_in_4bit=True, lora_r=4, max_steps=20, learning_rate=1e-2))
    losses = [row["loss"] for row in read_metrics(output / "metrics.jsonl") if "loss" in row]
    assert losses[-1] < losses[0]


def test_settings_of_an_adapter_without_one_and_a_push_to_nowhere_are_refused(write_recipe):
    for changes in ({"use_dora": True}, {"load_in_4bit": True}, {"lora_modules_to_save": ["lm_head"]}):
        with pytest.raises(RecipeError, match="set use_peft: true"):
            load_recipe(write_recipe(**changes))
    with pytest.raises(RecipeError, match="set hub_model_id"):
        load_recipe(write_recipe(push_to_hub=True))


def test_a_model_that_cannot_be_uploaded_is_saved_all_the_same(write_recipe, capsys):
    # The tests have no hub: HF_HUB_OFFLINE is set for all of them.
    recipe = write_recipe(max_steps=1, push_to_hub=True, hub_model_id="someone/model")
    assert train.main([str(recipe)]) == 1
    assert "saved in" in (said := capsys.readouterr().err) and "not uploaded to someone/model" in said
    assert (recipe.parent / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora_target_modules": ["q_proj", "v_prj"]}, "lora_target_modules: 'v_prj' names no module of the model"),
        ({"lora_modules_to_save": ["embed_token"]}, "'embed_token' names no module of the model; did you mean 'embed_"),
    ],
)
def test_a_listed_module_that_the_model_lacks_is_refused_not_passed_over(write_recipe, capsys, changes, said):
    assert train.main([str(write_recipe(use_peft=True, **changes))]) == 1
    assert said in capsys.readouterr().err


def test_an_adapter_is_trained_further_only_by_a_recipe_that_describes_it(write_recipe, tmp_path, capsys):
    adapter = run(write_recipe(use_peft=True, lora_r=4, max_steps=1)).rename(tmp_path / "adapter")
    further = write_recipe(use_peft=True, lora_r=8, use_dora=True, max_steps=1, model_name_or_path=str(adapter))
    assert train.main([str(further)]) == 1
    assert "its lora_r is 4, the recipe says 8; its use_dora is False, the recipe says True" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "run")
    run(further, "lora_r=4", "use_dora=false")


def test_a_damaged_model_or_adapter_is_refused_in_words(write_recipe, tiny_checkpoint, tmp_path, capsys):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    os.truncate(model / "model.safetensors", 1000)
    recipe = str(write_recipe(model_name_or_path=str(model)))
    assert train.main([recipe]) == 1
    assert f"error: {model}: " in capsys.readouterr().err
    (model / "adapter_config.json").write_text("{")
    assert train.main([recipe]) == 1
    assert f"{model}/adapter_config.json is no JSON object" in capsys.readouterr().err


def test_a_model_whose_generation_config_transformers_would_not_save_is_trained_and_saved(
    write_recipe, tiny_checkpoint, tmp_path
):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    file = model / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "temperature": 0.6, "top_p": 0.9, "do_sample": False}))
    output = run(write_recipe(model_name_or_path=str(model), max_steps=1, save_steps=1))
    assert (output / "checkpoint-1" / "manifest.json").exists() and (output / "manifest.json").exists()


def test_a_tracker_that_is_not_installed_is_named_with_the_extra_that_has_it(write_recipe, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert train.main([str(write_recipe(report_to="trackio"))]) == 1
    assert "report_to: trackio is not installed; pip install -e '.[trackio]'" in capsys.readouterr().err


def test_a_new_token_that_the_vocabulary_has_is_refused(write_recipe, capsys):
    assert train.main([str(write_recipe(new_tokens=["<|im_end|>"]))]) == 1
    assert "<|im_end|> is in the vocabulary already" in capsys.readouterr().err
