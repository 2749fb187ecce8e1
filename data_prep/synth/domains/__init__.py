"""Every domain, by split: `DOMAINS["train"]` and `DOMAINS["held_out"]` share none. A new domain is a file and a line.

Domains of one split may share kinds (fitness takes cooking's calories), domains of different splits only `kinds.py`.
"""

from __future__ import annotations

from data_prep.synth.domains import cooking, currency, fitness, library, shop, trains, weather
from data_prep.synth.functions import Domain, Function

DOMAINS: dict[str, tuple[Domain, ...]] = {
    "train": (
        cooking.DOMAIN,
        currency.DOMAIN,
        fitness.DOMAIN,
        shop.DOMAIN,
        trains.DOMAIN,
    ),
    "held_out": (
        library.DOMAIN,
        weather.DOMAIN,
    ),
}

FUNCTIONS: dict[str, Function] = {}
DOMAIN_OF: dict[str, Domain] = {}
for _domain in (*DOMAINS["train"], *DOMAINS["held_out"]):
    for _function in _domain.functions:
        if _function.name in FUNCTIONS:
            raise ValueError(f"two functions are called {_function.name!r}: {DOMAIN_OF[_function.name].name}, {_domain.name}")
        FUNCTIONS[_function.name] = _function
        DOMAIN_OF[_function.name] = _domain
