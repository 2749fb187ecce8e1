"""Model cards: the hub reads them, they state every licence, and scores are those of the reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from eval.__main__ import main
from eval.card import add_scores, is_inside
from eval.protocol import EvalError
from recipes import load_recipe
from recipes.card import MARK, base_model, model_card, write_card
from recipes.load import shipped_recipes
from recipes.manifest import make_manifest, write_manifest
from training.hand_off import data_sources

ROW = {"n": 40, "score": 0.3125, "low": 0.2, "high": 0.45, "unparsed": 3}


def manifest_of(name: str) -> dict[str, Any]:
    recipe = load_recipe(Path("recipes") / name)
    data = {"sources": data_sources(recipe), "rows": 90, "held_out_rows": 10}
    launch = {"distributed_type": "MULTI_GPU", "processes": 8, "device": "cuda"}
    made = make_manifest(recipe, encoder={"tool_format": "button"}, data=data, tokenizer={}, launch=launch)
    return made | {"step": 1200, "trained_tokens": 3_000_000}


def report_of(model: Path) -> dict[str, Any]:
    return {"format": 1, "model": str(model), "tasks": {"calls": {"metrics": {"name_right": ROW}}}}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A trained run with its card, and an evaluation inside it."""
    run = tmp_path / "run"
    manifest = manifest_of("mixed/qwen2-7b-lora.yaml")
    write_manifest(run, manifest)
    write_card(run, manifest)
    (run / "eval").mkdir()
    (run / "eval" / "report.json").write_text(json.dumps(report_of(run)))
    return run


def test_the_front_matter_is_what_the_hub_reads() -> None:
    card = ModelCard(model_card(manifest_of("mixed/qwen2-7b-lora.yaml"), [report_of(Path("x"))])).data
    assert (card.base_model, card.license, card.library_name) == ("Qwen/Qwen2-7B", "apache-2.0", "peft")
    assert card.datasets == ["teknium/OpenHermes-2.5"] and "lora" in card.tags
    [result] = card.eval_results
    assert (result.dataset_name, result.metric_name, result.metric_value) == ("calls", "name_right", 31.25)
    full = ModelCard(model_card(manifest_of("button/qwen2-72b-full.yaml"))).data
    assert (full.license, full.license_name, full.library_name) == ("other", "see-below", "transformers")
    assert not full.eval_results


def test_every_training_source_stands_in_the_card_with_its_licence_and_attribution() -> None:
    text = model_card(manifest_of("mixed/qwen2-7b-lora.yaml"))
    assert "CC BY 4.0, Chen et al. 2024 (arXiv 2410.12952)" in text
    assert "no licence is published with the file; Liang et al. 2024" in text
    assert "none stated on the hub" in text
    assert "## Evaluation" not in text and "1,200 optimizer steps" in text and "learning_rate | 0.0001" in text


@pytest.mark.parametrize("path", shipped_recipes(), ids=str)
def test_a_shipped_recipes_base_model_has_the_licence_that_its_header_names(path: Path) -> None:
    base = base_model(load_recipe(path).model_name_or_path)
    [line] = [line for line in path.read_text().splitlines() if line.startswith("# Model: ")]
    assert base.words in line


def test_rows_made_by_program_are_known_by_their_ids_and_unknown_rows_state_no_licence(tmp_path: Path) -> None:
    from data_prep.__main__ import main as data_prep

    made, other = tmp_path / "made.jsonl", tmp_path / "other.jsonl"
    assert data_prep(["synth", "mathchat", "--out", str(made), "--rows", "2"]) == 0
    other.write_text('{"id": "x"}\n')
    recipe = load_recipe("recipes/quickstart/math.yaml", [f"train_data.0.path=[{made}, {other}]"])
    assert [source["licence"].split(",")[0] for source in data_sources(recipe)] == [
        "made by program (`python -m data_prep synth`)",
        "not stated; see where it comes from",
    ]


def test_scores_with_their_intervals_come_from_the_reports_on_this_very_model(run_dir: Path) -> None:
    (run_dir / "sweep" / "checkpoint-5").mkdir(parents=True)
    other = report_of(run_dir / "checkpoint-5") | {"tasks": {"other": {"metrics": {"m": ROW}}}}
    (run_dir / "sweep" / "checkpoint-5" / "report.json").write_text(json.dumps(other))
    (run_dir / "data").mkdir()
    (run_dir / "data" / "report.json").write_text('{"read": 100}')  # the build's
    assert main(["card", str(run_dir)]) == 0
    text = (run_dir / "README.md").read_text()
    assert "| calls | name_right | 40 | 31.2 | 20.0 to 45.0 | 3 |" in text and "| other |" not in text
    assert is_inside(run_dir / "eval", run_dir) and not is_inside(run_dir.parent / "elsewhere", run_dir)


def test_a_card_that_someone_has_taken_over_is_left_alone(run_dir: Path) -> None:
    own = (run_dir / "README.md").read_text().replace(MARK, "My model.")
    (run_dir / "README.md").write_text(own)
    with pytest.raises(EvalError, match="is your own by now"):
        add_scores(run_dir)
    assert (run_dir / "README.md").read_text() == own and not is_inside(run_dir / "eval", run_dir)
    with pytest.raises(EvalError, match=r"holds no manifest\.json"):
        add_scores(run_dir / "eval")
