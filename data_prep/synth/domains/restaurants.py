"""find_restaurant({"cuisine": "Thai", "city": "Lima"}) -> {"restaurant_id": "R#204"}. Tables, bills and tips."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.cooking import PEOPLE
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, known, one_of, reads
from data_prep.synth.kinds import CITY, NUMBER, PRICE, TEXT, Names

CUISINES = ("Thai", "Greek", "Mexican", "Ethiopian", "Korean", "Lebanese")
CUISINE = Kind("Cuisine", "string", "cuisine", "{}", lambda rng, s: rng.choice(CUISINES))
RESTAURANT = Kind("RestaurantId", "string", "restaurant", "restaurant {}", one_of("restaurants"))
CLOCK = Kind(
    "ClockTime", "string", "time", "{}", lambda rng, s: f"{rng.randint(12, 21)}:{rng.choice(('00', '15', '30', '45'))}"
)
BILL = Kind("RestaurantBill", "number", "bill", "{}", lambda rng, s: rng.randint(20, 240) + 0.5, PRICE)
PERCENT = Kind("TipPercent", "integer", "percentage", "{} percent", lambda rng, s: rng.choice((8, 12, 15, 18)))


def build(rng: Random, names: Names) -> State:
    numbers = rng.sample(range(100, 999), 6)
    return {
        "restaurants": {
            f"R#{n}": {"average_bill": rng.randint(30, 240) / 2, "rating": rng.randint(20, 50) / 10} for n in numbers
        },
        "salt": rng.getrandbits(32),
        "rng": rng,
    }


def find_restaurant(state: State, cuisine: str, city: str) -> dict:
    known(dict.fromkeys(state["names"].cities), city, "city")
    known(dict.fromkeys(CUISINES), cuisine, "cuisine")
    return {"restaurant_id": Random(f"{state['salt']}{cuisine}{city}").choice(list(state["restaurants"]))}


def reserve_table(state: State, restaurant_id: str, guests: int, time: str) -> dict:
    known(state["restaurants"], restaurant_id, "restaurant")
    return {"reservation_code": f"RSV.{state['rng'].randint(1000, 9999)}"}


def split_bill(state: State, amount: float, guests: int) -> dict:
    return {"share": round(amount / guests, 2)}


def add_tip(state: State, amount: float, percent: int) -> dict:
    return {"total_with_tip": round(amount * (1 + percent / 100), 2)}


FUNCTIONS = (
    Function(
        "find_restaurant", "Find a restaurant of a cuisine in a city.",
        (Param("cuisine", CUISINE, "Kind of cuisine"), Param("city", CITY, "City name")),
        (Return("restaurant_id", RESTAURANT, ("a {cuisine} restaurant in {city}", "a {cuisine} place in {city}")),),
        asks=("find a {cuisine} restaurant in {city}", "pick a {cuisine} place to eat in {city}"),
        says=("A {cuisine} restaurant in {city} is {restaurant_id}.",), run=find_restaurant,
    ),
    Function(
        "get_average_bill", "Get the average bill per person of a restaurant.",
        (Param("restaurant_id", RESTAURANT, "Restaurant id"),),
        (Return("average_bill", BILL, ("the average bill at {restaurant_id}",)),),
        asks=("look up the average bill at {restaurant_id}", "check what a meal at {restaurant_id} costs on average"),
        says=("The average bill at {restaurant_id} is {average_bill}.",), run=reads("restaurants", "average_bill"),
    ),
    Function(
        "get_restaurant_rating", "Get the guests' rating of a restaurant.",
        (Param("restaurant_id", RESTAURANT, "Restaurant id"),),
        (Return("rating", NUMBER),),
        asks=("check how guests rate {restaurant_id}", "look up the rating of {restaurant_id}"),
        says=("Guests rate {restaurant_id} at {rating}.",), run=reads("restaurants", "rating"),
    ),
    Function(
        "reserve_table", "Reserve a restaurant table for some guests.",
        (Param("restaurant_id", RESTAURANT, "Restaurant id"), Param("guests", PEOPLE, "Number of guests"),
         Param("time", CLOCK, "Time as HH:MM")),
        (Return("reservation_code", TEXT),),
        asks=("reserve a table for {guests} guests at {restaurant_id} at {time}",
              "hold a table at {restaurant_id} for {guests} people at {time}"),
        says=("A table for {guests} at {restaurant_id} at {time} is reserved as {reservation_code}.",),
        run=reserve_table,
    ),
    Function(
        "split_bill", "Split an amount evenly among guests.",
        (Param("amount", PRICE, "Amount to split"), Param("guests", PEOPLE, "Number of guests")),
        (Return("share", PRICE, ("each share of {amount} split among {guests} guests",)),),
        asks=("split {amount} among {guests} guests", "divide {amount} evenly between {guests} people"),
        says=("Split among {guests} guests, {amount} is {share} each.",), run=split_bill,
    ),
    Function(
        "add_tip", "Add a tip to an amount.",
        (Param("amount", BILL, "Amount before the tip"), Param("percent", PERCENT, "Tip in percent")),
        (Return("total_with_tip", PRICE, ("{amount} plus a tip of {percent}",)),),
        asks=("add a tip of {percent} to {amount}", "work out {amount} plus a tip of {percent}"),
        says=("With a tip of {percent} percent, {amount} becomes {total_with_tip}.",), run=add_tip,
    ),
)  # fmt: skip

DOMAIN = Domain("restaurants", ("We are eating out tonight.", "I'm taking colleagues to lunch."), build, FUNCTIONS)
