"""minutes_to_burn({"activity": "rowing", "calories": 450}) -> {"minutes": 50}. Workouts and gym members."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.cooking import CALORIES
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, known
from data_prep.synth.kinds import CLIENT, EVENT_DATE, INTEGER, TEXT, Names

PER_MINUTE = {"rowing": 9, "swimming": 10, "cycling": 8, "hiking": 6, "boxing": 11, "yoga": 4}
ACTIVITY = Kind("Activity", "string", "activity", "{}", lambda rng, s: rng.choice(list(PER_MINUTE)))
MINUTES = Kind("WorkoutMinutes", "integer", "time", "{} minutes", lambda rng, s: rng.randrange(15, 120, 5))
MEMBER = Kind("MemberNumber", "integer", "member", "member {}", lambda rng, s: rng.choice(list(s["activity_of"])))
TRAINER = Kind("Trainer", "string", "trainer", "trainer {}", lambda rng, s: rng.choice(s["names"].people))


def build(rng: Random, names: Names) -> State:
    numbers = rng.sample(range(10000, 99999), len(names.people))
    return {
        "member_of": dict(zip(names.people, numbers, strict=True)),
        "activity_of": {number: rng.choice(list(PER_MINUTE)) for number in numbers},
        "trainer_of": {activity: rng.choice(names.people) for activity in PER_MINUTE},
        "room": {activity: f"Studio {rng.choice('ABCDEF')}" for activity in PER_MINUTE},
        "rng": rng,
    }


def find_gym_member(state: State, full_name: str) -> dict:
    return {"member_no": known(state["member_of"], full_name, "member")}


def get_favourite_activity(state: State, member_no: int) -> dict:
    return {"activity": known(state["activity_of"], member_no, "member number")}


def minutes_to_burn(state: State, activity: str, calories: int) -> dict:
    return {"minutes": round(calories / known(PER_MINUTE, activity, "activity"))}


def calories_burned(state: State, activity: str, minutes: int) -> dict:
    return {"calories": known(PER_MINUTE, activity, "activity") * minutes}


def find_trainer(state: State, activity: str) -> dict:
    return {"trainer": known(state["trainer_of"], activity, "activity")}


def book_session(state: State, trainer: str, date: str) -> dict:
    return {"session_code": f"S{state['rng'].randint(100, 999)}"}


FUNCTIONS = (
    Function(
        "find_gym_member", "Find the member number of a gym member.",
        (Param("full_name", CLIENT, "Full name of the member"),),
        (Return("member_no", MEMBER, ("the gym member {full_name}", "{full_name} from the gym")),),
        asks=("look up the member number of {full_name}", "find the gym membership of {full_name}"),
        says=("{full_name} is gym member {member_no}.",), run=find_gym_member,
    ),
    Function(
        "get_favourite_activity", "Get the activity that a gym member likes best.",
        (Param("member_no", MEMBER, "Member number"),),
        (Return("activity", ACTIVITY, ("the favourite activity of {member_no}",)),),
        asks=("check which activity {member_no} likes best", "find out the favourite activity of {member_no}"),
        says=("The favourite activity of member {member_no} is {activity}.",), run=get_favourite_activity,
    ),
    Function(
        "minutes_to_burn", "Get how many minutes of an activity burn some calories.",
        (Param("activity", ACTIVITY, "Name of the activity"), Param("calories", CALORIES, "Calories to burn")),
        (Return("minutes", INTEGER),),
        asks=("work out how many minutes of {activity} burn {calories}",
              "find out how long one does {activity} to burn {calories}"),
        says=("It takes {minutes} minutes of {activity} to burn {calories} calories.",), run=minutes_to_burn,
    ),
    Function(
        "calories_burned", "Get the calories that an activity burns in some minutes.",
        (Param("activity", ACTIVITY, "Name of the activity"), Param("minutes", MINUTES, "Duration in minutes")),
        (Return("calories", INTEGER),),
        asks=("work out the calories burned by {minutes} of {activity}",
              "estimate how many calories {minutes} of {activity} burn"),
        says=("Doing {activity} for {minutes} minutes burns {calories} calories.",), run=calories_burned,
    ),
    Function(
        "find_trainer", "Find the trainer for an activity.",
        (Param("activity", ACTIVITY, "Name of the activity"),),
        (Return("trainer", TRAINER, ("the trainer for {activity}", "the coach who teaches {activity}")),),
        asks=("find out who the trainer for {activity} is", "look up the coach who teaches {activity}"),
        says=("The trainer for {activity} is {trainer}.",), run=find_trainer,
    ),
    Function(
        "book_session", "Book a training session with a trainer on a date.",
        (Param("trainer", TRAINER, "Name of the trainer"), Param("date", EVENT_DATE, "Date as YYYY-MM-DD")),
        (Return("session_code", TEXT),),
        asks=("book a session with {trainer} on {date}", "arrange a training session with {trainer} for {date}"),
        says=("The session with {trainer} on {date} is booked under code {session_code}.",), run=book_session,
    ),
)  # fmt: skip

DOMAIN = Domain("fitness", ("I want to get fitter.", "I work at the gym's front desk."), build, FUNCTIONS)
