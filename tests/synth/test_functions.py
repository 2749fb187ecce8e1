"""Laws of the typed functions and their worlds."""

from __future__ import annotations

import ast
import re
from random import Random

import pytest

from data_prep.synth import domains
from data_prep.synth.domains import DOMAIN_OF, DOMAINS, FUNCTIONS
from data_prep.synth.functions import ToolError
from data_prep.synth.graph import plans
from data_prep.synth.world import World

SLOT = re.compile(r"{(\w+)}")
JSON_TYPES = {"string": str, "integer": int, "number": (int, float)}
SPLIT_OF = {domain.name: split for split, found in DOMAINS.items() for domain in found}


def call_with_user_values(name: str, seed: str):
    world = World(seed, SPLIT_OF[DOMAIN_OF[name].name])
    rng = Random(seed)
    state = world.state(name)
    arguments = {param.name: param.kind.sample(rng, state) for param in FUNCTIONS[name].params}
    return arguments, world.call(name, arguments)


def test_there_are_enough_functions_and_domains():
    assert len(FUNCTIONS) >= 100
    assert len(DOMAINS["train"]) >= 14 and len(DOMAINS["held_out"]) >= 4


def test_train_and_held_out_share_no_domain_and_no_function():
    train, held_out = ({d.name for d in DOMAINS[split]} for split in ("train", "held_out"))
    assert not train & held_out


def test_train_and_held_out_worlds_share_no_city_person_or_year():
    train, held_out = World("0", "train").names, World("0", "held_out").names
    assert not set(train.cities) & set(held_out.cities)
    assert not set(train.people) & set(held_out.people)
    assert train.year != held_out.year


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_have_the_declared_keys_and_types(name):
    function = FUNCTIONS[name]
    for attempt in range(20):
        try:
            arguments, results = call_with_user_values(name, f"{name}/{attempt}")
            break
        except ToolError:  # both stations the same, and the like
            continue
    else:
        pytest.fail(f"{name} refused 20 draws of its own arguments")
    assert list(results) == [result.name for result in function.returns]
    for result in function.returns:
        assert isinstance(results[result.name], JSON_TYPES[result.kind.json_type]), result.name
    for param in function.params:
        assert isinstance(arguments[param.name], JSON_TYPES[param.kind.json_type]), param.name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_id_that_the_world_does_not_know_is_refused(name):
    function = FUNCTIONS[name]
    arguments, _ = next(filter(None, (_try(name, attempt) for attempt in range(20))))
    looked_up = [p for p in function.params if p.kind.json_type == "string" and "Date" not in p.kind.name]
    if function.name in ("reserve_table", "count_letters", "reverse_word"):  # a time, and words that need not be known
        looked_up = [p for p in looked_up if p.kind.name == "RestaurantId"]
    for param in looked_up:
        if param.kind.name in ("Client", "Person", "Trainer", "City") and len(function.params) > 1:
            continue  # a passenger may be anybody
        with pytest.raises(ToolError, match="no-such-thing"):
            World(f"{name}/0", SPLIT_OF[DOMAIN_OF[name].name]).call(name, {**arguments, param.name: "no-such-thing"})


def _try(name: str, attempt: int):
    try:
        return call_with_user_values(name, f"{name}/{attempt}")
    except ToolError:
        return None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_phrases_use_every_parameter_and_nothing_unknown(name):
    function = FUNCTIONS[name]
    params = {param.name for param in function.params}
    results = {result.name for result in function.returns}
    assert function.asks and function.says
    for phrase in (*function.asks, *(refer for result in function.returns for refer in result.refer)):
        assert set(SLOT.findall(phrase)) == params, phrase
    for phrase in function.says:
        assert set(SLOT.findall(phrase)) <= params | results, phrase
        assert set(SLOT.findall(phrase)) & results, phrase


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tool_definitions_stay_compact(name):
    function = FUNCTIONS[name]
    assert 1 <= len(function.params) <= 3
    assert len(function.description) <= 70
    assert all(param.description for param in function.params)


@pytest.mark.parametrize("domain", [d for found in DOMAINS.values() for d in found], ids=lambda d: d.name)
def test_the_docstring_of_a_domain_opens_with_a_call_that_its_function_accepts(domain):
    doc = getattr(domains, domain.name).__doc__
    match = re.match(r"(\w+)\((\{.*?\})\) -> (\{.*?\})", doc)
    assert match, doc
    function = FUNCTIONS[match[1]]
    assert DOMAIN_OF[match[1]] is domain
    assert set(ast.literal_eval(match[2])) == {param.name for param in function.params}
    assert set(ast.literal_eval(match[3])) <= {result.name for result in function.returns}


def test_a_world_is_the_same_whichever_domain_is_touched_first():
    forward, backward = World("5", "train"), World("5", "train")
    names = [domain.functions[0].name for domain in DOMAINS["train"]]
    for name in names:
        forward.state(name)
    for name in reversed(names):
        backward.state(name)
    assert forward.call("find_station", {"city": "Oslo"}) == backward.call("find_station", {"city": "Oslo"})
    assert forward.call("find_hotel", {"city": "Oslo"}) == backward.call("find_hotel", {"city": "Oslo"})


def test_calls_change_the_state():
    world = World("5", "train")
    product = next(iter(world.state("check_stock")["products"]))
    before = world.call("check_stock", {"product_id": product})["units"]
    world.call("place_order", {"product_id": product, "quantity": 3})
    assert world.call("check_stock", {"product_id": product})["units"] == before - 3


def test_wrong_argument_names_are_refused():
    with pytest.raises(ToolError, match="find_station takes city; got town"):
        World("5", "train").call("find_station", {"town": "Oslo"})


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_link_of_every_plan_feeds_its_parameter(split):
    for shape, by_domain in plans(split).items():
        assert by_domain or (split, shape) == ("held_out", "sequential-6"), shape
        for plan in (plan for found in by_domain.values() for plan in found):
            assert len(plan.steps) == int(shape[-1])
            assert plan.first_wave == (2 if shape.startswith("parallel") else 1)
            for index, links in enumerate(plan.links):
                for param in FUNCTIONS[plan.steps[index]].params:
                    if param.name not in links:
                        assert param.kind.sample is not None
                        continue
                    source, key = links[param.name]
                    result = next(r for r in FUNCTIONS[plan.steps[source]].returns if r.name == key)
                    assert source < index and result.refer and result.kind.feeds(param.kind)
                if index >= plan.first_wave:
                    assert index - 1 in {source for source, _ in links.values()}
