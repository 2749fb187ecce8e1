"""Every shipped recipe takes two steps as it stands: a tiny model of its architecture, rows of its sources' formats."""

from __future__ import annotations

import json
import math
import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import train
from data_prep.button import to_messages
from data_prep.dialogue import Dialogue, Message, ToolCall
from recipes import Recipe, load_recipe
from recipes.load import shipped_recipes
from recipes.manifest import read_manifest
from tests.assets import tokenizer_dir
from training.progress import read_metrics
from training.smollm2 import smollm2_dir
from training.tiny import save_tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning"),
]
# One of each series: its others differ in how many rows of which source they draw, and load in tests/recipes.
SERIES = {
    "button-scaling": "llama3-8b-2k",
    "button-ablation": "llama3-8b-no-top-down",
    "mathchat-mix": "mistral-7b-all",
}
RECIPES = [str(path) for path in shipped_recipes() if SERIES.get(path.parent.name, path.stem) == path.stem]
# Part of a model's name -> where a tokenizer of that family comes from without a hub.
FAMILIES: dict[str, Callable[[], Path]] = {
    "smollm2": smollm2_dir,
    "llama-3": lambda: tokenizer_dir("llama3"),
    "qwen2": lambda: tokenizer_dir("qwen2_5"),
    "mistral": lambda: tokenizer_dir("mistral_nemo"),
    "gemma": lambda: tokenizer_dir("gemma"),
}
ROWS = 8
# Half precision is slow on a CPU, so one recipe of each family is tried in it.
IN_BFLOAT16 = ("recipes/button/llama3-8b-full", "recipes/button/qwen2-7b-lora", "recipes/mathchat/")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_models("google/gemma-7b")`: a tiny model of that architecture with a tokenizer of that family."""
    made: dict[str, Path] = {}

    def model_for(name: str) -> Path:
        family = next(family for family in FAMILIES if family in name.lower())
        if family not in made:
            tokenizer = AutoTokenizer.from_pretrained(FAMILIES[family]())
            if family == "gemma":  # the packaged copy has these in its vocabulary but not in its list of special tokens
                tokenizer.add_special_tokens({"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
            layers = 30 if family == "smollm2" else 2  # the quickstart names layers by number
            made[family] = save_tiny_model(name, tokenizer, tmp_path_factory.mktemp(family) / "model", layers=layers)
        return made[family]

    return model_for


def button_row(rng: random.Random, number: int) -> dict[str, Any]:
    """A BUTTON row: two functions of its own, one called."""
    names = [f"get_thing_{number}", f"set_thing_{number}"]
    parameters = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}
    tools = [{"type": "function", "function": {"name": name, "description": "A thing.", "parameters": parameters}}
             for name in names]  # fmt: skip
    call = ToolCall(id="call_0", name=names[0], arguments={"size": rng.randint(1, 99)})
    messages = (
        Message(role="user", content=f"Which thing is number {number}?"),
        Message(role="assistant", content="The thing must be looked up.", tool_calls=(call,)),
        Message(role="tool", tool_call_id="call_0", name=names[0], content='{"thing": "lamp"}'),
        Message(role="assistant", content="It is a lamp.", thinking="The result says so."),
    )
    dialogue = Dialogue(id=f"b{number}", source="button", messages=messages, tools=tuple(tools),
                        meta={"parallel_calls": True})  # fmt: skip
    return {"messages": to_messages(dialogue)}


def sharegpt_row(rng: random.Random, number: int) -> dict[str, Any]:
    """A row of OpenHermes-2.5's form."""
    a = rng.randint(1, 9999)
    turns = [
        ("human", f"Question {number}: which number follows {a} when counting upwards by one?"),
        ("gpt", str(a + 1)),
    ]
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in turns]}


def gsm8k_row(rng: random.Random, number: int) -> dict[str, Any]:
    """A problem of GSM8K's form."""
    a = rng.randint(1, 9999)
    return {"question": f"Problem {number}: what is {a} plus one?", "answer": f"{a} + 1 = {a + 1}.\n#### {a + 1}"}


STAND_INS = {"button": button_row, "sharegpt": sharegpt_row, "mathchatsync": sharegpt_row, "gsm8k": gsm8k_row}


def stand_in_overrides(recipe: Recipe, folder: Path) -> list[str]:
    """The recipe's data entries, each with rows made here in place of its files, and no more of them than there are."""
    overrides = []
    for field in ("train_data", "held_out_data"):
        for index, entry in enumerate(getattr(recipe, field) or ()):
            rng = random.Random(f"{field}{index}")
            first = ROWS * (index + 10 * (field == "held_out_data"))
            path = folder / f"{field}-{index}.jsonl"
            rows = [STAND_INS[entry.source](rng, first + number) for number in range(ROWS)]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            overrides.append(f"{field}.{index}.path={json.dumps(str(path))}")
            if entry.samples:
                overrides.append(f"{field}.{index}.samples={ROWS // 2}")
    return overrides


@pytest.mark.parametrize("path", RECIPES)
def test_every_shipped_recipe_trains_two_steps(path, tiny_models, tmp_path):
    recipe = load_recipe(path)
    model, output = tiny_models(recipe.model_name_or_path), tmp_path / "run"
    overrides = [
        *stand_in_overrides(recipe, tmp_path),
        f"model_name_or_path={model}", f"output_dir={output}", "max_steps=2", "save_steps=1", "eval_steps=2",
        "decontaminate=[]",  # the evaluation sets are not downloaded here, and the rows are made up
    ]  # fmt: skip
    if not path.startswith(IN_BFLOAT16):
        overrides.append("dtype=float32")
    if recipe.held_out_share:
        overrides.append("held_out_share=0.25")  # a hundredth of so few rows is none
    assert train.main([path, *overrides]) == 0
    losses = [row["loss"] for row in read_metrics(output / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 2 and all(math.isfinite(loss) for loss in losses)
    manifest = read_manifest(output)
    assert manifest["recipe"]["name"] == recipe.name and manifest["step"] == 2
    saved = {file.name for file in output.iterdir()}
    assert ("adapter_model.safetensors" if recipe.use_peft else "model.safetensors") in saved
    if not recipe.use_peft:
        assert str(AutoModelForCausalLM.from_pretrained(output).dtype) == f"torch.{manifest['recipe']['dtype']}"


def test_packages_that_recipes_report_to_are_extras_or_dependencies():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    known = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    for path in RECIPES:
        tracker = load_recipe(path).report_to
        assert tracker == "none" or any(line.startswith(tracker) for line in known), (path, tracker)
