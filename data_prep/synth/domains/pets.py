"""find_pet({"pet_owner": "Kenji Mori"}) -> {"chip": 98120455, "species": "dog"}. A veterinary practice."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import CITY, CLIENT, DATE, INTEGER, TEXT, Names, date_in

SPECIES = ("dog", "cat", "rabbit", "parrot", "hamster")
CHIP = Kind("ChipNumber", "integer", "pet", "pet {}", one_of("pets"))
VET = Kind("VetCode", "string", "vet", "vet {}", one_of("vets"))
VACCINATION = Kind("VaccinationDate", "string", "date", "{}", lambda rng, s: date_in(rng, s["names"].year), DATE)
PET_WEIGHT = Kind("PetWeight", "number", "weight", "{} kg", lambda rng, s: rng.randint(4, 90) / 2)


def build(rng: Random, names: Names) -> State:
    chips = rng.sample(range(90000000, 99999999), len(names.people))
    pets = {
        chip: {
            "species": rng.choice(SPECIES),
            "vaccination_date": date_in(rng, names.year),
            "weight_kg": rng.randint(4, 90) / 2,
        }
        for chip in chips
    }
    vets = {f"vet_{number}": rng.randint(1, 24) for number in rng.sample(range(10, 99), 5)}
    return {
        "chip_of": dict(zip(names.people, chips, strict=True)),
        "pets": pets,
        "vets": vets,
        "vet_in": {city: rng.choice(list(vets)) for city in names.cities},
        "rng": rng,
    }


def find_pet(state: State, pet_owner: str) -> dict:
    chip = known(state["chip_of"], pet_owner, "owner")
    return {"chip": chip, "species": state["pets"][chip]["species"]}


def food_portion(state: State, weight_kg: float) -> dict:
    return {"grams_per_day": round(weight_kg * 24)}


def book_vet_visit(state: State, chip: int, vet_code: str) -> dict:
    known(state["pets"], chip, "pet")
    known(state["vets"], vet_code, "vet")
    return {"visit_time": f"{state['rng'].randint(8, 17)}:{state['rng'].choice(('00', '20', '40'))}"}


def vaccination_reminder(state: State, pet_owner: str, due: str) -> dict:
    known(state["chip_of"], pet_owner, "owner")
    return {"reminder_no": state["rng"].randint(1000, 9999)}


FUNCTIONS = (
    Function(
        "find_pet", "Find the chip number of an owner's pet.",
        (Param("pet_owner", CLIENT, "Name of the pet's owner"),),
        (Return("chip", CHIP, ("the pet of {pet_owner}", "the pet that belongs to {pet_owner}")),
         Return("species", TEXT)),
        asks=("find the pet of {pet_owner}", "identify the pet that belongs to {pet_owner}"),
        says=("The pet of {pet_owner} is a {species} with chip {chip}.",), run=find_pet,
    ),
    Function(
        "get_vaccination_date", "Get the date of a pet's next vaccination.",
        (Param("chip", CHIP, "Chip number of the pet"),),
        (Return("vaccination_date", VACCINATION, ("the vaccination date of {chip}",)),),
        asks=("see when {chip} must be vaccinated", "determine the next vaccination date of {chip}"),
        says=("The next vaccination of {chip} is on {vaccination_date}.",), run=reads("pets", "vaccination_date"),
    ),
    Function(
        "weigh_pet", "Get the weight of a pet in kilograms.",
        (Param("chip", CHIP, "Chip number of the pet"),),
        (Return("weight_kg", PET_WEIGHT, ("the body weight of {chip}",)),),
        asks=("see how much {chip} weighs", "determine the body weight of {chip}"),
        says=("Pet {chip} weighs {weight_kg} kilograms.",), run=reads("pets", "weight_kg"),
    ),
    Function(
        "get_food_portion", "Get the daily food in grams for a pet's weight.",
        (Param("weight_kg", PET_WEIGHT, "Weight of the pet in kilograms"),),
        (Return("grams_per_day", INTEGER),),
        asks=("compute the daily food portion at {weight_kg}", "see how much food a day suits {weight_kg}"),
        says=("At {weight_kg} kilograms, the daily food portion is {grams_per_day} grams.",), run=food_portion,
    ),
    Function(
        "find_vet", "Find a vet in a city.",
        (Param("city", CITY, "City name"),),
        (Return("vet_code", VET, ("a vet in {city}", "the vet nearest to {city}")),),
        asks=("find a vet in {city}", "identify the vet nearest to {city}"),
        says=("The vet in {city} is {vet_code}.",), run=finds("vet_in", "vet_code"),
    ),
    Function(
        "get_waiting_days", "Get how many days one waits for a vet.",
        (Param("vet_code", VET, "Code of the vet"),),
        (Return("waiting_days", INTEGER),),
        asks=("see how long one waits for {vet_code}", "determine the waiting time for {vet_code}"),
        says=("The waiting time for {vet_code} is {waiting_days} days.",), run=finds("vets", "waiting_days"),
    ),
    Function(
        "book_vet_visit", "Book a visit of a pet to a vet.",
        (Param("chip", CHIP, "Chip number of the pet"), Param("vet_code", VET, "Code of the vet")),
        (Return("visit_time", TEXT),),
        asks=("book a visit of {chip} to {vet_code}", "get {chip} seen by {vet_code}"),
        says=("The visit of {chip} to {vet_code} is at {visit_time}.",), run=book_vet_visit,
    ),
    Function(
        "set_vaccination_reminder", "Remind an owner of a vaccination date.",
        (Param("pet_owner", CLIENT, "Name of the pet's owner"), Param("due", VACCINATION, "Date as YYYY-MM-DD")),
        (Return("reminder_no", INTEGER),),
        asks=("remind {pet_owner} of the vaccination on {due}", "set a vaccination reminder for {pet_owner} on {due}"),
        says=("Reminder {reminder_no} for {pet_owner} is set for {due}.",), run=vaccination_reminder,
    ),
)  # fmt: skip

DOMAIN = Domain("pets", ("Animals need care too.", "I help out at an animal practice."), build, FUNCTIONS)
