"""Known answers of the task `program`: policies whose scores are known beforehand."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from data_prep.synth.world import World
from eval.protocol import Item, Score
from eval.tasks import program
from tests.eval import policies

ITEMS = program.load([], 320).items
BY_KIND = {kind: [item for item in ITEMS if item.gold["kind"] == kind] for kind in program.KINDS}
NEEDING = [*BY_KIND["calls"], *BY_KIND["error"]]


def scores(items: list[Item], policy: policies.Policy) -> list[Score]:
    return [policies.run(item, policy) for item in items]


def calls_needed(item: Item) -> int:
    return sum(map(len, item.gold["calls"]))


def values(found: list[Score], metric: str) -> list[float]:
    return [score.values[metric] for score in found if metric in score.values]


# ---- the episodes


def test_any_number_of_episodes_holds_every_kind_and_half_of_those_that_need_calls_change_the_world() -> None:
    assert Counter(item.gold["kind"] for item in ITEMS) == {"calls": 160, "error": 80, "absent": 80}
    assert {item.gold["kind"] for item in program.load([], 4).items} == {"calls", "error", "absent"}
    acting = sum(bool(program.needed(item.gold).outcome["done"]) for item in NEEDING)
    assert 0.4 * len(NEEDING) < acting < 0.6 * len(NEEDING)
    assert Counter(calls_needed(item) for item in NEEDING).keys() == {2, 3, 4}


def test_the_first_episodes_are_the_same_whatever_the_limit_and_none_by_default_is_200() -> None:
    assert program.load(["/nowhere"], 7).items == ITEMS[:7]
    assert program.load([], None).items == ITEMS[:200]
    assert len({item.id for item in ITEMS}) == len(ITEMS)


def test_the_episodes_are_those_of_this_version() -> None:
    """Scores of one version must compare: where this fails, raise TASK.version and write the new digest here."""
    rows = json.dumps([[item.gold, item.dialogue.to_dict()] for item in ITEMS[:200]], sort_keys=True)
    assert (program.TASK.version, hashlib.sha256(rows.encode()).hexdigest()[:16]) == (2, "9316681f13fbeb60")


def test_every_request_is_worded_without_its_tools_and_asks_for_a_value_or_a_change() -> None:
    for item in NEEDING:
        names = [tool["function"]["name"] for tool in item.dialogue.tools]
        assert {call["name"] for turn in item.gold["calls"] for call in turn} < set(names)
        assert not any(name in item.dialogue.messages[0].content for name in names)
        assert item.gold["states"] or program.needed(item.gold).outcome["done"]


def test_where_no_tool_fits_the_domains_of_the_request_are_not_listed() -> None:
    for index, item in enumerate(ITEMS):
        if item.gold["kind"] == "absent":
            row = program.make_row(program.SPLIT, program.SEED, index, program.Options(simple=True))
            listed = {tool["function"]["name"] for tool in item.dialogue.tools}
            assert {program.DOMAIN_OF[name].name for name in listed}.isdisjoint(row["meta"]["domains"])
            assert len(listed) >= 4


# ---- policies whose scores are known


def test_the_gold_policy_succeeds_in_every_episode_of_every_kind() -> None:
    found = scores(ITEMS, policies.gold)
    for metric in program.TASK.metrics:
        assert set(values(found, metric)) == {1.0}, metric
    assert len(values(found, "success")) == 240 and len(values(found, "abstained")) == 80
    assert len(values(found, "recovered")) == 80
    assert not any(score.unparsed for score in found)


def test_independent_calls_may_come_in_any_order() -> None:
    items = [item for item in NEEDING if len(item.gold["calls"][0]) > 1]
    assert len(items) > 20
    assert set(values(scores(items, policies.parallel_calls_reversed), "only_needed_calls")) == {1.0}


@pytest.mark.parametrize("policy", [policies.answers_at_once, policies.leaves_out_the_last_call])
def test_a_policy_that_stops_early_never_succeeds_though_it_says_the_gold_answer(policy: policies.Policy) -> None:
    found = scores(NEEDING, policy)
    for metric in ("success", "answer_right", "all_needed_calls", "only_needed_calls"):
        assert set(values(found, metric)) == {0.0}, metric
    if policy is policies.answers_at_once:  # the last call may be a look-up, behind one that changes the state
        assert set(values(found, "state_right")) == {0.0}
    for item, score in zip(NEEDING, found, strict=True):
        wanted = calls_needed(item)
        missing = wanted if policy is policies.answers_at_once else 1
        assert score.values["progress"] == pytest.approx(1 - missing / wanted)
        assert score.notes["missing_calls"] == str(missing)


def test_a_policy_that_repeats_each_call_has_as_many_redundant_calls_as_needed_ones() -> None:
    for item, score in zip(BY_KIND["calls"], scores(BY_KIND["calls"], policies.calls_everything_twice), strict=True):
        wanted = calls_needed(item)
        assert score.notes["redundant_calls"] == str(wanted) and score.values["useful_calls"] == 0.5
        assert (score.values["progress"], score.values["only_needed_calls"]) == (1.0, 0.0)
        acting = bool(program.needed(item.gold).outcome["done"])
        assert score.values["success"] == float(not acting)  # booking twice is wrong, looking up twice is not


def test_a_policy_that_always_calls_abstains_in_no_episode() -> None:
    found = scores(BY_KIND["absent"], policies.always_calls)
    assert values(found, "abstained") == [0.0] * 80 and {score.notes["ending"] for score in found} == {"answer"}


def test_a_policy_that_gives_up_recovers_from_no_injected_error() -> None:
    found = scores(BY_KIND["error"], policies.gives_up_after_an_error)
    assert values(found, "recovered") == [0.0] * 80 and set(values(found, "success")) == {0.0}
    assert {score.notes["injected_error"] for score in found} == {"not recovered"}
    never = scores(BY_KIND["error"], policies.answers_at_once)
    assert {score.notes["injected_error"] for score in never} == {"not reached"}


def test_an_injected_error_is_neither_redundant_nor_faulty_and_changes_nothing() -> None:
    item = next(item for item in BY_KIND["error"] if program.needed(item.gold).outcome["done"])
    steps = policies.steps_of(item, policies.gives_up_after_an_error)
    _, environment = program.play(item, steps)
    assert environment.executed[-1].fault == "injected" and environment.executed[-1].results is None
    score = program.score(item, steps)
    assert (score.notes["redundant_calls"], score.notes["faulty_calls"]) == ("0", "0")


def test_a_policy_that_never_stops_ends_at_the_step_limit_which_is_not_unparsed() -> None:
    for item in ITEMS[:8]:
        steps = policies.steps_of(item, policies.never_stops)
        score = program.score(item, steps)
        assert len(steps) == program.MAX_TURNS and score.notes["ending"] == "step_limit"
        assert not score.unparsed and not score.values.get("success") and not score.values.get("abstained")


def test_something_done_beside_the_request_fails_it_and_something_looked_up_does_not() -> None:
    lookups = [item for item in BY_KIND["calls"] if not program.needed(item.gold).outcome["done"]]

    def beside(name: str) -> Any:
        def policy(item: Item, dialogue: Any) -> Any:
            function, world = program.FUNCTIONS[name], World(item.gold["world"], program.SPLIT)
            rng = Random(0)
            arguments = {param.name: param.kind.draw(rng, world.state(name)) for param in function.params}
            first = dialogue.messages[-1].role == "user"
            return policies.calling((name, arguments)) if first else policies.gold(item, dialogue)

        return policy

    for name, success in (("find_vet", 1.0), ("book_vet_visit", 0.0)):
        item = next(
            item for item in lookups if all(call["name"] != name for turn in item.gold["calls"] for call in turn)
        )
        listed = (*item.dialogue.tools, program.FUNCTIONS[name].tool())
        item = item._replace(dialogue=msgspec.structs.replace(item.dialogue, tools=listed))
        score = policies.run(item, beside(name))
        assert (score.values["success"], score.notes["redundant_calls"]) == (success, "1")


@pytest.mark.parametrize(
    ("answer", "value", "stated"),
    [
        ("Garage G-17 has 41 free spots.", 41, True),
        ("Garage G-17 has 141 free spots.", 41, False),
        ("It costs 1,280.50.", 1280.5, True),
        ("It is -3 degrees.", 3, False),
        ("It is 3 degrees, or −3.", -3, True),
        ("Shown in the EAST   wing 3.", "East Wing 3", True),
        ("Shown in East Wing 35.", "East Wing 3", False),
        ("Due on 2026-03-04.", "2026-03-04", True),
        ("Due on March 4th, 2026.", "2026-03-04", True),
        ("Due on the 4 of March 2026", "2026-03-04", True),
        ("Due on 14 March 2026", "2026-03-04", False),
        ("At 8:20.", "8:20", True),
        ("At 18:20.", "8:20", False),
        ("9" * 1_000_000, 9, False),
        ("", "x", False),
    ],
)
def test_an_answer_states_a_value_or_does_not(answer: str, value: Any, stated: bool) -> None:
    assert program.states(answer, value) is stated
