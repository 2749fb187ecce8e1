"""get_parcel_weight({"tracking_no": "1Z-558-201"}) -> {"weight_kg": 3.5}. A parcel service."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.units import WEIGHT
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, known, one_of, reads
from data_prep.synth.kinds import CITY, PERSON, PRICE, TEXT, Names

TRACKING = Kind("TrackingNumber", "string", "parcel", "parcel {}", one_of("parcels"))


def build(rng: Random, names: Names) -> State:
    parcels = {
        f"1Z-{rng.randint(100, 999)}-{rng.randint(100, 999)}": {
            "weight_kg": rng.randint(1, 60) / 2,
            "current_city": rng.choice(names.cities),
            "courier": rng.choice(names.people),
            "sender": person,
        }
        for person in names.people[:8]
    }
    return {"parcels": parcels, "per_kg": {city: rng.randint(4, 18) / 2 for city in names.cities}, "rng": rng}


def find_parcel(state: State, sender: str) -> dict:
    of_sender = {parcel["sender"]: number for number, parcel in state["parcels"].items()}
    return {"tracking_no": known(of_sender, sender, "sender")}


def get_postage(state: State, weight_kg: float, destination: str) -> dict:
    return {"postage": round(3.5 + weight_kg * known(state["per_kg"], destination, "city"), 2)}


def redirect_parcel(state: State, tracking_no: str, new_city: str) -> dict:
    known(state["parcels"], tracking_no, "parcel")["current_city"] = new_city
    return {"redirect_code": f"RD{state['rng'].randint(10, 99)}{state['rng'].choice('QWZ')}"}


FUNCTIONS = (
    Function(
        "find_parcel", "Find the parcel of a sender.",
        (Param("sender", Kind("Sender", "string", "sender", "{}", lambda rng, s: rng.choice(s["names"].people[:8])),
               "Name of the sender"),),
        (Return("tracking_no", TRACKING, ("the parcel sent by {sender}", "the parcel that {sender} sent")),),
        asks=("find the parcel sent by {sender}", "look up the parcel that {sender} sent"),
        says=("The parcel sent by {sender} is {tracking_no}.",), run=find_parcel,
    ),
    Function(
        "get_parcel_weight", "Get the weight of a parcel in kilograms.",
        (Param("tracking_no", TRACKING, "Tracking number"),),
        (Return("weight_kg", WEIGHT, ("the weight of {tracking_no}",)),),
        asks=("check the weight of {tracking_no}", "find out how heavy {tracking_no} is"),
        says=("Parcel {tracking_no} weighs {weight_kg} kilograms.",), run=reads("parcels", "weight_kg"),
    ),
    Function(
        "locate_parcel", "Get the city where a parcel is now.",
        (Param("tracking_no", TRACKING, "Tracking number"),),
        (Return("current_city", TEXT),),
        asks=("locate {tracking_no}", "find out in which city {tracking_no} is now"),
        says=("Parcel {tracking_no} is in {current_city}.",), run=reads("parcels", "current_city"),
    ),
    Function(
        "get_courier", "Get the courier who carries a parcel.",
        (Param("tracking_no", TRACKING, "Tracking number"),),
        (Return("courier", PERSON, ("the courier of {tracking_no}",)),),
        asks=("find out who carries {tracking_no}", "look up the courier of {tracking_no}"),
        says=("Parcel {tracking_no} is carried by {courier}.",), run=reads("parcels", "courier"),
    ),
    Function(
        "get_postage", "Get the postage for a weight to a city.",
        (Param("weight_kg", WEIGHT, "Weight in kilograms"), Param("destination", CITY, "City of destination")),
        (Return("postage", PRICE, ("the postage for {weight_kg} to {destination}",)),),
        asks=("work out the postage for {weight_kg} to {destination}",
              "check what sending {weight_kg} to {destination} costs"),
        says=("Sending {weight_kg} kilograms to {destination} costs {postage}.",), run=get_postage,
    ),
    Function(
        "redirect_parcel", "Send a parcel to another city.",
        (Param("tracking_no", TRACKING, "Tracking number"), Param("new_city", CITY, "New city")),
        (Return("redirect_code", TEXT),),
        asks=("redirect {tracking_no} to {new_city}", "have {tracking_no} sent on to {new_city}"),
        says=("Parcel {tracking_no} is redirected to {new_city} with code {redirect_code}.",), run=redirect_parcel,
    ),
)  # fmt: skip

DOMAIN = Domain("parcels", ("I am waiting for the mail.", "I'm dealing with a shipment."), build, FUNCTIONS)
