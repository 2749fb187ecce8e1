"""What to run: a recipe is one complete YAML. `load_recipe("recipes/quickstart/button.yaml", ["max_steps=10"])`."""

from recipes.load import load_recipe
from recipes.schema import DataSource, Recipe, RecipeError

__all__ = ["DataSource", "Recipe", "RecipeError", "load_recipe"]
