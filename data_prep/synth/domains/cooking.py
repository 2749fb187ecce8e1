"""get_recipe_calories({"recipe": "lentil curry"}) -> {"calories": 540}. A cookbook with shopping data."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, known
from data_prep.synth.kinds import INTEGER, TEXT, Names

DISHES = {
    "lentils": "lentil curry", "salmon": "salmon chowder", "pumpkin": "pumpkin risotto", "chickpeas": "chickpea stew",
    "mushrooms": "mushroom pie", "spinach": "spinach lasagne", "tofu": "tofu stir-fry", "beetroot": "beetroot soup",
}  # fmt: skip
WINES = ("Riesling", "Merlot", "Chardonnay", "Malbec", "Rioja")
INGREDIENT = Kind("Ingredient", "string", "ingredient", "{}", lambda rng, s: rng.choice(list(DISHES)))
RECIPE = Kind("Recipe", "string", "recipe", "{}", lambda rng, s: rng.choice(list(s["recipes"])))
CALORIES = Kind("Calories", "integer", "number of calories", "{} calories", lambda rng, s: rng.randrange(150, 900, 10))
PEOPLE = Kind("GuestCount", "integer", "number of guests", "{}", lambda rng, s: rng.randint(3, 14))


def build(rng: Random, names: Names) -> State:
    recipes = {}
    for ingredient, dish in DISHES.items():
        recipes[dish] = {
            "ingredient": ingredient,
            "calories": rng.randrange(250, 900, 10),
            "minutes": rng.randrange(15, 95, 5),
            "grams": rng.randrange(60, 220, 5),
            "wine": rng.choice(WINES),
        }
    return {"recipes": recipes}


def find_recipe(state: State, ingredient: str) -> dict:
    return {"recipe": known(DISHES, ingredient, "ingredient")}


def get_recipe_calories(state: State, recipe: str) -> dict:
    return {"calories": known(state["recipes"], recipe, "recipe")["calories"]}


def get_cooking_time(state: State, recipe: str) -> dict:
    return {"minutes": known(state["recipes"], recipe, "recipe")["minutes"]}


def scale_recipe(state: State, recipe: str, guests: int) -> dict:
    entry = known(state["recipes"], recipe, "recipe")
    return {"main_ingredient": entry["ingredient"], "grams": entry["grams"] * guests}


def pair_wine(state: State, recipe: str) -> dict:
    return {"wine": known(state["recipes"], recipe, "recipe")["wine"]}


FUNCTIONS = (
    Function(
        "find_recipe", "Find a recipe that uses an ingredient.",
        (Param("ingredient", INGREDIENT, "Main ingredient"),),
        (Return("recipe", RECIPE, ("a recipe with {ingredient}", "a dish that uses {ingredient}")),),
        asks=("find a recipe with {ingredient}", "suggest a dish that uses {ingredient}"),
        says=("A recipe with {ingredient} is {recipe}.",), run=find_recipe,
    ),
    Function(
        "get_recipe_calories", "Get the calories per portion of a recipe.",
        (Param("recipe", RECIPE, "Recipe name"),),
        (Return("calories", CALORIES, ("the calories in {recipe}", "a portion of {recipe} in calories")),),
        asks=("look up how many calories {recipe} has", "check the calories per portion of {recipe}"),
        says=("A portion of {recipe} has {calories} calories.",), run=get_recipe_calories,
    ),
    Function(
        "get_cooking_time", "Get the cooking time of a recipe in minutes.",
        (Param("recipe", RECIPE, "Recipe name"),),
        (Return("minutes", INTEGER),),
        asks=("check how long it takes to cook {recipe}", "find out the cooking time of {recipe}"),
        says=("Cooking {recipe} takes {minutes} minutes.",), run=get_cooking_time,
    ),
    Function(
        "scale_recipe", "Scale a recipe to a number of guests.",
        (Param("recipe", RECIPE, "Recipe name"), Param("guests", PEOPLE, "Number of guests")),
        (Return("main_ingredient", TEXT), Return("grams", INTEGER)),
        asks=("scale {recipe} for {guests} guests", "work out the amounts in {recipe} for {guests} guests"),
        says=("For {guests} guests, {recipe} needs {grams} grams of {main_ingredient}.",), run=scale_recipe,
    ),
    Function(
        "pair_wine", "Suggest a wine for a recipe.",
        (Param("recipe", RECIPE, "Recipe name"),),
        (Return("wine", TEXT),),
        asks=("suggest a wine that goes with {recipe}", "pick a wine for {recipe}"),
        says=("{wine} goes well with {recipe}.",), run=pair_wine,
    ),
)  # fmt: skip

DOMAIN = Domain("cooking", ("I am planning dinner for friends.", "I want to cook at home tonight."), build, FUNCTIONS)
