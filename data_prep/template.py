"""A chat template under observation: rendering, the stop of a turn, and the markup that surrounds each of its parts.

    <think>\\n I see. \\n</think>\\n\\n  Let me look.  \\n<tool_call>\\n{"name": ...}\\n</tool_call>  <|im_end|>  \\n
    think_open  ...  think_close      content       call_open                              stop        (dropped)

Nothing here knows a template by name. What a template does is found by rendering small dialogues made of sentinels,
once per template, and every row is then checked against what was found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2
import jinja2.meta
import jinja2.nodes
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import (  # what apply_chat_template renders with
    _alias_reasoning_fields,
    _compile_jinja_template,
)

from data_prep.by_message import ByMessage, Rendered

Messages = list[dict[str, Any]]

# Sentinels: plain lower-case words that no template, trim or JSON escape alters.
SYSTEM, USER, USER_2, ANSWER, ANSWER_2, THINKING, THOUGHT = (
    "qzsystem",
    "qzuser",
    "qzcaller",
    "qzanswer",
    "qzreply",
    "qzthinking",
    "qzthought",
)
NAME, NAME_2, KEY, VALUE, RESULT, RESULT_2 = "qzname", "qzother", "qzkey", "qzvalue", "qzresult", "qzoutcome"


NO_CLOCK = "'str' object is not callable"  # what a template says that calls the text we give it for the clock


class TemplateError(ValueError):
    """The template cannot be used at all; the message says why and what to do."""


class RenderError(ValueError):
    """The template raised while rendering one dialogue."""


class UnlocatedPart(ValueError):
    """A rendered turn does not show its message's parts where the probes showed them."""


class Template:
    """One tokenizer's chat template with fixed keyword arguments.

    `text` is the Jinja source, `source` the same with the keyword arguments set at its head: what is saved, so that
    whoever loads the tokenizer later renders what was trained.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: str | None, kwargs: dict[str, Any] | None):
        self.tokenizer = tokenizer
        self.kwargs = dict(kwargs or {})
        self.text = text if text is not None else _own_template(tokenizer)
        self.source = with_kwargs(self.text, self.kwargs)
        # Where a template would call the clock it now calls this text, and raises: no row may depend on today's date.
        self._variables = {"strftime_now": "", **tokenizer.special_tokens_map}
        try:
            self._compiled = _compile_jinja_template(self.source)
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template is no valid Jinja: {error}") from error
        if any(used.name == "random" for used in self._syntax_tree().find_all(jinja2.nodes.Filter)):
            raise TemplateError("the chat template draws at random: what is trained would not be what inference sends")
        self.unasked_header = self._find_unasked_header()
        self._by_message = None if self.unasked_header else self._cut()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_compiled", "_by_message")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._compiled = _compile_jinja_template(self.source)
        self._by_message = None if self.unasked_header else self._cut()

    def _cut(self) -> ByMessage | None:
        return ByMessage.cut(self._compiled, self.source, {**self._variables, "documents": None})

    def render(self, messages: Messages, tools: Sequence[dict[str, Any]] | None, generation_prompt: bool) -> str:
        """What `apply_chat_template(chat_template=self.source)` makes of it. Raises RenderError.

        It is called a few times for every turn, and `apply_chat_template` copies every message and tool each time.
        """
        try:
            return self._compiled.render(
                messages=_alias_reasoning_fields(messages),
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=generation_prompt,
                **self._variables,
            )
        except Exception as error:  # a template is foreign code: whatever it raises is its verdict on this dialogue
            if isinstance(error, TypeError) and "strftime_now" in self.text and NO_CLOCK in str(error):
                raise RenderError(self._clock_advice()) from error
            raise RenderError(f"the chat template raised {type(error).__name__}: {error}") from error

    def render_once(
        self, messages: Messages, tools: Sequence[dict[str, Any]] | None, turns: Sequence[int]
    ) -> Rendered | None:
        """`finished`, with the place of every turn in it, where one rendering can say both; None where it cannot."""
        if self._by_message is None:
            return None
        rows = _alias_reasoning_fields(messages)
        return self._by_message.render(
            rows, list(tools) if tools else None, {**self._variables, "documents": None}, turns
        )

    def finished(self, messages: Messages, tools: Sequence[dict[str, Any]] | None) -> str:
        """The rendered dialogue without a generation header that the template appends unasked."""
        text = self.render(messages, tools, generation_prompt=False)
        return text.removesuffix(self.unasked_header) if self.unasked_header else text

    def _syntax_tree(self) -> jinja2.nodes.Template:
        return self._compiled.environment.parse(self.text)

    def _clock_advice(self) -> str:
        names = sorted(jinja2.meta.find_undeclared_variables(self._syntax_tree()))
        date = next((name for name in names if "date" in name), "strftime_now")
        return (
            "the chat template reads the clock, so the same data would encode differently tomorrow; "
            f"fix the date in template_kwargs, e.g. {{{date}: '26 Jul 2024'}}"
        )

    def render_probe(self, messages: Messages, generation_prompt: bool = True) -> str:
        """Render a dialogue every template must manage; raises TemplateError naming what the template said."""
        try:
            return self.render(messages, None, generation_prompt)
        except RenderError as error:
            what = "a user and an assistant message" if len(messages) > 1 else "a single user message"
            raise TemplateError(f"{what} cannot be rendered: {error}") from error

    def _find_unasked_header(self) -> str:
        """The generation header where the template appends it without being asked (the first Llama 3), else ''."""
        user, answer = {"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}
        prompt = self.render_probe([user])
        turn = self.render_probe([user, answer], generation_prompt=False)
        if turn != self.render_probe([user, answer]):
            return ""
        after = turn[turn.rindex(ANSWER) + len(ANSWER) :] if ANSWER in turn else ""
        stops = list(re.finditer("|".join(map(re.escape, added_tokens(self.tokenizer))) or r"\Z\A", after))
        for stop in stops[1:]:  # the first control token ends the turn; a header can only begin after it
            if prompt.endswith(after[stop.start() :]):
                return after[stop.start() :]
        return ""


def _own_template(tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        return tokenizer.get_chat_template(None)
    except ValueError as error:
        raise TemplateError(
            "the tokenizer has no chat template; give chat_template: the name of a shipped one, a path, or Jinja text"
        ) from error


def with_kwargs(text: str, kwargs: dict[str, Any]) -> str:
    """The template with its keyword arguments as `set` statements at the head, so that it needs none."""
    # `+%}` keeps the line break that a block otherwise swallows, so the text begins as it did.
    head = ""
    for name, value in sorted(kwargs.items()):
        if name == "strftime_now":  # a function: templates without a date variable can only be given the date this way
            head += f"{{% macro strftime_now(format) %}}{{{{ {_jinja_literal(str(value))} }}}}{{% endmacro +%}}"
        else:
            head += f"{{% set {name} = {_jinja_literal(value)} +%}}"
    return head + text


def _jinja_literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_jinja_literal(key)}: {_jinja_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_jinja_literal, value)) + "]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The texts of every added token, longest first, white space apart."""
    texts = {token.content for token in tokenizer.added_tokens_decoder.values()}
    return sorted((text for text in texts if text.strip()), key=lambda text: (-len(text), text))


def control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> list[str]:
    """The token texts that data must not contain: special ones, bracketed `<|...|>` ones, and those the template uses.

    Added tokens that are mere vocabulary (Gemma 3 has thousands, `<table>` and runs of spaces among them) are not.
    """
    control = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or re.fullmatch(r"<[|｜].*[|｜]>", token.content) or token.content in template
    }
    return sorted((text for text in control if text.strip()), key=lambda text: (-len(text), text))


class Markup(NamedTuple):
    """What a template puts around the parts of a turn, white space stripped; found by probing."""

    think_open: str = ""
    think_close: str = ""
    empty_think: str = ""  # what stands for no thinking at all, where the template prints that
    content_open: str = ""
    content_close: str = ""


class Part(NamedTuple):
    """A part of a turn's text: its kind (THOUGHT, CALL, ANSWER) and where it starts, in characters of the turn."""

    kind: int
    start: int


def locate(
    body: str, markup: Markup, thinking: str, content: str, has_calls: bool, kinds: tuple[int, int, int]
) -> list[Part]:
    """Where the parts of a rendered turn start, in order; `kinds` are the numbers of (thought, call, answer).

    `body` is the turn's text without its stop token. White space is not compared: templates trim. Raises UnlocatedPart.
    """
    thought, call, answer = kinds
    parts: list[Part] = []
    cursor = 0
    if thinking.strip():
        cursor = _expect(body, cursor, markup.think_open)
        cursor = _expect(body, cursor, thinking)
        cursor = _expect(body, cursor, markup.think_close)
        parts.append(Part(thought, 0))
    elif markup.empty_think and body[cursor:].lstrip().startswith(markup.empty_think[:1]):
        try:
            cursor = _expect_loose(body, cursor, markup.empty_think)
            parts.append(Part(thought, 0))
        except UnlocatedPart:
            cursor = 0
    if content.strip():
        parts.append(Part(thought if has_calls else answer, cursor))
        cursor = _skip(body, cursor, markup.content_open)
        cursor = _expect(body, cursor, content)
        cursor = _skip(body, cursor, markup.content_close)
    elif parts and not has_calls and body[cursor:].strip():  # what opens an answer is the answer's, even an empty one's
        parts.append(Part(answer, cursor))
    if has_calls:
        parts.append(Part(call, cursor))
    return parts or [Part(answer, 0)]


def _skip(body: str, cursor: int, markup: str) -> int:
    """The cursor behind the markup where it stands there, else where it was."""
    return _expect(body, cursor, markup) if body[cursor:].lstrip().startswith(markup) else cursor


def _expect(body: str, cursor: int, wanted: str) -> int:
    wanted = wanted.strip()
    if not wanted:
        return cursor
    start = cursor + len(body[cursor:]) - len(body[cursor:].lstrip())
    if not body.startswith(wanted, start):
        raise UnlocatedPart(f"the template shows {body[start : start + 60]!r} where {wanted[:60]!r} was given")
    return start + len(wanted)


def _expect_loose(body: str, cursor: int, wanted: str) -> int:
    """Like `_expect`, word by word: white space inside `wanted` may differ."""
    for word in wanted.split():
        cursor = _expect(body, cursor, word)
    return cursor
