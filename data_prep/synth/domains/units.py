"""kilometers_to_miles({"kilometers": 120}) -> {"miles": 74.56}. Conversions of units."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from data_prep.synth.domains.geometry import SURFACE, VOLUME
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State
from data_prep.synth.kinds import NUMBER, Names

DISTANCE = Kind("Kilometers", "number", "distance", "{} kilometers", lambda rng, s: rng.randrange(12, 900))
MILES = Kind("Miles", "number", "number of miles", "{} miles", lambda rng, s: rng.randrange(8, 600))
WEIGHT = Kind(
    "Kilograms", "number", "weight", "{} kilograms", lambda rng, s: rng.randint(4, 90) + rng.choice((0.2, 0.5))
)
LITERS = Kind("Liters", "number", "number of liters", "{} liters", lambda rng, s: rng.randrange(5, 400, 5))


def build(rng: Random, names: Names) -> State:
    return {}


def times(factor: float, result: str) -> Callable[[State, float], dict]:
    """A conversion that multiplies."""
    return lambda state, value: {result: round(value * factor, 2)}


FUNCTIONS = (
    Function(
        "kilometers_to_miles", "Convert kilometers to miles.",
        (Param("kilometers", DISTANCE, "Distance in kilometers"),),
        (Return("miles", MILES, ("{kilometers} in miles",)),),
        asks=("convert {kilometers} to miles", "express {kilometers} in miles"),
        says=("{kilometers} kilometers are {miles} miles.",), run=times(0.621371, "miles"),
    ),
    Function(
        "kilograms_to_pounds", "Convert kilograms to pounds.",
        (Param("kilograms", WEIGHT, "Weight in kilograms"),),
        (Return("pounds", NUMBER),),
        asks=("convert {kilograms} to pounds", "express {kilograms} in pounds"),
        says=("{kilograms} kilograms are {pounds} pounds.",), run=times(2.204623, "pounds"),
    ),
    Function(
        "cubic_meters_to_liters", "Convert cubic meters to liters.",
        (Param("cubic_meters", VOLUME, "Volume in cubic meters"),),
        (Return("liters", LITERS, ("{cubic_meters} in liters",)),),
        asks=("convert {cubic_meters} to liters", "express {cubic_meters} in liters"),
        says=("{cubic_meters} cubic meters are {liters} liters.",), run=times(1000, "liters"),
    ),
    Function(
        "square_meters_to_square_feet", "Convert square meters to square feet.",
        (Param("square_meters", SURFACE, "Area in square meters"),),
        (Return("square_feet", NUMBER),),
        asks=("convert {square_meters} to square feet", "express {square_meters} in square feet"),
        says=("{square_meters} square meters are {square_feet} square feet.",), run=times(10.76391, "square_feet"),
    ),
    Function(
        "liters_to_gallons", "Convert liters to gallons.",
        (Param("liters", LITERS, "Volume in liters"),),
        (Return("gallons", NUMBER),),
        asks=("convert {liters} to gallons", "express {liters} in gallons"),
        says=("{liters} liters are {gallons} gallons.",), run=times(0.264172, "gallons"),
    ),
)  # fmt: skip

DOMAIN = Domain("units", ("I keep mixing up units.", "I need this in other units."), build, FUNCTIONS)
