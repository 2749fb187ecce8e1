"""JSON as models write it is read for what it says; what is cut off or ambiguous is not read at all."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.synth.endpoint.loose_json import MAX_CHARS, loads
from tests.synth.endpoint.loopback import spoil

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=3)


@settings(max_examples=40)
@given(OBJECTS, st.sampled_from(("plain", "prose", "fence")))
def test_an_object_is_read_whatever_stands_around_it(value: dict[str, Any], around: str) -> None:
    text = json.dumps(value)
    assert loads(text if around == "plain" else spoil(text, around)) == value


@settings(max_examples=25)
@given(OBJECTS)
def test_an_object_that_is_cut_off_is_never_read_as_a_part_of_itself(value: dict[str, Any]) -> None:
    text = json.dumps({"head": value, "tail": [1, 2]})
    for end in range(1, len(text)):
        with pytest.raises(ValueError):
            loads(text[:end])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'it''s'}", None),
        ("{'a': \"it's\", 'b': None, 'c': True}", {"a": "it's", "b": None, "c": True}),
        ("{'a': 'the user's plan', 'b': 1}", None),
        ("Sure! It's {'task': 'Book [a] table',} ok?", {"task": "Book [a] table"}),
        ('{"a": true, "b": null, \'c\': "true"}', {"a": True, "b": None, "c": "true"}),
        ('{"a": NaN}', None),
        ('{"a": 1} and {"b": 2}', None),
        ("no JSON [at all] here", None),
        ('See [1]: {"a": 1}', None),
        ('```json\n{"a": 1}\n```\nor not', {"a": 1}),
        ('First {"a": 1}:\n```json\n{"a": 1}\n```\nor rather:\n```json\n{"a": 2}\n```', None),
        ('```json\n{"a": 1}\n```\nThat is:\n```\n{"a": 1}\n```', {"a": 1}),
        ('{"a": "half a pair: \\ud83d"}', None),
        ("{'a': 'half a pair: \\ud83d'}", None),
        ('{"\\udc00": 1}', None),
        ('{"a": "a pair: \\ud83d\\ude00"}', {"a": "a pair: \U0001f600"}),
        ('{"a": [' + "9" * 400 + "]}", None),
        ("[" * 5000, None),
        ("{" * 200_000, None),
        ("", None),
    ],
)
def test_what_is_read_and_what_is_not(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(ValueError):
            loads(text)
    else:
        assert loads(text) == value


@pytest.mark.parametrize("piece", ["[a", "{x ", "[a]{b", "'[a"])
def test_a_model_that_loops_does_not_hold_the_run_up(piece: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError):
        loads(piece * (MAX_CHARS // len(piece)))
    assert time.process_time() - begun < 10
