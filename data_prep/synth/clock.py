"""Dates as a request names them on a given day: `say(rng, "train", "2025-03-14", "2025-03-12")` -> "14 March".

Every form is a noun phrase, so that it stands wherever the date itself could. `verify.py` reads them back on its own.
"""

from __future__ import annotations

import calendar
import datetime
from random import Random

from data_prep.synth.functions import Kind
from data_prep.synth.kinds import DATE, EVENT_DATE

DATE_KINDS = (DATE.name, EVENT_DATE.name)  # kinds whose every day of the year a world knows
NEXT_DAYS = (2, 60)  # how far ahead requests look
LAST_TODAY = 290  # day of the year: what lies ahead is in the same year

# By split: any day, one of this month, one of the next, one in so many days, the one after tomorrow.
FORMS = {
    "train": ("{day} {month}", "the {nth} of this month", "the {nth} of next month", "the day {days} days from now",
              "the day after tomorrow"),
    "held_out": ("{month} {day}", "the {nth} of the current month", "the {nth} of the coming month",
                 "the date {days} days ahead", "the day that follows tomorrow"),
}  # fmt: skip


def draw_today(rng: Random, year: int) -> str:
    """The day of a dialogue, YYYY-MM-DD."""
    return (datetime.date(year, 1, 1) + datetime.timedelta(days=rng.randrange(LAST_TODAY))).isoformat()


def is_date(kind: Kind) -> bool:
    """Whether a value of the kind may be any day."""
    return kind.name in DATE_KINDS


def draw_date(rng: Random, today: str) -> str:
    """A day soon after today."""
    return (datetime.date.fromisoformat(today) + datetime.timedelta(days=rng.randrange(*NEXT_DAYS))).isoformat()


def say(rng: Random, split: str, date: str, today: str) -> str:
    """The date in words that are only true today."""
    day, now = datetime.date.fromisoformat(date), datetime.date.fromisoformat(today)
    plain, this_month, next_month, ahead, after_tomorrow = FORMS[split]
    forms = [plain, ahead]
    months = (day.year - now.year) * 12 + day.month - now.month
    forms += [this_month] if months == 0 else [next_month] if months == 1 else []
    forms += [after_tomorrow] * (2 if (day - now).days == 2 else 0)
    words = {"day": day.day, "month": calendar.month_name[day.month], "nth": ordinal(day.day), "days": (day - now).days}
    return rng.choice(forms).format_map(words)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ..., 11th, ..., 21st."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def weekday(date: str) -> str:
    """Monday, ..., Sunday."""
    return datetime.date.fromisoformat(date).strftime("%A")
