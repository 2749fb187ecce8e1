"""find_plant({"soil": "clay"}) -> {"plant": "peony"}. Plants, beds and watering."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.geometry import AREA
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import INTEGER, TEXT, Names

SOILS = ("clay", "sand", "chalk", "loam", "peat")
PLANTS = ("peony", "lavender", "foxglove", "hosta", "azalea")
SOIL = Kind("Soil", "string", "soil", "{}", lambda rng, s: rng.choice(SOILS))
PLANT = Kind("Plant", "string", "plant", "{}", one_of("plants"))


def build(rng: Random, names: Names) -> State:
    plants = {
        plant: {
            "water_every_days": rng.randint(2, 9),
            "bloom_days": rng.randint(30, 120),
            "per_square_meter": rng.randint(2, 9),
            "color": rng.choice(("purple", "white", "coral", "golden")),
        }
        for plant in PLANTS
    }
    return {"plant_for": dict(zip(SOILS, rng.sample(PLANTS, len(PLANTS)), strict=True)), "plants": plants}


def plants_for_bed(state: State, plant: str, bed_area: float) -> dict:
    return {"plant_count": round(known(state["plants"], plant, "plant")["per_square_meter"] * bed_area)}


FUNCTIONS = (
    Function(
        "find_plant", "Find a plant that suits a soil.",
        (Param("soil", SOIL, "Kind of soil"),),
        (Return("plant", PLANT, ("a plant that suits {soil}", "the best plant for {soil} soil")),),
        asks=("find a plant that suits {soil}", "pick the best plant for {soil} soil"),
        says=("A plant that suits {soil} is {plant}.",), run=finds("plant_for", "plant"),
    ),
    Function(
        "get_watering", "Get how often to water a plant.",
        (Param("plant", PLANT, "Plant name"),),
        (Return("water_every_days", INTEGER),),
        asks=("find out how often to water {plant}", "check the watering of {plant}"),
        says=("Water {plant} every {water_every_days} days.",), run=reads("plants", "water_every_days"),
    ),
    Function(
        "get_bloom_time", "Get how many days after planting a plant blooms.",
        (Param("plant", PLANT, "Plant name"),),
        (Return("bloom_days", INTEGER),),
        asks=("check how many days {plant} takes to bloom", "look up the bloom time of {plant}"),
        says=("{plant} blooms {bloom_days} days after planting.",), run=reads("plants", "bloom_days"),
    ),
    Function(
        "plants_for_bed", "Count the plants needed to fill a bed.",
        (Param("plant", PLANT, "Plant name"), Param("bed_area", AREA, "Area of the bed in square meters")),
        (Return("plant_count", INTEGER),),
        asks=("count how many of {plant} fill a bed of {bed_area}",
              "work out how many of {plant} are needed for {bed_area}"),
        says=("A bed of {bed_area} square meters takes {plant_count} of {plant}.",), run=plants_for_bed,
    ),
    Function(
        "get_flower_color", "Get the flower color of a plant.",
        (Param("plant", PLANT, "Plant name"),),
        (Return("color", TEXT),),
        asks=("find out the flower color of {plant}", "check which color {plant} flowers in"),
        says=("The flowers of {plant} are {color}.",), run=reads("plants", "color"),
    ),
)  # fmt: skip

DOMAIN = Domain("gardening", ("I'm laying out the garden.", "Spring is coming."), build, FUNCTIONS)
