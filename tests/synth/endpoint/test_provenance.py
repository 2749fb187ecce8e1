"""Where an argument comes from: every accepted normalisation by an example, and near misses that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from data_prep.synth.button.provenance import Known, origin_of

USER = (
    "Hi, I'm Ana Ruiz. A train from Lyon to Geneva next Friday at 9 am for two adults, under 1,250.50 euros; book the "
    "hotel for 3 nights with breakfast, room temperature 21 celsius, 2.5 km from the station, 15% off, on May 3rd 2027."
)
RESULTS = [{"train": {"id": "T-204", "fare": 88.4, "direct": True}, "note": "leaves platform 7 at 14:05"}]
KNOWN = Known(USER, RESULTS, "2026-05-14T09:30")  # a Thursday


@pytest.mark.parametrize(
    ("value", "name", "schema", "origin"),
    [
        ("Lyon", "city", {}, "user"),
        ("LYON", "city", {}, "user"),
        ("ana  ruiz", "name", {}, "user"),
        (1250.5, "limit", {}, "user"),
        (2, "adults", {}, "user"),
        (3, "nights", {}, "user"),
        ("T-204", "train_id", {}, "result"),
        (88.4, "fare", {}, "result"),
        (7, "platform", {}, "result"),
        (True, "breakfast_included", {}, "words"),
        (True, "direct", {}, "result"),
        ("2026-05-14", "today", {}, "clock"),
        ("2026-05-22", "date", {}, "date"),
        ("2026-05-15", "date", {}, "date"),
        ("2027-05-03", "date", {}, "date"),
        ("09:00", "time", {}, "date"),
        ("2026-05-22T09:00", "departure", {}, "date"),
        ("14:05", "time", {}, "result"),
        ("EUR", "currency", {}, "unit"),
        (2500, "distance_m", {}, "unit"),
        (0.15, "discount", {}, "unit"),
        (10, "limit", {"default": 10}, "default"),
        ("geneva_train", "topic", {}, "words"),
        (["Lyon", "Geneva"], "stops", {}, "user"),
        ({"from": "Lyon", "fare": 88.4}, "trip", {}, "result"),
        ("Paris", "city", {}, None),
        ("Lyo", "city", {}, None),
        ("neva", "city", {}, None),
        (777, "people", {}, None),
        (20, "temperature", {}, None),
        (True, "dinner_included", {}, None),
        (False, "breakfast_included", {}, None),
        ("2026-05-18", "date", {}, None),
        ("10:00", "time", {}, None),
        ("2026-05-22T10:00", "departure", {}, None),
        ("USD", "currency", {}, None),
        (["Lyon", "Paris"], "stops", {}, None),
        ([], "stops", {}, None),
        ("", "city", {}, None),
        (None, "city", {}, None),
        (11, "limit", {"default": 10}, None),
        ("T-20", "train_id", {}, None),
    ],
)
def test_an_argument_has_an_origin_or_was_made_up(value: Any, name: str, schema: dict[str, Any], origin: Any) -> None:
    assert origin_of(value, name, schema, KNOWN) == origin


def test_numbers_too_large_for_a_float_have_no_origin_and_end_nothing() -> None:
    known = Known(f"in {'9' * 400} days, for 3 people", [], "2026-05-14T09:30")
    assert origin_of("2026-05-20", "date", {}, known) is None
    assert origin_of(3, "people", {}, known) == "user"


def test_nothing_is_relative_without_a_clock() -> None:
    assert origin_of("2026-05-22", "date", {}, KNOWN._replace(clock=None)) is None
