"""What the template doctor asks about messages: prompts, tools, calls, results and thinking.

What the encoder has decided is asked of the encoder, never found out a second time; excerpts show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from data_prep import template as t
from data_prep.dialogue import Dialogue
from data_prep.encode import Encoder
from data_prep.formats import NativeFormat
from data_prep.probe import THINKING_KEYS, Unaligned, probe_dialogue
from data_prep.template import RenderError
from data_prep.template_evidence import SYSTEM, Answer, Evidence, Subject, assistant, shown, user, verdict

# Prompts


def system_prompt(subject: Subject) -> Iterator[Answer]:
    text, seen = shown("system, user", lambda: subject.render([SYSTEM, user()], prompt=True), t.SYSTEM, t.USER)
    if subject.encoder:
        carried = not subject.native.adaptations.fold_system
        no = "not carried: the encoder puts it before the first user message"
    else:
        carried = text is not None and t.SYSTEM in text and t.USER in text
        no = verdict(text, False, "", "dropped")
    yield Answer("system_prompt", carried, "rendered" if carried else no, (seen,))
    added = _default_system(subject)
    if added:
        seen = Evidence("user", added)
        yield Answer("default_system_prompt", None, "without one the template writes its own", (seen,))


def _default_system(subject: Subject) -> str:
    """What stands before a first user message, where it holds words that do not stand before every one."""
    try:
        chat = subject.render([user(), assistant(), user(t.USER_2)])
    except RenderError:
        return ""
    if any(word not in chat for word in (t.USER, t.ANSWER, t.USER_2)):
        return ""
    head, between = chat[: chat.index(t.USER)], chat[chat.index(t.ANSWER) : chat.index(t.USER_2)]
    while between and not head.endswith(between):
        between = between[1:]
    added = re.sub(r"<\S+?>|\[\S+?\]", " ", head.removesuffix(between))
    return head if re.search(r"\w\s+\w", added) else ""


def tools(subject: Subject) -> Iterator[Answer]:
    text, seen = _prompted(subject, "tools, user", probe_dialogue(thought=False), t.NAME, "qzparam")
    parts = {
        t.NAME: "the first tool",
        t.NAME_2: "the second tool",
        "qztool": "descriptions of tools",
        t.KEY: "parameters",
        "qzparam": "descriptions of parameters",
    }
    lacking = [words for sentinel, words in parts.items() if sentinel not in (text or "")]
    no = "the tool list is dropped" if len(lacking) == len(parts) else f"dropped: {', '.join(lacking)}"
    yield Answer("tools", not lacking, verdict(text, not lacking, "rendered whole", no), (seen,))
    asked = probe_dialogue(thought=False, system=True)
    text, seen = _prompted(subject, "system, tools, user", asked, t.SYSTEM, t.NAME)
    dropped = [word for word in (t.SYSTEM, t.USER, t.NAME) if word not in (text or "")]
    no = " and ".join({t.SYSTEM: "the system prompt", t.USER: "the user", t.NAME: "the tool list"}[w] for w in dropped)
    words = verdict(text, not dropped, "both rendered", f"dropped: {no}")
    yield Answer("system_beside_tools", not dropped, words, (seen,))


def _prompted(subject: Subject, label: str, dialogue: Dialogue, *words: str) -> tuple[str | None, Evidence]:
    """What prompts the first turn of a dialogue."""
    rows, listed, at = subject.native.adapt(dialogue)
    return shown(label, lambda: subject.render(rows[: next(iter(at.values()))], listed, True), *words)


# Calls


def calls(subject: Subject) -> Iterator[Answer]:
    text, seen = shown("call", lambda: subject.turn(probe_dialogue(thought=False)), t.NAME, t.VALUE)
    held = text is not None and t.NAME in text and t.VALUE in text
    yield Answer("calls", held, verdict(text, held, "rendered", "the call or its arguments are dropped"), (seen,))
    yield _thoughts(subject)
    text, seen = shown("two calls", lambda: subject.turn(probe_dialogue(thought=False, parallel=True)), t.NAME_2)
    both = held and text is not None and t.NAME_2 in text
    no = "the second of two calls is dropped" if held else "calls are dropped"
    yield Answer("parallel_calls", both, verdict(text, both, "both rendered", no), (seen,))
    yield _arguments(subject)
    yield _read_back(subject)


def _thoughts(subject: Subject) -> Answer:
    evidence: list[Evidence] = []
    for label, parallel in (("thought, call", False), ("thought, two calls", True)):
        text, seen = shown(label, partial(subject.turn, probe_dialogue(True, parallel)), t.THOUGHT, t.NAME)
        evidence.append(seen)
        if text is None or t.THOUGHT not in text:
            return Answer("thoughts_beside_calls", False, verdict(text, False, "", f"dropped ({label})"), (seen,))
    return Answer("thoughts_beside_calls", True, "rendered", tuple(evidence))


def _arguments(subject: Subject) -> Answer:
    notations: list[str] = []
    evidence: list[Evidence] = []
    chosen = subject.native.adaptations
    for as_text, label in ((False, "given as an object"), (True, "given as text")):
        form = NativeFormat(chosen._replace(arguments_as_text=as_text), subject.native.markup, None)
        text, seen = shown(label, partial(subject.turn, probe_dialogue(thought=False), form=form), t.KEY, t.VALUE)
        notations.append(_notation(text))
        evidence.append(seen)
    words = f"an object comes out as {notations[0]}, JSON text as {notations[1]}"
    if subject.encoder:
        words += f"; the encoder gives {'text' if chosen.arguments_as_text else 'objects'}"
    good = notations[chosen.arguments_as_text] == "a JSON object"
    return Answer("arguments", good, words, tuple(evidence))


def _notation(text: str | None) -> str:
    """How a call's arguments are written."""
    if text is None:
        return "an error"
    if t.VALUE not in text:
        return "nothing"
    if re.search(rf"""["']{{\s*"{t.KEY}\"""", text):
        return "JSON text inside a string"
    if re.search(rf'"{t.KEY}"\s*:\s*"{t.VALUE}"', text):
        return "a JSON object"
    if re.search(rf'\\"{t.KEY}\\+"\s*:\s*\\+"{t.VALUE}', text):
        return "JSON text inside JSON (double encoded)"
    return "a Python literal" if f"'{t.KEY}': '{t.VALUE}'" in text else "a notation of its own"


def _read_back(subject: Subject) -> Answer:
    if subject.encoder is None:
        return Answer("calls_read_back", None, "not asked: the encoder refuses the template")
    _, seen = shown("thought, two calls", lambda: subject.turn(probe_dialogue(True, True)), t.NAME, t.NAME_2)
    lossy, syntax = subject.encoder.formats.lossy, subject.native.syntax
    if lossy and lossy.code in ("no_call_parser", "not_parsed_back"):
        return Answer("calls_read_back", False, lossy.reason, (seen,))
    if lossy or syntax is None:
        return Answer("calls_read_back", None, f"not reached: {lossy.reason if lossy else 'no syntax'}", (seen,))
    keys = "a name, then JSON" if syntax.keys is None else "JSON with {!r} and {!r}".format(*syntax.keys[1:])
    return Answer("calls_read_back", True, f"to the same thought, names and arguments; a call is {keys}", (seen,))


# Results and thinking


def tool_results(subject: Subject) -> Iterator[Answer]:
    rows, listed, at = subject.native.adapt(probe_dialogue(thought=False, parallel=True))
    before = rows[: list(at.values())[1]]
    text, seen = shown("two calls, results", lambda: subject.render(before, listed, True), t.RESULT, t.RESULT_2)
    held = text is not None and -1 < text.rfind(t.RESULT) < text.rfind(t.RESULT_2)
    yes = f"rendered in order, {_result_role(subject, text)}" if held and text else ""
    yield Answer("tool_results", held, verdict(text, held, yes, "dropped, or their order changed"), (seen,))
    if subject.encoder:
        yield _button(subject, subject.encoder)


def _result_role(subject: Subject, text: str) -> str:
    """Whether the template writes a result under the header of a user turn."""
    own = "under a header of their own"
    try:
        chat = subject.render([user(), assistant(), user(t.USER_2)])
    except RenderError:
        return own
    if any(word not in chat for word in (t.ANSWER, t.USER_2)):
        return own
    header = chat[chat.index(t.ANSWER) + len(t.ANSWER) : chat.index(t.USER_2)].strip()
    before = text[: text.rindex(t.RESULT)]
    return "inside a user turn" if header and header in before[before.rfind(t.USER) :] else own


def _button(subject: Subject, encoder: Encoder) -> Answer:
    button = encoder.formats.button
    rows, listed, at = button.adapt(probe_dialogue(thought=True))
    before = rows[: list(at.values())[1]]
    text, seen = shown("BUTTON's text", lambda: subject.render(before, listed, True), t.THOUGHT, t.RESULT)
    held = text is not None and t.RESULT in text and t.THOUGHT in text
    no = "dropped"
    try:
        for place in at.values():
            encoder.lens.turn(rows[:place], rows[place], listed)
    except (RenderError, Unaligned) as error:
        held, no = False, f"no turn can be trained: {error}"
    role = "user" if button.adaptations.results_as_user else "tool"
    yes = f"carried, with its tool results as {role} turns"
    return Answer("button_text", held, verdict(text, held, yes, no), (seen,))


def thinking(subject: Subject) -> Iterator[Answer]:
    """Thinking beside an answer, which templates render under a key of its own or not at all."""

    def answered(key: str) -> str:
        return subject.render([user(), {**assistant(), key: t.THINKING}])

    key = subject.native.adaptations.thinking_key
    if subject.encoder is None:
        key = next((key for key in THINKING_KEYS if t.THINKING in (shown(key, partial(answered, key))[0] or "")), None)
    if key is None:
        _, seen = shown(f"answer with {THINKING_KEYS[0]}", partial(answered, THINKING_KEYS[0]), t.ANSWER)
        no = "no key renders it: it stands before the answer, a blank line between"
        yield Answer("thinking", False, no, (seen,))
        return
    _, seen = shown(f"answer with {key}", partial(answered, key), t.THINKING, t.ANSWER)
    dialogue = probe_dialogue(thought=True, thinking=t.THINKING)
    after, later = shown("answer after results", lambda: subject.turn(dialogue, 1), t.THINKING, t.ANSWER)
    kept = after is not None and t.THINKING in after
    words = f"rendered under {key}" + ("" if kept else ", but not for an answer after tool results")
    yield Answer("thinking", kept, words, (seen, later))
