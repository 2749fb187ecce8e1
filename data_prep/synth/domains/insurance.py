"""find_policy({"insured": "Mei Chen"}) -> {"policy_no": "POL-88-2140"}. Policies, premiums and claims."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import AMOUNT, CLIENT, DATE, PRICE, TEXT, Names, date_in

POLICY = Kind("PolicyNumber", "string", "policy", "policy {}", one_of("policies"))
DAMAGE = Kind("Damage", "integer", "damage", "{}", lambda rng, s: rng.randrange(150, 5000, 5))
CLAIM = Kind("ClaimNumber", "integer", "claim", "claim {}", one_of("claims"))
STATUSES = ("under review", "approved", "waiting for documents", "paid out")


def build(rng: Random, names: Names) -> State:
    numbers = [f"POL-{rng.randint(10, 99)}-{number}" for number in rng.sample(range(1000, 9999), len(names.people))]
    policies = {
        number: {"yearly_premium": rng.randrange(90, 1400, 5), "renewal_date": date_in(rng, names.year)}
        for number in numbers
    }
    return {
        "policy_of": dict(zip(names.people, numbers, strict=True)),
        "policies": policies,
        "claims": {number: {"status": rng.choice(STATUSES)} for number in rng.sample(range(500000, 700000), 5)},
        "rng": rng,
    }


def file_claim(state: State, policy_no: str, damage: float) -> dict:
    known(state["policies"], policy_no, "policy")
    claim = state["rng"].randint(700000, 999999)
    state["claims"][claim] = {"status": "under review"}
    return {"claim_no": claim}


def deductible(state: State, damage: float) -> dict:
    return {"deductible": round(max(50.0, damage * 0.1), 2)}


FUNCTIONS = (
    Function(
        "find_policy", "Find the insurance policy of a person.",
        (Param("insured", CLIENT, "Name of the insured person"),),
        (Return("policy_no", POLICY, ("the insurance policy of {insured}",)),),
        asks=("find the insurance policy of {insured}", "look up the policy number of {insured}"),
        says=("The insurance policy of {insured} is {policy_no}.",), run=finds("policy_of", "policy_no"),
    ),
    Function(
        "get_premium", "Get the yearly premium of a policy.",
        (Param("policy_no", POLICY, "Policy number"),),
        (Return("yearly_premium", PRICE, ("the yearly premium of {policy_no}",)),),
        asks=("check the yearly premium of {policy_no}", "find out what {policy_no} costs a year"),
        says=("The yearly premium of {policy_no} is {yearly_premium}.",), run=reads("policies", "yearly_premium"),
    ),
    Function(
        "get_renewal_date", "Get the date a policy is renewed.",
        (Param("policy_no", POLICY, "Policy number"),),
        (Return("renewal_date", DATE, ("the renewal date of {policy_no}",)),),
        asks=("find out when {policy_no} is renewed", "look up the renewal date of {policy_no}"),
        says=("Policy {policy_no} is renewed on {renewal_date}.",), run=reads("policies", "renewal_date"),
    ),
    Function(
        "file_claim", "File a claim for a damage on a policy.",
        (Param("policy_no", POLICY, "Policy number"), Param("damage", DAMAGE, "Cost of the damage")),
        (Return("claim_no", CLAIM, ("a new claim of {damage} on {policy_no}",)),),
        asks=("file a claim of {damage} on {policy_no}", "report a damage of {damage} on {policy_no}"),
        says=("Claim {claim_no} over {damage} is filed on {policy_no}.",), run=file_claim,
    ),
    Function(
        "get_claim_status", "Get the status of a claim.",
        (Param("claim_no", CLAIM, "Claim number"),),
        (Return("status", TEXT),),
        asks=("check the status of {claim_no}", "find out how far {claim_no} is"),
        says=("Claim {claim_no} is {status}.",), run=reads("claims", "status"),
    ),
    Function(
        "get_deductible", "Get the part of a damage that the customer pays.",
        (Param("damage", DAMAGE, "Cost of the damage"),),
        (Return("deductible", AMOUNT, ("the deductible on a damage of {damage}",)),),
        asks=("work out the deductible on a damage of {damage}",
              "calculate the customer's share of a damage of {damage}"),
        says=("The deductible on a damage of {damage} is {deductible}.",), run=deductible,
    ),
)  # fmt: skip

DOMAIN = Domain(
    "insurance", ("I am going through my insurance papers.", "There has been some damage."), build, FUNCTIONS
)
