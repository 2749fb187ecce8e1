"""The doctor: counts against real models, memory laws, mistakes, and what it says of the papers' models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from recipes import load_recipe
from recipes.schema import Recipe
from tests.training.paper_models import CONFIGS, PARAMETERS, paper_config
from training.__main__ import main
from training.doctor_checks import mistakes
from training.doctor_data import Data, data_of
from training.doctor_sizes import Traces, sizes_of
from training.memory import GIB, Strategy, memory_of, strategies, strategy_of
from training.trace import MicroBatch, Numbers, trace

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
FLOAT32 = Numbers(torch.float32, autocast=False)


def told(recipe: Recipe, config: Any, data: Data | None = None, processes: int = 1) -> str:
    return "\n".join(mistakes(recipe, config, data or data_of(recipe, False), processes, on_gpu=False))


@pytest.fixture
def tiny(write_recipe, tiny_checkpoint) -> tuple[Callable[..., Recipe], Any]:
    """Makes recipes of the tiny checkpoint; its config."""
    return lambda **changes: load_recipe(write_recipe(**changes)), AutoConfig.from_pretrained(tiny_checkpoint)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_papers_models_have_the_parameters_of_their_cards(name):
    sizes = sizes_of(paper_config(name), load_recipe(f"recipes/button/{name}-full.yaml"))
    assert sizes.frozen == 0 and sizes.trained == pytest.approx(PARAMETERS[name], rel=2e-3)


def test_counts_of_an_adapter_are_those_of_the_model_that_is_trained(tiny, tiny_checkpoint):
    from peft import get_peft_model

    from training.model import lora_config

    make, config = tiny
    recipe = make(use_peft=True, lora_r=4, lora_modules_to_save=["lm_head"])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_checkpoint), lora_config(recipe))
    sizes = sizes_of(config, recipe)
    assert (sizes.trained, sizes.trained + sizes.frozen) == model.get_nb_trainable_parameters()


def test_what_backward_leaves_is_the_gradients_and_nothing_else(tiny):
    _, config = tiny
    size = sizes_of(config, tiny[0]()).trained * 4
    last = trace(config, None, MicroBatch(64, 32, 32), FLOAT32, checkpointing=False).moments[-1]
    assert last.gradients == size and last.activations < 0.1 * size + 64 * 1024


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_deep_model_drawn_along_the_line_has_the_peak_of_one_traced_whole(checkpointing):
    config = paper_config("qwen2-7b")
    for name, value in (("hidden_size", 256), ("intermediate_size", 1024), ("num_attention_heads", 4),
                        ("vocab_size", 4096), ("num_hidden_layers", 12)):  # fmt: skip
        setattr(config, name, value)
    batch = MicroBatch(512, 128, 256)
    drawn = trace(config, None, batch, FLOAT32, checkpointing=checkpointing)
    from training.trace import _traced

    whole = _traced(config, None, batch, FLOAT32, checkpointing)
    for share in (0.0, 0.5, 1.0):
        peaks = [found.peak(share) for found in (drawn, whole)]
        totals = [peak.activations + peak.logits + share * peak.gradients for peak in peaks]
        assert totals[0] == pytest.approx(totals[1], rel=0.02)


def test_checkpointing_and_shorter_batches_hold_less(tiny):
    config = paper_config("llama3-8b")
    peaks = [
        trace(config, None, MicroBatch(tokens, 1, tokens), FLOAT32, checkpointing=checkpointing).peak(0)
        for tokens, checkpointing in ((2048, False), (1024, False), (2048, True))
    ]
    half = peaks[0].activations / 2
    one_gradient = 4 * config.vocab_size * config.hidden_size  # the largest weight's, before it counts as a gradient
    assert half <= peaks[1].activations <= half + one_gradient / 2 + 0.01 * half
    assert peaks[2].activations < 0.2 * peaks[0].activations


def test_each_zero_stage_shards_one_part_more_and_offload_moves_it(tiny):
    make, config = tiny
    recipe, traces = make(), Traces(config, on_gpu=False)
    batch = MicroBatch(8, 4, 8)  # so few tokens that the peak is at the end, when all gradients are there

    def parts(stage: int, **offload: bool) -> Any:
        plan = Strategy("zero", 4, stage, **offload)
        return memory_of(recipe, plan, traces.sizes(recipe), traces.trace(recipe, plan, batch), 32, on_gpu=False)

    own = [parts(stage) for stage in range(4)]
    assert own[1].optimizer < own[0].optimizer and own[2].gradients < own[1].gradients
    assert own[3].weights == own[2].weights / 4
    moved = parts(3, offload_optimizer=True, offload_weights=True)
    assert moved.optimizer == moved.weights == 0 and moved.main_memory > own[3].optimizer
    assert moved.activations >= own[3].activations and moved.activations > 0, "activations stay on the device"


@pytest.mark.parametrize(
    ("file", "kind"), [("cpu", "single"), ("cpu_ddp", "ddp"), ("cpu_zero3", "zero"), ("fsdp2", "fsdp")]
)
def test_a_launch_file_is_read_as_what_it_starts(file, kind):
    strategy, on_cpu = strategy_of(Path(f"accelerate_configs/{file}.yaml"))
    assert strategy.kind == kind and on_cpu == file.startswith("cpu")
    offload, _ = strategy_of(Path("accelerate_configs/zero3_offload.yaml"))
    assert offload == Strategy("zero", 8, 3, offload_optimizer=True, offload_weights=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_length": 20000}, "over the model's 16,384 positions"),
        ({"learning_rate": 2e-2}, "outside what is usual for all weights"),
        ({"learning_rate": 1e-6, "use_peft": True}, "outside what is usual for an adapter"),
        ({"save_steps": 500, "max_steps": 20}, "save_steps: 500 is more than the run's 20 steps"),
        ({"packing": True, "per_device_train_batch_size": 4}, "only cost memory"),
        ({"max_steps": 4}, "too few to learn from"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(tiny, changes, said):
    make, config = tiny
    sound = make(learning_rate=1e-5, max_steps=200)
    assert told(sound, config) == ""
    assert said in told(make(**{"learning_rate": 1e-5, "max_steps": 200, **changes}), config)


def test_a_step_of_more_rows_than_there_are_and_a_padding_token_that_stops_are_told(tiny):
    make, config = tiny
    recipe = make(learning_rate=1e-5, gradient_accumulation_steps=64, max_steps=-1)
    data = data_of(recipe, True)
    assert "a step is more than an epoch" in told(recipe, config, data)
    assert "pad = eos" not in told(recipe, config, data)
    data.encoder.tokenizer.pad_token = data.encoder.tokenizer.eos_token
    assert "pad = eos" in told(recipe, config, data)


def test_the_report_counts_what_training_will_read(write_recipe, capsys):
    recipe = write_recipe(max_length=512, packing=True)
    assert main(["doctor", str(recipe), "--accelerate", "accelerate_configs/cpu.yaml", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    built = json.loads((recipe.parent / "run" / "data" / "report.json").read_text())
    assert report["data"]["rows"] == built["train"]["rows"] if "train" in built else report["data"]["rows"] > 0
    assert report["data"]["steps"] == 4 and report["own"]["strategy"] == "one process"
    assert report["parameters"]["frozen"] == 0 and report["data"]["trained_tokens"] < report["data"]["tokens"]


def test_a_config_file_is_enough_and_a_run_that_does_not_fit_ends_with_1(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama3-8b"]))
    command = ["doctor", "recipes/button/llama3-8b-full.yaml", "--config", str(tmp_path / "config.json"), "--no-data",
               "--tflops", "350", "max_steps=100"]  # fmt: skip
    assert main([*command, "--accelerate", "accelerate_configs/ddp.yaml"]) == 1
    said = capsys.readouterr().out
    assert "8,030.3 M trained" in said and "DOES NOT FIT" in said and "cheapest that fits: full" in said
    assert main([*command, "--accelerate", "accelerate_configs/zero3.yaml"]) == 0
    assert "fits" in capsys.readouterr().out


def test_the_papers_full_fine_tuning_of_70b_needs_more_than_one_gpu():
    recipe = load_recipe("recipes/button/llama3-70b-full.yaml")
    traces = Traces(paper_config("llama3-70b"), on_gpu=True)
    batch = MicroBatch(8192, 8192, 8192)
    totals = {
        plan: memory_of(recipe, plan, traces.sizes(recipe), traces.trace(recipe, plan, batch), 8192, True).total() / GIB
        for plan in strategies(8)
    }
    assert min(total for plan, total in totals.items() if not plan.offload_optimizer) > 80
    assert totals[Strategy("zero", 8, 3, offload_optimizer=True, offload_weights=True)] < 80
