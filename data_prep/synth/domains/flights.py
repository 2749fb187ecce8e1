"""search_flight({"origin": "OSA", "destination": "LIB"}) -> {"flight": "KX512"}. Airports and flights."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.units import DISTANCE
from data_prep.synth.functions import (
    Domain,
    Function,
    Kind,
    Param,
    Return,
    State,
    ToolError,
    finds,
    known,
    one_of,
    reads,
)
from data_prep.synth.kinds import CITY, EVENT_DATE, INTEGER, PRICE, TEXT, Names

AIRPORT = Kind("AirportCode", "string", "airport", "{}", one_of("airports"))
FLIGHT = Kind("FlightNumber", "string", "flight", "flight {}", one_of("flights"))


def build(rng: Random, names: Names) -> State:
    airport_of = {city: city[:2].upper() + rng.choice("BDKMR") for city in names.cities}
    flights = {f"KX{number}": _flight(rng) for number in rng.sample(range(100, 700), 5)}
    return {
        "airport_of": airport_of,
        "airports": {code: c for c, code in airport_of.items()},
        "flights": flights,
        "rng": rng,
    }


def _flight(rng: Random) -> dict:
    return {
        "gate": f"{rng.choice('ABCD')}{rng.randint(1, 48)}",
        "distance_km": rng.randint(300, 9000),
        "delay_minutes": rng.randrange(0, 95, 5),
        "ticket_cost": rng.randrange(60, 900, 5),
    }


def search_flight(state: State, origin: str, destination: str) -> dict:
    known(state["airports"], origin, "airport")
    known(state["airports"], destination, "airport")
    if origin == destination:
        raise ToolError("origin and destination are the same")
    number = f"KX{state['rng'].randint(700, 999)}"
    state["flights"][number] = _flight(state["rng"])
    return {"flight": number}


def rebook_flight(state: State, flight: str, new_date: str) -> dict:
    known(state["flights"], flight, "flight")
    return {"confirmation": f"{state['rng'].choice('GHJL')}{state['rng'].randint(10000, 99999)}"}


FUNCTIONS = (
    Function(
        "find_airport", "Find the airport code of a city.",
        (Param("city", CITY, "City name"),),
        (Return("airport_code", AIRPORT, ("the airport of {city}", "the airport in {city}")),),
        asks=("find the airport code of {city}", "look up the airport in {city}"),
        says=("The airport of {city} is {airport_code}.",), run=finds("airport_of", "airport_code"),
    ),
    Function(
        "search_flight", "Search a flight between two airports.",
        (Param("origin", AIRPORT, "Airport code of origin"),
         Param("destination", AIRPORT, "Airport code of destination")),
        (Return("flight", FLIGHT, ("a flight from {origin} to {destination}",)),),
        asks=("search a flight from {origin} to {destination}", "find a flight going from {origin} to {destination}"),
        says=("Flight {flight} goes from {origin} to {destination}.",), run=search_flight,
    ),
    Function(
        "get_gate", "Get the departure gate of a flight.",
        (Param("flight", FLIGHT, "Flight number"),),
        (Return("gate", TEXT),),
        asks=("find the departure gate of {flight}", "check which gate {flight} uses"),
        says=("Flight {flight} departs from gate {gate}.",), run=reads("flights", "gate"),
    ),
    Function(
        "get_flight_distance", "Get the distance of a flight in kilometers.",
        (Param("flight", FLIGHT, "Flight number"),),
        (Return("distance_km", DISTANCE, ("the distance of {flight}",)),),
        asks=("look up the distance of {flight}", "find out how far {flight} flies"),
        says=("Flight {flight} covers {distance_km} kilometers.",), run=reads("flights", "distance_km"),
    ),
    Function(
        "get_flight_delay", "Get the delay of a flight in minutes.",
        (Param("flight", FLIGHT, "Flight number"),),
        (Return("delay_minutes", INTEGER),),
        asks=("check the delay of {flight}", "find out how late {flight} is"),
        says=("Flight {flight} is {delay_minutes} minutes late.",), run=reads("flights", "delay_minutes"),
    ),
    Function(
        "get_flight_price", "Get the ticket cost of a flight.",
        (Param("flight", FLIGHT, "Flight number"),),
        (Return("ticket_cost", PRICE, ("the ticket cost of {flight}",)),),
        asks=("look up the ticket cost of {flight}", "check how much a ticket for {flight} is"),
        says=("A ticket for flight {flight} costs {ticket_cost}.",), run=reads("flights", "ticket_cost"),
    ),
    Function(
        "rebook_flight", "Move a flight booking to a new date.",
        (Param("flight", FLIGHT, "Flight number"), Param("new_date", EVENT_DATE, "New date, YYYY-MM-DD")),
        (Return("confirmation", TEXT),),
        asks=("move the booking on {flight} to {new_date}", "rebook {flight} for {new_date}"),
        says=("The booking on {flight} is moved to {new_date}, confirmation {confirmation}.",), run=rebook_flight,
    ),
)  # fmt: skip

DOMAIN = Domain("flights", ("I'm flying out soon.", "I have an air trip to prepare."), build, FUNCTIONS)
