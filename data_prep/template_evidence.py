"""A chat template as the doctor looks at it: rendered under a clock of its own, shown in excerpts.

Answer("parallel_calls", False, "the second of two calls is dropped", (Evidence("two calls", "...qzname..."),))
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import (  # what apply_chat_template renders with
    _alias_reasoning_fields,
    _compile_jinja_template,
)

from data_prep import template as t
from data_prep.dialogue import Dialogue
from data_prep.encode import Encoder
from data_prep.formats import Adaptations, NativeFormat
from data_prep.probe import Unaligned, probe_dialogue
from data_prep.template import Markup, Messages, RenderError

CLOCKS = (datetime(2024, 7, 26, 10, 20, 30), datetime(2031, 12, 3, 21, 42, 53))  # no part of the two is alike
AROUND = 56  # characters of a rendering to show on each side


class Evidence(NamedTuple):
    """An excerpt of a rendering, or what the template raised instead, and what was rendered."""

    label: str
    text: str


class Answer(NamedTuple):
    """The verdict on one question. `holds` is None for a fact that is neither good nor bad."""

    key: str
    holds: bool | None
    verdict: str
    evidence: tuple[Evidence, ...] = ()


class Subject:
    """The template under examination. `encoder` is None where the Encoder refuses it, and `refused` says why."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, source: str, encoder: Encoder | None, refused: str | None):
        self.tokenizer = tokenizer
        self.source = source
        self.encoder = encoder
        self.refused = refused
        self._compiled = _compile_jinja_template(source)
        self.native = encoder.formats.native if encoder else self._native_that_renders()

    def render(
        self,
        messages: Messages,
        tools: list[dict[str, Any]] | None = None,
        prompt: bool = False,
        clock: datetime = CLOCKS[0],
    ) -> str:
        """What `apply_chat_template` would make of it if the clock showed `clock`. Raises RenderError.

        `apply_chat_template` itself takes no clock, and the encoder's own rendering refuses to have one.
        """
        variables = {**self.tokenizer.special_tokens_map, "strftime_now": clock.strftime}
        try:
            return self._compiled.render(
                messages=_alias_reasoning_fields(messages),
                tools=tools or None,
                documents=None,
                add_generation_prompt=prompt,
                **variables,
            )
        except Exception as error:  # a template is foreign code: whatever it raises is its verdict
            raise RenderError(f"{type(error).__name__}: {error}") from error

    def turn(self, dialogue: Dialogue, number: int = 0, form: NativeFormat | None = None) -> str:
        """The text of an assistant turn, as the encoder cuts it where it can. Raises RenderError."""
        rows, tools, at = (form or self.native).adapt(dialogue)
        place = list(at.values())[number]
        text = self.render(rows[: place + 1], tools)
        if self.encoder:
            try:
                return self.encoder.lens.turn(rows[:place], rows[place], tools).body
            except (RenderError, Unaligned):
                pass
        before = str(rows[place - 1].get("content"))
        return text[text.rindex(before) + len(before) :] if before in text else text

    def _native_that_renders(self) -> NativeFormat:
        """Without an encoder nobody has decided on adaptations: the first with which a call renders at all."""
        for as_text, nine in itertools.product((False, True), repeat=2):
            made = NativeFormat(Adaptations(arguments_as_text=as_text, nine_character_ids=nine), Markup(), None)
            try:
                self.turn(probe_dialogue(thought=False), form=made)
            except RenderError:
                continue
            return made
        return NativeFormat(Adaptations(), Markup(), None)


def excerpt(text: str, *words: str) -> str:
    """The text around each of `words`, in the order of the text; around its end where it has none of them."""
    places = sorted((text.rindex(word), text.rindex(word) + len(word)) for word in words if word in text)
    spans: list[list[int]] = []
    for start, end in places or [(len(text), len(text))]:
        begin, stop = max(0, start - AROUND), min(len(text), end + AROUND)
        if spans and begin <= spans[-1][1]:
            spans[-1][1] = stop
        else:
            spans.append([begin, stop])
    shown = "…".join(text[begin:stop] for begin, stop in spans)
    return ("…" if spans[0][0] else "") + shown + ("…" if spans[-1][1] < len(text) else "")


def shown(label: str, make: Callable[[], str], *words: str) -> tuple[str | None, Evidence]:
    """(what was rendered, None where the template raised; the evidence of it)."""
    try:
        text = make()
    except RenderError as error:
        return None, Evidence(f"{label}, raised", str(error))
    return text, Evidence(label, excerpt(text, *words) or "(nothing)")


def verdict(text: str | None, held: bool, yes: str, no: str) -> str:
    """What to say of a rendering that does or does not show what was asked for."""
    return yes if held else "the template raises" if text is None else no


def parting(label: str, text: str, other_label: str, other: str) -> tuple[Evidence, Evidence]:
    """Both texts around the first character in which they differ."""
    part = next((i for i, (x, y) in enumerate(zip(text, other, strict=False)) if x != y), min(len(text), len(other)))
    begin, end = max(0, part - AROUND), part + AROUND
    lead = "…" if begin else ""
    return Evidence(label, lead + text[begin:end]), Evidence(other_label, lead + other[begin:end])


def user(text: str = t.USER) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str = t.ANSWER) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": t.SYSTEM}
