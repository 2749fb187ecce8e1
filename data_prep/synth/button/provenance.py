"""Where a call's arguments come from: what the user said, an earlier result, the clock, or a schema default.

    origin_of("2026-05-15", {"type": "string"}, Known(user="a train tomorrow morning", ..., clock="2026-05-14T09:30"))
      -> "date"

Stated normalisations are accepted: letter case, the order of words, numbers as words, percent, units and their usual
abbreviations, dates and times of day. Anything else has no origin: somebody made it up.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from data_prep.dialogue import leaves

NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.])-?\d+(?:\.\d+)?")
_COUNTED = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty"""
_OTHER_NUMBERS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90, "hundred": 100, "a": 1, "an": 1,
                  "dozen": 12, "half": 0.5, "couple": 2, "once": 1, "twice": 2}  # fmt: skip
NUMBER_WORDS = {word: float(number) for number, word in enumerate(_COUNTED.split())} | _OTHER_NUMBERS
MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
WEEKDAYS = tuple(name.lower() for name in calendar.day_name)
# From what a text says to what a schema may want: factor, by unit.
FACTORS = {
    "km": (1000,), "kilometer": (1000,), "kilometre": (1000,), "m": (0.001, 100), "cm": (0.01,), "kg": (1000,),
    "kilogram": (1000,), "g": (0.001,), "gram": (0.001,), "hour": (60, 3600), "h": (60, 3600), "minute": (60, 1 / 60),
    "min": (60, 1 / 60), "day": (24,), "week": (7,), "month": (1 / 12,), "year": (12,), "liter": (1000,),
    "litre": (1000,), "l": (1000,), "ml": (0.001,), "%": (0.01,), "percent": (0.01,), "k": (1000,), "thousand": (1000,),
    "million": (1_000_000,), "gb": (1024, 1000), "cent": (0.01,), "dozen": (12,), "hundred": (100,),
}  # fmt: skip
SYNONYMS = (
    {"usd", "dollar", "$"}, {"eur", "euro", "€"}, {"gbp", "pound", "£"}, {"jpy", "yen", "¥"},
    {"celsius", "c", "°c", "metric"}, {"fahrenheit", "f", "°f", "imperial"}, {"km", "kilometer", "kilometre"},
    {"mile", "mi"}, {"kg", "kilogram"}, {"g", "gram"}, {"meter", "metre", "m"}, {"cm", "centimeter", "centimetre"},
    {"hour", "hr", "h"}, {"minute", "min"}, {"liter", "litre", "l"}, {"pound", "lb"}, {"ounce", "oz"}, {"foot", "ft"},
)  # fmt: skip
WORD = re.compile(r"[$€£¥]|°?[^\W_]+", re.UNICODE)


class Known(NamedTuple):
    """What is known when a call is made: the user's words so far, the earlier results, the clock (ISO)."""

    user: str
    results: list[Any]
    clock: str | None


def origin_of(value: Any, name: str, schema: dict[str, Any], known: Known) -> str | None:
    """`user`, `result`, `clock`, `default`, `date`, `unit` or `words`; None where the value has no origin.

    A list or an object has the origin of its last leaf, if all leaves have one.
    """
    if "default" in schema and schema["default"] == value:
        return "default"
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else list(value.values())
        origins = [origin_of(item, name, {}, known) for item in items]
        return origins[-1] if origins and all(origins) else None
    if isinstance(value, bool):
        if value and _words(name) & _words(known.user):
            return "words"
        return "result" if any(value is said for said in _under(name, known.results)) else None
    if isinstance(value, (int, float)):
        return _origin_of_number(value, known)
    return _origin_of_text(value, known) if isinstance(value, str) and value.strip() else None


def _origin_of_number(value: float, known: Known) -> str | None:
    if any(_same(value, number) for number, _ in numbers(known.user)):
        return "user"
    given = list(leaves(known.results))
    if any(_same(value, leaf) for leaf in given if isinstance(leaf, (int, float)) and not isinstance(leaf, bool)):
        return "result"
    texts = [leaf for leaf in given if isinstance(leaf, str)]
    if any(_same(value, number) for text in texts for number, _ in numbers(text)):
        return "result"
    for text in (known.user, *texts):
        if any(_same(value, number * factor) for number, unit in numbers(text) for factor in FACTORS.get(unit, ())):
            return "unit"
    return None


def _origin_of_text(value: str, known: Known) -> str | None:
    folded = _folded(value)
    if _stands_in(folded, _folded(known.user)):
        return "user"
    results = [_folded(str(leaf)) for leaf in leaves(known.results)]
    if any(_stands_in(folded, leaf) for leaf in results):
        return "result"
    if known.clock and value in (known.clock, known.clock[:10], known.clock[11:]):
        return "clock"
    if _is_known_time(value, [known.user, *results], known.clock):
        return "date"
    words = _words(value)
    if len("".join(words)) > 1 and any(words <= _words(text) for text in (known.user, *results)):
        return "words"
    if words and all(_meant(word, _words(known.user)) for word in words):
        return "unit"
    return None


def _under(name: str, value: Any) -> Iterator[Any]:
    """What a JSON value has under a key, at any depth."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _under(name, item)
    if isinstance(value, dict) and name in value:
        yield value[name]


def numbers(text: str) -> Iterator[tuple[float, str]]:
    """Every number in a text with the word behind it, in the singular: `2 hours` is (2, "hour")."""
    for match in NUMBER.finditer(text):
        number = float(match[0].replace(",", ""))
        if math.isfinite(number):
            yield number, _unit_behind(text, match.end())
    for match in re.finditer(r"[a-z]+", text.lower()):
        if match[0] in NUMBER_WORDS:
            yield NUMBER_WORDS[match[0]], _unit_behind(text, match.end())


def _unit_behind(text: str, at: int) -> str:
    match = re.match(r"[\s-]{0,2}(%|[A-Za-z]+)", text[at : at + 30])
    return _singular(match[1].lower()) if match else ""


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(1.0, abs(one), abs(other))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _stands_in(part: str, text: str) -> bool:
    """Whether a text holds the part, not cut out of a longer word or number."""
    at = text.find(part)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(part) : at + len(part) + 1]
        if not (_joins(before) and part[0].isalnum()) and not (_joins(after) and part[-1].isalnum()):
            return True
        at = text.find(part, at + 1)
    return False


def _joins(char: str) -> bool:
    """Whether a character makes one word, number or code with what stands beside it."""
    return char.isalnum() or char in ("-", "_")


def _words(text: str) -> set[str]:
    return {_singular(word) for word in WORD.findall(text.casefold().replace("_", " "))}


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _meant(word: str, said: set[str]) -> bool:
    return word in said or any(word in synonyms and synonyms & said for synonyms in SYNONYMS)


def _is_known_time(value: str, texts: list[str], clock: str | None) -> bool:
    """Whether an ISO date, a time HH:MM or both together are what a text says."""
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2})?[T ]?(\d{2}:\d{2})?(?::00)?(?:Z|\.0+)?", value)
    if match is None or not (match[1] or match[2]):
        return False
    now = datetime.fromisoformat(clock) if clock else None
    day_known = not match[1] or any(match[1] in dates(text, now) for text in texts)
    return day_known and (not match[2] or any(match[2] in times(text) for text in texts))


def dates(text: str, now: datetime | None) -> set[str]:
    """The days that a text names, as YYYY-MM-DD; relative ones from the clock."""
    text = text.lower()
    found = set(re.findall(r"\d{4}-\d{2}-\d{2}", text))
    months = "|".join(name for month in MONTHS for name in (month, month[:3]))
    patterns = (
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<month>{months})\.?,?(?: (?P<year>\d{{4}}))?",
        rf"(?P<month>{months})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>\d{{4}}))?",
    )
    for pattern in patterns:
        for match in re.finditer(pattern, text):
            month = next(number for name, number in MONTHS.items() if name.startswith(match["month"]))
            for year in [int(match["year"])] if match["year"] else [now.year, now.year + 1] if now else []:
                found |= _day(year, month, int(match["day"]))
    for first, second, year in re.findall(r"(?<!\d)(\d{1,2})[/.](\d{1,2})[/.](\d{4})", text):
        found |= _day(int(year), int(first), int(second)) | _day(int(year), int(second), int(first))
    return found | (_relative_days(text, now.date()) if now else set())


def _day(year: int, month: int, day: int) -> set[str]:
    try:
        return {date(year, month, day).isoformat()}
    except ValueError:
        return set()


def _relative_days(text: str, today: date) -> set[str]:
    ahead: set[int] = set()
    for words, days in (("today", 0), ("tonight", 0), ("day after tomorrow", 2), ("tomorrow", 1), ("yesterday", -1)):
        if words in text:
            ahead.add(days)
    for place, name in enumerate(WEEKDAYS):
        if name in text:
            days = (place - today.weekday()) % 7
            ahead |= {days, days or 7, days + 7}
    for number, unit in numbers(text):
        if unit in ("day", "week") and number == int(number):
            ahead.add(int(number) * (7 if unit == "week" else 1))
    return {(today + timedelta(days=days)).isoformat() for days in ahead if abs(days) < 4000}


def times(text: str) -> set[str]:
    """The times of day that a text names, as HH:MM."""
    text = text.lower()
    found = {f"{int(hour):02d}:{minute}" for hour, minute in re.findall(r"(?<!\d)(\d{1,2}):(\d{2})", text)}
    for hour, minute, half in re.findall(r"(?<!\d)(\d{1,2})(?::(\d{2}))?\s?([ap])\.?m", text):
        found.add(f"{int(hour) % 12 + (12 if half == 'p' else 0):02d}:{minute or '00'}")
    return found | ({"12:00"} if "noon" in text else set()) | ({"00:00"} if "midnight" in text else set())
