"""add_days({"start": "2025-03-30", "days": 14}) -> {"new_date": "2025-04-13"}. Dates and meetings."""

from __future__ import annotations

import datetime
from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, ToolError, finds, known, one_of
from data_prep.synth.kinds import DATE, EVENT_DATE, INTEGER, PERSON, TEXT, Names, date_in, later

DAYS = Kind("DayCount", "integer", "number of days", "{} days", lambda rng, s: rng.randint(5, 120))
MEETING = Kind("MeetingId", "string", "meeting", "meeting {}", one_of("meetings"))


def build(rng: Random, names: Names) -> State:
    meetings = {
        f"mtg-{rng.randint(100, 999)}{letter}": {
            "meeting_date": date_in(rng, names.year),
            "host": rng.choice(names.people),
        }
        for letter in "abcd"
    }
    return {"free_day": {person: date_in(rng, names.year) for person in names.people}, "meetings": meetings, "rng": rng}


def add_days(state: State, start: str, days: int) -> dict:
    return {"new_date": later(start, days)}


def get_weekday(state: State, date: str) -> dict:
    return {"weekday": datetime.date.fromisoformat(date).strftime("%A")}


def days_between(state: State, first_date: str, second_date: str) -> dict:
    if first_date == second_date:
        raise ToolError("both dates are the same")
    gap = datetime.date.fromisoformat(second_date) - datetime.date.fromisoformat(first_date)
    return {"days": abs(gap.days)}


def schedule_meeting(state: State, host: str, date: str) -> dict:
    known(state["free_day"], host, "person")
    meeting_id = f"mtg-{state['rng'].randint(100, 999)}n"
    state["meetings"][meeting_id] = {"meeting_date": date, "host": host}
    return {"meeting_id": meeting_id}


def get_meeting(state: State, meeting_id: str) -> dict:
    return dict(known(state["meetings"], meeting_id, "meeting"))


FUNCTIONS = (
    Function(
        "add_days", "Get the date some days after a start date.",
        (Param("start", DATE, "Start date, YYYY-MM-DD"), Param("days", DAYS, "Number of days to add")),
        (Return("new_date", EVENT_DATE, ("the day {days} after {start}", "the date {days} later than {start}")),),
        asks=("work out which date is {days} after {start}", "add {days} to {start}"),
        says=("{days} days after {start} is {new_date}.",), run=add_days,
    ),
    Function(
        "get_weekday", "Get the weekday of a date.",
        (Param("date", DATE, "Date, YYYY-MM-DD"),),
        (Return("weekday", TEXT),),
        asks=("tell which weekday {date} falls on", "find the day of the week for {date}"),
        says=("{date} is a {weekday}.",), run=get_weekday,
    ),
    Function(
        "days_between", "Count the days between two dates.",
        (Param("first_date", DATE, "First date"), Param("second_date", DATE, "Second date")),
        (Return("days", INTEGER),),
        asks=("count the days between {first_date} and {second_date}",
              "calculate how many days separate {first_date} and {second_date}"),
        says=("There are {days} days between {first_date} and {second_date}.",), run=days_between,
    ),
    Function(
        "find_free_day", "Find the next free day of a person.",
        (Param("person", PERSON, "Name of the person"),),
        (Return("free_date", EVENT_DATE, ("the next free day of {person}", "the next day that {person} is free")),),
        asks=("find the next free day of {person}", "check when {person} is next free"),
        says=("{person} is free on {free_date}.",), run=finds("free_day", "free_date"),
    ),
    Function(
        "schedule_meeting", "Schedule a meeting with a host on a date.",
        (Param("host", PERSON, "Name of the host"), Param("date", EVENT_DATE, "Date, YYYY-MM-DD")),
        (Return("meeting_id", MEETING),),
        asks=("schedule a meeting hosted by {host} on {date}", "set up a meeting with {host} as host on {date}"),
        says=("Meeting {meeting_id} with {host} as host is set for {date}.",), run=schedule_meeting,
    ),
    Function(
        "get_meeting", "Get the date and the host of a meeting.",
        (Param("meeting_id", MEETING, "Meeting id"),),
        (Return("meeting_date", EVENT_DATE, ("the date of {meeting_id}",)),
         Return("host", PERSON, ("the host of {meeting_id}",))),
        asks=("look up the date and host of {meeting_id}", "get the details of {meeting_id}"),
        says=("Meeting {meeting_id} is on {meeting_date}, hosted by {host}.",), run=get_meeting,
    ),
)  # fmt: skip

DOMAIN = Domain("calendar", ("I'm tidying up my schedule.", "I have some dates to settle."), build, FUNCTIONS)
