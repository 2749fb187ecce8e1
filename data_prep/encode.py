"""Dialogues to token ids with a kind for every token: the same encoder makes training samples and inference prompts.

    encoder = Encoder(tokenizer)
    for input_ids, kinds in encoder.encode(dialogue): ...      # kinds: CONTEXT=0 THOUGHT=1 CALL=2 ANSWER=3 STOP=4
    encoder.prompt_ids(dialogue.before(3))                     # what inference sends for the turn at message 3

Three laws hold for every sample, by construction, for any chat template. The ids before a trained turn are what
inference sends. The trained span is exactly what the model must write, its stop token included. A dialogue that the
template cannot carry raises RejectedDialogue with a reason that is true of that template.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from tokenizers import Encoding
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from data_prep import button
from data_prep.dialogue import Dialogue, Message, assistant_turns, call_to_dict
from data_prep.formats import ANSWER, CALL, CONTEXT, KINDS, STOP, THOUGHT, ButtonFormat, PlainFormat
from data_prep.probe import Lens, Turn, Unaligned, probe, same_turn
from data_prep.template import Messages, Part, RenderError, Template, UnlocatedPart
from recipes.schema import Recipe

__all__ = [
    "ANSWER",
    "CALL",
    "CONTEXT",
    "KINDS",
    "STOP",
    "THOUGHT",
    "Encoded",
    "Encoder",
    "RejectedDialogue",
    "load_encoder",
    "load_tokenizer",
]

TEMPLATES = Path(__file__).parent / "templates"
TAIL_CHARS = 100  # what stands between a prompt's last control token and its end is a role's name, rarely more
BREAK = "\ufdd0"  # marks where control text is broken up: a noncharacter, which Unicode keeps out of all text

REASONS = {
    "control_token": "content, tool list or a result would become a control token of this tokenizer",
    "button_marker": "a part holds the marker that would close it in BUTTON's text",
    "calls_without_tools": "the dialogue calls functions but lists none",
    "template_raises": "the chat template raised an error on this dialogue",
    "template_drops_tools": "the chat template does not show the tool list",
    "template_drops_call": "the chat template does not show a call as it is",
    "template_drops_thought": "the chat template does not show the thought beside a call",
    "template_drops_results": "the chat template does not show a tool result, or in another order",
    "no_call_parser": "no parser can be derived from how the chat template writes calls",
    "template_alters_text": "the chat template shows other text than was given",
    "turn_not_located": "the turn cannot be told from the text around it",
    "no_stop_token": "the template ends the turn with no control token",
    "not_parsed_back": "the rendered turn does not parse back to the same calls and text",
    "history_rewritten": "the template renders an earlier turn otherwise once others follow (history: error)",
    "no_trained_turn": "no assistant turn is trained",
    "unencodable_text": "the tokenizer has no tokens for some character of a trained turn",
}


class RejectedDialogue(ValueError):
    """A dialogue that cannot be encoded exactly; `code` is a key of REASONS."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.code, self.message)


class Encoded(NamedTuple):
    """One sample: token ids, and for each the kind of text it is."""

    input_ids: list[int]
    kinds: list[int]


class Span(NamedTuple):
    """A trained turn: where its text starts in the sample's text, and its parts."""

    start: int
    body: str
    stop: str
    parts: list[Part]


class Sample(NamedTuple):
    """A text to tokenize with the turns that are trained in it. `prompt` is set where the sample is one turn alone."""

    text: str
    spans: list[Span]
    prompt: str | None = None


class Encoder:
    """Encodes dialogues for one tokenizer and chat template.

    Args:
        tokenizer: a fast tokenizer.
        tool_format: `native` writes tools with the model's template, `button` with the paper's text, `auto` takes
            native where probes prove it loss-free.
        chat_template: None for the tokenizer's own, the name of a shipped one, a path, or Jinja text.
        template_kwargs: given to the template at every rendering, and baked into `self.chat_template`.
        history: what to do with a turn that the template renders otherwise once others follow: `as_inferred` makes it
            a sample of its own, `error` rejects the dialogue.
        control_text: `reject` dialogues whose text would become control tokens, or encode it as `plain` text.

    Raises TemplateError where the template cannot be used, ValueError for a slow tokenizer or an unknown option.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tool_format: Literal["auto", "native", "button"] = "auto",
        chat_template: str | None = None,
        template_kwargs: dict[str, Any] | None = None,
        history: Literal["as_inferred", "error"] = "as_inferred",
        control_text: Literal["reject", "plain"] = "reject",
    ):
        _check_options(tokenizer, tool_format, history, control_text)
        self.tokenizer = tokenizer
        self.history = history
        self.control_text = control_text
        self.template = Template(tokenizer, read_template(chat_template), template_kwargs)
        self.lens = Lens(self.template)
        self.formats = probe(self.lens)
        lossless = self.formats.lossy is None
        self.tool_format: Literal["native", "button"] = (
            ("native" if lossless else "button") if tool_format == "auto" else tool_format
        )
        self.format = self.formats.native if self.tool_format == "native" else self.formats.button
        self.chat_template = self.template.source
        self.stop_token_ids = [tokenizer.convert_tokens_to_ids(stop) for stop in self.formats.stops]
        self._control = _control_pattern(self.lens.control)
        self._added_ids = set(tokenizer.added_tokens_decoder)
        self._stop_ids = dict(zip(self.formats.stops, self.stop_token_ids, strict=True))
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self._tails: dict[str, list[int]] = {}

    # What the model is given

    def messages(self, dialogue: Dialogue) -> tuple[Messages, list[dict[str, Any]] | None]:
        """(messages, tools) as `apply_chat_template` takes them, at training and at inference alike."""
        adapted = self.format.adapt(dialogue)
        return adapted.messages, adapted.tools

    def prompt_ids(self, dialogue_prefix: Dialogue) -> list[int]:
        """The token ids inference sends to have the next assistant turn written. Raises RejectedDialogue."""
        adapted = self.format.adapt(self._guarded(dialogue_prefix))
        return self._ids(self._render(adapted.messages, adapted.tools, generation_prompt=True))

    def parse(self, generated: str | list[int], has_tools: bool) -> Message:
        """Read a generated turn, ids or text, with or without its stop token. Raises TurnParseError."""
        if not isinstance(generated, str):
            end = next((at for at, token in enumerate(generated) if token in self.stop_token_ids), len(generated))
            return self._parse(self._decode(generated[:end]), has_tools)
        for stop in self.formats.stops:
            generated = generated.split(stop, 1)[0]
        return self._parse(generated, has_tools)

    def facts(self) -> dict[str, Any]:
        """What decides the ids, for manifests: format, template, adaptations, stop tokens."""
        return {
            "tool_format": self.tool_format,
            "native_loses": self.formats.lossy.reason if self.formats.lossy else None,
            "history": self.history,
            "control_text": self.control_text,
            "template_kwargs": self.template.kwargs,
            "template_sha256": hashlib.sha256(self.chat_template.encode()).hexdigest(),
            "adaptations": self.format.adaptations.named(),
            "stop_tokens": list(self.formats.stops),
        }

    # Samples

    def encode(self, dialogue: Dialogue) -> list[Encoded]:
        """The samples of one dialogue: one, unless the template rewrites history. Raises RejectedDialogue."""
        result = self.encode_batch([dialogue])[0]
        if isinstance(result, RejectedDialogue):
            raise result
        return result

    def encode_batch(self, dialogues: Sequence[Dialogue]) -> list[list[Encoded] | RejectedDialogue]:
        """The samples of many dialogues, tokenized together; a rejected one is its exception, in place."""
        plans: list[list[Sample] | RejectedDialogue] = [self._plan_or_reject(dialogue) for dialogue in dialogues]
        texts = [sample.text for plan in plans if not isinstance(plan, RejectedDialogue) for sample in plan]
        encodings = iter(self._encode_texts(texts))
        results: list[list[Encoded] | RejectedDialogue] = []
        for plan in plans:
            if isinstance(plan, RejectedDialogue):
                results.append(plan)
                continue
            pairs = [(sample, next(encodings)) for sample in plan]
            try:
                results.append([encoded for sample, encoding in pairs for encoded in self._assemble(sample, encoding)])
            except RejectedDialogue as rejected:
                results.append(rejected)
        return results

    def control_text_in(self, dialogue: Dialogue) -> str | None:
        """The first piece of the dialogue's text that is a control token's, or None."""
        found = self._control.search(_data_text(dialogue))
        return found.group() if found else None

    def _plan_or_reject(self, dialogue: Dialogue) -> list[Sample] | RejectedDialogue:
        try:
            return self._plan(dialogue)
        except RejectedDialogue as rejected:
            return rejected

    def _plan(self, dialogue: Dialogue) -> list[Sample]:
        """Cut a dialogue into the texts of its samples, and prove each trained turn on the text."""
        trained = assistant_turns(dialogue, trained_only=True)
        if not trained:
            raise RejectedDialogue("no_trained_turn", "no assistant turn of this dialogue is trained")
        original, dialogue = dialogue, self._guarded(dialogue)
        adapted = self.format.adapt(dialogue)
        full = self._finished(adapted.messages, adapted.tools)
        shared: list[Span] = []
        own: list[Sample] = []
        for index in trained:
            place = adapted.turn_at[index]
            turn = self._turn(adapted.messages[:place], adapted.messages[place], adapted.tools)
            parts = self._parts(dialogue, dialogue.messages[index], turn)
            self._prove(original, original.messages[index], turn.body.replace(BREAK, ""))
            start = len(turn.prompt)
            span = Span(start, turn.body, turn.stop, parts)
            if full.startswith(turn.prompt) and full.startswith(turn.body + turn.stop, start):
                shared.append(span)
            else:
                own.append(Sample(turn.prompt + turn.body + turn.stop, [span], turn.prompt))
        if own and self.history == "error":
            raise RejectedDialogue(
                "history_rewritten", f"{len(own)} of {len(trained)} turns are rendered otherwise later"
            )
        return [*own, Sample(full, shared)] if shared else own

    def _guarded(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue after the checks that make forging roles impossible, its control text broken up if so asked."""
        if not dialogue.tools and any(message.tool_calls for message in dialogue.messages):
            raise RejectedDialogue("calls_without_tools", "the dialogue calls functions but its tool list is empty")
        if self.tool_format == "button":
            _check_button(dialogue)
        elif dialogue.tools and self.formats.native.syntax is None:
            lossy = self.formats.lossy
            code, reason = (lossy.code, lossy.reason) if lossy else ("no_call_parser", "")
            raise RejectedDialogue(code, f"{reason}; use tool_format: button")
        text = _data_text(dialogue)
        found = self._control.search(text)
        if found and self.control_text == "reject":
            raise RejectedDialogue(
                "control_token",
                f"the text {found.group()!r} is a control token; control_text: plain encodes it as text",
            )
        if self.control_text == "plain" and BREAK in text:
            raise RejectedDialogue("control_token", f"control_text: plain needs the noncharacter {BREAK!r} for itself")
        return self._broken_up(dialogue) if found else dialogue

    def _broken_up(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue with a break inside every control text, so that tokenizing never sees it whole."""

        def cut(value: Any) -> Any:
            if isinstance(value, str):
                while self._control.search(value):  # again: behind the first character another one may begin
                    value = self._control.sub(lambda found: found.group()[0] + BREAK + found.group()[1:], value)
                return value
            if isinstance(value, dict):
                return {cut(key): cut(item) for key, item in value.items()}
            return [cut(item) for item in value] if isinstance(value, (list, tuple)) else value

        def cut_message(message: Message) -> Message:
            calls = tuple(
                msgspec.structs.replace(call, id=cut(call.id), name=cut(call.name), arguments=cut(call.arguments))
                for call in message.tool_calls
            )
            content = _unescaped(message.content) if message.role == "tool" else message.content
            return msgspec.structs.replace(
                message,
                content=cut(content),
                tool_calls=calls,
                thinking=cut(message.thinking),
                name=cut(message.name),
                tool_call_id=cut(message.tool_call_id),
            )

        messages = tuple(cut_message(message) for message in dialogue.messages)
        return msgspec.structs.replace(dialogue, messages=messages, tools=tuple(cut(list(dialogue.tools))))

    def _parts(self, dialogue: Dialogue, message: Message, turn: Turn) -> list[Part]:
        """Where the parts of a rendered turn are."""
        try:
            if isinstance(self.format, ButtonFormat) and button.uses_button_prompt(dialogue):
                return self.format.button_parts(turn.body, message)
            return self.format.parts(turn.body, message)
        except UnlocatedPart as error:
            dropped = message.tool_calls and self.format.content_of(message).strip() not in turn.body
            raise RejectedDialogue(
                "template_drops_thought" if dropped else "template_alters_text", str(error)
            ) from error

    def _prove(self, dialogue: Dialogue, message: Message, body: str) -> None:
        """Refuse a turn whose text does not read back to its message."""
        in_button = isinstance(self.format, ButtonFormat) and button.uses_button_prompt(dialogue)
        try:
            read = self._parse(body, has_tools=in_button or bool(dialogue.tools))
        except button.TurnParseError as error:
            raise RejectedDialogue("not_parsed_back", f"{error.code}: {error.message}") from error
        wanted = self.format.as_parsed(message, in_button)
        if not same_turn(read, wanted):
            code = "template_drops_call" if len(read.tool_calls) < len(wanted.tool_calls) else "not_parsed_back"
            raise RejectedDialogue(code, f"the turn reads back otherwise: {body[:80]!r}")

    def _parse(self, text: str, has_tools: bool) -> Message:
        if not has_tools:
            return PlainFormat.parse(self.format, text)
        return self.format.parse_button(text) if isinstance(self.format, ButtonFormat) else self.format.parse(text)

    # Rendering, with a row's troubles as its rejection

    def _render(self, messages: Messages, tools: list[dict[str, Any]] | None, generation_prompt: bool) -> str:
        try:
            return self.template.render(messages, tools, generation_prompt)
        except RenderError as error:
            raise RejectedDialogue("template_raises", str(error)) from error

    def _finished(self, messages: Messages, tools: list[dict[str, Any]] | None) -> str:
        return self._render(messages, tools, generation_prompt=False).removesuffix(self.template.unasked_header)

    def _turn(self, before: Messages, row: dict[str, Any], tools: list[dict[str, Any]] | None) -> Turn:
        if not before:
            raise RejectedDialogue("template_raises", "the dialogue begins with an assistant turn: nothing prompts it")
        try:
            turn = self.lens.turn(before, row, tools)
        except RenderError as error:
            raise RejectedDialogue("template_raises", str(error)) from error
        except Unaligned as error:
            raise RejectedDialogue(error.code, error.message) from error
        if turn.stop not in self._stop_ids:
            raise RejectedDialogue(
                "no_stop_token", f"the turn ends in {turn.stop!r}, at which generation does not stop"
            )
        return turn

    # Tokens

    def _assemble(self, sample: Sample, encoding: Tokens) -> list[Encoded]:
        """Kinds for the turns that stand in the tokenized text as they stand alone; the others become own samples."""
        whole = Encoded(encoding.ids, [CONTEXT] * len(encoding.ids))
        own: list[Encoded] = []
        shared = 0
        for span in sample.spans:
            first = bisect_left(encoding.starts, span.start)
            if self._prompt_is_prefix(sample.text, encoding, first, span.start):
                self._fill(whole, encoding, first, span)
                shared += 1
            else:  # a token merges across the prompt's border
                own.append(self._own(sample.text[: span.start], span))
        if own and self.history == "error":
            raise RejectedDialogue("history_rewritten", "a token merges across the border of prompt and turn")
        return [*own, whole] if shared else own

    def _prompt_is_prefix(self, text: str, tokens: Tokens, first: int, border: int) -> bool:
        """Whether the ids before `first` are the ids of the prompt alone.

        Added tokens cut a text before anything else happens to it, so the two can differ only behind the last added
        token, and only that tail (a role's name and a line break, as a rule) is tokenized again.
        """
        anchor = first - 1
        while anchor >= 0 and (tokens.ids[anchor] not in self._added_ids or tokens.ends[anchor] > border):
            anchor -= 1
        if anchor < 0:
            return self._ids(text[:border]) == tokens.ids[:first]
        tail = text[tokens.ends[anchor] : border]
        ids = self._tails.get(tail)
        if ids is None:
            ids = self._after_control_token(tail)
            if len(tail) < TAIL_CHARS:
                self._tails[tail] = ids
        return tokens.ids[anchor + 1 : first] == ids

    def _own(self, prompt: str, span: Span) -> Encoded:
        """A sample of one turn: the prompt's ids, then the turn tokenized apart from it."""
        prompt_ids = self._ids(prompt)
        lead = self.formats.stops[0]
        encoding = self._encode_texts([lead + span.body + span.stop])[0]
        ids, starts, ends = encoding.ids[1:], encoding.starts[1:], encoding.ends[1:]
        turn = Tokens(ids, [start - len(lead) for start in starts], [end - len(lead) for end in ends])
        made = Encoded(turn.ids, [CONTEXT] * len(turn.ids))
        self._fill(made, turn, 0, span._replace(start=0))
        return Encoded(prompt_ids + made.input_ids, [CONTEXT] * len(prompt_ids) + made.kinds)

    def _fill(self, sample: Encoded, tokens: Tokens, first: int, span: Span) -> None:
        """Write the kinds of one turn: a token that touches two parts takes the later one."""
        end_char = span.start + len(span.body)
        stop_id = self._stop_ids[span.stop]
        stop = bisect_left(tokens.starts, end_char)
        while stop < len(tokens.ids) and tokens.ids[stop] != stop_id:
            stop += 1
        if stop == len(tokens.ids) or tokens.starts[stop] > end_char:
            raise RejectedDialogue("no_stop_token", f"{span.stop!r} is not one token at the end of the turn")
        previous = first
        for kind, boundary in _boundaries(span):
            at = max(previous, bisect_right(tokens.ends, span.start + boundary, first, stop)) if boundary else first
            sample.kinds[at:stop] = [kind] * (stop - at)
            previous = at
        sample.kinds[stop] = STOP
        self._prove_ids(tokens.ids[first:stop], span.body)

    def _prove_ids(self, ids: list[int], body: str) -> None:
        """Refuse a turn whose tokens do not hold its text: some tokenizers drop what they have no token for."""
        read = self._decode(ids)
        if read == body:
            return
        normalizer = (
            self.tokenizer.backend_tokenizer.normalizer
        )  # Qwen composes accents, Gemma writes spaces as another mark
        wanted, read = (
            "".join((normalizer.normalize_str(text) if normalizer else text).split())
            for text in (body.replace(BREAK, ""), read)
        )
        if read != wanted:
            raise RejectedDialogue("unencodable_text", f"the turn's tokens read {read[:80]!r}, not {wanted[:80]!r}")

    def _decode(self, ids: list[int]) -> str:
        """The text of ids that follow a prompt: behind a control token, lest a decoder trims what begins a text."""
        lead = self.formats.stops[0]
        text = self.tokenizer.decode([self._stop_ids[lead], *ids], clean_up_tokenization_spaces=False)
        return text.removeprefix(lead)

    def _ids(self, text: str) -> list[int]:
        return self._encode_texts([text])[0].ids

    def _after_control_token(self, text: str) -> list[int]:
        lead = self.formats.stops[0]
        return self._encode_texts([lead + text])[0].ids[1:] if text else []

    def _encode_texts(self, texts: list[str]) -> list[Tokens]:
        """Tokenize without adding anything; text broken up by `_broken_up` is tokenized piece by piece."""
        pieces = [text.split(BREAK) if self.control_text == "plain" else [text] for text in texts]
        backend = self.tokenizer.backend_tokenizer
        encodings = iter(backend.encode_batch([piece for cut in pieces for piece in cut], add_special_tokens=False))
        return [_joined(cut, [_tokens(next(encodings)) for _ in cut]) for cut in pieces]


class Tokens(NamedTuple):
    """A tokenized text: ids, and the characters each token starts and ends at."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


def _tokens(encoding: Encoding) -> Tokens:
    offsets = encoding.offsets
    return Tokens(encoding.ids, [start for start, _ in offsets], [end for _, end in offsets])


def _joined(pieces: list[str], tokens: list[Tokens]) -> Tokens:
    """The tokens of a text whose pieces were tokenized apart; offsets count the break between two pieces."""
    if len(tokens) == 1:
        return tokens[0]
    joined, base = Tokens([], [], []), 0
    for piece, part in zip(pieces, tokens, strict=True):
        joined.ids.extend(part.ids)
        joined.starts.extend(base + start for start in part.starts)
        joined.ends.extend(base + end for end in part.ends)
        base += len(piece) + 1
    return joined


def _boundaries(span: Span) -> list[tuple[int, int]]:
    """(kind, first character) of each part, the white space before a part counted as the part's."""
    first, *rest = span.parts
    return [(first.kind, 0)] + [(part.kind, len(span.body[: part.start].rstrip())) for part in rest]


def _check_options(tokenizer: PreTrainedTokenizerBase, tool_format: str, history: str, control_text: str) -> None:
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} is a slow tokenizer; a fast one (tokenizer.json) is needed")
    for name, value, allowed in (
        ("tool_format", tool_format, ("auto", "native", "button")),
        ("history", history, ("as_inferred", "error")),
        ("control_text", control_text, ("reject", "plain")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; wanted one of {', '.join(allowed)}")


def _check_button(dialogue: Dialogue) -> None:
    """A part that holds its own closing marker would end early when it is read back."""
    if not button.uses_button_prompt(dialogue):
        return
    if "</tool>" in button.dump_json(list(dialogue.tools)):
        raise RejectedDialogue("button_marker", "the tool list holds '</tool>'")
    for index, message in enumerate(dialogue.messages):
        if message.role != "assistant":
            continue
        thought, action = button.render_turn(message)
        close = "</call>" if message.tool_calls else "</final>"
        marker = next((marker for marker in button.MARKERS if marker in thought), None)
        if action.count(close) > 1:
            marker = close
        if marker is not None:
            raise RejectedDialogue("button_marker", f"message {index} holds {marker!r} as text")


def _control_pattern(control: tuple[str, ...]) -> re.Pattern[str]:
    """Any control token's text, as it is or as JSON writes it."""
    texts = dict.fromkeys([*control, *(button.dump_json(text)[1:-1] for text in control)])
    return re.compile("|".join(re.escape(text) for text in texts) or r"(?!)")


def _data_text(dialogue: Dialogue) -> str:
    """Every text of the dialogue that a template may show, as one string."""
    parts: list[str] = []
    for message in dialogue.messages:
        parts.append(_unescaped(message.content) if message.role == "tool" else message.content)
        parts += [message.thinking or "", message.name or "", message.tool_call_id or ""]
        parts += [button.dump_json(call_to_dict(call)) for call in message.tool_calls]
    return "\n".join([*parts, button.dump_json(list(dialogue.tools))])


def _unescaped(result: str) -> str:
    """A tool result with the escapes of its JSON resolved: BUTTON's text embeds results as JSON, written anew."""
    if "\\" not in result:
        return result
    value = button.json_or_text(result)
    return result if value is result else button.dump_json(value)


def read_template(chat_template: str | None) -> str | None:
    """Jinja text from the name of a shipped template, a path, or the text itself; None stays None.

    Raises FileNotFoundError, naming the shipped templates, for a name that is none of these.
    """
    if chat_template is None or "{{" in chat_template or "{%" in chat_template:
        return chat_template
    shipped = TEMPLATES / f"{chat_template}.jinja"
    path = shipped if shipped.is_file() else Path(chat_template)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in TEMPLATES.glob("*.jinja")))
        raise FileNotFoundError(f"chat_template {chat_template!r} is no file, no Jinja text and none of: {names}")
    return path.read_text(encoding="utf-8")


def load_tokenizer(name_or_path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub id, a local checkpoint or an adapter directory.

    Its padding token is made one that ends no turn where the vocabulary has such a token: a stop token used as
    padding is easily masked out with it.
    """
    tokenizer = AutoTokenizer.from_pretrained(name_or_path, revision=revision)
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        vocabulary = tokenizer.get_vocab()
        candidates = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<｜▁pad▁｜>", "<|endoftext|>",
                      "<|reserved_special_token_0|>", "<unk>")  # fmt: skip
        spare = next((token for token in candidates if token in vocabulary and token != tokenizer.eos_token), None)
        tokenizer.pad_token = spare or tokenizer.eos_token
    return tokenizer


def load_encoder(recipe: Recipe) -> Encoder:
    """The encoder a recipe asks for."""
    return Encoder(
        load_tokenizer(recipe.model_name_or_path, recipe.model_revision),
        tool_format=recipe.tool_format,
        chat_template=recipe.chat_template,
        template_kwargs=recipe.template_kwargs,
        history=recipe.history,
        control_text=recipe.control_text,
    )
