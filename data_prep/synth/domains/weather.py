"""get_forecast({"city": "Vienna", "date": "2026-03-04"}) -> {"temperature_c": 11, "condition": "light rain"}."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, known
from data_prep.synth.kinds import CITY, DATE, EVENT_DATE, INTEGER, TEXT, Names, date_in

CLOTHES = {
    "light rain": "a raincoat",
    "heavy snow": "warm boots",
    "clear sky": "a sun hat",
    "strong wind": "a windbreaker",
    "thick fog": "a reflective vest",
    "scattered clouds": "a light jacket",
}
CONDITION = Kind("Condition", "string", "weather", "{}", lambda rng, s: rng.choice(list(CLOTHES)))


def build(rng: Random, names: Names) -> State:
    return {
        "seed": rng.getrandbits(32),
        "year": names.year,
        "driest": {city: date_in(rng, names.year) for city in names.cities},
        "aqi": {city: rng.randint(12, 160) for city in names.cities},
        "warmest": {city: rng.choice([c for c in names.cities if c != city]) for city in names.cities},
    }


def get_forecast(state: State, city: str, date: str) -> dict:
    known(state["aqi"], city, "city")
    rng = Random(f"{state['seed']}/{city}/{date}")
    return {"condition": rng.choice(list(CLOTHES)), "temperature_c": rng.randint(-8, 34)}


def suggest_clothing(state: State, condition: str) -> dict:
    return {"clothing": known(CLOTHES, condition, "condition")}


def get_air_quality(state: State, city: str) -> dict:
    return {"air_quality_index": known(state["aqi"], city, "city")}


def get_sunset(state: State, city: str, date: str) -> dict:
    known(state["aqi"], city, "city")
    rng = Random(f"{state['seed']}/sun/{city}/{date}")
    return {"sunset": f"{rng.randint(16, 21)}:{rng.randint(0, 59):02d}"}


def find_driest_day(state: State, city: str) -> dict:
    return {"driest_date": known(state["driest"], city, "city")}


def find_warmer_city(state: State, city: str) -> dict:
    return {"warmer_city": known(state["warmest"], city, "city")}


FUNCTIONS = (
    Function(
        "get_forecast", "Get the weather forecast for a city on a date.",
        (Param("city", CITY, "City name"), Param("date", DATE, "Date as YYYY-MM-DD")),
        (Return("condition", CONDITION, ("the weather in {city} on {date}", "the forecast for {city} on {date}")),
         Return("temperature_c", INTEGER)),
        asks=("check the weather forecast for {city} on {date}", "get the forecast for {city} on {date}"),
        says=("The forecast for {city} on {date} is {condition} at {temperature_c} degrees.",), run=get_forecast,
    ),
    Function(
        "suggest_clothing", "Suggest what to wear for a weather condition.",
        (Param("condition", CONDITION, "Weather condition"),),
        (Return("clothing", TEXT),),
        asks=("suggest what to wear for {condition}", "recommend clothing for {condition}"),
        says=("For {condition}, {clothing} is recommended.",), run=suggest_clothing,
    ),
    Function(
        "get_air_quality", "Get the air quality index of a city.",
        (Param("city", CITY, "City name"),),
        (Return("air_quality_index", INTEGER),),
        asks=("check the air quality in {city}", "look up how clean the air in {city} is"),
        says=("The air quality index in {city} is {air_quality_index}.",), run=get_air_quality,
    ),
    Function(
        "get_sunset", "Get the sunset time for a city on a date.",
        (Param("city", CITY, "City name"), Param("date", DATE, "Date as YYYY-MM-DD")),
        (Return("sunset", TEXT),),
        asks=("tell when the sun sets in {city} on {date}", "get the sunset time for {city} on {date}"),
        says=("The sun sets in {city} at {sunset} on {date}.",), run=get_sunset,
    ),
    Function(
        "find_driest_day", "Find the driest day of the year in a city.",
        (Param("city", CITY, "City name"),),
        (Return("driest_date", EVENT_DATE, ("the driest day of the year in {city}",)),),
        asks=("find the driest day of the year in {city}", "work out which day is the driest in {city}"),
        says=("The driest day in {city} is {driest_date}.",), run=find_driest_day,
    ),
    Function(
        "find_warmer_city", "Find a city that is warmer than a given one.",
        (Param("city", CITY, "City name"),),
        (Return("warmer_city", CITY, ("a city warmer than {city}",)),),
        asks=("find a city that is warmer than {city}", "name a city warmer than {city}"),
        says=("A city warmer than {city} is {warmer_city}.",), run=find_warmer_city,
    ),
)  # fmt: skip

DOMAIN = Domain("weather", ("The weather matters for my plans.", "I keep an eye on the sky."), build, FUNCTIONS)
