"""Laws of worlds that a model acts on."""

from __future__ import annotations

import json
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.synth.compose import make_row
from data_prep.synth.domains import FUNCTIONS
from data_prep.synth.functions import ToolError
from data_prep.synth.world import World, _frozen

VALUES = st.one_of(
    st.sampled_from(["Vienna", "2026-03-04", "Helio", "", "\ud800", "\x1b[2J", "__import__('os').abort()", None, True]),
    st.integers(), st.floats(), st.sampled_from([10**4299, -(10**400), 2**63, float("nan"), 1e308]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip


def position(world: World, name: str) -> object:
    return _frozen(world.state(name))


@given(st.sampled_from(sorted(FUNCTIONS)), st.data())
@settings(max_examples=60)
def test_whatever_a_call_holds_it_works_or_raises_a_tool_error_and_then_changes_nothing(name, data):
    world = World("any", "held_out")
    before = position(world, name)
    arguments = {param.name: data.draw(VALUES) for param in FUNCTIONS[name].params}
    try:
        json.dumps(world.attempt(name, arguments), allow_nan=False)
    except ToolError:
        assert position(world, name) == before and not world.ledger
    assert bool(world.ledger) == (position(world, name) != before)


def test_a_refused_call_that_had_begun_to_change_the_state_is_undone():
    world = World("any", "held_out")
    garage = next(iter(world.state("reserve_spot")["garages"]))
    before = position(world, "reserve_spot")
    with pytest.raises(ToolError, match="unknown vehicle"):
        world.attempt("reserve_spot", {"garage_id": garage, "vehicle_plate": "none"})
    assert position(world, "reserve_spot") == before
    with pytest.raises(ToolError):  # the plain call, which only checked rows make, leaves a spot taken
        world.call("reserve_spot", {"garage_id": garage, "vehicle_plate": "none"})
    assert position(world, "reserve_spot") != before


def test_attempt_returns_what_call_returns_and_changes_what_it_changes():
    for index in range(60):
        row = make_row("held_out", 5, index)
        worlds = [World(row["meta"]["world"], "held_out") for _ in range(2)]
        for message in row["messages"]:
            for entry in json.loads(message["content"]) if message["role"] == "tool" else []:
                results = [make(entry["name"], entry["arguments"]) for make in (worlds[0].call, worlds[1].attempt)]
                assert results == [entry["results"]] * 2
        for name in row["meta"]["chain"]:
            assert position(worlds[0], name) == position(worlds[1], name)


def test_the_ledger_holds_what_changed_and_an_outcome_does_not_depend_on_the_order_of_calls():
    calls = ["read_meter", "book_vet_visit", "reserve_spot"]
    outcomes = []
    for order in permutations(calls):
        world = World("orders", "held_out")
        for name in order:
            rng, state = Random(name), world.state(name)
            world.attempt(name, {param.name: param.kind.draw(rng, state) for param in FUNCTIONS[name].params})
        outcomes.append(world.outcome())
        assert {name for name, _ in world.ledger} == {"book_vet_visit", "reserve_spot"}
        assert set(world.outcome()["states"]) == {"pets", "parking"}
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_another_booking_is_another_outcome_though_it_leaves_the_facts_alone():
    outcomes = []
    for guide in (0, 1):
        world = World("tours", "held_out")
        state = world.state("book_tour")
        world.attempt("book_tour", {"exhibit": "Steel and Honour", "guide_id": list(state["guides"])[guide]})
        outcomes.append(world.outcome())
    assert outcomes[0]["states"] == outcomes[1]["states"] and outcomes[0] != outcomes[1]
