"""Loading: everything wrong is said at once, with file, key, value and remedy; overrides reach anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recipes import Recipe, RecipeError, load_recipe
from recipes.__main__ import main
from recipes.load import to_values, validate

SMALLEST: dict[str, Any] = {
    "name": "smallest",
    "model_name_or_path": "runs/models/tiny",
    "learning_rate": 1e-4,
    "output_dir": "runs/smallest",
    "train_data": [{"source": "button", "path": "a.jsonl"}],
    "held_out_share": 0.1,
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**SMALLEST, **changes}), encoding="utf-8")
    return path


def error(path: Path | str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def checked(**changes: Any) -> Recipe:
    return validate({**SMALLEST, **changes}, "recipe.yaml")


def problem(**changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        checked(**changes)
    return str(caught.value)


# Files


def test_a_missing_file_names_the_nearest_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    assert "did you mean recipes/quickstart/button.yaml?" in error("recipes/quickstart/buton.yaml")


def test_an_empty_file_says_where_to_start(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert f"{path}: is empty; start from" in error(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "holds a list; a recipe is a mapping"),
        ("a: [1\n", "is not YAML"),
        ("seed: 1\nname: x\nseed: 2\n", "key 'seed' is given twice"),
        ("\x00", "is not YAML"),
        ("1: x\n", "1: "),
        ("a: " + "[" * 3000, "is not YAML"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    assert message in error(path) and str(path) in error(path)


def test_a_directory_or_binary_file_is_refused_in_words(tmp_path: Path) -> None:
    assert "cannot be read as a recipe" in error(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as a recipe" in error(path)


# Keys and values


def test_an_unknown_key_fails_with_the_nearest_valid_name() -> None:
    assert "learning_rat: there is no such key (value 0.1); did you mean 'learning_rate'?" in problem(learning_rat=0.1)
    entry = {"source": "button", "path": "a.jsonl", "sample": 3}
    assert "train_data.0.sample: there is no such key (value 3); did you mean 'samples'?" in problem(train_data=[entry])


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    text = error(write(tmp_path, warmup_ratio=2, dtype="float8", lerning_rate=1, train_data=[{"source": "button"}]))
    lines = text.splitlines()
    assert len(lines) == 4 and all(line.startswith(str(tmp_path)) for line in lines)
    for key in ("warmup_ratio: got 2", "dtype: got 'float8'", "lerning_rate", "train_data.0.path: is missing"):
        assert key in text


@given(st.floats(min_value=1e-12, max_value=1e6, allow_nan=False))
def test_a_number_written_as_text_is_that_number(number: float) -> None:
    assert checked(learning_rate=f"{number:e}").learning_rate == float(f"{number:e}")
    assert checked(learning_rate=repr(number)).learning_rate == number


@given(st.integers(min_value=16, max_value=10**9))
def test_a_whole_number_survives_any_spelling(number: int) -> None:
    for spelling in (number, str(number), float(number), f"{number}.0", f"{number / 10**3!r}e3"):
        if float(spelling) == number:
            assert checked(max_length=spelling).max_length == number


@given(st.one_of(st.booleans(), st.text(max_size=5), st.floats(), st.none(), st.lists(st.integers(), max_size=2)))
def test_a_learning_rate_is_a_positive_finite_number_or_an_error(value: Any) -> None:
    try:
        recipe = checked(learning_rate=value)
    except RecipeError as failed:
        assert "learning_rate" in str(failed)
    else:
        assert 0 < recipe.learning_rate < float("inf") and not isinstance(value, bool)


def test_yaml_reads_1e_4_as_text_and_the_recipe_as_a_number(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("learning_rate: 0.0001", "learning_rate: 1e-4"), encoding="utf-8")
    assert isinstance(yaml.safe_load(path.read_text())["learning_rate"], str)
    assert load_recipe(path).learning_rate == 1e-4


@pytest.mark.parametrize("value", [True, "1e-3", 1.5, "many"])
def test_a_count_is_whole(value: Any) -> None:
    assert "max_length: got" in problem(max_length=value)


def test_one_path_may_be_written_without_a_list() -> None:
    assert checked().train_data[0].path == ("a.jsonl",)
    assert checked(train_data=[{"source": "button", "path": ["a", "b"]}]).train_data[0].path == ("a", "b")


def test_a_recipe_does_not_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        checked().seed = 1  # type: ignore[misc]


# Between fields


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out_share": None}, "exactly one of them must be given"),
        ({"held_out_data": [{"source": "button", "path": "b.jsonl"}]}, "exactly one of them must be given"),
        ({"share_prefixes": True, "packing": False}, "share_prefixes: needs packing: true"),
        ({"share_prefixes": True, "attn_implementation": "eager"}, "share_prefixes: needs packing: true"),
        ({"attn_implementation": "paged|sdpa"}, "set packing: false, or attn_implementation to one of sdpa"),
        ({"max_steps": 0}, "max_steps: 0 trains nothing"),
        ({"train_on": []}, "train_on: got []"),
        ({"train_on": ["call", "call"]}, "'call' is listed twice"),
        ({"train_on": ["calls"]}, "'thought', 'call' or 'answer'"),
        (
            {"loss_weights": {"call": 2}, "train_on": ["thought", "answer"]},
            "add it to train_on, or leave out its weight",
        ),
        ({"loss_weights": {"calls": 2}}, "'thought', 'call' or 'answer'"),
        ({"loss_weights": {"call": 0}}, "loss_weights.call: got 0"),
        ({"loss_weights": {"call": True}}, "loss_weights.call: got True"),
        ({"held_out_share": 0, "eval_steps": 5}, "eval_steps: nothing is held out"),
        ({"train_data": []}, "train_data: got []"),
        ({"new_tokens": ["<a>", "<b>", "<a>"]}, "new_tokens: '<a>' is listed twice"),
        ({"new_tokens": ["<a>", ""]}, "new_tokens.1: got ''"),
        ({"use_peft": True, "lora_modules_to_save": ""}, "lora_modules_to_save.0: got ''"),
        ({"use_peft": True, "lora_target_modules": "(q_proj"}, "lora_target_modules: '(q_proj' is no pattern"),
        ({"seed": 2**32}, "seed: got 4294967296"),
        ({"num_train_epochs": 1e300}, "num_train_epochs: got 1e+300"),
        ({"lr_scheduler_type": "warmup_stable_decay", "warmup_ratio": 0.6, "decay_ratio": 0.5}, "more than all steps"),
        ({"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}, "the polynomial schedule ends at 1e-7"),
    ],
)
def test_fields_that_contradict_each_other_fail_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    assert message in problem(**changes)


def test_attention_that_leaks_is_fine_without_packing() -> None:
    assert not checked(attn_implementation="paged|sdpa", packing=False).packing


def test_some_weights_and_some_none_is_an_error() -> None:
    entries = [{"source": "button", "path": "a.jsonl", "weight": 2}, {"source": "button", "path": "b.jsonl"}]
    assert "give every entry one, or none" in problem(train_data=entries)


def test_the_same_file_is_not_trained_on_and_held_out_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    for spelling in ("a.jsonl", "./a.jsonl", "x/../a.jsonl", "link.jsonl"):
        train = [{"source": "button", "path": str(tmp_path / "a.jsonl")}]
        held_out = [{"source": "button", "path": f"{tmp_path}/{spelling}", "split": "test"}]
        assert "is also trained on" in problem(train_data=train, held_out_data=held_out, held_out_share=None)


def test_two_splits_of_one_hub_data_set_are_not_the_same_rows() -> None:
    train = [{"source": "gsm8k", "path": "openai/gsm8k:main", "split": "train"}]
    held_out = [{"source": "gsm8k", "path": "openai/gsm8k:main", "split": "test"}]
    assert checked(train_data=train, held_out_data=held_out, held_out_share=None).held_out_data
    held_out[0]["split"] = "train"
    assert "is also trained on" in problem(train_data=train, held_out_data=held_out, held_out_share=None)


# Overrides


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("learning_rate=2e-5", "learning_rate", 2e-5),
        ("max_steps=10", "max_steps", 10),
        ("packing=false", "packing", False),
        ("train_on=[call, answer]", "train_on", ("call", "answer")),
        ("loss_weights={call: 2, thought: 1e-1}", "loss_weights", {"call": 2.0, "thought": 0.1}),
        ("loss_weights.call=3", "loss_weights", {"call": 3.0}),
        ("eval_steps=null", "eval_steps", None),
        ("template_kwargs.today=2024-07-26", "template_kwargs", {"today": "2024-07-26"}),
        ("output_dir=runs/a=b", "output_dir", "runs/a=b"),
    ],
)
def test_an_override_sets_one_value(tmp_path: Path, override: str, field: str, value: Any) -> None:
    assert getattr(load_recipe(write(tmp_path), [override]), field) == value


def test_an_override_reaches_into_lists_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path)
    entry = load_recipe(path, ["train_data.0.samples=7", "train_data.0.samples=8"]).train_data[0]
    assert entry.samples == 8 and entry.path == ("a.jsonl",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_steps", "wanted key=value"),
        ("=3", "wanted key=value"),
        ("train_on=[call", "the value is not YAML"),
        ("chat_template={{ bos }}", "the value is not YAML"),
        ("train_data.1.samples=3", "train_data is a list of 1; wanted an index from 0, not '1'"),
        ("train_data.first.samples=3", "wanted an index from 0, not 'first'"),
        ("train_data.².samples=3", "wanted an index from 0, not '²'"),
        ("train_on=" + "[" * 3000, "the value is not YAML"),
        ("name.first=x", "name is 'smallest', which has nothing inside to set"),
        ("lora.r=3", "lora: there is no such key"),
        ("lerning_rate=3", "did you mean 'learning_rate'?"),
    ],
)
def test_a_wrong_override_says_what_was_wanted(tmp_path: Path, override: str, message: str) -> None:
    assert message in error(write(tmp_path), override)


# The command


def test_show_prints_every_field_and_what_it_prints_is_the_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    assert main(["show", str(path), "seed=7", "template_kwargs.date=2024-07-26"]) == 0
    printed = capsys.readouterr().out
    again = tmp_path / "resolved.yaml"
    again.write_text(printed, encoding="utf-8")
    recipe = load_recipe(again)
    assert recipe == load_recipe(path, ["seed=7", "template_kwargs.date=2024-07-26"])
    assert set(yaml.safe_load(printed)) == set(Recipe.model_fields) == set(to_values(recipe))


def test_show_fails_with_the_problem_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(write(tmp_path)), "sed=7"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "did you mean 'seed'?" in captured.err


def test_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("quickstart/button.yaml" in line and "LoRA" in line for line in lines) and len(lines) >= 15


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in Recipe.model_fields.values())
