"""Dialogues to token ids with a kind for every token: the same encoder makes training samples and inference prompts.

    encoder = Encoder(tokenizer)
    for input_ids, kinds in encoder.encode(dialogue): ...      # kinds: CONTEXT=0 THOUGHT=1 CALL=2 ANSWER=3 STOP=4
    encoder.prompt_ids(dialogue.before(3))                     # what inference sends for the turn at message 3

Three laws hold for every sample, for any chat template. The ids before a trained turn are what inference sends. The
trained span is exactly what the model must write, its stop token included. A dialogue that the template cannot carry
raises RejectedDialogue with a reason that is true of that template. Every finished sample is held to these laws again,
by data_prep/proofs.py, before it is given out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from data_prep import button, proofs
from data_prep.control_text import ControlText
from data_prep.dialogue import Dialogue, Message, assistant_turns
from data_prep.formats import ANSWER, CALL, CONTEXT, KINDS, STOP, THOUGHT, Adapted, ButtonFormat, PlainFormat
from data_prep.probe import Lens, Turn, Unaligned, probe, same_turn
from data_prep.proofs import Claim, Proposal
from data_prep.rejection import REASONS, RejectedDialogue
from data_prep.template import Messages, Part, RenderError, Template, UnlocatedPart
from data_prep.tokens import TextTokens, Tokens
from recipes.schema import Recipe

__all__ = [
    "ANSWER",
    "CALL",
    "CONTEXT",
    "KINDS",
    "REASONS",
    "STOP",
    "THOUGHT",
    "Encoded",
    "Encoder",
    "RejectedDialogue",
    "load_encoder",
    "load_tokenizer",
]

TEMPLATES = Path(__file__).parent / "templates"


class Encoded(NamedTuple):
    """One sample: token ids, and for each the kind of text it is."""

    input_ids: list[int]
    kinds: list[int]


class Proven(NamedTuple):
    """The samples of one dialogue, and the names of the laws (data_prep/proofs.py) that each was proven to hold."""

    samples: list[Encoded]
    laws: tuple[str, ...]


class Span(NamedTuple):
    """A trained turn: its message's number, where its text starts in the sample's text, and its parts."""

    turn: int
    start: int
    body: str
    stop: str
    parts: list[Part]


class Sample(NamedTuple):
    """A text to tokenize, with the turns that are trained in it; `whole` where it is the whole dialogue's."""

    text: str
    spans: list[Span]
    whole: bool


class Plan(NamedTuple):
    """How a dialogue becomes samples: as it was given, guarded against forged roles, and as its template takes it."""

    original: Dialogue
    guarded: Dialogue
    adapted: Adapted
    samples: list[Sample]


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
        self._stop_ids = dict(zip(self.formats.stops, self.stop_token_ids, strict=True))
        self._control = ControlText(self.lens.control, results_as_json=self.tool_format == "button")
        self._text = TextTokens(tokenizer, lead=self.formats.stops[0], breaks=control_text == "plain")
        self._control_ids = frozenset(tokenizer.convert_tokens_to_ids(list(self.lens.control)))
        self._control_of_shape: dict[tuple[Any, ...], list[int] | None] = {}

    # What the model is given

    def messages(self, dialogue: Dialogue) -> tuple[Messages, list[dict[str, Any]] | None]:
        """(messages, tools) as `apply_chat_template` takes them, at training and at inference alike."""
        adapted = self.format.adapt(dialogue)
        return adapted.messages, adapted.tools

    def prompt_ids(self, dialogue_prefix: Dialogue) -> list[int]:
        """The token ids inference sends to have the next assistant turn written. Raises RejectedDialogue."""
        adapted = self.format.adapt(self._guarded(dialogue_prefix))
        return self._text.ids(self._render(adapted.messages, adapted.tools, generation_prompt=True))

    def parse(self, generated: str | list[int], has_tools: bool) -> Message:
        """Read a generated turn, ids or text, with or without its stop token. Raises TurnParseError."""
        if not isinstance(generated, str):
            end = next((at for at, token in enumerate(generated) if token in self.stop_token_ids), len(generated))
            return self._parse(self._text.decode(generated[:end]), has_tools)
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
        return self.prove(dialogue).samples

    def prove(self, dialogue: Dialogue) -> Proven:
        """`encode`, with the laws that were proven on the finished samples. Raises RejectedDialogue."""
        result = self.prove_batch([dialogue])[0]
        if isinstance(result, RejectedDialogue):
            raise result
        return result

    def encode_batch(self, dialogues: Sequence[Dialogue]) -> list[list[Encoded] | RejectedDialogue]:
        """The samples of many dialogues, tokenized together; a rejected one is its exception, in place."""
        results = self.prove_batch(dialogues)
        return [result if isinstance(result, RejectedDialogue) else result.samples for result in results]

    def prove_batch(self, dialogues: Sequence[Dialogue]) -> list[Proven | RejectedDialogue]:
        """`encode_batch`, with the laws that were proven on the finished samples of each dialogue."""
        plans: list[Plan | RejectedDialogue] = [self._plan_or_reject(dialogue) for dialogue in dialogues]
        texts = [sample.text for plan in plans if not isinstance(plan, RejectedDialogue) for sample in plan.samples]
        encodings = iter(self._text.encode(texts))
        results: list[Proven | RejectedDialogue] = []
        for plan in plans:
            if isinstance(plan, RejectedDialogue):
                results.append(plan)
                continue
            pairs = [(sample, next(encodings)) for sample in plan.samples]
            try:
                made = [proposal for sample, encoding in pairs for proposal in self._assemble(sample, encoding)]
                results.append(self._proven(plan, made))
            except RejectedDialogue as rejected:
                results.append(rejected)
        return results

    def control_text_in(self, dialogue: Dialogue) -> str | None:
        """The first piece of the dialogue's text that is a control token's, or None."""
        return self._control.found_in(dialogue)

    def _plan_or_reject(self, dialogue: Dialogue) -> Plan | RejectedDialogue:
        try:
            return self._plan(dialogue)
        except RejectedDialogue as rejected:
            return rejected

    def _plan(self, dialogue: Dialogue) -> Plan:
        """Cut a dialogue into the texts of its samples."""
        trained = assistant_turns(dialogue, trained_only=True)
        if not trained:
            raise RejectedDialogue("no_trained_turn", "no assistant turn of this dialogue is trained")
        original, dialogue = dialogue, self._guarded(dialogue)
        adapted = self.format.adapt(dialogue)
        once = self._once(dialogue, adapted, trained)
        if once is not None:
            return Plan(original, dialogue, adapted, [once])
        full = self._finished(adapted.messages, adapted.tools)
        shared: list[Span] = []
        own: list[Sample] = []
        for index in trained:
            place = adapted.turn_at[index]
            turn = self._turn(adapted.messages[:place], adapted.messages[place], adapted.tools)
            parts = self._parts(dialogue, dialogue.messages[index], turn.body)
            start = len(turn.prompt)
            span = Span(index, start, turn.body, turn.stop, parts)
            if full.startswith(turn.prompt) and full.startswith(turn.body + turn.stop, start):
                shared.append(span)
            else:
                own.append(Sample(turn.prompt + turn.body + turn.stop, [span], whole=False))
        if own and self.history == "error":
            raise RejectedDialogue(
                "history_rewritten", f"{len(own)} of {len(trained)} turns are rendered otherwise later"
            )
        return Plan(original, dialogue, adapted, [*own, Sample(full, shared, whole=True)] if shared else own)

    def _once(self, dialogue: Dialogue, adapted: Adapted, trained: list[int]) -> Sample | None:
        """The one sample of a dialogue that can be rendered once, message by message; None where it cannot."""
        places = [adapted.turn_at[index] for index in trained]
        rendered = self.template.render_once(adapted.messages, adapted.tools, places)
        if rendered is None:
            return None
        spans = []
        for index, place in zip(trained, places, strict=True):
            start, text = rendered.turns[place]
            try:
                _, body, stop = self.lens.cut("", text)
            except Unaligned:
                return None
            if not place or stop not in self._stop_ids or not rendered.text.startswith(body + stop, start):
                return None
            parts = self._parts(dialogue, dialogue.messages[index], body)
            spans.append(Span(index, start, body, stop, parts))
        return Sample(rendered.text, spans, whole=True)

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
        return self._control.guarded(dialogue, plain=self.control_text == "plain")

    def _parts(self, dialogue: Dialogue, message: Message, body: str) -> list[Part]:
        """Where the parts of a rendered turn are."""
        try:
            if isinstance(self.format, ButtonFormat) and self._in_button(dialogue):
                return self.format.button_parts(body, message)
            return self.format.parts(body, message)
        except UnlocatedPart as error:
            dropped = message.tool_calls and self.format.content_of(message).strip() not in body
            raise RejectedDialogue(
                "template_drops_thought" if dropped else "template_alters_text", str(error)
            ) from error

    def _in_button(self, dialogue: Dialogue) -> bool:
        return self.tool_format == "button" and button.uses_button_prompt(dialogue)

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

    def _assemble(self, sample: Sample, encoding: Tokens) -> list[Proposal]:
        """Kinds for the turns that stand in the tokenized text as they stand alone; the others become own samples."""
        shared = Proposal(encoding.ids, [CONTEXT] * len(encoding.ids), [], sample.whole)
        own: list[Proposal] = []
        for span in sample.spans:
            first = self._text.prompt_tokens(sample.text, encoding, span.start)
            if first is not None:
                self._fill(shared.kinds, encoding, first, span)
                shared.claims.append(Claim(span.turn, first, span.body))
            else:  # a token merges across the prompt's border
                own.append(self._own(sample.text[: span.start], span))
        if own and self.history == "error":
            raise RejectedDialogue("history_rewritten", "a token merges across the border of prompt and turn")
        return [*own, shared] if shared.claims else own

    def _own(self, prompt: str, span: Span) -> Proposal:
        """A sample of one turn: the prompt's ids, then the turn tokenized apart from it."""
        prompt_ids = self._text.ids(prompt)
        turn = self._text.continuation(span.body + span.stop)
        kinds = [CONTEXT] * len(turn.ids)
        self._fill(kinds, turn, 0, span._replace(start=0))
        claims = [Claim(span.turn, len(prompt_ids), span.body)]
        return Proposal(prompt_ids + turn.ids, [CONTEXT] * len(prompt_ids) + kinds, claims, whole=False)

    def _fill(self, kinds: list[int], tokens: Tokens, first: int, span: Span) -> None:
        """Write the kinds of one turn: a token that touches two parts takes the later one."""
        end_char = span.start + len(span.body)
        stop_id = self._stop_ids[span.stop]
        stop = tokens.first_from(end_char)
        while stop < len(tokens.ids) and tokens.ids[stop] != stop_id:
            stop += 1
        if stop == len(tokens.ids) or tokens.start(stop) > end_char:
            raise RejectedDialogue("no_stop_token", f"{span.stop!r} is not one token at the end of the turn")
        previous = first
        for kind, boundary in _boundaries(span):
            at = max(previous, tokens.first_behind(span.start + boundary, first, stop)) if boundary else first
            kinds[at:stop] = [kind] * (stop - at)
            previous = at
        kinds[stop] = STOP

    # Proofs of the finished samples, from their ids and kinds

    def _proven(self, plan: Plan, made: list[Proposal]) -> Proven:
        """The samples and the laws they were proven to hold. Raises RejectedDialogue, its code the law that fails."""
        in_button = self._in_button(plan.original)
        laws = ["prompt_as_inferred", "turns_exact", "only_turns_trained", "parsed_back", "control_from_template"]
        proofs.every_turn_once(plan.original, made)
        if proofs.results_in_call_order(plan.guarded, plan.adapted, in_button):
            laws.append("results_in_call_order")
        for sample in made:
            spans = [proofs.turn_span(sample, claim, self.stop_token_ids) for claim in sample.claims]
            proofs.only_turns_trained(sample, spans)
            for claim, span in zip(sample.claims, spans, strict=True):
                message = plan.original.messages[claim.turn]
                proofs.call_is_marked(sample, span, claim, message)
                self._prove_read_back(plan.original, message, claim, sample.input_ids[slice(*span)])
                self._prove_parts(plan.original, message, claim.turn, sample, span)
        self._prove_control(plan.original, made)
        if any(plan.original.messages[claim.turn].tool_calls for sample in made for claim in sample.claims):
            laws.append("calls_parsed_back")
        return Proven([Encoded(sample.input_ids, sample.kinds) for sample in made], tuple(laws))

    def _prove_read_back(self, dialogue: Dialogue, message: Message, claim: Claim, ids: list[int]) -> None:
        """Refuse a turn whose ids do not say its text, or do not read back to its message."""
        said, body = self._text.decode(ids), self._text.unbroken(claim.body)
        if said != body:  # some decoders trim, some normalizers compose accents: then they do so to the turn alone too
            if said != self._text.decode(self._text.continuation(claim.body).ids):
                raise proofs.unproven("turns_exact", claim.turn, f"the trained ids say {said[:80]!r}")
            if self._text.normal(said) != self._text.normal(body):
                raise RejectedDialogue("unencodable_text", f"the turn's ids say {said[:80]!r}: characters are missing")
        in_button = self._in_button(dialogue)
        wanted = self.format.as_parsed(message, in_button)
        try:
            read = [self._parse(text, in_button or bool(dialogue.tools)) for text in dict.fromkeys((body, said))]
        except button.TurnParseError as error:
            raise RejectedDialogue("not_parsed_back", f"{error.code}: {error.message}") from error
        lost = said != body and not proofs.same_but_for(self._text.normal, read[-1], wanted)
        if lost or not same_turn(read[0], wanted):
            code = "template_drops_call" if len(read[0].tool_calls) < len(wanted.tool_calls) else "not_parsed_back"
            raise RejectedDialogue(code, f"the turn reads back otherwise: {body[:80]!r}")

    def _prove_parts(
        self, dialogue: Dialogue, message: Message, turn: int, sample: Proposal, span: tuple[int, int]
    ) -> None:
        """Refuse a turn whose border between thought and call or answer is not where its ids say."""
        first, stop = span
        ids, kinds = sample.input_ids[first:stop], sample.kinds[first:stop]
        border = proofs.border(kinds)
        if not border and not (message.thinking or (message.tool_calls and message.content)):
            return  # one part
        before, upto, behind = (self._text.decode(part) for part in (ids[:border], ids[: border + 1], ids[border:]))
        calls = None
        if message.tool_calls and (self._in_button(dialogue) or self.formats.native.opens_calls):
            try:
                calls = self._parse(behind, has_tools=True).tool_calls
            except button.TurnParseError:
                calls = ()
        said = proofs.Parts(before, upto, behind, calls)
        proofs.parts_are_marked(turn, kinds[border:], said, message, self._text.normal)

    def _prove_control(self, dialogue: Dialogue, made: list[Proposal]) -> None:
        """Refuse samples whose control ids are others than the same dialogue has with harmless words for its data."""
        shape = proofs.shape(dialogue)
        for sample in made:
            control = list(filter(self._control_ids.__contains__, sample.input_ids))
            turn = None if sample.whole else sample.claims[0].turn
            key = (shape, turn)
            if key not in self._control_of_shape:
                if len(self._control_of_shape) >= proofs.SHAPES_KEPT:
                    self._control_of_shape.clear()
                self._control_of_shape[key] = self._control_without_data(dialogue, turn, structure=False)
            if control == self._control_of_shape[key]:
                continue
            if control != self._control_without_data(dialogue, turn, structure=True):
                raise proofs.unproven("control_from_template", turn, "its control tokens are not the template's alone")

    def _control_without_data(self, dialogue: Dialogue, turn: int | None, structure: bool) -> list[int] | None:
        """The control ids that the template alone gives the dialogue, or it up to `turn`; None where it raises."""
        rows, tools, at = self.format.adapt(proofs.skeleton(dialogue, structure))
        try:
            if turn is None:
                once = self.template.render_once(rows, tools, ())
                text = once.text if once else self._finished(rows, tools)
            else:
                text = "".join(self._turn(rows[: at[turn]], rows[at[turn]], tools))
        except RejectedDialogue:
            return None
        return list(filter(self._control_ids.__contains__, self._text.added_in(text)))


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
        marker = next((marker for marker in ("<call>", "<final>") if marker in thought), None)
        if action.count(close) > 1:
            marker = close
        if marker is not None:
            raise RejectedDialogue("button_marker", f"message {index} holds {marker!r} as text")


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
    """The encoder a recipe asks for. Raises ValueError where one of its new tokens is none."""
    tokenizer = load_tokenizer(recipe.model_name_or_path, recipe.model_revision)
    known = [token for token in recipe.new_tokens if token in tokenizer.get_vocab()]
    if known:
        raise ValueError(f"new_tokens: {', '.join(known)} is in the vocabulary already; leave it out of new_tokens")
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in recipe.new_tokens])
    return Encoder(
        tokenizer,
        tool_format=recipe.tool_format,
        chat_template=recipe.chat_template,
        template_kwargs=recipe.template_kwargs,
        history=recipe.history,
        control_text=recipe.control_text,
    )
