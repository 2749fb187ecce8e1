"""The layers: recipes, data_prep, training, train.py; eval beside them, imported by nobody."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What the modules of a layer may import of this repository, themselves included.
MAY_IMPORT = {
    "recipes": {"recipes"},
    "data_prep": {"recipes", "data_prep"},
    "training": {"recipes", "data_prep", "training"},
    "train": {"recipes", "data_prep", "training"},
    "eval": {"recipes", "data_prep", "eval"},
}
HEAVY = ("torch", "transformers", "datasets", "numpy")


def imported_layers(source: str) -> set[str]:
    """Layers that Python source imports anywhere in it, inside functions and by importlib with a literal name too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer; write the full name"
            names.append(node.module or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            names.append(node.value.partition(":")[0])  # "data_prep.build:main", loaded when asked for
    return {name.partition(".")[0] for name in names} & set(MAY_IMPORT)


def modules() -> list[Path]:
    files = [file for layer in MAY_IMPORT for file in sorted((ROOT / layer).rglob("*.py"))]
    return [*files, *[file for file in [ROOT / "train.py"] if file.exists()]]


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_imports_only_layers_at_or_below_its_own(file: Path) -> None:
    layer = file.relative_to(ROOT).parts[0].removesuffix(".py")
    above = imported_layers(file.read_text(encoding="utf-8")) - MAY_IMPORT[layer]
    assert not above, f"{file.relative_to(ROOT)} imports {sorted(above)}; {layer} may use {sorted(MAY_IMPORT[layer])}"


def test_no_module_writes_import_eval() -> None:
    files = [*modules(), *sorted((ROOT / "tests").rglob("*.py"))]
    plain = [
        str(file.relative_to(ROOT))
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name == "eval" for alias in node.names)
    ]
    assert not plain, f"`import eval` hides the builtin in {plain}; write `from eval.run import ...`"


@pytest.mark.parametrize(
    ("source", "layers"),
    [
        ("def f():\n    from eval.run import evaluate", {"eval"}),
        ("import train", {"train"}),
        ("import training.launch as l", {"training"}),
        ("PLACE = 'training.launch:start'", {"training"}),
        ("from evaluate import load; import trainer", set()),
    ],
)
def test_the_layer_test_sees_every_form_of_import(source: str, layers: set[str]) -> None:
    assert imported_layers(source) == layers


def test_recipes_import_no_torch_and_start_fast() -> None:
    script = f"import recipes, recipes.manifest, recipes.__main__, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_installing_installs_no_module() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["setuptools"]["packages"] == []
