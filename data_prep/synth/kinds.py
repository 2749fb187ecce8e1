"""Kinds that several domains share, so that chains cross domains: a City from one function feeds another's City.

The plain kinds (TEXT, NUMBER, ...) only type results; no parameter has one, so they never chain.
"""

from __future__ import annotations

import datetime
from random import Random
from typing import NamedTuple

from data_prep.synth.functions import Kind, State


class Names(NamedTuple):
    """Proper names of one split; training and held-out worlds share none."""

    cities: tuple[str, ...]
    people: tuple[str, ...]
    year: int


NAMES = {
    "train": Names(
        cities=("Oslo", "Lisbon", "Chicago", "Nairobi", "Kyoto", "Toronto", "Madrid", "Dublin", "Hanoi", "Lima",
                "Cairo", "Boston", "Prague", "Seoul", "Denver", "Zurich", "Athens", "Manila", "Porto", "Leeds"),
        people=("Anna Keller", "Luis Ortega", "Priya Nair", "Tom Becker", "Mei Chen", "Omar Haddad", "Julia Novak",
                "Sam Turner", "Ines Costa", "David Cohen", "Fatima Diallo", "Erik Lund", "Grace Kim", "Paul Moreau",
                "Nina Petrova", "Carlos Vega", "Hana Sato", "Ben Walsh", "Lucy Adams", "Ravi Menon"),
        year=2025,
    ),
    "held_out": Names(
        cities=("Vienna", "Bogota", "Helsinki", "Seattle", "Mumbai", "Geneva", "Warsaw", "Jakarta", "Bristol", "Accra"),
        people=("Maria Silva", "John Fraser", "Aisha Rahman", "Peter Holm", "Chloe Martin", "Kenji Mori", "Elena Rossi",
                "Victor Hugo Paz", "Sofia Lindgren", "Marcus Reed"),
        year=2026,
    ),
}  # fmt: skip


def date_in(rng: Random, year: int) -> str:
    """A day of the year, as YYYY-MM-DD."""
    return (datetime.date(year, 1, 1) + datetime.timedelta(days=rng.randrange(365))).isoformat()


def later(date: str, days: int) -> str:
    """The date that many days after another."""
    return (datetime.date.fromisoformat(date) + datetime.timedelta(days=days)).isoformat()


def _city(rng: Random, state: State) -> str:
    return rng.choice(state["names"].cities)


def _person(rng: Random, state: State) -> str:
    return rng.choice(state["names"].people)


def _date(rng: Random, state: State) -> str:
    return date_in(rng, state["names"].year)


def _amount(rng: Random, state: State) -> float | int:
    return rng.choice((rng.randrange(20, 2000, 5), rng.randrange(20, 900) + rng.choice((0.25, 0.49, 0.75, 0.95))))


CITY = Kind("City", "string", "city", "{}", _city)
PERSON = Kind("Person", "string", "person", "{}", _person)
CLIENT = Kind("Client", "string", "person", "{}", _person)  # only the user says for whom; no result feeds it
DATE = Kind("Date", "string", "date", "{}", _date)
EVENT_DATE = Kind("EventDate", "string", "date", "{}", _date, DATE)  # a day on which one does something
AMOUNT = Kind("Amount", "number", "amount", "{}", _amount)
PRICE = Kind("Price", "number", "price", "{}", _amount, AMOUNT)
INCOME = Kind("Income", "number", "amount", "{}", _amount, AMOUNT)

TEXT = Kind("Text", "string", "text")
NUMBER = Kind("Number", "number", "number")
INTEGER = Kind("Integer", "integer", "number")
