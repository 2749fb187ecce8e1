"""The wording around a domain's own phrases: requests, thoughts and answers, one grammar per split.

    "Could you {ask}?" + "look up the price of {product_id}" + "the best-rated {category} product"
      -> "Could you look up the price of the best-rated garden product?"

Training and held-out grammars share no template (tests compare their word triples), and their domains share no
phrase, so held-out requests are worded as no training request is.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Grammar(NamedTuple):
    """Templates of one split. Slots: {ask} a verb phrase, {thing} a noun phrase, {noun}, {seen} what results said."""

    ask: tuple[str, ...]  # the request
    topic: tuple[tuple[str, str], ...]  # (sentence that introduces {thing}, how the request then refers to its {noun})
    after: tuple[tuple[str, str], ...]  # (how the request refers to it, sentence that says afterwards what it is)
    closing: tuple[str, ...]
    plan_2: tuple[str, ...]
    plan_3: tuple[str, ...]
    plan_4: tuple[str, ...]
    plan_parallel: tuple[str, ...]  # {a} and {b} are independent, {rest} needs both
    together: tuple[str, ...]  # ON: both at once
    one_by_one: tuple[str, ...]  # OFF: one after the other
    other: tuple[str, ...]  # OFF: the second of the independent calls
    next: tuple[str, ...]
    last: tuple[str, ...]
    done: tuple[str, ...]
    answer: tuple[str, ...]


GRAMMARS = {
    "train": Grammar(
        ask=(
            "Please {ask}.", "Could you {ask}?", "Can you {ask} for me?", "I'd like you to {ask}.",
            "I need you to {ask}.", "Would you {ask}, please?", "Help me {ask}.", "I want to {ask}.",
            "Kindly {ask}.", "Are you able to {ask}?",
        ),
        topic=(
            ("I'm asking about {thing}.", "that {noun}"),
            ("My question is about {thing}.", "this {noun}"),
            ("I am interested in {thing}.", "that {noun}"),
            ("It's about {thing}.", "that {noun}"),
        ),
        after=(
            ("the {noun} I have in mind", "I mean {thing}."),
            ("a certain {noun}", "The one I mean is {thing}."),
        ),
        closing=("Thanks!", "Thank you.", "Thanks in advance."),
        plan_2=("I need to {a} and then {b}.", "The task is to {a}, and with that result {b}.",
                "First I have to {a}; after that I can {b}."),
        plan_3=("I need to {a}, then {b}, and finally {c}.", "First I have to {a}; after that I can {b} and then {c}."),
        plan_4=("I need to {a}, then {b}, then {c}, and finally {d}.",),
        plan_parallel=("I need to {a} and {b}, and then {rest}.",
                       "First I have to {a} and {b}; after that I can {rest}."),
        together=("The first two are independent, so I call them together.",
                  "I can do the first two at the same time."),
        one_by_one=("I begin with the first.", "I do one thing at a time."),
        other=("{seen} Next I have to {ask}.", "{seen} The other thing I need is to {ask}."),
        next=("{seen} Now I need to {ask}.", "Next I have to {ask}.", "With that result I can {ask}."),
        last=("{seen} The last step is to {ask}.", "Now I only need to {ask}.", "Now I can {ask}.",
              "That lets me {ask}."),
        done=("I have everything I need to answer.", "All results are in.", "That completes the task."),
        answer=("{says}", "{says}", "Here is what I found: {says}", "Done! {says}"),
    ),
    "held_out": Grammar(
        ask=(
            "It would be great if someone could {ask}.", "May I ask that you {ask}?", "My request: {ask}.",
            "I'm hoping you will {ask}.", "Any chance you might {ask}?", "Your job today is to {ask}.",
            "Do me a favour and {ask}.",
        ),
        topic=(
            ("There is something I wonder about: {thing}.", "said {noun}"),
            ("Consider {thing}.", "the {noun} just mentioned"),
            ("My attention is on {thing}.", "the {noun} in question"),
        ),
        after=(
            ("one particular {noun}", "By that I refer to {thing}."),
            ("some {noun}", "To be precise, it's {thing}."),
        ),
        closing=("Much appreciated!", "Cheers.", "I'd be grateful."),
        plan_2=("What is wanted is to {a}, which lets me {b}.", "It takes two lookups: {a}, afterwards {b}."),
        plan_3=("What is wanted is to {a}, which lets me {b}, whose outcome lets me {c}.",),
        plan_4=("It takes four lookups: {a}, afterwards {b}, afterwards {c}, at the end {d}.",),
        plan_parallel=("Two facts are missing: {a}, {b}. They allow me to {rest}.",),
        together=("Neither depends on the other; both go out at once.",),
        one_by_one=("They go out separately.",),
        other=("{seen} The second missing fact: {ask}.",),
        next=("{seen} It is time to {ask}.", "So it is time to {ask}."),
        last=("{seen} What remains is to {ask}.", "What remains is to {ask}."),
        done=("Nothing is missing any more.", "The outcome is clear."),
        answer=("{says}", "The outcome: {says}"),
    ),
}  # fmt: skip

OPENER_SHARE = 0.3
CLOSING_SHARE = 0.2


def sentence(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def pick(rng: Random, templates: tuple[str, ...]) -> str:
    """One template, all equally likely."""
    return templates[rng.randrange(len(templates))]
