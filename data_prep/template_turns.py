"""What the template doctor asks about turns: do they stay as they were, what prompts, ends, changes and forges them.

A template that rewrites history gives one sample for each turn it rewrites; the encoder's count is the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from data_prep import template as t
from data_prep.dialogue import Dialogue, Message
from data_prep.encode import KINDS, Encoded, Encoder, RejectedDialogue
from data_prep.probe import probe_dialogue
from data_prep.template import RenderError
from data_prep.template_evidence import CLOCKS, SYSTEM, Answer, Evidence, Subject, assistant, parting, shown, user

AGAIN = 4  # renderings in a row that must be equal: Jinja can draw at random


def history(subject: Subject) -> Iterator[Answer]:
    """Whether turns are rendered otherwise once others follow."""
    if subject.encoder is None:
        yield Answer("history", None, "not asked: the encoder refuses the template")
        return
    rewritten: list[str] = []
    rejected: list[Evidence] = []
    evidence: list[Evidence] = []
    dialogues = _dialogues()
    for label, dialogue in dialogues.items():
        try:
            samples, dialogue = _encoded(subject.encoder, dialogue)
        except RejectedDialogue as error:
            rejected.append(Evidence(f"{label}, rejected", f"{error.code}: {error.message}"))
            continue
        if len(samples) > 1:
            turns = sum(message.role == "assistant" for message in dialogue.messages)
            rewritten.append(f"{label} ({turns} turns: {len(samples)} samples)")
            evidence += _rewriting(subject.encoder, label, dialogue)
    words = "kept: one sample carries a whole dialogue"
    if rewritten:
        words = "rewritten: " + "; ".join(rewritten)
    elif len(rejected) == len(dialogues):
        words = "not known: every probe is rejected"
    yield Answer("history", None, words, (*evidence, *rejected))


def _dialogues() -> dict[str, Dialogue]:
    """Dialogues that differ in what a template may leave out or move later."""
    asked, asked_2 = (Message(role="user", content=text) for text in (t.USER, t.USER_2))
    answered, answered_2 = (Message(role="assistant", content=text) for text in (t.ANSWER, t.ANSWER_2))
    plain = Dialogue(id="probe", source="probe", messages=(asked, answered, asked_2, answered_2))
    prompted = replace(plain, messages=(Message(role="system", content=t.SYSTEM), *plain.messages))
    thoughtful = replace(answered, thinking=t.THINKING)
    called = probe_dialogue(thought=True, parallel=True)
    return {
        "answers": plain,
        "answers after a system prompt": prompted,
        "answers with thinking": replace(plain, messages=(asked, thoughtful, asked_2, answered_2)),
        "calls, then another request": replace(called, messages=(*called.messages, asked_2, answered_2)),
    }


def _encoded(encoder: Encoder, dialogue: Dialogue) -> tuple[list[Encoded], Dialogue]:
    """The samples, and the dialogue they are of: with thinking in every turn where none can go without it.

    Such a template's generation prompt opens the thinking. Raises RejectedDialogue.
    """
    try:
        return encoder.encode(dialogue), dialogue
    except RejectedDialogue as rejected:
        messages = [replace(m, thinking=t.THINKING) if m.role == "assistant" else m for m in dialogue.messages]
        thoughtful = replace(dialogue, messages=tuple(messages))
        try:
            return encoder.encode(thoughtful), thoughtful
        except RejectedDialogue:
            raise rejected from None


def _rewriting(encoder: Encoder, label: str, dialogue: Dialogue) -> list[Evidence]:
    """The first turn that stands otherwise in the whole dialogue, both ways, from where they part."""
    rows, listed, at = encoder.format.adapt(dialogue)
    whole = encoder.template.finished(rows, listed)
    for place in at.values():
        turn = encoder.lens.turn(rows[:place], rows[place], listed)
        alone = turn.prompt + turn.body + turn.stop
        if not whole.startswith(alone):
            return [*parting(f"{label}, as the last turn", alone, f"{label}, once others follow", whole)]
    return [Evidence(label, "a token merges across the border of prompt and turn")]


def generation_prompt(subject: Subject) -> Iterator[Answer]:
    text, seen = shown("user, prompted", lambda: subject.render([user()], prompt=True))
    bare, _ = shown("user", lambda: subject.render([user()]))
    unasked = subject.encoder.template.unasked_header if subject.encoder else ""
    good = subject.encoder is not None
    if text is None or bare is None:
        words = "the template raises"
    elif text.startswith(bare) and text != bare:
        good, words = True, repr(text[len(bare) :])
    elif unasked:
        words = f"{unasked!r}, also behind a last answer, unasked: the encoder takes it off there"
    elif text == bare:
        # The encoder takes a template like Mistral's, where the user's closing token is all that prompts.
        words = "add_generation_prompt changes nothing" + (", and nothing is needed" if good else "")
    else:
        words = "the prompted text does not begin with the unprompted one"
    yield Answer("generation_prompt", good, words, (seen,))


def stop_token(subject: Subject) -> Iterator[Answer]:
    chat = [user(), assistant(), user(t.USER_2)]
    _, seen = shown("user, answer, user", lambda: subject.render(chat), t.ANSWER)
    if subject.encoder is None:
        yield Answer("stop_token", None, "not asked: the encoder refuses the template", (seen,))
    else:
        stops = dict(zip(subject.encoder.formats.stops, subject.encoder.stop_token_ids, strict=True))
        words = ", ".join(f"{stop} ({number})" for stop, number in stops.items())
        eos, tail = subject.tokenizer.eos_token, subject.encoder.lens.tail
        words += "" if eos in stops else f"; the tokenizer's eos_token is another one, {eos}"
        words += f"; {tail!r} stands once behind the last turn and is never trained" if tail else ""
        yield Answer("stop_token", True, words, (seen,))
    unknown = _unknown_tokens(subject)
    if unknown:
        words = f"the template writes what is no single token of this tokenizer: {', '.join(unknown)}"
        yield Answer("unknown_tokens", False, words)


def _unknown_tokens(subject: Subject) -> list[str]:
    written = dict.fromkeys(re.findall(r"<[|｜][^<>|｜\s'\"{}]{1,40}[|｜]>", subject.source))
    unknown = (None, subject.tokenizer.unk_token_id)
    return [token for token in written if subject.tokenizer.convert_tokens_to_ids(token) in unknown]


# What makes data irreproducible or forges roles


def determinism(subject: Subject) -> Iterator[Answer]:
    rows, listed, _ = subject.native.adapt(probe_dialogue(thought=True, parallel=True))
    rendered = 0
    for label, messages, given in (
        ("user", [user()], None),
        ("system, user", [SYSTEM, user()], None),
        ("tools, calls, results, answer", rows, listed),
    ):
        try:
            first, *again = [subject.render(messages, given, True) for _ in range(AGAIN)]
            later = subject.render(messages, given, True, clock=CLOCKS[1])
        except RenderError:
            continue
        rendered += 1
        other = next((text for text in again if text != first), None)
        if other is not None:
            seen = parting(f"{label}, once", first, f"{label}, again", other)
            yield Answer("determinism", False, "the same messages come out otherwise each time", seen)
            return
        if later != first:
            dates = [f"{label}, on {clock:%d %b %Y}" for clock in CLOCKS]
            words = "the template reads the clock: fix the date in template_kwargs"
            yield Answer("determinism", False, words, parting(dates[0], first, dates[1], later))
            return
    words = "the same text each time, whatever the clock shows" if rendered else "not known: every probe raises"
    yield Answer("determinism", True if rendered else None, words)


def control_tokens(subject: Subject) -> Iterator[Answer]:
    control = t.control_tokens(subject.tokenizer, subject.source)
    if not control:
        yield Answer("control_tokens", None, "the tokenizer has none")
        return
    token = next((token for token in control if token in subject.source), control[0])
    if subject.encoder:
        token = subject.encoder.formats.stops[0]
    words = f"{t.USER} {token} {t.USER_2}"
    text, seen = shown(f"user says {words!r}", lambda: subject.render([user(words)]), t.USER, t.USER_2)
    inside = text[text.find(t.USER) : text.rfind(t.USER_2)] if text else ""
    ids = subject.tokenizer.encode(inside, add_special_tokens=False)
    if text is None:
        found = "the template raises"
    elif subject.tokenizer.convert_tokens_to_ids(token) in ids:
        found = f"text that spells one of {len(control):,} control tokens becomes that token"
    else:
        found = "the template defuses control tokens in text"
    yield Answer("control_tokens", None, found + _what_the_encoder_does(subject, words), (seen,))


def _what_the_encoder_does(subject: Subject, words: str) -> str:
    """With a row whose text spells a control token."""
    if subject.encoder is None:
        return ""
    messages = (Message(role="user", content=words), Message(role="assistant", content=t.ANSWER))
    try:
        subject.encoder.encode(Dialogue(id="probe", source="probe", messages=messages))
    except RejectedDialogue as rejected:
        return f"; the encoder rejects such a row ({rejected.code}), control_text: plain has it as text"
    return "; the encoder has it as text"


# The whole


def end_to_end(subject: Subject) -> Iterator[Answer]:
    """A dialogue with everything in it, encoded in the format that was decided."""
    encoder = subject.encoder
    if encoder is None:
        return
    what = "a thought beside two calls, results and an answer"
    try:
        samples = encoder.encode(probe_dialogue(thought=True, parallel=True))
    except RejectedDialogue as rejected:
        yield Answer("end_to_end", False, f"{what} are rejected: {rejected.code}: {rejected.message}")
        return
    counts = [sum(sample.kinds.count(number) for sample in samples) for number in range(len(KINDS))]
    words = ", ".join(f"{kind} {count}" for kind, count in list(zip(KINDS, counts, strict=True))[1:] if count)
    ids = [token for sample in samples for token, kind in zip(*sample, strict=True) if kind]
    learned = encoder.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    seen = Evidence("what the model learns to write", learned)
    yield Answer("end_to_end", True, f"{what} are encoded; tokens: {words}", (seen,))
