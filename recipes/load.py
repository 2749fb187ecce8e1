"""From YAML and `key=value` to a Recipe: `load_recipe("recipes/button/qwen2-7b-lora.yaml", ["train_on=[call]"])`.

Everything that is wrong is reported at once, each line with the file, the key, the value and the remedy.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from recipes.schema import DataSource, Recipe, RecipeError


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply `key=value` overrides in order, check everything. Raises RecipeError."""
    values = read_yaml(Path(path))
    for override in overrides:
        apply_override(values, override)
    return validate(values, str(path))


def validate(values: dict[str, Any], origin: str) -> Recipe:
    """A checked Recipe from plain values; `origin` names where they came from in errors. Raises RecipeError."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        # A list with one bad entry is also reported as too short; the entry's own line says it all.
        inside = {problem["loc"][:depth] for problem in problems for depth in range(1, len(problem["loc"]))}
        lines = [line for problem in problems if problem["loc"] not in inside for line in _explain(problem)]
        raise RecipeError("\n".join(f"{origin}: {line}" for line in lines)) from None


def to_values(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain YAML and JSON values, every field included; `validate` reads it back."""
    return recipe.model_dump(mode="json")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises RecipeError where there is none, or where a key stands twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe{_nearest_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as a recipe ({error}); give the path of a YAML file") from None
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        raise RecipeError(f"{path}: is empty; start from one of the recipes that `python -m recipes list` prints")
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: holds a {type(values).__name__}; a recipe is a mapping of `key: value` lines")
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `key=value` in place; the value is YAML and dots reach inside: `train_data.0.samples=100`.

    Raises RecipeError for text without `=`, a value that is not YAML, or a path that leads nowhere.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"override {override!r}: wanted key=value, as in learning_rate=2e-5")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(
            f"override {override!r:.200}: the value is not YAML: {' '.join(str(error).split())}"
        ) from None
    *parents, last = key.strip().split(".")
    target: Any = values
    for depth, part in enumerate(parents):
        if isinstance(target, dict) and target.get(part) is None:
            target[part] = {}
        target = target[_place(target, part, override, parents[:depth])]
    target[_place(target, last, override, parents)] = value


def _place(target: Any, part: str, override: str, parents: list[str]) -> Any:
    """`part` as a key of the mapping `target` or an index of the list `target`."""
    where = ".".join(parents) or "the recipe"
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise RecipeError(f"override {override!r}: {where} is {target!r}, which has nothing inside to set")
    if not part.isdecimal() or int(part) >= len(target):
        raise RecipeError(
            f"override {override!r}: {where} is a list of {len(target)}; wanted an index from 0, not {part!r}"
        )
    return int(part)


def _explain(problem: ErrorDetails) -> list[str]:
    """A validation problem in this project's words: key, value, what was wanted."""
    where = [str(part) for part in problem["loc"]]
    key, value = ".".join(where), f"{problem['input']!r:.120}"
    if problem["type"] == "extra_forbidden":
        known = DataSource if len(where) > 1 else Recipe
        return [f"{key}: there is no such key (value {value}); {_nearest(where[-1], list(known.model_fields))}"]
    if problem["type"] == "missing":
        fields = DataSource.model_fields if len(where) > 1 else Recipe.model_fields
        return [f"{key}: is missing; add it ({fields[where[-1]].description})"]
    message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list").replace("Tuple", "List")
    if not where:  # the checks between fields name their fields themselves
        return message.splitlines()
    return [f"{key}: got {value}; {message[0].lower()}{message[1:]}"]


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return f"did you mean {close[0]!r}?"


def _nearest_file(path: Path) -> str:
    shipped = [str(file) for file in shipped_recipes()]
    close = difflib.get_close_matches(str(path), shipped, n=1)
    return f"; did you mean {close[0]}?" if close else "; `python -m recipes list` prints those that are"


def shipped_recipes() -> list[Path]:
    """The recipes of this repository, relative to the working directory where that is possible."""
    root = Path(__file__).resolve().parent
    here = Path.cwd()
    files = sorted(root.glob("*/*.yaml"))
    return [file.relative_to(here) if file.is_relative_to(here) else file for file in files]


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (PyYAML would keep the last one) and leaves a date the text it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):  # PyYAML itself refuses a key that is a list or mapping
                if key_node.value in seen:
                    text = f"key {key_node.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, text, key_node.start_mark)
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)
