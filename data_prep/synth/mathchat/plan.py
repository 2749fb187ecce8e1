"""What kind of dialogue a row becomes, how deep, and by which moves; drawn by program, before any request.

    plan_for(7, rng)  ->  Plan("error_correction", 6, ("mistake", "explain", "follow_up", "follow_up", "analyse"))

Of the published MathChatsync it is known that 100,443 of 144,978 dialogues have six pairs and that the rest have 1 to
16; how the rest spreads is not, so it falls off by a fifth with each pair of distance, which is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from random import Random
from typing import NamedTuple

PEAK, DEEPEST = 6, 16
PEAK_SHARE = 100_443 / 144_978
FALL = 0.8
GOLDEN = (5**0.5 - 1) / 2

# The pairs of human and gpt that a move takes. `mistake` poses a question, has gpt answer it wrongly and then right.
PAIRS = {"solve": 1, "mistake": 2, "explain": 1, "follow_up": 1, "follow_up_mistake": 2, "analyse": 1, "generate": 1}
OPENINGS = {
    "explanation": ("solve", "explain"),
    "follow_up": ("solve", "follow_up"),
    "error_correction": ("mistake",),
    "error_analysis": ("analyse",),
    "problem_generation": ("generate",),
}
KINDS = tuple(OPENINGS)
LATER = {"follow_up": 4, "explain": 3, "follow_up_mistake": 1, "analyse": 1, "generate": 1}


class Plan(NamedTuple):
    """A dialogue to be made: its kind, its pairs of human and gpt, and the moves that fill them."""

    kind: str
    depth: int
    moves: tuple[str, ...]


def depth_shares() -> dict[int, float]:
    """The share of dialogues of each depth, in pairs."""
    falls = {depth: FALL ** abs(depth - PEAK) for depth in range(1, DEEPEST + 1) if depth != PEAK}
    rest = (1 - PEAK_SHARE) / sum(falls.values())
    return {depth: PEAK_SHARE if depth == PEAK else rest * falls[depth] for depth in range(1, DEEPEST + 1)}


def depth_of(index: int) -> int:
    """The depth of dialogue number `index`: multiples of the golden ratio spread evenly however many rows are made."""
    at = (0.5 + index * GOLDEN) % 1
    shares = accumulate(depth_shares().values())
    return next((depth for depth, share in enumerate(shares, 1) if at < share), DEEPEST)


def plan_for(index: int, rng: Random) -> Plan:
    """The plan of dialogue number `index`; kinds take turns among those that the depth has room for."""
    depth = depth_of(index)
    kind = next(kind for kind in _from(index) if sum(PAIRS[move] for move in _opening(kind, depth)) <= depth)
    moves = list(_opening(kind, depth))
    while room := depth - sum(PAIRS[move] for move in moves):
        fitting = [m for m in LATER if PAIRS[m] <= room and (m != moves[-1] or m == "follow_up")]
        moves += rng.choices(fitting, [LATER[move] for move in fitting])
    return Plan(kind, depth, tuple(moves))


def _from(index: int) -> Iterator[str]:
    return (KINDS[(index + step) % len(KINDS)] for step in range(len(KINDS)))


def _opening(kind: str, depth: int) -> tuple[str, ...]:
    """How the kind begins; an explanation of one pair is the worked solution."""
    return OPENINGS[kind][:1] if kind == "explanation" and depth == 1 else OPENINGS[kind]
