"""python -m recipes list | show RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import argparse
import sys

import yaml

from recipes.load import load_recipe, shipped_recipes, to_values
from recipes.schema import RecipeError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, or 1 for a recipe with problems, which go to stderr."""
    parser = argparse.ArgumentParser(prog="python -m recipes", description="List and show recipes.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the recipes of this repository, one a line")
    show = commands.add_parser("show", help="print a recipe resolved: overrides applied, every default written out")
    show.add_argument("recipe", help="path of the YAML")
    show.add_argument("overrides", nargs="*", metavar="key=value", help="as in learning_rate=2e-5")
    options = parser.parse_args(arguments)
    try:
        print(list_text() if options.command == "list" else show_text(options.recipe, options.overrides))
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def list_text() -> str:
    """Path, model and method of each shipped recipe."""
    rows = []
    for path in shipped_recipes():
        recipe = load_recipe(path)
        rows.append((str(path), recipe.model_name_or_path, "LoRA" if recipe.use_peft else "full"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def show_text(path: str, overrides: list[str]) -> str:
    """The resolved recipe as YAML that `load_recipe` reads back to the same recipe."""
    values = to_values(load_recipe(path, overrides))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100).rstrip()


if __name__ == "__main__":
    sys.exit(main())
