"""Plans found from the types: which functions can follow which, and how.

    plans("train")["sequential-2"][0]
      -> Plan(steps=("find_recipe", "pair_wine"), links=({}, {"recipe": (0, "recipe")}))

`sequential-N` is a chain in which each call consumes the previous one's result; `parallel-3` is two independent
calls whose results a third consumes (BUTTON's parallel-then-sequential), `parallel-4` and more go on from there.
`single-N`, which is drawn and not listed here, is N calls that have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

from data_prep.synth.domains import DOMAIN_OF, DOMAINS, FUNCTIONS
from data_prep.synth.functions import Function, Param

Link = tuple[int, str]  # (index of an earlier step, key of its result)


class Plan(NamedTuple):
    """Functions in order, and per step which parameters come from which earlier result; the rest the user gives."""

    steps: tuple[str, ...]
    links: tuple[dict[str, Link], ...]

    @property
    def first_wave(self) -> int:
        """How many leading steps are independent of each other and may be called in one turn."""
        return next((index for index, links in enumerate(self.links) if links), len(self.links))

    @property
    def domain(self) -> str:
        """The domain of the last function: the one the user's question is about."""
        return DOMAIN_OF[self.steps[-1]].name


SHAPES = {"sequential-2": 0.55, "sequential-3": 0.13, "sequential-4": 0.02, "parallel-3": 0.27, "parallel-4": 0.03,
          "sequential-5": 0.1, "sequential-6": 0.1, "parallel-5": 0.1, "parallel-6": 0.1}  # fmt: skip


def length_of(shape: str) -> int:
    """How many calls a plan of this shape makes."""
    return int(shape.split("-")[1])


@cache
def plans(split: str) -> dict[str, dict[str, tuple[Plan, ...]]]:
    """Every plan over the split's functions: shape -> domain -> plans."""
    found: dict[str, dict[str, list[Plan]]] = {shape: {} for shape in SHAPES}
    functions = tuple(function for domain in DOMAINS[split] for function in domain.functions)
    for shape in SHAPES:
        search = _sequential if shape.startswith("sequential") else _parallel
        for plan in search(functions, length_of(shape)):
            found[shape].setdefault(plan.domain, []).append(plan)
    return {shape: {domain: tuple(ps) for domain, ps in by.items()} for shape, by in found.items()}


def plans_within(split: str, tools: Collection[str]) -> list[tuple[Plan, str]]:
    """Every plan that needs no other tools, with its shape, in the order of `plans`."""
    by_tools = _plans_by_beginning(split)
    found = [entry for first in tools for second in tools for entry in by_tools.get((first, second), ())]
    return [(plan, shape) for _, plan, shape in sorted(found) if set(plan.steps) <= set(tools)]


@cache
def _plans_by_beginning(split: str) -> dict[tuple[str, str], list[tuple[int, Plan, str]]]:
    """The plans, numbered, by their first two functions: a short list of tools has few pairs, a split many plans."""
    every = [(plan, shape) for shape, by_domain in plans(split).items() for ps in by_domain.values() for plan in ps]
    found: dict[tuple[str, str], list[tuple[int, Plan, str]]] = {}
    for number, (plan, shape) in enumerate(every):
        found.setdefault((plan.steps[0], plan.steps[1]), []).append((number, plan, shape))
    return found


@cache
def single_steps(split: str) -> dict[str, tuple[str, ...]]:
    """Functions that the user can give everything for: domain -> names."""
    found = {domain.name: tuple(f.name for f in domain.functions if _user_can_give(f, ())) for domain in DOMAINS[split]}
    return {domain: names for domain, names in found.items() if names}


def side_by_side(names: Sequence[str]) -> tuple[Plan, str]:
    """The plan that calls these functions for their own sake, and its shape."""
    return Plan(tuple(names), ({},) * len(names)), f"single-{len(names)}"


def _sequential(functions: tuple[Function, ...], length: int) -> Iterator[Plan]:
    if length == 1:
        for function in functions:
            if _user_can_give(function, ()):
                yield Plan((function.name,), ({},))
        return
    for plan in _sequential(functions, length - 1):
        yield from _continued(plan, functions)


def _parallel(functions: tuple[Function, ...], length: int) -> Iterator[Plan]:
    if length > 3:
        for plan in _parallel(functions, length - 1):
            yield from _continued(plan, functions)
        return
    starts = [function for function in functions if _user_can_give(function, ())]
    for last in functions:
        for left, right in combinations(last.params, 2):
            if not _user_can_give(last, (left, right)):
                continue
            for (f, f_key), (g, g_key) in product(_producers(left, starts), _producers(right, starts)):
                if last.name not in (f.name, g.name):
                    links = {left.name: (0, f_key), right.name: (1, g_key)}
                    yield Plan((f.name, g.name, last.name), ({}, {}, links))


def _continued(plan: Plan, functions: tuple[Function, ...]) -> Iterator[Plan]:
    """The plan with one more function that consumes the last result; no function twice in a row of consumers."""
    index = len(plan.steps) - 1
    last = FUNCTIONS[plan.steps[index]]
    for function in functions:
        if function.name in plan.steps:
            continue
        for param in function.params:
            for key in _keys(last, param):
                if _user_can_give(function, (param,)):
                    yield Plan((*plan.steps, function.name), (*plan.links, {param.name: (index, key)}))


def _producers(param: Param, functions: list[Function]) -> list[tuple[Function, str]]:
    return [(function, key) for function in functions for key in _keys(function, param)]


def _keys(function: Function, param: Param) -> list[str]:
    return [result.name for result in function.returns if result.refer and result.kind.feeds(param.kind)]


def _user_can_give(function: Function, linked: tuple[Param, ...]) -> bool:
    return all(param.kind.sample is not None for param in function.params if param not in linked)
