"""get_asking_price({"listing": "oak-lane-17"}) -> {"asking_price": 284000}. Homes for sale."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.banking import YEARS
from data_prep.synth.domains.geometry import SURFACE
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import AMOUNT, EVENT_DATE, NUMBER, PERSON, TEXT, Names

DISTRICTS = ("Old Mill", "Riverside", "Hillcrest", "Station Quarter", "Westpark")
STREETS = ("oak-lane", "mill-road", "elm-court", "dock-street", "rose-hill")
DISTRICT = Kind("HomeDistrict", "string", "district", "{}", lambda rng, s: rng.choice(DISTRICTS))
LISTING = Kind("Listing", "string", "listing", "listing {}", one_of("listings"))
HOME_PRICE = Kind("HomePrice", "integer", "price", "{}", lambda rng, s: rng.randrange(120000, 600000, 1000), AMOUNT)
HOME_AREA = Kind("HomeArea", "number", "floor area", "{} square meters", lambda rng, s: rng.randint(45, 230), SURFACE)


def build(rng: Random, names: Names) -> State:
    listings = {
        f"{street}-{rng.randint(1, 99)}": {
            "asking_price": rng.randrange(120000, 600000, 1000),
            "floor_area": rng.randint(45, 230),
            "agent": rng.choice(names.people),
        }
        for street in STREETS
    }
    return {"listings": listings, "listing_in": dict(zip(DISTRICTS, listings, strict=True)), "rng": rng}


def mortgage_payment(state: State, price: int, years: int) -> dict:
    monthly = 0.035 / 12
    return {"monthly_payment": round(price * 0.8 * monthly / (1 - (1 + monthly) ** (-12 * years)), 2)}


def schedule_viewing(state: State, listing: str, viewing_date: str) -> dict:
    known(state["listings"], listing, "listing")
    return {"viewing_code": f"view-{state['rng'].randint(10, 99)}-{state['rng'].choice('abcdef')}"}


def price_per_area(state: State, price: int, floor_area: float) -> dict:
    return {"price_per_square_meter": round(price / floor_area, 2)}


FUNCTIONS = (
    Function(
        "find_listing", "Find a home for sale in a district.",
        (Param("district", DISTRICT, "District name"),),
        (Return("listing", LISTING, ("a home for sale in {district}", "the newest listing in {district}")),),
        asks=("find a home for sale in {district}", "look for the newest listing in {district}"),
        says=("A home for sale in {district} is {listing}.",), run=finds("listing_in", "listing"),
    ),
    Function(
        "get_asking_price", "Get the asking price of a home.",
        (Param("listing", LISTING, "Listing name"),),
        (Return("asking_price", HOME_PRICE, ("the asking price of {listing}",)),),
        asks=("check the asking price of {listing}", "find out how much the seller wants for {listing}"),
        says=("The asking price of {listing} is {asking_price}.",), run=reads("listings", "asking_price"),
    ),
    Function(
        "get_floor_area", "Get the floor area of a home in square meters.",
        (Param("listing", LISTING, "Listing name"),),
        (Return("floor_area", HOME_AREA, ("the floor area of {listing}", "the size of {listing}")),),
        asks=("look up the floor area of {listing}", "find out how big {listing} is"),
        says=("The home {listing} has {floor_area} square meters.",), run=reads("listings", "floor_area"),
    ),
    Function(
        "get_listing_agent", "Get the agent who sells a home.",
        (Param("listing", LISTING, "Listing name"),),
        (Return("agent", PERSON, ("the agent for {listing}",)),),
        asks=("find out which agent sells {listing}", "look up the agent for {listing}"),
        says=("The agent for {listing} is {agent}.",), run=reads("listings", "agent"),
    ),
    Function(
        "mortgage_payment", "Get the monthly payment on a home's price.",
        (Param("price", HOME_PRICE, "Price of the home"), Param("years", YEARS, "Duration in years")),
        (Return("monthly_payment", NUMBER),),
        asks=("work out the monthly mortgage payment for {price} over {years}",
              "calculate the monthly mortgage rate on {price} over {years}"),
        says=("A home at {price} costs {monthly_payment} a month over {years} years.",), run=mortgage_payment,
    ),
    Function(
        "price_per_area", "Get the price per square meter of a home.",
        (Param("price", HOME_PRICE, "Price of the home"),
         Param("floor_area", HOME_AREA, "Floor area in square meters")),
        (Return("price_per_square_meter", NUMBER),),
        asks=("calculate the price per square meter for {price} and {floor_area}",
              "work out the square meter price given {price} and {floor_area}"),
        says=("With {floor_area} square meters for {price}, a square meter costs {price_per_square_meter}.",),
        run=price_per_area,
    ),
    Function(
        "schedule_viewing", "Schedule a viewing of a home.",
        (Param("listing", LISTING, "Listing name"), Param("viewing_date", EVENT_DATE, "Date, YYYY-MM-DD")),
        (Return("viewing_code", TEXT),),
        asks=("arrange a viewing of {listing} on {viewing_date}", "schedule a visit to {listing} for {viewing_date}"),
        says=("The viewing of {listing} on {viewing_date} has the code {viewing_code}.",), run=schedule_viewing,
    ),
)  # fmt: skip

DOMAIN = Domain("real_estate", ("We are looking for a new home.", "I might buy a flat."), build, FUNCTIONS)
