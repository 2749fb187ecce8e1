"""Every domain, by split: `DOMAINS["train"]` and `DOMAINS["held_out"]` share none. A new domain is a file and a line.

Domains of one split may share kinds (fitness takes cooking's calories), domains of different splits only `kinds.py`.
"""

from __future__ import annotations

from data_prep.synth.domains import (
    banking,
    calendar,
    car_rental,
    cinema,
    clinic,
    cooking,
    courses,
    currency,
    energy,
    events,
    fitness,
    flights,
    gardening,
    geometry,
    hotels,
    insurance,
    library,
    museum,
    music,
    parcels,
    parking,
    payroll,
    pets,
    real_estate,
    restaurants,
    shop,
    sports,
    telecom,
    trains,
    units,
    weather,
    words,
)
from data_prep.synth.functions import Domain, Function

DOMAINS: dict[str, tuple[Domain, ...]] = {
    "train": (
        banking.DOMAIN,
        calendar.DOMAIN,
        car_rental.DOMAIN,
        cinema.DOMAIN,
        clinic.DOMAIN,
        cooking.DOMAIN,
        courses.DOMAIN,
        currency.DOMAIN,
        events.DOMAIN,
        fitness.DOMAIN,
        flights.DOMAIN,
        gardening.DOMAIN,
        geometry.DOMAIN,
        hotels.DOMAIN,
        insurance.DOMAIN,
        music.DOMAIN,
        parcels.DOMAIN,
        payroll.DOMAIN,
        real_estate.DOMAIN,
        restaurants.DOMAIN,
        shop.DOMAIN,
        sports.DOMAIN,
        telecom.DOMAIN,
        trains.DOMAIN,
        units.DOMAIN,
        words.DOMAIN,
    ),
    "held_out": (
        energy.DOMAIN,
        library.DOMAIN,
        museum.DOMAIN,
        parking.DOMAIN,
        pets.DOMAIN,
        weather.DOMAIN,
    ),
}

FUNCTIONS: dict[str, Function] = {}
DOMAIN_OF: dict[str, Domain] = {}
for _domain in (*DOMAINS["train"], *DOMAINS["held_out"]):
    for _function in _domain.functions:
        if _function.name in FUNCTIONS:
            raise ValueError(
                f"two functions are called {_function.name!r}: {DOMAIN_OF[_function.name].name}, {_domain.name}"
            )
        FUNCTIONS[_function.name] = _function
        DOMAIN_OF[_function.name] = _domain
