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
    """Templates of one split. Slots: {ask} a verb phrase, {thing} a noun phrase, {noun} its kind."""

    ask: tuple[str, ...]  # the request
    topic: tuple[tuple[str, str], ...]  # (sentence that introduces {thing}, how the request then refers to its {noun})
    after: tuple[tuple[str, str], ...]  # (how the request refers to it, sentence that says afterwards what it is)
    closing: tuple[str, ...]
    plan: str  # begins each thought: {number} of {count} turns, and its {aim}
    also: str  # what stands between two calls of one turn
    then: str  # what stands before each tool of a later turn
    found: str  # a {result} of the calls before that is needed now
    step: str  # the calls to make, each with the parameters it requires
    done: str  # the aim of the last turn
    answer: tuple[str, ...]
    today: str  # the clock, in the system prompt
    dated: str  # what a date in the request is, {words} and {date}
    unavailable: tuple[str, ...]  # what a tool of this {name} says when it fails for once
    failed: str  # the aim of a turn after a call of {name} that met an {error}
    left_open: str  # in a request: a value that it does not give
    unknown: str  # the thought that asks for {param} of {name}
    question: tuple[str, ...]  # for the {noun}
    reply: tuple[str, ...]  # gives the {literal}
    no_tool: str  # the thought that no listed function can {ask}
    decline: tuple[str, ...]


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
        plan="Step {number} of {count}: {aim}.",
        also=" and ",
        then=" before ",
        found=" Found {result}.",
        step=" I use {calls}.",
        done="answer",
        answer=("{says}", "{says}", "Here is what I found: {says}", "Done! {says}"),
        today="Today is {weekday}, {date}.",
        dated=" As of today, {words} is {date}.",
        unavailable=("{name} timed out; nothing was changed", "{name} is overloaded, please call it again",
                     "temporary failure in {name}, no change was made"),
        failed="try again, since {name} failed with {error!r}",
        left_open="one specific {noun}",
        unknown="{param} of {name} is not given, so I ask for it.",
        question=("Which {noun} do you mean?", "Sure, which {noun} is it?", "Please tell me the {noun} first."),
        reply=("{literal}.", "I mean {literal}.", "Sorry, it is {literal}."),
        no_tool="No function in the list can {ask}, so I call none.",
        decline=("I'm sorry, I have no function to {ask}.", "I can't {ask} with the functions I have.",
                 "That is not possible here: none of my functions can {ask}."),
    ),
    "held_out": Grammar(
        ask=(
            "It would be great if someone could {ask}.", "What if we now {ask}?", "My request: {ask}.",
            "I'm hoping you will {ask}.", "Any chance you might {ask}?", "Your job today: {ask}.",
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
        plan="Part {number} of {count}: {aim}.",
        also=" plus ",
        then=" ahead of ",
        found=" Got {result}.",
        step=" I call {calls}.",
        done="reply",
        answer=("{says}", "The outcome: {says}"),
        today="Current date: {date} ({weekday}).",
        dated=" Given the date, {words} means {date}.",
        unavailable=("service unavailable: {name}", "{name} did not respond in time"),
        failed="repeat what {name} refused saying {error!r}",
        left_open="the {noun} of my choice",
        unknown="Nobody has said which {param} {name} should get; a question comes first.",
        question=("Could you name the {noun}?", "To go on, I have to know the {noun}."),
        reply=("Make it {literal}.", "That would be {literal}."),
        no_tool="What is wanted, to {ask}, lies outside this list; nothing to call.",
        decline=("Unfortunately nothing at hand lets me {ask}.", "My tools do not cover this request to {ask}."),
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
