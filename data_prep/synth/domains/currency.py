"""convert_currency({"amount": 120, "from_currency": "EUR", "to_currency": "JPY"}) -> {"converted": 19440.0}."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, ToolError, known
from data_prep.synth.kinds import AMOUNT, CITY, NUMBER, Names

PER_EURO = {"EUR": 1.0, "USD": 1.08, "JPY": 162.0, "GBP": 0.85, "CHF": 0.95, "SEK": 11.4, "CAD": 1.47, "INR": 90.5}
CURRENCY = Kind("Currency", "string", "currency", "{}", lambda rng, s: rng.choice(list(PER_EURO)))
RATE = Kind("ExchangeRate", "number", "rate", "{}", lambda rng, s: rng.randint(105, 995) / 100)


def build(rng: Random, names: Names) -> State:
    per_euro = {code: round(rate * rng.uniform(0.95, 1.05), 3) for code, rate in PER_EURO.items()}
    local = {city: rng.choice(list(PER_EURO)) for city in names.cities}
    return {"per_euro": per_euro, "local": local}


def convert_currency(state: State, amount: float, from_currency: str, to_currency: str) -> dict:
    base = known(state["per_euro"], from_currency, "currency")
    return {"converted": round(amount / base * known(state["per_euro"], to_currency, "currency"), 2)}


def get_exchange_rate(state: State, base: str, target: str) -> dict:
    if base == target:
        raise ToolError("base and target are the same currency")
    return {"rate": round(known(state["per_euro"], target, "currency") / known(state["per_euro"], base, "currency"), 4)}


def apply_exchange_rate(state: State, amount: float, rate: float) -> dict:
    return {"exchanged": round(amount * rate, 2)}


def get_local_currency(state: State, city: str) -> dict:
    return {"currency": known(state["local"], city, "city")}


def exchange_fee(state: State, amount: float) -> dict:
    return {"fee": round(amount * 0.025, 2)}


FUNCTIONS = (
    Function(
        "convert_currency", "Convert an amount of money between currencies.",
        (Param("amount", AMOUNT, "Amount of money"), Param("from_currency", CURRENCY, "Currency code to convert from"),
         Param("to_currency", CURRENCY, "Currency code to convert to")),
        (Return("converted", AMOUNT, ("{amount} converted from {from_currency} to {to_currency}",)),),
        asks=("convert {amount} from {from_currency} to {to_currency}",
              "change {amount} from {from_currency} into {to_currency}"),
        says=("Converting {amount} {from_currency} gives {converted} {to_currency}.",), run=convert_currency,
    ),
    Function(
        "get_exchange_rate", "Get the exchange rate between two currencies.",
        (Param("base", CURRENCY, "Base currency code"), Param("target", CURRENCY, "Target currency code")),
        (Return("rate", RATE, ("the exchange rate from {base} to {target}", "today's {base} to {target} rate")),),
        asks=("look up the exchange rate from {base} to {target}", "check the {base} to {target} exchange rate"),
        says=("One {base} is {rate} {target}.",), run=get_exchange_rate,
    ),
    Function(
        "apply_exchange_rate", "Multiply an amount by an exchange rate.",
        (Param("amount", AMOUNT, "Amount of money"), Param("rate", RATE, "Exchange rate")),
        (Return("exchanged", AMOUNT),),
        asks=("work out what {amount} is worth at {rate}", "exchange {amount} at {rate}"),
        says=("At a rate of {rate}, {amount} becomes {exchanged}.",), run=apply_exchange_rate,
    ),
    Function(
        "get_local_currency", "Get the currency that is used in a city.",
        (Param("city", CITY, "City name"),),
        (Return("currency", CURRENCY, ("the local currency of {city}", "the currency used in {city}")),),
        asks=("find out which currency is used in {city}", "look up the local currency of {city}"),
        says=("The currency in {city} is {currency}.",), run=get_local_currency,
    ),
    Function(
        "get_exchange_fee", "Get the bank's fee for exchanging an amount.",
        (Param("amount", AMOUNT, "Amount of money"),),
        (Return("fee", NUMBER),),
        asks=("work out the fee for exchanging {amount}", "check what fee the bank takes for exchanging {amount}"),
        says=("The fee for exchanging {amount} is {fee}.",), run=exchange_fee,
    ),
)  # fmt: skip

DOMAIN = Domain(
    "currency", ("I have some money matters to sort out.", "I am preparing a trip abroad."), build, FUNCTIONS
)
