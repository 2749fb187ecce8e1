"""train.py in this process: what a run leaves behind, that it learns, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import train
from data_prep.encode import Encoder
from recipes.manifest import read_manifest
from training import checkpoint
from training.progress import read_metrics

# torch and the Hugging Face libraries warn about each other's future versions.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def run(recipe: Path, *overrides: str) -> Path:
    """Train and return output_dir; the run must succeed."""
    assert train.main([str(recipe), *overrides]) == 0
    return recipe.parent / "run"


def fails(capsys: pytest.CaptureFixture[str], recipe: Path, *overrides: str) -> str:
    """The message a run fails with."""
    assert train.main([str(recipe), *overrides]) == 1
    return capsys.readouterr().err


def losses(output_dir: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(output_dir / "metrics.jsonl") if "loss" in row]


def trained_tokens(output_dir: Path) -> list[int]:
    return [row["trained_tokens"] for row in read_metrics(output_dir / "metrics.jsonl") if "loss" in row]


def test_a_run_leaves_a_complete_final_model_and_complete_checkpoints(write_recipe, tiny_checkpoint, capsys):
    output = run(write_recipe(save_steps=2, eval_steps=2))
    printed = capsys.readouterr().out
    assert "distributed type NO, world size 1, device cpu" in printed
    assert "1 CPU process x 4 x 1 = 4 rows a step, 4 steps" in printed
    assert f"python -m eval run {output} --tasks function_calls --data {output}/data" in printed
    encoder = Encoder(AutoTokenizer.from_pretrained(tiny_checkpoint))
    for folder in (output, output / "checkpoint-2", output / "checkpoint-4"):
        assert read_manifest(folder)["encoder"] == encoder.facts()
        assert (folder / "chat_template.jinja").read_text() == encoder.chat_template
        stops = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
        assert set(encoder.stop_token_ids) <= set(stops if isinstance(stops, list) else [stops])
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert type(model).__name__ == "LlamaForCausalLM" and model.config._attn_implementation == "sdpa"
    rows = read_metrics(output / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 2, 3, 4, 4]
    assert {"loss", "grad_norm", "learning_rate", "tokens_per_s", "trained_tokens"} <= rows[0].keys()
    assert {"held_out_loss", "held_out_loss_answer", "held_out_loss_stop"} <= rows[2].keys()
    assert (output / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_decay_is_a_share_of_the_steps_however_many_they_are(write_recipe):
    output = run(write_recipe(max_steps=8, lr_scheduler_type="warmup_stable_decay", warmup_ratio=0, decay_ratio=0.5))
    rates = [row["learning_rate"] for row in read_metrics(output / "metrics.jsonl") if "loss" in row]
    assert rates[:5] == [1e-3] * 5  # the decay begins behind the fourth step, at the peak
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 2e-4


def test_the_saved_model_learns_its_dialogues_and_stops_at_the_end_of_its_turn(write_recipe, tmp_path):
    rows = tmp_path / "two.jsonl"
    made = [("one", "The first."), ("two", "Second!")]
    rows.write_text("".join(json.dumps({"id": q, "messages": [{"role": "user", "content": q},
                    {"role": "assistant", "content": a}]}) + "\n" for q, a in made))  # fmt: skip
    output = run(
        write_recipe(train_data=[{"source": "messages", "path": [str(rows)]}], held_out_share=0, max_steps=150,
                     learning_rate=1e-2, per_device_train_batch_size=2, logging_steps=50)
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(output)
    tokenizer = AutoTokenizer.from_pretrained(output)
    for question, answer in made:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**prompt, max_new_tokens=60, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        assert tokenizer.decode(ids) == f"{answer}<|im_end|>"


WEIGHTED = pytest.mark.parametrize("weights", [{}, {"thought": 0.25, "answer": 3}], ids=["plain", "weighted"])


@WEIGHTED
def test_batch_1_with_accumulation_8_equals_8_with_1(write_recipe, weights):
    recipe = write_recipe(held_out_share=0, max_steps=5, loss_weights=weights)  # 40 rows
    one = run(recipe, "per_device_train_batch_size=1", "gradient_accumulation_steps=8")
    weights, one_losses = load_file(one / "model.safetensors"), losses(one)
    shutil.rmtree(one)
    eight = run(recipe, "per_device_train_batch_size=8", "gradient_accumulation_steps=1")
    assert losses(eight) == pytest.approx(one_losses, rel=1e-6)
    for name, tensor in load_file(eight / "model.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-5)


@WEIGHTED
def test_packed_rows_train_to_the_same_loss_as_the_same_dialogues_unpacked(write_recipe, weights):
    recipe = write_recipe(held_out_share=0, max_steps=1, max_length=16384, loss_weights=weights)
    packed = run(recipe, "packing=true", "per_device_train_batch_size=1")
    rows = read_manifest(packed)["data"]["rows"]
    packed_loss = losses(packed)
    shutil.rmtree(packed)
    unpacked = run(recipe, "packing=false", "per_device_train_batch_size=40")
    assert rows == 1 and losses(unpacked) == pytest.approx(packed_loss, rel=1e-6)


def test_weights_change_the_training_loss_and_neither_held_out_losses_nor_the_count_of_trained_tokens(write_recipe):
    recipe = write_recipe(max_steps=1, learning_rate=1e-12, eval_steps=1)  # the model stays as good as it is
    found = []
    for weights in ("{}", "{thought: 9}"):
        output = run(recipe, f"loss_weights={weights}")
        found.append(read_metrics(output / "metrics.jsonl"))
        shutil.rmtree(output)
    (plain, held_out), (weighted, held_out_weighted) = found
    assert weighted["loss"] != pytest.approx(plain["loss"], rel=1e-4)
    assert weighted["trained_tokens"] == plain["trained_tokens"]
    assert {"held_out_loss_thought", "held_out_loss_answer"} <= held_out.keys()
    assert held_out_weighted == pytest.approx(held_out, rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"use_peft": True, "lora_dropout": 0.1}], ids=["full", "lora"])
def test_a_resumed_run_ends_with_identical_bits(write_recipe, tmp_path, changes):
    # 32 rows, 8 steps an epoch: the checkpoint at step 10 lies inside the second epoch.
    recipe = write_recipe(max_steps=14, save_steps=5, eval_steps=3, save_total_limit=None, **changes)
    output = run(recipe)
    weights = "adapter_model.safetensors" if changes else "model.safetensors"
    expected, metrics, tokens = load_file(output / weights), losses(output), trained_tokens(output)
    for path in output.iterdir():  # as if killed after step 12: no final model, one checkpoint half written
        if path.is_file() and path.name not in ("run.json", "metrics.jsonl"):
            path.unlink()
    (output / "checkpoint-12").mkdir()
    (output / "checkpoint-12" / weights).touch()
    assert run(recipe) == output
    assert not (output / "checkpoint-12").exists()
    resumed = load_file(output / weights)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())
    assert losses(output) == metrics and trained_tokens(output) == tokens


def test_old_checkpoints_are_removed_over_the_limit(write_recipe):
    output = run(write_recipe(max_steps=6, save_steps=1, save_total_limit=2))
    assert sorted(path.name for path in output.glob("checkpoint-*")) == ["checkpoint-5", "checkpoint-6"]


def test_a_finished_run_is_not_trained_again(write_recipe, capsys):
    recipe = write_recipe(max_steps=1)
    output = run(recipe)
    before = (output / "model.safetensors").stat().st_mtime_ns
    run(recipe)
    assert "holds this run's final model already" in capsys.readouterr().out
    assert (output / "model.safetensors").stat().st_mtime_ns == before


def test_bfloat16_autocast_on_a_cpu_still_learns(write_recipe):
    output = run(write_recipe(dtype="bfloat16", max_steps=30, learning_rate=1e-2))
    assert losses(output)[-1] < 0.8 * losses(output)[0]
    assert AutoModelForCausalLM.from_pretrained(output).dtype == torch.bfloat16


def test_an_adapter_is_saved_with_everything_and_is_itself_a_model_to_train(write_recipe, tmp_path):
    output = run(write_recipe(use_peft=True, lora_r=4, max_steps=2))
    assert {"adapter_model.safetensors", "adapter_config.json", "generation_config.json", "chat_template.jinja",
            "manifest.json"} <= set(os.listdir(output))  # fmt: skip
    assert not (output / "model.safetensors").exists()
    further = run(write_recipe(name="further", model_name_or_path=str(output), use_peft=True, lora_r=4,
                               max_steps=2, output_dir=str(tmp_path / "further"))).parent / "further"  # fmt: skip
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (output, further))
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_without_its_base_model_is_refused(write_recipe, tiny_checkpoint, tmp_path, capsys):
    base = shutil.copytree(tiny_checkpoint, tmp_path / "base")
    adapter = run(write_recipe(model_name_or_path=str(base), use_peft=True, max_steps=1))
    shutil.rmtree(base)
    message = fails(capsys, write_recipe(model_name_or_path=str(adapter), output_dir=str(tmp_path / "again")))
    assert f"{adapter} is an adapter, and its base model '{base}' cannot be loaded" in message
    assert "adapter_config.json" in message


def test_a_model_that_is_not_there_is_refused(write_recipe, tmp_path, capsys):
    message = fails(capsys, write_recipe(model_name_or_path=str(tmp_path / "nowhere")))
    assert "nowhere' is neither a local checkpoint nor a model that can be fetched" in message


def test_lora_target_modules_that_name_nothing_are_refused(write_recipe, capsys):
    message = fails(capsys, write_recipe(use_peft=True, lora_target_modules=["query_key_value"]))
    assert "lora_target_modules: 'query_key_value' names no module of the model" in message


def test_an_unknown_recipe_key_is_refused(write_recipe, capsys):
    assert "did you mean 'learning_rate'" in fails(capsys, write_recipe(), "learning_rte=1e-4")


def test_an_output_directory_with_other_files_is_refused(write_recipe, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    message = fails(capsys, write_recipe())
    assert "is in use: it holds thesis.tex" in message and "another output_dir" in message
    assert not (tmp_path / "run" / "data").exists()


def test_an_output_directory_that_cannot_be_made_is_refused_in_words(write_recipe, tmp_path, capsys):
    (tmp_path / "file").touch()
    message = fails(capsys, write_recipe(), f"output_dir={tmp_path}/file/run")
    assert f"output_dir {tmp_path}/file/run cannot be written" in message and "another output_dir" in message


def test_an_output_directory_of_another_recipe_is_refused_and_the_difference_named(write_recipe, capsys):
    recipe = write_recipe(max_steps=1)
    run(recipe)
    message = fails(capsys, recipe, "learning_rate=0.002", "loss_weights.answer=2")
    assert "with another recipe" in message and "learning_rate was 0.001, is 0.002" in message
    assert "loss_weights was {}, is {'answer': 2.0}" in message


def test_an_output_directory_of_a_live_run_is_refused(write_recipe, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        assert "is in use by another run that is alive" in fails(capsys, write_recipe())


def test_resume_never_refuses_to_overwrite(write_recipe, capsys):
    recipe = write_recipe(max_steps=2, save_steps=1)
    run(recipe)
    assert "resume is 'never'" in fails(capsys, recipe, "resume=never")


def test_a_checkpoint_of_other_data_is_not_resumed_from(write_recipe, tmp_path, capsys):
    from tests.training.conftest import write_sums

    recipe = write_recipe(max_steps=2, save_steps=1)
    other = run(recipe)
    rows = write_sums(tmp_path / "other.jsonl", 40, seed=1)
    message = fails(
        capsys,
        write_recipe(train_data=[{"source": "messages", "path": [str(rows)]}], max_steps=2,
                     output_dir=str(tmp_path / "new"), resume=str(other / "checkpoint-1")),
    )  # fmt: skip
    assert "cannot resume from" in message and "changed: the training samples built" in message


def test_a_resume_path_that_is_no_complete_checkpoint_is_refused(write_recipe, tmp_path, capsys):
    assert "is no complete checkpoint" in fails(capsys, write_recipe(resume=str(tmp_path / "checkpoint-9")))


@pytest.mark.parametrize("torch_words", [False, True], ids=["system", "torch"])
def test_a_full_disk_while_saving_keeps_the_last_complete_checkpoint(write_recipe, capsys, monkeypatch, torch_words):
    real, saved = checkpoint.write_manifest, []

    def full_after_one(folder, manifest):
        if saved:
            raise (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0: file write failed")
                   if torch_words else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))  # fmt: skip
        saved.append(folder)
        return real(folder, manifest)

    monkeypatch.setattr(checkpoint, "write_manifest", full_after_one)
    recipe = write_recipe(max_steps=3, save_steps=1)
    output = recipe.parent / "run"
    message = fails(capsys, recipe)
    for step in (2, 3):  # the run goes on, and each save is tried
        assert f"WARNING: checkpoint-{step} is NOT saved: no space left on the disk" in message
    assert "error: the final model is NOT saved: no space left on the disk" in message
    assert f"goes on from {output}/checkpoint-1" in message
    assert [path.name for path in output.glob("checkpoint-*")] == ["checkpoint-1"] and len(losses(output)) == 3
    monkeypatch.setattr(checkpoint, "write_manifest", real)
    run(recipe)
    assert f"resuming from {output}/checkpoint-1" in capsys.readouterr().out


def test_data_without_a_trained_token_is_refused(write_recipe, capsys):
    message = fails(capsys, write_recipe(train_on=["call"]))
    assert "no_trained_token 40" in message


def test_a_loss_that_is_not_finite_ends_the_run(write_recipe, capsys):
    message = fails(capsys, write_recipe(learning_rate=1e30, max_grad_norm=0, max_steps=6))
    assert "stopped at step" in message and ("the loss is" in message or "the norm of the gradients is" in message)
