"""get_salary({"employee_id": "EMP:0417"}) -> {"monthly_salary": 3450}. Employees, pay and leave."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import EVENT_DATE, INCOME, INTEGER, PERSON, PRICE, TEXT, Names

EMPLOYEE = Kind("EmployeeId", "string", "employee", "employee {}", one_of("employees"))
SALARY = Kind("Salary", "number", "salary", "{}", lambda rng, s: rng.randrange(2100, 7900, 50), INCOME)
RAISE = Kind("RaisePercent", "integer", "percentage", "{} percent", lambda rng, s: rng.randint(2, 14))


def build(rng: Random, names: Names) -> State:
    ids = [f"EMP:{number:04d}" for number in rng.sample(range(1, 9999), len(names.people))]
    employees = {
        number: {
            "monthly_salary": rng.randrange(2100, 7900, 50),
            "vacation_days": rng.randint(3, 30),
            "manager": rng.choice(names.people),
        }
        for number in ids
    }
    return {"id_of": dict(zip(names.people, ids, strict=True)), "employees": employees, "rng": rng}


def income_tax(state: State, income: float) -> dict:
    return {"tax": round(income * 0.22, 2)}


def apply_raise(state: State, income: float, percent: int) -> dict:
    return {"new_income": round(income * (1 + percent / 100), 2)}


def request_leave(state: State, employee_id: str, first_day: str) -> dict:
    known(state["employees"], employee_id, "employee")
    return {"leave_request": f"LV_{state['rng'].randint(100, 999)}"}


FUNCTIONS = (
    Function(
        "find_employee", "Find the id of an employee by name.",
        (Param("name", PERSON, "Name of the employee"),),
        (Return("employee_id", EMPLOYEE, ("the employee {name}", "our employee {name}")),),
        asks=("find the employee id of {name}", "look up the employee {name}"),
        says=("The employee id of {name} is {employee_id}.",), run=finds("id_of", "employee_id"),
    ),
    Function(
        "get_salary", "Get the monthly salary of an employee.",
        (Param("employee_id", EMPLOYEE, "Employee id"),),
        (Return("monthly_salary", SALARY, ("the monthly salary of {employee_id}",)),),
        asks=("look up the salary of {employee_id}", "check what {employee_id} earns a month"),
        says=("Employee {employee_id} earns {monthly_salary} a month.",), run=reads("employees", "monthly_salary"),
    ),
    Function(
        "get_vacation_days", "Get the vacation days an employee has left.",
        (Param("employee_id", EMPLOYEE, "Employee id"),),
        (Return("vacation_days", INTEGER),),
        asks=("check how many vacation days {employee_id} has left", "look up the remaining vacation of {employee_id}"),
        says=("Employee {employee_id} has {vacation_days} vacation days left.",),
        run=reads("employees", "vacation_days"),
    ),
    Function(
        "get_manager", "Get the manager of an employee.",
        (Param("employee_id", EMPLOYEE, "Employee id"),),
        (Return("manager", PERSON, ("the manager of {employee_id}",)),),
        asks=("find out who manages {employee_id}", "look up the manager of {employee_id}"),
        says=("The manager of {employee_id} is {manager}.",), run=reads("employees", "manager"),
    ),
    Function(
        "income_tax", "Get the income tax on an income.",
        (Param("income", SALARY, "Income"),),
        (Return("tax", PRICE, ("the income tax on {income}",)),),
        asks=("calculate the income tax on {income}", "work out how much income tax {income} means"),
        says=("The income tax on {income} is {tax}.",), run=income_tax,
    ),
    Function(
        "apply_raise", "Raise an income by some percent.",
        (Param("income", SALARY, "Income before the raise"), Param("percent", RAISE, "Raise in percent")),
        (Return("new_income", SALARY, ("{income} after a raise of {percent}",)),),
        asks=("raise {income} by {percent}", "calculate {income} after a raise of {percent}"),
        says=("After a raise of {percent} percent, {income} becomes {new_income}.",), run=apply_raise,
    ),
    Function(
        "request_leave", "Request leave for an employee from a day.",
        (Param("employee_id", EMPLOYEE, "Employee id"), Param("first_day", EVENT_DATE, "First day, YYYY-MM-DD")),
        (Return("leave_request", TEXT),),
        asks=("request leave for {employee_id} from {first_day}",
              "put in a leave request for {employee_id} from {first_day}"),
        says=("Leave for {employee_id} from {first_day} is requested as {leave_request}.",), run=request_leave,
    ),
)  # fmt: skip

DOMAIN = Domain("payroll", ("I'm in human resources.", "It is the end of the month at work."), build, FUNCTIONS)
