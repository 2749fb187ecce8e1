"""get_data_usage({"phone": "555-0142"}) -> {"gigabytes": 12.4}. Mobile phone contracts."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import DATE, NUMBER, PERSON, PRICE, Names, date_in

PLANS = ("Flex 20", "Max 60", "Basic 5", "Family 100")
PHONE = Kind("PhoneNumber", "string", "phone number", "phone number {}", one_of("lines"))
PLAN = Kind("PhonePlan", "string", "plan", "the {} plan", lambda rng, s: rng.choice(PLANS))
GIGABYTES = Kind("Gigabytes", "integer", "volume", "{} gigabytes", lambda rng, s: rng.randint(5, 90))


def build(rng: Random, names: Names) -> State:
    numbers = [f"555-{number:04d}" for number in rng.sample(range(100, 9999), len(names.people))]
    lines = {
        number: {
            "gigabytes": rng.randint(10, 900) / 10,
            "plan": rng.choice(PLANS),
            "contract_end": date_in(rng, names.year),
        }
        for number in numbers
    }
    prices = {plan: rng.randint(9, 79) + 0.99 for plan in PLANS}
    return {"phone_of": dict(zip(names.people, numbers, strict=True)), "lines": lines, "price_of": prices}


def recommend_plan(state: State, gigabytes: int) -> dict:
    sizes = {"Basic 5": 5, "Flex 20": 20, "Max 60": 60, "Family 100": 100}
    return {"plan": next(plan for plan, size in sizes.items() if gigabytes <= size)}


def change_plan(state: State, phone: str, plan: str) -> dict:
    known(state["lines"], phone, "phone number")["plan"] = plan
    return {"monthly_fee": known(state["price_of"], plan, "plan")}


FUNCTIONS = (
    Function(
        "find_phone_number", "Find the phone number of a customer.",
        (Param("customer", PERSON, "Name of the customer"),),
        (Return("phone", PHONE, ("the phone number of {customer}",)),),
        asks=("find the phone number of {customer}", "look up which number {customer} has"),
        says=("The phone number of {customer} is {phone}.",), run=finds("phone_of", "phone"),
    ),
    Function(
        "get_data_usage", "Get the mobile data used by a phone number.",
        (Param("phone", PHONE, "Phone number"),),
        (Return("gigabytes", NUMBER),),
        asks=("check the data usage of {phone}", "find out how much data {phone} used"),
        says=("Phone number {phone} used {gigabytes} gigabytes.",), run=reads("lines", "gigabytes"),
    ),
    Function(
        "get_phone_plan", "Get the plan of a phone number.",
        (Param("phone", PHONE, "Phone number"),),
        (Return("plan", PLAN, ("the plan of {phone}",)),),
        asks=("look up the plan of {phone}", "find out which plan {phone} is on"),
        says=("Phone number {phone} is on the {plan} plan.",), run=reads("lines", "plan"),
    ),
    Function(
        "get_plan_price", "Get the monthly price of a phone plan.",
        (Param("plan", PLAN, "Plan name"),),
        (Return("monthly_price", PRICE, ("the monthly price of {plan}",)),),
        asks=("check the monthly price of {plan}", "find out what {plan} costs a month"),
        says=("The {plan} plan costs {monthly_price} a month.",), run=finds("price_of", "monthly_price"),
    ),
    Function(
        "recommend_plan", "Recommend a phone plan for a data volume.",
        (Param("gigabytes", GIGABYTES, "Gigabytes per month"),),
        (Return("plan", PLAN, ("the plan recommended for {gigabytes}",)),),
        asks=("recommend a plan for {gigabytes} a month", "find a plan that covers {gigabytes}"),
        says=("For {gigabytes} gigabytes, {plan} is recommended.",), run=recommend_plan,
    ),
    Function(
        "get_contract_end", "Get the date a phone contract ends.",
        (Param("phone", PHONE, "Phone number"),),
        (Return("contract_end", DATE, ("the end of the contract for {phone}",)),),
        asks=("find out when the contract for {phone} ends", "look up the contract end of {phone}"),
        says=("The contract for {phone} ends on {contract_end}.",), run=reads("lines", "contract_end"),
    ),
    Function(
        "change_plan", "Move a phone number to another plan.",
        (Param("phone", PHONE, "Phone number"), Param("plan", PLAN, "Name of the new plan")),
        (Return("monthly_fee", PRICE),),
        asks=("switch {phone} to {plan}", "move {phone} over to {plan}"),
        says=("Phone number {phone} is now on {plan} for {monthly_fee} a month.",), run=change_plan,
    ),
)  # fmt: skip

DOMAIN = Domain("telecom", ("I'm at the phone shop.", "I want to check our mobile contracts."), build, FUNCTIONS)
