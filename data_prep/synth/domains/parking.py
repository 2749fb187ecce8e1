"""find_garage({"area_name": "Old Harbour"}) -> {"garage_id": "G-17"}. Garages, spots and permits."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import CLIENT, INTEGER, NUMBER, TEXT, Names

AREAS = ("Old Harbour", "Castle Square", "North Gate", "Tech Campus", "Cathedral Hill")
GARAGE_AREA = Kind("ParkingArea", "string", "area", "{}", lambda rng, s: rng.choice(AREAS))
GARAGE = Kind("GarageId", "string", "garage", "garage {}", one_of("garages"))
VEHICLE = Kind("VehiclePlate", "string", "vehicle", "vehicle {}", one_of("owner_of"))
HOURS = Kind("ParkingHours", "integer", "number of hours", "{} hours", lambda rng, s: rng.randint(2, 11))


def build(rng: Random, names: Names) -> State:
    garages = {
        f"G-{number}": {"free_spots": rng.randint(1, 300), "hourly_rate": rng.randint(2, 14) / 2, "max_height_m": 2.1}
        for number in rng.sample(range(10, 99), len(AREAS))
    }
    plates = [
        f"{rng.choice('VWX')}{rng.choice('AEU')} {number}"
        for number in rng.sample(range(1000, 9999), len(names.people))
    ]
    return {
        "garages": garages,
        "garage_in": dict(zip(AREAS, garages, strict=True)),
        "plate_of": dict(zip(names.people, plates, strict=True)),
        "owner_of": dict(zip(plates, names.people, strict=True)),
        "rng": rng,
    }


def parking_fee(state: State, garage_id: str, hours: int) -> dict:
    return {"fee": known(state["garages"], garage_id, "garage")["hourly_rate"] * hours}


def reserve_spot(state: State, garage_id: str, vehicle_plate: str) -> dict:
    known(state["garages"], garage_id, "garage")["free_spots"] -= 1
    known(state["owner_of"], vehicle_plate, "vehicle")
    return {"permit": f"PK{state['rng'].randint(10000, 99999)}", "level": state["rng"].randint(1, 6)}


FUNCTIONS = (
    Function(
        "find_garage", "Find the parking garage of an area.",
        (Param("area_name", GARAGE_AREA, "Name of the area"),),
        (Return("garage_id", GARAGE, ("the parking garage at {area_name}", "the garage near {area_name}")),),
        asks=("find the parking garage at {area_name}", "look up the garage near {area_name}"),
        says=("The parking garage at {area_name} is {garage_id}.",), run=finds("garage_in", "garage_id"),
    ),
    Function(
        "count_free_spots", "Count the free spots in a garage.",
        (Param("garage_id", GARAGE, "Garage id"),),
        (Return("free_spots", INTEGER),),
        asks=("count the free spots in {garage_id}", "see how many spots are free in {garage_id}"),
        says=("Garage {garage_id} has {free_spots} free spots.",), run=reads("garages", "free_spots"),
    ),
    Function(
        "get_parking_fee", "Get the fee for parking some hours in a garage.",
        (Param("garage_id", GARAGE, "Garage id"), Param("hours", HOURS, "Number of hours")),
        (Return("fee", NUMBER),),
        asks=("calculate the fee for parking {hours} in {garage_id}",
              "see what {hours} of parking in {garage_id} cost"),
        says=("Parking for {hours} hours in {garage_id} costs {fee}.",), run=parking_fee,
    ),
    Function(
        "find_vehicle", "Find the number plate of a person's vehicle.",
        (Param("vehicle_owner", CLIENT, "Name of the owner"),),
        (Return("vehicle_plate", VEHICLE, ("the vehicle of {vehicle_owner}", "the vehicle owned by {vehicle_owner}")),),
        asks=("find the vehicle of {vehicle_owner}", "look up the vehicle owned by {vehicle_owner}"),
        says=("The vehicle of {vehicle_owner} has the plate {vehicle_plate}.",), run=finds("plate_of", "vehicle_plate"),
    ),
    Function(
        "reserve_spot", "Reserve a garage spot for a vehicle.",
        (Param("garage_id", GARAGE, "Garage id"), Param("vehicle_plate", VEHICLE, "Number plate")),
        (Return("permit", TEXT), Return("level", INTEGER)),
        asks=("reserve a spot in {garage_id} for {vehicle_plate}",
              "hold a parking spot in {garage_id} for {vehicle_plate}"),
        says=("Permit {permit} holds a spot for {vehicle_plate} on level {level} of {garage_id}.",), run=reserve_spot,
    ),
)  # fmt: skip

DOMAIN = Domain("parking", ("Driving downtown is a hassle.", "Our office manages parking for staff."), build, FUNCTIONS)
