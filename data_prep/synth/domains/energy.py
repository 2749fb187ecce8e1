"""read_meter({"meter_no": "MTR7720"}) -> {"kilowatt_hours": 412}. Meters, tariffs and solar panels."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, one_of
from data_prep.synth.kinds import CLIENT, NUMBER, Names

PROVIDERS = ("Brightgrid", "Volta Nova", "Northwind Power", "Helio")
PROVIDER = Kind("EnergyProvider", "string", "provider", "{}", lambda rng, s: rng.choice(PROVIDERS))
METER = Kind("MeterNumber", "string", "meter", "meter {}", one_of("reading_of"))
KWH = Kind("KilowattHours", "integer", "consumption", "{} kilowatt hours", lambda rng, s: rng.randint(90, 900))
TARIFF = Kind("PricePerKwh", "number", "tariff", "{} per kilowatt hour", lambda rng, s: rng.randint(11, 49) / 100)
PANELS = Kind("PanelCount", "integer", "number of panels", "{} solar panels", lambda rng, s: rng.randint(3, 40))


def build(rng: Random, names: Names) -> State:
    meters = [f"MTR{number}" for number in rng.sample(range(1000, 9999), len(names.people))]
    return {
        "meter_of": dict(zip(names.people, meters, strict=True)),
        "reading_of": {meter: rng.randint(90, 900) for meter in meters},
        "tariff_of": {provider: rng.randint(11, 49) / 100 for provider in PROVIDERS},
    }


def energy_bill(state: State, kilowatt_hours: int, price_per_kwh: float) -> dict:
    return {"bill": round(kilowatt_hours * price_per_kwh, 2)}


def carbon_footprint(state: State, kilowatt_hours: int) -> dict:
    return {"co2_kg": round(kilowatt_hours * 0.35, 1)}


def solar_output(state: State, panels: int) -> dict:
    return {"yearly_kwh": panels * 380}


FUNCTIONS = (
    Function(
        "find_meter", "Find the electricity meter of a household.",
        (Param("household", CLIENT, "Name of the householder"),),
        (Return("meter_no", METER, ("the electricity meter of {household}",)),),
        asks=("find the electricity meter of {household}", "identify the meter that belongs to {household}"),
        says=("The electricity meter of {household} is {meter_no}.",), run=finds("meter_of", "meter_no"),
    ),
    Function(
        "read_meter", "Read the consumption on an electricity meter.",
        (Param("meter_no", METER, "Meter number"),),
        (Return("kilowatt_hours", KWH, ("the consumption on {meter_no}", "the reading of {meter_no}")),),
        asks=("read the consumption on {meter_no}", "take the reading of {meter_no}"),
        says=("Meter {meter_no} shows {kilowatt_hours} kilowatt hours.",), run=finds("reading_of", "kilowatt_hours"),
    ),
    Function(
        "get_tariff", "Get the price per kilowatt hour of a provider.",
        (Param("provider", PROVIDER, "Energy provider"),),
        (Return("price_per_kwh", TARIFF, ("the tariff of {provider}", "the {provider} tariff")),),
        asks=("get the tariff of {provider}", "see what {provider} charges per kilowatt hour"),
        says=("{provider} charges {price_per_kwh} per kilowatt hour.",), run=finds("tariff_of", "price_per_kwh"),
    ),
    Function(
        "get_energy_bill", "Get the bill for a consumption at a tariff.",
        (Param("kilowatt_hours", KWH, "Consumption in kWh"), Param("price_per_kwh", TARIFF, "Price per kWh")),
        (Return("bill", NUMBER),),
        asks=("compute the bill for {kilowatt_hours} at {price_per_kwh}",
              "estimate the electricity bill for {kilowatt_hours} at {price_per_kwh}"),
        says=("The bill for {kilowatt_hours} kilowatt hours at {price_per_kwh} is {bill}.",), run=energy_bill,
    ),
    Function(
        "get_carbon_footprint", "Get the carbon dioxide emitted for a consumption.",
        (Param("kilowatt_hours", KWH, "Consumption in kWh"),),
        (Return("co2_kg", NUMBER),),
        asks=("compute the carbon footprint of {kilowatt_hours}",
              "see how much carbon dioxide comes from {kilowatt_hours}"),
        says=("Using {kilowatt_hours} kilowatt hours emits {co2_kg} kilograms of carbon dioxide.",),
        run=carbon_footprint,
    ),
    Function(
        "get_solar_output", "Get the yearly output of solar panels in kWh.",
        (Param("panels", PANELS, "Number of solar panels"),),
        (Return("yearly_kwh", KWH, ("the yearly output of {panels}", "the electricity that {panels} make in a year")),),
        asks=("estimate the yearly output of {panels}", "see how much electricity {panels} make in a year"),
        says=("With {panels} solar panels, the yearly output is {yearly_kwh} kilowatt hours.",), run=solar_output,
    ),
)  # fmt: skip

DOMAIN = Domain("energy", ("Electricity is getting expensive.", "I advise households on energy."), build, FUNCTIONS)
