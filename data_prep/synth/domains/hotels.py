"""find_hotel({"city": "Lima"}) -> {"hotel": "Hotel Aurora", "stars": 4}. Hotels, rooms and bookings."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import CITY, EVENT_DATE, INTEGER, PRICE, Names

NAMES = ("Aurora", "Belvedere", "Cedar", "Dorchester", "Emerald", "Fontana", "Grandview", "Harbour")
HOTEL = Kind("Hotel", "string", "hotel", "the {}", one_of("hotels"))
RATE = Kind("NightlyRate", "number", "nightly rate", "{}", lambda rng, s: rng.randrange(55, 320, 5), PRICE)
BOOKING = Kind("BookingRef", "string", "booking", "booking {}", one_of("bookings"))
NIGHTS = Kind("Nights", "integer", "number of nights", "{} nights", lambda rng, s: rng.randint(2, 12))


def build(rng: Random, names: Names) -> State:
    hotels = {
        f"Hotel {name}": {"stars": rng.randint(2, 5), "nightly_rate": rng.randrange(55, 320, 5), "rooms": 3}
        for name in rng.sample(NAMES, 6)
    }
    bookings = {f"HB{rng.randint(100, 999)}{letter}": rng.choice(list(hotels)) for letter in "KRT"}
    return {
        "hotels": hotels,
        "hotel_in": {city: rng.choice(list(hotels)) for city in names.cities},
        "bookings": bookings,
        "rng": rng,
    }


def find_hotel(state: State, city: str) -> dict:
    hotel = known(state["hotel_in"], city, "city")
    return {"hotel": hotel, "stars": state["hotels"][hotel]["stars"]}


def book_room(state: State, hotel: str, check_in: str) -> dict:
    known(state["hotels"], hotel, "hotel")
    reference = f"HB{state['rng'].randint(100, 999)}X"
    state["bookings"][reference] = hotel
    return {"booking_ref": reference}


def stay_cost(state: State, nightly_rate: float, nights: int) -> dict:
    return {"stay_total": round(nightly_rate * nights, 2)}


FUNCTIONS = (
    Function(
        "find_hotel", "Find a hotel in a city.",
        (Param("city", CITY, "City name"),),
        (Return("hotel", HOTEL, ("a hotel in {city}", "the recommended hotel in {city}")), Return("stars", INTEGER)),
        asks=("find a hotel in {city}", "look for a hotel in {city}"),
        says=("{hotel} in {city} has {stars} stars.",), run=find_hotel,
    ),
    Function(
        "get_room_rate", "Get the nightly rate of a hotel.",
        (Param("hotel", HOTEL, "Hotel name"),),
        (Return("nightly_rate", RATE, ("the nightly rate at {hotel}", "the price of a night at {hotel}")),),
        asks=("check the nightly rate at {hotel}", "find out what a night at {hotel} costs"),
        says=("A night at {hotel} costs {nightly_rate}.",), run=reads("hotels", "nightly_rate"),
    ),
    Function(
        "book_room", "Book a hotel room from a check-in date.",
        (Param("hotel", HOTEL, "Hotel name"), Param("check_in", EVENT_DATE, "Check-in date, YYYY-MM-DD")),
        (Return("booking_ref", BOOKING),),
        asks=("book a room at {hotel} from {check_in}", "reserve a room at {hotel} with check-in on {check_in}"),
        says=("A room at {hotel} is booked from {check_in} under {booking_ref}.",), run=book_room,
    ),
    Function(
        "get_booked_hotel", "Get the hotel that a booking is for.",
        (Param("booking_ref", BOOKING, "Booking reference"),),
        (Return("hotel", HOTEL, ("the hotel of {booking_ref}",)),),
        asks=("find out which hotel {booking_ref} is for", "look up the hotel of {booking_ref}"),
        says=("Booking {booking_ref} is for {hotel}.",), run=finds("bookings", "hotel"),
    ),
    Function(
        "stay_cost", "Work out the cost of a stay from the nightly rate.",
        (Param("nightly_rate", RATE, "Price per night"), Param("nights", NIGHTS, "Number of nights")),
        (Return("stay_total", PRICE, ("the cost of {nights} at {nightly_rate} a night",)),),
        asks=("work out the cost of {nights} at {nightly_rate} a night",
              "calculate what {nights} cost at {nightly_rate}"),
        says=("At {nightly_rate} a night, {nights} nights cost {stay_total}.",), run=stay_cost,
    ),
)  # fmt: skip

DOMAIN = Domain("hotels", ("I'm arranging somewhere to sleep.", "I will be away for a few nights."), build, FUNCTIONS)
