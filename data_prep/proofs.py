"""Proof with the data: pure functions that hold every encoded row to its laws, from its finished ids and kinds.

    turn_span(sample, claim, stop_ids)                   where a trained turn must stand, or RejectedDialogue(code, ...)

A claim says what the encoder meant to train: the message, how many ids inference sends before it, the turn's text. The
proof derives everything else again from the ids alone: the turn ends where generation would stop, its ids are decoded,
and what they say is read by evaluation's own parser. What fails is refused with the name of the law as its reason
(rejection.LAWS).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from data_prep import button
from data_prep.dialogue import Dialogue, Message, ToolCall, assistant_turns
from data_prep.formats import ANSWER, CALL, CONTEXT, STOP, THOUGHT, Adapted
from data_prep.rejection import LAWS, RejectedDialogue

UNTRAINED = -100  # the label that torch's cross entropy ignores
SHAPES_KEPT = 4096
METASPACE = "\u2581"  # how some tokenizers write a space, and put one before a text


class Claim(NamedTuple):
    """One trained turn of a sample: message number `turn`, behind `prompt_tokens` ids, saying `body`, then a stop."""

    turn: int
    prompt_tokens: int
    body: str


class Proposal(NamedTuple):
    """A finished sample to be proven: `whole` where it is the whole dialogue, else it ends with its only turn."""

    input_ids: list[int]
    kinds: list[int]
    claims: list[Claim]
    whole: bool


# The mask


def turn_span(sample: Proposal, claim: Claim, stop_ids: Sequence[int]) -> tuple[int, int]:
    """(first, stop): where the turn's ids begin and where its stop token is, both proven to be marked so.

    The stop token is found as generation finds it: the first one behind the prompt. Raises RejectedDialogue.
    """
    ids, kinds, first = sample.input_ids, sample.kinds, claim.prompt_tokens
    stop = _stop_at(ids, first, stop_ids)
    if stop == len(ids) or kinds[stop] != STOP:
        raise unproven("turns_exact", claim.turn, "its stop token is not trained")
    if not first or kinds[first - 1] not in (CONTEXT, STOP):
        raise unproven("prompt_as_inferred", claim.turn, "the trained span begins inside its prompt")
    if kinds[first] == CONTEXT:
        raise unproven("prompt_as_inferred", claim.turn, "the trained span begins behind its first token")
    turn = kinds[first:stop]
    if CONTEXT in turn or STOP in turn:
        raise unproven("turns_exact", claim.turn, "a token inside the turn is not trained")
    return first, stop


def _stop_at(ids: list[int], first: int, stop_ids: Sequence[int]) -> int:
    end = len(ids)
    for token in stop_ids:
        with suppress(ValueError):  # not found
            end = ids.index(token, first, end)
    return end


def only_turns_trained(sample: Proposal, spans: Sequence[tuple[int, int]]) -> None:
    """No token outside `spans`, which are proven to be trained, has a kind. Raises RejectedDialogue."""
    inside = sum(stop - first + 1 for first, stop in spans)
    outside = len(sample.kinds) - sample.kinds.count(CONTEXT) - inside
    if outside:
        raise unproven("only_turns_trained", None, f"{outside} tokens outside its trained turns have a kind")


def every_turn_once(dialogue: Dialogue, samples: Sequence[Proposal]) -> None:
    """Each trained assistant turn is claimed by one sample. Raises RejectedDialogue."""
    claimed = sorted(claim.turn for sample in samples for claim in sample.claims)
    wanted = assistant_turns(dialogue, trained_only=True)
    if claimed != wanted:
        raise unproven("only_turns_trained", None, f"messages {wanted} are to be trained, the samples hold {claimed}")


def call_is_marked(sample: Proposal, span: tuple[int, int], claim: Claim, message: Message) -> None:
    """A turn has tokens of kind call just where its message calls. Raises RejectedDialogue."""
    if (CALL in sample.kinds[span[0] : span[1]]) != bool(message.tool_calls):
        raise unproven("turns_exact", claim.turn, "its kinds tell a call from an answer wrongly")


def border(kinds: Sequence[int]) -> int:
    """The number of a turn's first token that is no thought."""
    return next((at for at, kind in enumerate(kinds) if kind != THOUGHT), len(kinds))


class Parts(NamedTuple):
    """What a turn's ids say before the first token that is no thought, up to and with it, and from it on.

    `calls` is what the last reads as; None where there are none, or calls have no opening to be told by.
    """

    before: str
    upto: str
    behind: str
    calls: Sequence[ToolCall] | None


def parts_are_marked(
    turn: int, later: Sequence[int], parts: Parts, message: Message, normal: Callable[[str], str]
) -> None:
    """The border between a turn's thought and its call or answer, of kinds `later`, is where its ids say.

    A token that touches both is the later one's. Raises RejectedDialogue.
    """

    def plain(text: str) -> str:
        return normal(text).replace(METASPACE, "")

    before, upto, behind = map(plain, parts[:3])
    thoughts = [plain(text.strip()) for text in (message.thinking or "", message.content if message.tool_calls else "")]
    whole = all(kind == (CALL if message.tool_calls else ANSWER) for kind in later)
    whole &= not later or parts.before == parts.before.rstrip()  # white space between parts is the later one's
    touches = parts.upto[-1:].isspace()
    whole &= all(text in before or (text in upto and (touches or not upto.endswith(text))) for text in thoughts)
    if parts.calls is not None:
        read, made = ([(c.name, c.arguments) for c in calls] for calls in (parts.calls, message.tool_calls))
        whole &= read == made or _normal(read, plain) == _normal(made, plain)
    elif not message.tool_calls:
        whole &= plain(message.content.strip()) in behind
    if not whole:
        raise unproven("turns_exact", turn, "its kinds draw the border of its thought elsewhere")


# What the turns and results say


def same_but_for(normal: Callable[[str], str], read: Message, wanted: Message) -> bool:
    """Equal calls, texts and thinking where `normal` undoes what the tokenizer cannot tell apart."""
    pair = [
        ([(call.name, call.arguments) for call in m.tool_calls], m.content, m.thinking or "") for m in (read, wanted)
    ]
    return pair[0] == pair[1] or _normal(pair[0], normal) == _normal(pair[1], normal)


def _normal(value: Any, normal: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return normal(value)
    if isinstance(value, dict):
        return {normal(key): _normal(item, normal) for key, item in value.items()}
    return [_normal(item, normal) for item in value] if isinstance(value, (list, tuple)) else value


def results_in_call_order(dialogue: Dialogue, adapted: Adapted, in_button: bool) -> bool:
    """Whether there were results of parallel calls to check. Raises RejectedDialogue where their order is another.

    Most templates print no call ids, so only the order says which result is whose; that the template keeps the order
    of its messages is proven when it is probed.
    """
    checked = False
    for index, calls, results in _parallel(dialogue):
        place = adapted.turn_at[index] + 1
        if in_button:
            shown = button.json_or_text(adapted.messages[place]["content"])
            wanted: Any = [
                {"name": call.name, "arguments": call.arguments, "results": button.json_or_text(result.content)}
                for call, result in zip(calls, results, strict=True)
            ]
        else:
            shown = [row.get("content") for row in adapted.messages[place : place + len(results)]]
            wanted = [result.content for result in results]
        if shown != wanted:
            raise unproven("results_in_call_order", index, "the results of its calls stand in another order")
        checked = True
    return checked


def _parallel(dialogue: Dialogue) -> Iterator[tuple[int, list[ToolCall], list[Message]]]:
    """(message, its answered calls, their results, paired by id) of every turn with two or more results."""
    for index, message in enumerate(dialogue.messages):
        if len(message.tool_calls) < 2:
            continue
        results = list(takewhile(lambda m: m.role == "tool", dialogue.messages[index + 1 :]))
        by_id = {result.tool_call_id: result for result in results}
        ids = [call.id for call in message.tool_calls]
        if len(results) < 2 or len(by_id) < len(results) or len(set(ids)) < len(ids) or not by_id.keys() <= set(ids):
            continue  # ids do not pair them: the order they are written in is all there is
        calls = [call for call in message.tool_calls if call.id in by_id]
        yield index, calls, [by_id[call.id] for call in calls]


# Control tokens


def shape(dialogue: Dialogue) -> tuple[Any, ...]:
    """What of a dialogue, its words apart, a template's control tokens can depend on; hashable."""
    rows = tuple(
        (
            m.role,
            _filled(m.content),
            _filled(m.thinking),
            tuple([bool(call.arguments) for call in m.tool_calls]),
            m.train,
            bool(m.name),
            bool(m.tool_call_id),
        )
        for m in dialogue.messages
    )
    return len(dialogue.tools), "parallel_calls" in dialogue.meta, rows


def _filled(text: str | None) -> str | None:
    return "x" if text and not text.isspace() else text


def skeleton(dialogue: Dialogue, structure: bool) -> Dialogue:
    """The dialogue with every piece of data exchanged for a harmless word, equal for equal.

    `structure` keeps that of tools and arguments too; else dialogues of one shape get the same skeleton.
    """
    words = _Words()
    tools = [_plain_tool(number) for number in range(len(dialogue.tools))]
    return msgspec.structs.replace(
        dialogue,
        messages=tuple(_bare(message, words, structure) for message in dialogue.messages),
        tools=tuple(words.within(list(dialogue.tools)) if structure else tools),
        meta={"parallel_calls": True} if "parallel_calls" in dialogue.meta else {},
    )


class _Words(dict[str, str]):
    """A new word for each text; white space stays, since a template may treat it as nothing."""

    def __missing__(self, text: str) -> str:
        self[text] = f"w{len(self)}" if text and not text.isspace() else text
        return self[text]

    def within(self, value: Any) -> Any:
        """JSON with its texts exchanged; the words of JSON Schema stay, since templates ask for them."""
        if isinstance(value, str):
            return value if value in SCHEMA_WORDS else self[value]
        if isinstance(value, dict):
            return {self.within(key): self.within(item) for key, item in value.items()}
        return [self.within(item) for item in value] if isinstance(value, list) else value


SCHEMA_WORDS = {
    *("type", "function", "name", "description", "parameters", "return", "properties", "required", "items", "enum"),
    *("default", "nullable", "anyOf", "oneOf", "additionalProperties"),
    *("object", "array", "string", "number", "integer", "boolean", "null"),
}


def _bare(message: Message, words: _Words, structure: bool) -> Message:
    return msgspec.structs.replace(
        message,
        content=words[message.content],
        thinking=None if message.thinking is None else words[message.thinking],
        name=message.name and words[message.name],
        tool_call_id=message.tool_call_id and words[message.tool_call_id],
        tool_calls=tuple(
            ToolCall(
                id=words[call.id] if call.id else "",
                name=words[call.name],
                arguments=words.within(call.arguments) if structure else ({"w": "w"} if call.arguments else {}),
            )
            for call in message.tool_calls
        ),
    )


def _plain_tool(number: int) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"w": {"type": "string", "description": "w"}}, "required": ["w"]}
    return {"type": "function", "function": {"name": f"t{number}", "description": "w", "parameters": schema}}


# Labels


class UnprovenLabels(ValueError):
    """Labels that do not follow from kinds: a fault of this program, not of a row."""


def labels_follow_kinds(
    input_ids: NDArray[np.int32],
    labels: NDArray[np.int32],
    kinds: NDArray[np.int8],
    lengths: NDArray[np.integer],
    trained_kinds: Sequence[int],
) -> None:
    """Labels of samples laid end to end: the ids where a trained kind is and at those turns' stop tokens, else -100.

    Raises UnprovenLabels.
    """
    of_kind = np.zeros(STOP + 1, dtype=bool)
    of_kind[list(trained_kinds)] = True
    expected = of_kind[kinds]
    stops = np.flatnonzero(kinds == STOP)
    expected[stops] = _turn_is_trained(stops, expected, kinds, np.cumsum(lengths) - lengths)
    wrong = np.flatnonzero(labels != np.where(expected, input_ids, UNTRAINED))
    if wrong.size:
        at = int(wrong[0])
        raise UnprovenLabels(
            f"law labels_follow_kinds: token {at} of kind {int(kinds[at])} is labelled {int(labels[at])}, its id is "
            f"{int(input_ids[at])}; nothing was written. This is a fault of the program: please report it"
        )


def _turn_is_trained(
    stops: NDArray[np.int64], trained: NDArray[np.bool_], kinds: NDArray[np.int8], starts: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """For each stop token, whether a token of its turn is trained: between the last context, stop or border and it."""
    if not stops.size:
        return np.zeros(0, dtype=bool)
    edges = np.where((kinds == CONTEXT) | (kinds == STOP), np.arange(kinds.size) + 1, 0)
    before = np.concatenate([[0], np.maximum.accumulate(edges)])[stops]
    sample_starts = starts[np.searchsorted(starts, stops, side="right") - 1]
    count = np.concatenate([[0], np.cumsum(trained)])
    return count[stops] > count[np.maximum(before, sample_starts)]


def unproven(law: str, index: int | None, what: str) -> RejectedDialogue:
    """The rejection of a row that fails a law."""
    return RejectedDialogue(law, (f"message {index}: {what}" if index is not None else what) + f"; law: {LAWS[law]}")
