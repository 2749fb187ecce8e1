"""A second derivation of samples, ids and kinds that shares no code with the encoder: what `Encoder.encode` must equal.

    wanted = expected_samples(encoder, dialogue, CASES["qwen3"].known)        # sorted [(input_ids, kinds), ...]

Ids come from `apply_chat_template(tokenize=True)` on `encoder.messages(dialogue)`, every prompt tokenized whole. Kinds
come from searching the text for what is known of the message and of the template, which a person wrote down.
"""

from __future__ import annotations

from typing import NamedTuple

from data_prep.dialogue import Dialogue, Message
from data_prep.encode import Encoder

CONTEXT, THOUGHT, CALL, ANSWER, STOP = range(5)


class Known(NamedTuple):
    """What a person reads off a template: the stop tokens, and the markup of thinking and calls."""

    stops: tuple[str, ...]
    think_close: str = ""  # after the thinking, where the template renders it under a key of its own
    answer_open: str = ""  # before the answer, where the thinking's closing markup runs on into it
    call_open: str = ""
    header_unasked: str = ""
    tail: str = ""  # once behind the last turn


LLAMA_HEADER = "<|start_header_id|>assistant<|end_header_id|>\n\n"


class Sample(NamedTuple):
    input_ids: list[int]
    kinds: list[int]


class Turn(NamedTuple):
    """A trained turn: prompt and its ids, the text to the end of the stop token, and the kind of each character."""

    prompt: str
    prompt_ids: list[int]
    text: str
    char_kinds: list[int]


class Rendering:
    """`apply_chat_template` on the dialogue's messages, with everything but the rows fixed."""

    def __init__(self, encoder: Encoder, dialogue: Dialogue, known: Known):
        self.tokenizer = encoder.tokenizer
        self.template = encoder.chat_template
        self.rows, self.tools = encoder.messages(dialogue)
        self.known = known

    def text(self, count: int, prompting: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            self.rows[:count],
            tools=self.tools,
            tokenize=False,
            add_generation_prompt=prompting,
            chat_template=self.template,
        )
        return text if prompting else text.removesuffix(self.known.header_unasked)

    def ids(self, count: int, prompting: bool) -> list[int]:
        ids = self.tokenizer.apply_chat_template(
            self.rows[:count],
            tools=self.tools,
            tokenize=True,
            return_dict=False,
            add_generation_prompt=prompting,
            chat_template=self.template,
        )
        header = [] if prompting else self.tokenizer.encode(self.known.header_unasked, add_special_tokens=False)
        if header:
            assert ids[-len(header) :] == header
            ids = ids[: -len(header)]
        return ids

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        made = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return made["input_ids"], made["offset_mapping"]


def expected_samples(encoder: Encoder, dialogue: Dialogue, known: Known) -> list[Sample]:
    """What `encoder.encode(dialogue)` must be, sorted."""
    rendering = Rendering(encoder, dialogue, known)
    places = [place for place, row in enumerate(rendering.rows) if row["role"] == "assistant"]
    said = [message for message in dialogue.messages if message.role == "assistant"]
    assert len(places) == len(said)
    full_text, full_ids = rendering.text(len(rendering.rows), False), rendering.ids(len(rendering.rows), False)
    in_button = encoder.tool_format == "button" and (bool(dialogue.tools) or "parallel_calls" in dialogue.meta)
    shared: list[Turn] = []
    samples: list[Sample] = []
    for place, message in zip(places, said, strict=True):
        if not message.train:
            continue
        turn = _turn(rendering, place, message, in_button)
        stands = full_text.startswith(turn.prompt + turn.text)
        if stands and full_ids[: len(turn.prompt_ids)] == turn.prompt_ids:
            shared.append(turn)
        else:
            samples.append(_own_sample(rendering, place, turn))
    if shared:
        samples.append(_sample(rendering, full_text, full_ids, shared))
    return sorted(samples)


def prompts(encoder: Encoder, dialogue: Dialogue, known: Known) -> dict[int, list[int]]:
    """For each assistant turn's index the ids of its prompt, tokenized whole."""
    rendering = Rendering(encoder, dialogue, known)
    places = [place for place, row in enumerate(rendering.rows) if row["role"] == "assistant"]
    indices = [index for index, message in enumerate(dialogue.messages) if message.role == "assistant"]
    return {index: rendering.ids(place, True) for index, place in zip(indices, places, strict=True)}


def _turn(rendering: Rendering, place: int, message: Message, in_button: bool) -> Turn:
    prompt, last = rendering.text(place, True), rendering.text(place + 1, False)
    if last.startswith(prompt):
        text = last[len(prompt) :]
    else:  # the template moved something in front of the turn: it stands behind the last of what opens it
        opening = prompt[prompt.rindex(_last_added(rendering, prompt)) :]
        text = last[last.rindex(opening) + len(opening) :]
    text = text.rstrip()
    text = text.removesuffix(rendering.known.tail).rstrip() if rendering.known.tail else text
    stop = next(stop for stop in rendering.known.stops if text.endswith(stop))
    body = text.removesuffix(stop)
    kinds = _char_kinds(body, message, rendering.known, in_button) + [STOP] * len(stop)
    return Turn(prompt, rendering.ids(place, True), text, kinds)


def _last_added(rendering: Rendering, prompt: str) -> str:
    texts = [token.content for token in rendering.tokenizer.added_tokens_decoder.values() if token.content.strip()]
    return max(texts, key=lambda text: (prompt.rfind(text), len(text)))


def _char_kinds(body: str, message: Message, known: Known, in_button: bool) -> list[int]:
    """The kind of each character of a turn before its stop token."""
    action = CALL if message.tool_calls else ANSWER
    regions: list[tuple[int, int]] = []
    cursor = 0
    if in_button:
        start = body.index("<call>" if message.tool_calls else "<final>")
        if known.think_close and known.think_close in body[:start]:
            regions.append((THOUGHT, 0))
            cursor = body.index(known.think_close) + len(known.think_close)
        said = (message.thinking or "") + (message.content if message.tool_calls else "")
        return _painted(
            body, [*regions, *([(THOUGHT, cursor), (action, start)] if said.strip() else [(action, cursor)])]
        )
    if known.think_close and known.think_close in body:
        regions.append((THOUGHT, 0))
        cursor = body.index(known.think_close) + len(known.think_close)
        if known.answer_open and not message.tool_calls:
            cursor = body.index(known.answer_open, cursor)
    elif (message.thinking or "").strip() and not message.tool_calls:
        regions.append((THOUGHT, 0))
        cursor = body.index(message.thinking.strip()) + len(message.thinking.strip())
    if message.tool_calls:
        regions += [(THOUGHT, cursor), (CALL, body.index(known.call_open, cursor + _shown(body, message, cursor)))]
    else:
        regions.append((ANSWER, cursor))
    return _painted(body, regions)


def _shown(body: str, message: Message, cursor: int) -> int:
    """How many characters after `cursor` show the thought beside a call."""
    said = message.content.strip()
    return body.index(said, cursor) - cursor + len(said)


def _painted(body: str, regions: list[tuple[int, int]]) -> list[int]:
    """Kinds of characters from (kind, start) regions: empty ones vanish, white space goes to the part behind it."""
    ends = [start for _, start in regions[1:]] + [len(body)]
    kept = [(kind, start, end) for (kind, start), end in zip(regions, ends, strict=True) if body[start:end].strip()]
    if not kept:
        return [regions[-1][0]] * len(body)
    kinds = [kept[0][0]] * len(body)
    for (kind, start, _), (_, before, _) in zip(kept[1:], kept, strict=False):
        while start > before and body[start - 1].isspace():
            start -= 1
        kinds[start:] = [kind] * (len(body) - start)
    return kinds


def _kinds(offsets: list[tuple[int, int]], char_kinds: list[int]) -> list[int]:
    """The kind of a token is the latest part that it touches."""
    return [char_kinds[end - 1] if end > start else CONTEXT for start, end in offsets]


def _sample(rendering: Rendering, text: str, ids: list[int], turns: list[Turn]) -> Sample:
    again, offsets = rendering.offsets(text)
    assert again == ids
    chars = [CONTEXT] * len(text)
    for turn in turns:
        chars[len(turn.prompt) : len(turn.prompt) + len(turn.text)] = turn.char_kinds
    return Sample(ids, _kinds(offsets, chars))


def _own_sample(rendering: Rendering, place: int, turn: Turn) -> Sample:
    text = turn.prompt + turn.text
    ids, offsets = rendering.offsets(text)
    count = len(turn.prompt_ids)
    if ids[:count] == turn.prompt_ids:
        return Sample(ids, _kinds(offsets, [CONTEXT] * len(turn.prompt) + turn.char_kinds))
    lead = rendering.known.stops[0]  # a token merges across the border: the turn is tokenized apart from the prompt
    ids, offsets = rendering.offsets(lead + turn.text)
    kinds = _kinds([(start - len(lead), end - len(lead)) for start, end in offsets[1:]], turn.char_kinds)
    return Sample(turn.prompt_ids + ids[1:], [CONTEXT] * count + kinds)
