"""rectangle_area({"width": 4.5, "length": 8}) -> {"area": 36.0}. Areas and volumes; metres throughout."""

from __future__ import annotations

import math
from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State
from data_prep.synth.kinds import Names

LENGTH = Kind(
    "Length", "number", "length", "{} meters", lambda rng, s: rng.choice((rng.randint(2, 40), rng.randint(2, 40) + 0.5))
)
SURFACE = Kind("Surface", "number", "area", "{} square meters", lambda rng, s: rng.randrange(10, 400))
AREA = Kind("Area", "number", "area", "{} square meters", lambda rng, s: rng.randrange(10, 400), SURFACE)
VOLUME = Kind("Volume", "number", "volume", "{} cubic meters", lambda rng, s: rng.randrange(5, 300))


def build(rng: Random, names: Names) -> State:
    return {}


def rectangle_area(state: State, width: float, length: float) -> dict:
    return {"area": round(width * length, 2)}


def circle_area(state: State, radius: float) -> dict:
    return {"area": round(math.pi * radius**2, 2)}


def right_triangle_hypotenuse(state: State, leg_a: float, leg_b: float) -> dict:
    return {"hypotenuse": round(math.hypot(leg_a, leg_b), 2)}


def prism_volume(state: State, base_area: float, height: float) -> dict:
    return {"volume": round(base_area * height, 2)}


def square_side(state: State, area: float) -> dict:
    return {"side": round(math.sqrt(area), 2)}


def sphere_volume(state: State, radius: float) -> dict:
    return {"volume": round(4 / 3 * math.pi * radius**3, 2)}


FUNCTIONS = (
    Function(
        "rectangle_area", "Get the area of a rectangle.",
        (Param("width", LENGTH, "Width in meters"), Param("length", LENGTH, "Length in meters")),
        (Return("area", AREA, ("the area of a rectangle of {width} by {length}",)),),
        asks=("compute the area of a rectangle of {width} by {length}",),
        says=("A rectangle of {width} by {length} meters has an area of {area} square meters.",), run=rectangle_area,
    ),
    Function(
        "circle_area", "Get the area of a circle.",
        (Param("radius", LENGTH, "Radius in meters"),),
        (Return("area", AREA, ("the area of a circle with a radius of {radius}",)),),
        asks=("compute the area of a circle with a radius of {radius}",),
        says=("A circle with a radius of {radius} meters has an area of {area} square meters.",), run=circle_area,
    ),
    Function(
        "right_triangle_hypotenuse", "Get the hypotenuse of a right triangle.",
        (Param("leg_a", LENGTH, "First leg in meters"), Param("leg_b", LENGTH, "Second leg in meters")),
        (Return("hypotenuse", LENGTH, ("the hypotenuse of a right triangle with legs of {leg_a} and {leg_b}",)),),
        asks=("find the hypotenuse of a right triangle with legs of {leg_a} and {leg_b}",),
        says=("Legs of {leg_a} and {leg_b} meters make a hypotenuse of {hypotenuse} meters.",),
        run=right_triangle_hypotenuse,
    ),
    Function(
        "prism_volume", "Get the volume of a prism from its base area.",
        (Param("base_area", AREA, "Base area in square meters"), Param("height", LENGTH, "Height in meters")),
        (Return("volume", VOLUME, ("the volume of a prism with a base of {base_area} and a height of {height}",)),),
        asks=("compute the volume of a prism with a base of {base_area} and a height of {height}",),
        says=("A base of {base_area} and a height of {height} give a volume of {volume} cubic meters.",),
        run=prism_volume,
    ),
    Function(
        "square_side", "Get the side of a square with a given area.",
        (Param("area", AREA, "Area in square meters"),),
        (Return("side", LENGTH, ("the side of a square of {area}",)),),
        asks=("find the side of a square that covers {area}", "get the side length of a square of {area}"),
        says=("A square of {area} square meters has a side of {side} meters.",), run=square_side,
    ),
    Function(
        "sphere_volume", "Get the volume of a sphere.",
        (Param("radius", LENGTH, "Radius in meters"),),
        (Return("volume", VOLUME, ("the volume of a ball with a radius of {radius}",)),),
        asks=("compute the volume of a ball with a radius of {radius}",),
        says=("A ball with a radius of {radius} meters has a volume of {volume} cubic meters.",), run=sphere_volume,
    ),
)  # fmt: skip

DOMAIN = Domain("geometry", ("I'm working on a drawing.", "I have a geometry exercise."), build, FUNCTIONS)
