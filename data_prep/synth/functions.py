"""What a domain file is made of: kinds, functions and the words that go with them.

    PRODUCT = Kind("ProductId", "string", "product", "product {}", lambda rng, state: rng.choice(list(state["price"])))
    Function("get_price", "Get the price of a product.", (Param("product_id", PRODUCT, "Product id"),),
             (Return("price", AMOUNT, ("the price of {product_id}",)),),
             asks=("look up the price of {product_id}",), says=("{product_id} costs {price}.",), run=get_price)

A `Kind` is a semantic type: functions chain where an output's kind is an input's kind, never by JSON type alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

State = dict[str, Any]


class ToolError(ValueError):
    """A call that the world cannot serve: unknown id, nothing left to book, amount out of range."""


class Kind(NamedTuple):
    """A semantic type.

    `noun` is what "that ..." calls such a value, `literal` how a sentence writes one, `sample` draws one that the
    domain's state knows; a kind without `sample` can only come from an earlier result, never from the user. A kind
    feeds parameters of its own kind and of those it `is_a`: a nightly rate is a price is an amount, never back.
    """

    name: str
    json_type: str
    noun: str
    literal: str = "{}"
    sample: Callable[[Random, State], Any] | None = None
    is_a: Kind | None = None

    def draw(self, rng: Random, state: State) -> Any:
        """A value that the user may give. Raises ToolError for a kind that only results have."""
        if self.sample is None:
            raise ToolError(f"a {self.name} can only come from an earlier result")
        return self.sample(rng, state)

    def feeds(self, wanted: Kind) -> bool:
        """Whether a value of this kind may be passed where `wanted` is asked for."""
        return self.name == wanted.name or (self.is_a is not None and self.is_a.feeds(wanted))


class Param(NamedTuple):
    """One required parameter."""

    name: str
    kind: Kind
    description: str


class Return(NamedTuple):
    """One key of the result; `refer` are noun phrases for it over the function's parameters, none: it never chains."""

    name: str
    kind: Kind
    refer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Function:
    """One tool: its definition, its implementation, and the phrases that ask for it and report it.

    `asks` are verb phrases over the parameters ("look up the price of {product_id}"); `says` are sentences over
    parameters and results. `run(state, *arguments in order of params)` returns the result as a dict and may change
    the state; it raises ToolError.
    """

    name: str
    description: str
    params: tuple[Param, ...]
    returns: tuple[Return, ...]
    asks: tuple[str, ...]
    says: tuple[str, ...]
    run: Callable[..., dict[str, Any]]

    def tool(self, terse: bool = False) -> dict[str, Any]:
        """The definition in the OpenAI form, with `terse` without descriptions of the parameters.

        The results' types stand under `return`, as transformers documents.
        """
        properties = {p.name: {"type": p.kind.json_type, "description": p.description} for p in self.params}
        if terse:
            properties = {name: {"type": schema["type"]} for name, schema in properties.items()}
        parameters = {"type": "object", "properties": properties, "required": [p.name for p in self.params]}
        results = {r.name: {"type": r.kind.json_type} for r in self.returns}
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": parameters,
            "return": {"type": "object", "properties": results},
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Domain:
    """Functions over one state. `build(rng, names)` makes the state; `openers` are sentences that may begin it."""

    name: str
    openers: tuple[str, ...]
    build: Callable[[Random, Any], State]
    functions: tuple[Function, ...]


def known(table: dict[Any, Any], key: Any, what: str) -> Any:
    """`table[key]`, or a ToolError that names what is unknown."""
    if key not in table:
        raise ToolError(f"unknown {what}: {key!r}")
    return table[key]


def reads(table: str, *keys: str) -> Callable[..., dict[str, Any]]:
    """An implementation that looks an id up in `state[table]` and returns those fields of its entry."""

    def run(state: State, key: Any) -> dict[str, Any]:
        entry = known(state[table], key, table.rstrip("s"))
        return {name: entry[name] for name in keys}

    return run


def finds(table: str, result: str) -> Callable[..., dict[str, Any]]:
    """An implementation that returns `state[table][key]` under the name `result`."""

    def run(state: State, key: Any) -> dict[str, Any]:
        return {result: known(state[table], key, table)}

    return run


def one_of(table: str) -> Callable[[Random, State], Any]:
    """A sampler over the keys of a table of the domain's state."""
    return lambda rng, state: rng.choice(list(state[table]))
