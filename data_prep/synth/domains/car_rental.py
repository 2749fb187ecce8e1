"""find_car({"pickup_city": "Dublin"}) -> {"plate": "KL48 RTX", "model": "Kestrel"}. Cars for rent."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.units import LITERS
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import CITY, CLIENT, PRICE, TEXT, Names

MODELS = ("Kestrel", "Marlin", "Vento", "Aster")
PLATE = Kind("RentalPlate", "string", "car", "car {}", one_of("cars"))
LICENSE = Kind("DriverLicense", "string", "driver's license", "driver's license {}", one_of("holders"))
RATE = Kind("RentalRate", "number", "daily rate", "{}", lambda rng, s: rng.randrange(28, 140), PRICE)
RENTAL_DAYS = Kind("RentalDays", "integer", "number of days", "{} days", lambda rng, s: rng.randint(2, 20))
ROAD = Kind("RoadDistance", "number", "distance", "{} kilometers", lambda rng, s: rng.randrange(40, 1800, 5))
PER_100 = Kind(
    "FuelConsumption",
    "number",
    "consumption",
    "{} liters per hundred kilometers",
    lambda rng, s: rng.randint(38, 99) / 10,
)


def build(rng: Random, names: Names) -> State:
    cars = {
        f"{rng.choice('KLMP')}{rng.choice('BDFG')}{rng.randint(10, 99)} {''.join(rng.sample('CRTXZ', 3))}": {
            "model": model,
            "daily_rate": rng.randrange(28, 140),
            "consumption": rng.randint(38, 99) / 10,
        }
        for model in MODELS
    }
    licenses = [f"D/{number}" for number in rng.sample(range(10000, 99999), len(names.people))]
    return {
        "cars": cars,
        "car_in": {city: rng.choice(list(cars)) for city in names.cities},
        "license_of": dict(zip(names.people, licenses, strict=True)),
        "holders": dict(zip(licenses, names.people, strict=True)),
        "rng": rng,
    }


def find_car(state: State, pickup_city: str) -> dict:
    plate = known(state["car_in"], pickup_city, "city")
    return {"plate": plate, "model": state["cars"][plate]["model"]}


def rent_car(state: State, plate: str, license_no: str) -> dict:
    known(state["cars"], plate, "car")
    known(state["holders"], license_no, "license")
    return {"contract": f"C{state['rng'].randint(100, 999)}-{state['rng'].randint(10, 99)}"}


def rental_cost(state: State, daily_rate: float, days: int) -> dict:
    return {"rental_total": round(daily_rate * days, 2)}


def fuel_needed(state: State, distance: float, consumption: float) -> dict:
    return {"fuel_liters": round(distance * consumption / 100, 1)}


FUNCTIONS = (
    Function(
        "find_car", "Find a rental car in a city.",
        (Param("pickup_city", CITY, "City of pick-up"),),
        (Return("plate", PLATE, ("a rental car in {pickup_city}", "the car on offer in {pickup_city}")),
         Return("model", TEXT)),
        asks=("find a rental car in {pickup_city}", "look for a car to rent in {pickup_city}"),
        says=("In {pickup_city} the {model} with plate {plate} is free.",), run=find_car,
    ),
    Function(
        "get_daily_rate", "Get the daily rate of a rental car.",
        (Param("plate", PLATE, "Number plate"),),
        (Return("daily_rate", RATE, ("the daily rate of {plate}",)),),
        asks=("check the daily rate of {plate}", "find out what {plate} costs a day"),
        says=("Car {plate} costs {daily_rate} a day.",), run=reads("cars", "daily_rate"),
    ),
    Function(
        "get_consumption", "Get the fuel consumption of a rental car.",
        (Param("plate", PLATE, "Number plate"),),
        (Return("consumption", PER_100, ("the fuel consumption of {plate}",)),),
        asks=("look up the fuel consumption of {plate}", "find out how much fuel {plate} uses"),
        says=("Car {plate} uses {consumption} liters per hundred kilometers.",), run=reads("cars", "consumption"),
    ),
    Function(
        "fuel_needed", "Get the liters of fuel needed for a distance.",
        (Param("distance", ROAD, "Distance in kilometers"), Param("consumption", PER_100, "Liters per hundred km")),
        (Return("fuel_liters", LITERS, ("the fuel needed for {distance} at {consumption}",)),),
        asks=("work out the fuel needed for {distance} at {consumption}",
              "calculate how much fuel to take for {distance} at {consumption}"),
        says=("Driving {distance} kilometers at {consumption} takes {fuel_liters} liters.",), run=fuel_needed,
    ),
    Function(
        "rental_cost", "Get the cost of a rental from its daily rate.",
        (Param("daily_rate", RATE, "Rate per day"), Param("days", RENTAL_DAYS, "Number of days")),
        (Return("rental_total", PRICE, ("a rental of {days} at {daily_rate} a day",)),),
        asks=("work out the cost of a rental of {days} at {daily_rate} a day",
              "calculate what {days} of rental cost at {daily_rate} a day"),
        says=("At {daily_rate} a day, {days} days of rental cost {rental_total}.",), run=rental_cost,
    ),
    Function(
        "find_license", "Find the license number of a driver.",
        (Param("driver", CLIENT, "Name of the driver"),),
        (Return("license_no", LICENSE, ("the driver's license of {driver}",)),),
        asks=("find the driver's license of {driver}", "look up the license number of {driver}"),
        says=("The driver's license of {driver} is {license_no}.",), run=finds("license_of", "license_no"),
    ),
    Function(
        "rent_car", "Rent a car to the holder of a license.",
        (Param("plate", PLATE, "Number plate"), Param("license_no", LICENSE, "Driver's license number")),
        (Return("contract", TEXT),),
        asks=("rent {plate} on {license_no}", "rent out {plate} with {license_no}"),
        says=("Car {plate} is rented to license {license_no}, contract {contract}.",), run=rent_car,
    ),
)  # fmt: skip

DOMAIN = Domain("car_rental", ("I need a set of wheels.", "We are doing a road trip."), build, FUNCTIONS)
