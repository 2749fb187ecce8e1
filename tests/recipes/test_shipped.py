"""Every recipe of the repository loads, can be run as its header says, and never trains on a benchmark."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from data_prep.published import PUBLISHED
from data_prep.sources import SOURCES
from recipes import Recipe, load_recipe
from recipes.load import shipped_recipes, to_values, validate

ROOT = Path(__file__).resolve().parents[2]
RECIPES = shipped_recipes()
# Test rows of a benchmark, by any name they go by in files and on the hub.
BENCHMARKS = ("mathchat/", "mathchat benchmark", "follow_up", "error_correction", "error_analysis", "p2p_generation",
              "test.jsonl", "gsm8k:main@test", "bfcl", "gta", "toolquery", "tool-query")  # fmt: skip


def header(path: Path) -> list[str]:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [line[1:].strip() for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]


def commands(path: Path) -> list[str]:
    return [line for line in header(path) if line.startswith(("python ", "accelerate "))]


@pytest.fixture(params=RECIPES, ids=str)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    return request.param


def test_the_recipes_of_both_papers_are_there() -> None:
    names = {f"{path.parent.name}/{path.stem}" for path in RECIPES}
    models = [f"button/{model}" for model in ("llama3-8b", "llama3-70b", "qwen2-7b", "qwen2-72b")]
    models += ["mathchat/mistral-7b", "mathchat/gemma-7b"]
    assert {f"{model}-{method}" for model in models for method in ("full", "lora")} <= names
    assert {"quickstart/button", "quickstart/math", "mixed/qwen2-7b-lora"} <= names
    assert {f"button-scaling/llama3-8b-{count}" for count in ("2k", "4k", "6k")} <= names
    arms = ("program", "parallel-off", "no-bottom-up", "no-top-down")
    assert {f"button-ablation/llama3-8b-{arm}" for arm in arms} <= names
    assert {f"mathchat-mix/mistral-7b-{mix}" for mix in ("gsm8k", "openhermes", "all")} <= names


def test_the_recipes_of_a_series_differ_from_the_papers_own_in_their_data_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    of_paper = {
        "button-scaling": "button/llama3-8b-full",
        "button-ablation": "button/llama3-8b-full",
        "mathchat-mix": "mathchat/mistral-7b-full",
    }
    held_out = {"button-ablation": {"held_out_data", "held_out_share"}}  # dialogues held out of the whole series
    for path in RECIPES:
        if path.parent.name in of_paper:
            own = to_values(load_recipe(path))
            papers = to_values(load_recipe(f"recipes/{of_paper[path.parent.name]}.yaml"))
            assert {key for key in own if own[key] != papers[key]} == {
                "name", "output_dir", "train_data", *held_out.get(path.parent.name, ())
            }  # fmt: skip


def test_a_shipped_recipe_loads_and_its_resolved_form_loads_to_the_same(path: Path) -> None:
    recipe = load_recipe(path)
    assert validate(yaml.safe_load(yaml.safe_dump(to_values(recipe))), "resolved") == recipe


def test_a_shipped_recipe_is_named_after_its_file_and_writes_where_no_other_does(path: Path) -> None:
    assert load_recipe(path).name == f"{path.parent.name}-{path.stem}"
    others = [load_recipe(other).output_dir for other in RECIPES if other != path]
    assert load_recipe(path).output_dir not in others


def test_a_header_gives_the_command_the_hardware_what_to_expect_and_the_licences(path: Path) -> None:
    text = header(path)
    for label in ("Hardware:", "Expect:", "Data:", "Model:"):
        assert any(line.startswith(label) for line in text), f"{path} has no {label}"
    [launch] = [command for command in commands(path) if command.startswith("accelerate ")]
    words = shlex.split(launch)
    assert words[:3] == ["accelerate", "launch", "--config_file"] and words[4] == "train.py"
    assert words[5:] == [str(path)], "the header launches this very recipe"


def test_a_headers_commands_name_files_that_exist(path: Path) -> None:
    recipe = load_recipe(path)
    made = {value for command in commands(path) for value in _after(shlex.split(command), "--out")}
    for command in commands(path):
        for word in shlex.split(command):
            if word.endswith((".yaml", ".py")):
                assert (ROOT / word).exists(), f"{path}: {command}: there is no {word}"
    # What the recipe reads and the repository does not hold is fetched or made by a command above it.
    needed = [file for entry in (*recipe.train_data, *(recipe.held_out_data or ())) for file in entry.path]
    fetched = {f"data/{name}" for name in PUBLISHED if any(name in command.split() for command in commands(path))}
    for file in needed:
        is_hub_id = file.count("/") == 1 and not file.endswith((".jsonl", ".json"))
        assert is_hub_id or file in made or str(Path(file).parent) in fetched, f"{path}: nothing makes {file}"
    if recipe.model_name_or_path.startswith("runs/"):
        assert recipe.model_name_or_path in made


def test_a_download_in_a_header_gives_the_file_that_the_recipe_reads(path: Path) -> None:
    for entry in load_recipe(path).train_data:
        for file in entry.path:
            if file.startswith("data/"):
                published = PUBLISHED[Path(file).parent.name]
                assert Path(file).name in {item.name for item in published.files}
                assert entry.source == published.source


def test_benchmark_data_is_never_a_training_source(path: Path) -> None:
    recipe = load_recipe(path)
    for entry in recipe.train_data:
        assert entry.source in SOURCES
        for file in entry.path:
            hits = [mark for mark in BENCHMARKS if mark in f"{file}@{entry.split}".lower()]
            assert not hits, f"{path} trains on {file}, which is benchmark data ({hits})"


def test_every_recipe_but_the_offline_ones_is_compared_with_the_papers_benchmarks(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.deduplicate == "exact"
    assert recipe.decontaminate == (() if path.parent.name == "quickstart" else ("gsm8k", "mathchat"))
    [*downloads] = [shlex.split(command) for command in commands(path) if " download " in command]
    assert set(recipe.decontaminate) <= {name for words in downloads for name in words}, "the header fetches them"


def test_a_launch_file_fits_what_the_recipe_trains(path: Path) -> None:
    recipe = load_recipe(path)
    [launch] = [command for command in commands(path) if command.startswith("accelerate ")]
    uses_cpu = yaml.safe_load((ROOT / shlex.split(launch)[3]).read_text(encoding="utf-8"))["use_cpu"]
    assert (recipe.dtype == "float32") == uses_cpu
    assert recipe.report_to == "none" or not uses_cpu


def shared(recipe: Recipe, fields: tuple[str, ...]) -> dict[str, object]:
    return {field: value for field, value in to_values(recipe).items() if field in fields}


def test_recipes_that_differ_in_method_or_model_share_data_and_masking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    fields = ("train_data", "held_out_share", "deduplicate", "decontaminate", "group_by", "train_on", "only_last_turn",
              "loss_weights", "max_length", "over_length", "packing", "seed", "tool_format", "history",
              "control_text")  # fmt: skip
    for folder in ("button", "mathchat"):
        found = [shared(load_recipe(path), fields) for path in RECIPES if path.parent.name == folder]
        assert all(values == found[0] for values in found)


def _after(words: list[str], option: str) -> list[str]:
    return [words[index + 1] for index, word in enumerate(words[:-1]) if word == option]
