"""find_train({"from_station": "OSL2", "to_station": "LIS7"}) -> {"train_no": "RX 418", "departure": "08:45"}."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, ToolError, known
from data_prep.synth.kinds import CITY, INCOME, INTEGER, PERSON, PRICE, TEXT, Names

STATION = Kind("StationCode", "string", "station", "station {}", lambda rng, s: rng.choice(list(s["city_of"])))
TRAIN = Kind("TrainNumber", "string", "train", "train {}", lambda rng, s: rng.choice(list(s["trains"])))
TICKET = Kind("TicketId", "string", "ticket", "ticket {}", lambda rng, s: rng.choice(list(s["tickets"])))


def build(rng: Random, names: Names) -> State:
    station_of = {city: f"{city[:3].upper()}{rng.randint(1, 9)}" for city in names.cities}
    trains = {f"RX {number}": _train(rng) for number in rng.sample(range(100, 900), 5)}
    tickets = {f"tkt_{number}": rng.choice(list(trains)) for number in rng.sample(range(1000, 5000), 4)}
    return {
        "station_of": station_of,
        "city_of": {code: city for city, code in station_of.items()},
        "trains": trains,
        "tickets": tickets,
        "rng": rng,
    }


def _train(rng: Random) -> dict:
    clock = f"{rng.randint(6, 22):02d}:{rng.choice((0, 10, 15, 25, 40, 50)):02d}"
    return {
        "departure": clock,
        "platform": rng.randint(1, 19),
        "seats": rng.randint(3, 90),
        "fare": rng.randint(12, 99),
    }


def find_station(state: State, city: str) -> dict:
    return {"station_code": known(state["station_of"], city, "city")}


def find_train(state: State, from_station: str, to_station: str) -> dict:
    known(state["city_of"], from_station, "station")
    known(state["city_of"], to_station, "station")
    if from_station == to_station:
        raise ToolError("both stations are the same")
    number = f"RX {state['rng'].randint(901, 999)}"
    state["trains"][number] = _train(state["rng"])
    return {"train_no": number, "departure": state["trains"][number]["departure"]}


def get_platform(state: State, train_no: str) -> dict:
    return {"platform": known(state["trains"], train_no, "train")["platform"]}


def get_train_fare(state: State, train_no: str) -> dict:
    return {"fare": known(state["trains"], train_no, "train")["fare"]}


def book_train(state: State, train_no: str, passenger: str) -> dict:
    train = known(state["trains"], train_no, "train")
    if not train["seats"]:
        raise ToolError(f"{train_no} is full")
    train["seats"] -= 1
    ticket_id = f"tkt_{state['rng'].randint(5000, 9999)}"
    state["tickets"][ticket_id] = train_no
    return {"ticket_id": ticket_id, "seat": state["rng"].randint(1, 90)}


def refund_ticket(state: State, ticket_id: str) -> dict:
    train = known(state["trains"], known(state["tickets"], ticket_id, "ticket"), "train")
    del state["tickets"][ticket_id]
    return {"refund": round(train["fare"] * 0.8, 2)}


FUNCTIONS = (
    Function(
        "find_station", "Find the code of a city's main station.",
        (Param("city", CITY, "City name"),),
        (Return("station_code", STATION, ("the main station in {city}", "the station in {city}")),),
        asks=("find the main station in {city}", "look up the code of the station in {city}"),
        says=("The main station in {city} is {station_code}.",), run=find_station,
    ),
    Function(
        "find_train", "Find the next train between two stations.",
        (Param("from_station", STATION, "Departure station code"),
         Param("to_station", STATION, "Arrival station code")),
        (Return("train_no", TRAIN, ("the next train from {from_station} to {to_station}",)), Return("departure", TEXT)),
        asks=("find the next train from {from_station} to {to_station}",
              "look up the next train going from {from_station} to {to_station}"),
        says=("Train {train_no} leaves {from_station} for {to_station} at {departure}.",), run=find_train,
    ),
    Function(
        "get_platform", "Get the platform of a train.",
        (Param("train_no", TRAIN, "Train number"),),
        (Return("platform", INTEGER),),
        asks=("check which platform {train_no} leaves from", "find out the platform of {train_no}"),
        says=("Train {train_no} leaves from platform {platform}.",), run=get_platform,
    ),
    Function(
        "get_train_fare", "Get the fare of a train.",
        (Param("train_no", TRAIN, "Train number"),),
        (Return("fare", PRICE, ("the fare for {train_no}", "the ticket price of {train_no}")),),
        asks=("look up the fare for {train_no}", "check how much {train_no} costs"),
        says=("The fare for train {train_no} is {fare}.",), run=get_train_fare,
    ),
    Function(
        "book_train", "Book a seat on a train for a passenger.",
        (Param("train_no", TRAIN, "Train number"), Param("passenger", PERSON, "Name of the passenger")),
        (Return("ticket_id", TICKET), Return("seat", INTEGER)),
        asks=("book a seat on {train_no} for {passenger}", "reserve a place on {train_no} for {passenger}"),
        says=("{passenger} has seat {seat} on train {train_no}, ticket {ticket_id}.",), run=book_train,
    ),
    Function(
        "refund_ticket", "Cancel a train ticket and refund it.",
        (Param("ticket_id", TICKET, "Ticket id"),),
        (Return("refund", INCOME, ("the refund for {ticket_id}", "the money back for {ticket_id}")),),
        asks=("cancel {ticket_id} and get the refund", "have {ticket_id} refunded"),
        says=("Ticket {ticket_id} is cancelled and {refund} is refunded.",), run=refund_ticket,
    ),
)  # fmt: skip

DOMAIN = Domain("trains", ("I am travelling by rail.", "I have a train journey coming up."), build, FUNCTIONS)
