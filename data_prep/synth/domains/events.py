"""find_event({"venue": "Opera House"}) -> {"event_id": "EV 3097"}. Concerts, talks and fairs."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.shop import QUANTITY
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import CITY, EVENT_DATE, PRICE, TEXT, Names, date_in

VENUES = ("Opera House", "Town Square", "Expo Center", "Lakeside Stage", "Union Theater")
VENUE = Kind("Venue", "string", "venue", "the {}", lambda rng, s: rng.choice(VENUES))
EVENT = Kind("EventId", "string", "event", "event {}", one_of("events"))


def build(rng: Random, names: Names) -> State:
    events = {
        f"EV {number}": {
            "event_date": date_in(rng, names.year),
            "entry_price": rng.randrange(10, 180, 2),
            "host_city": rng.choice(names.cities),
        }
        for number in rng.sample(range(1000, 9999), len(VENUES))
    }
    return {"events": events, "event_at": dict(zip(VENUES, events, strict=True)), "rng": rng}


def buy_event_tickets(state: State, event_id: str, tickets: int) -> dict:
    price = known(state["events"], event_id, "event")["entry_price"]
    return {
        "purchase_no": f"{state['rng'].randint(10, 99)}/{state['rng'].randint(1000, 9999)}",
        "total_price": price * tickets,
    }


FUNCTIONS = (
    Function(
        "find_event", "Find the next event at a venue.",
        (Param("venue", VENUE, "Name of the venue"),),
        (Return("event_id", EVENT, ("the next event at {venue}",)),),
        asks=("find the next event at {venue}", "look up what is on at {venue}"),
        says=("The next event at the {venue} is {event_id}.",), run=finds("event_at", "event_id"),
    ),
    Function(
        "get_event_date", "Get the date of an event.",
        (Param("event_id", EVENT, "Event id"),),
        (Return("event_date", EVENT_DATE, ("the date of {event_id}",)),),
        asks=("look up the date of {event_id}", "find out when {event_id} takes place"),
        says=("The date of {event_id} is {event_date}.",), run=reads("events", "event_date"),
    ),
    Function(
        "get_entry_price", "Get the entry price of an event.",
        (Param("event_id", EVENT, "Event id"),),
        (Return("entry_price", PRICE, ("the entry price of {event_id}",)),),
        asks=("check the entry price of {event_id}", "find out how much entry to {event_id} costs"),
        says=("Entry to {event_id} costs {entry_price}.",), run=reads("events", "entry_price"),
    ),
    Function(
        "get_host_city", "Get the city that hosts an event.",
        (Param("event_id", EVENT, "Event id"),),
        (Return("host_city", CITY, ("the city that hosts {event_id}",)),),
        asks=("find out which city hosts {event_id}", "look up the host city of {event_id}"),
        says=("The event {event_id} is hosted by {host_city}.",), run=reads("events", "host_city"),
    ),
    Function(
        "buy_event_tickets", "Buy tickets for an event.",
        (Param("event_id", EVENT, "Event id"), Param("tickets", QUANTITY, "Number of tickets")),
        (Return("purchase_no", TEXT), Return("total_price", PRICE, ("the cost of {tickets} tickets for {event_id}",))),
        asks=("buy {tickets} tickets for {event_id}", "purchase {tickets} tickets for {event_id}"),
        says=("Purchase {purchase_no} of {tickets} tickets for {event_id} costs {total_price}.",),
        run=buy_event_tickets,
    ),
)  # fmt: skip

DOMAIN = Domain("events", ("I feel like going out.", "My friends want to see something live."), build, FUNCTIONS)
