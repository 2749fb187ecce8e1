"""get_balance({"account_no": "4410-2291"}) -> {"balance": 1280.5}. Bank accounts, transfers, interest."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, ToolError, finds, known, one_of
from data_prep.synth.kinds import AMOUNT, CLIENT, INCOME, NUMBER, TEXT, Names

ACCOUNT = Kind("AccountNumber", "string", "account", "account {}", one_of("balance_of"))
YEARS = Kind("Years", "integer", "number of years", "{} years", lambda rng, s: rng.randint(2, 20))
SAVINGS = Kind("Savings", "number", "amount", "{}", lambda rng, s: rng.randrange(200, 9000, 50), AMOUNT)
PAYMENT = Kind("PaymentAmount", "integer", "payment", "{}", lambda rng, s: rng.randrange(20, 400, 5))


def build(rng: Random, names: Names) -> State:
    numbers = [f"{rng.randint(1000, 9999)}-{rng.randint(1000, 9999)}" for _ in names.people]
    return {
        "account_of": dict(zip(names.people, numbers, strict=True)),
        "balance_of": {number: rng.randint(2000, 36000) / 4 for number in numbers},
        "rng": rng,
    }


def transfer_money(state: State, from_account: str, to_account: str, sum_to_send: int) -> dict:
    balances = state["balance_of"]
    if from_account == to_account or known(balances, from_account, "account") < sum_to_send:
        raise ToolError("same account on both sides, or not enough money on it")
    known(balances, to_account, "account")
    balances[from_account] -= sum_to_send
    balances[to_account] += sum_to_send
    return {"transfer_id": f"TRF{state['rng'].randint(100000, 999999)}", "remaining_balance": balances[from_account]}


def savings_interest(state: State, amount: float, years: int) -> dict:
    return {"interest": round(amount * (1.02**years - 1), 2)}


def deposit(state: State, amount: float, account_no: str) -> dict:
    balances = state["balance_of"]
    balances[account_no] = round(known(balances, account_no, "account") + amount, 2)
    return {"new_balance": balances[account_no]}


FUNCTIONS = (
    Function(
        "find_account", "Find the bank account of a customer.",
        (Param("owner", CLIENT, "Name of the account owner"),),
        (Return("account_no", ACCOUNT, ("the bank account of {owner}", "the account that belongs to {owner}")),),
        asks=("find the bank account of {owner}", "look up the account number of {owner}"),
        says=("The bank account of {owner} is {account_no}.",), run=finds("account_of", "account_no"),
    ),
    Function(
        "get_balance", "Get the balance of a bank account.",
        (Param("account_no", ACCOUNT, "Account number"),),
        (Return("balance", SAVINGS, ("the balance of {account_no}", "the money on {account_no}")),),
        asks=("check the balance of {account_no}", "find out how much money is on {account_no}"),
        says=("The balance of account {account_no} is {balance}.",), run=finds("balance_of", "balance"),
    ),
    Function(
        "transfer_money", "Send money from one account to another.",
        (Param("from_account", ACCOUNT, "Account to take from"), Param("to_account", ACCOUNT, "Account to send to"),
         Param("sum_to_send", PAYMENT, "Sum to send")),
        (Return("transfer_id", TEXT), Return("remaining_balance", NUMBER)),
        asks=("transfer {sum_to_send} from {from_account} to {to_account}",
              "send {sum_to_send} from {from_account} to {to_account}"),
        says=("Transfer {transfer_id} moved {sum_to_send} from {from_account} to {to_account}.",), run=transfer_money,
    ),
    Function(
        "savings_interest", "Get the interest that savings earn in some years.",
        (Param("amount", SAVINGS, "Amount saved"), Param("years", YEARS, "Number of years")),
        (Return("interest", INCOME, ("the interest that {amount} earns in {years}",)),),
        asks=("work out the interest on {amount} over {years}", "calculate what interest {amount} earns in {years}"),
        says=("Savings of {amount} earn {interest} in {years} years.",), run=savings_interest,
    ),
    Function(
        "deposit_money", "Pay an amount into a bank account.",
        (Param("amount", INCOME, "Amount to pay in"), Param("account_no", ACCOUNT, "Account number")),
        (Return("new_balance", NUMBER),),
        asks=("pay {amount} into {account_no}", "deposit {amount} to {account_no}"),
        says=("After paying in {amount}, account {account_no} holds {new_balance}.",), run=deposit,
    ),
)  # fmt: skip

DOMAIN = Domain("banking", ("I'm taking care of some bank errands.", "I am sorting out my savings."), build, FUNCTIONS)
