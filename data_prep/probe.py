"""What a chat template can carry, found by rendering small dialogues of sentinels; nothing is known by name.

`probe(template)` returns both formats with the adaptations the template needs, and why native is not loss-free if so.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

from data_prep import button
from data_prep import template as t
from data_prep.calls import CallSyntax, derive
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.formats import Adaptations, ButtonFormat, NativeFormat
from data_prep.template import Markup, Messages, RenderError, Template, TemplateError

THINKING_KEYS = ("reasoning_content", "thinking", "reasoning")
TWIN = "\ue000twin"  # begins with a private-use character, so that it shares no prefix with data


class Unaligned(ValueError):
    """A turn that does not stand where the generation prompt ends, or does not end in a control token."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


class Turn(NamedTuple):
    """One assistant turn as the template renders it last.

    `prompt` is the text inference sends, `body` what the model must write, `stop` the control token that ends it.
    """

    prompt: str
    body: str
    stop: str


class Lens:
    """Cuts turns out of rendered dialogues."""

    def __init__(self, template: Template):
        self.template = template
        self.control = tuple(t.control_tokens(template.tokenizer, template.text))
        self.tail = self._find_tail()
        self._openings: dict[tuple[bool, bool, bool], str] = {}

    def turn(self, before: Messages, row: dict[str, Any], tools: list[dict[str, Any]] | None) -> Turn:
        """The turn `row` after the messages `before`. Raises RenderError or Unaligned."""
        prompt = self.template.render(before, tools, generation_prompt=True)
        last = self.template.finished([*before, row], tools)
        if last.startswith(prompt):
            return self.cut(prompt, last[len(prompt) :])
        # What stands before the turn is rendered otherwise once it is there (Mistral moves the system prompt), so the
        # turn is found by what differs when only its own words are exchanged.
        twin = self.template.finished([*before, _twin(row)], tools)
        opening = self._opening(row)
        start = _common_prefix(last, twin) - len(opening)
        if start < 0 or not last.startswith(opening, start):
            raise Unaligned("turn_not_located", "the turn cannot be told from what the template renders before it")
        return self.cut(prompt, last[start:])

    def cut(self, prompt: str, text: str) -> Turn:
        """The turn whose rendering behind `prompt` is `text`. Raises Unaligned."""
        text = text.rstrip()
        if self.tail:
            text = text.removesuffix(self.tail).rstrip()
        if not text.endswith(self.control):
            raise Unaligned("no_stop_token", f"the turn does not end in a control token but in {text[-40:]!r}")
        stop = next(token for token in self.control if text.endswith(token))
        return Turn(prompt, text[: len(text) - len(stop)], stop)

    def _find_tail(self) -> str:
        """What the template writes once behind the last turn (Phi 3: an end of text), beside the turn's own stop."""
        user, answer = _user(), {"role": "assistant", "content": t.ANSWER}
        last = self.template.render_probe([*user, answer], generation_prompt=False)
        followed = self.template.render_probe(
            [*user, answer, {"role": "user", "content": t.USER_2}], generation_prompt=False
        )
        if t.ANSWER not in last or t.ANSWER not in followed:
            return ""
        last, followed = (text[text.rindex(t.ANSWER) + len(t.ANSWER) :] for text in (last, followed))
        last = last.removesuffix(self.template.unasked_header) if self.template.unasked_header else last
        shared = last[: _common_prefix(last, followed)]
        ends = [shared.rfind(token) + len(token) for token in self.control if token in shared]
        return last[max(ends) :].strip() if ends else ""

    def _opening(self, row: dict[str, Any]) -> str:
        """The markup between the generation prompt and the first word of a turn like this one."""
        thinking = any(str(row.get(key) or "").strip() for key in THINKING_KEYS)
        shape = (thinking, bool(str(row.get("content") or "").strip()), bool(row.get("tool_calls")))
        if shape not in self._openings:
            user = [{"role": "user", "content": t.USER}]
            twin = _twin(row)
            last, prompt = self.template.finished([*user, twin], None), self.template.render(user, None, True)
            bare = self.template.render(user, None, generation_prompt=False)
            behind = last[: last.find(TWIN)] if TWIN in last else ""
            if behind.startswith(prompt):
                opening = behind.removeprefix(prompt)
            else:  # what stands before the header is rendered otherwise too, where it tells of the last message
                header = prompt.removeprefix(bare) if prompt.startswith(bare) else ""
                _, found, opening = behind.rpartition(header) if header else ("", "", "")
                if not found:
                    raise Unaligned(
                        "turn_not_located",
                        f"the generation prompt ends in {prompt[-24:]!r}, which is not how the template opens such a "
                        "turn",
                    )
            self._openings[shape] = opening
        return self._openings[shape]


def _twin(row: dict[str, Any]) -> dict[str, Any]:
    """The same turn with its first words exchanged."""
    twin = dict(row)
    for key in (*THINKING_KEYS, "content"):
        if str(row.get(key) or "").strip():
            twin[key] = TWIN
    if row.get("tool_calls"):
        twin["tool_calls"] = [{**call, "function": {**call["function"], "name": TWIN}} for call in row["tool_calls"]]
    return twin if twin != row else {**row, "content": TWIN}  # an empty turn has no words to exchange


def _common_prefix(a: str, b: str) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Lossy(ValueError):
    """What the template loses of a native call; `depth` orders reasons by how far the probes came."""

    def __init__(self, depth: int, code: str, reason: str):
        super().__init__(reason)
        self.depth = depth
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[int, str, str]]:
        return type(self), (self.depth, self.code, self.reason)


class Formats(NamedTuple):
    """Both formats for one template; `lossy` says what native loses, None where it is proven loss-free."""

    native: NativeFormat
    button: ButtonFormat
    lossy: Lossy | None
    stops: tuple[str, ...]


def probe(lens: Lens) -> Formats:
    """Decide every adaptation. Raises TemplateError where not even plain chat can be trained on."""
    base = Adaptations(fold_system=not _carries_system(lens))
    key, markup, answer = _plain_markup(lens)
    base = base._replace(thinking_key=key)
    native, lossy, native_stop = _probe_native(lens, base, markup)
    button_format, button_stop = _probe_button(lens, base, markup)
    stops = dict.fromkeys([answer, button_stop if lossy else native_stop or answer])
    return Formats(native, button_format, lossy, tuple(stop for stop in stops if stop))


def _user() -> Messages:
    return [{"role": "user", "content": t.USER}]


def _carries_system(lens: Lens) -> bool:
    messages = [{"role": "system", "content": t.SYSTEM}, *_user()]
    try:
        text = lens.template.render(messages, None, generation_prompt=True)
    except RenderError:
        return False
    return t.SYSTEM in text and t.USER in text


def _plain_markup(lens: Lens) -> tuple[str | None, Markup, str]:
    """The key that thinking renders under, what surrounds thinking and answer, and the stop token of an answer."""
    try:
        opening, closing, stop = _plain_answer(lens)
    except (RenderError, Unaligned) as error:
        for key in THINKING_KEYS:  # some generation prompts open the thinking: no turn can go without it then
            found = _thinking_turn(lens, key)
            if found is not None:
                think_open, close = _around_thinking(found.body)
                return key, Markup(think_open, close), found.stop
        hint = (
            "; template_kwargs {enable_thinking: false} may change it"
            if "enable_thinking" in lens.template.text
            else ""
        )
        raise TemplateError(f"a plain answer to a user cannot be trained with this template: {error}{hint}") from error
    for key in THINKING_KEYS:
        found = _thinking_turn(lens, key)
        if found is None:
            continue
        think_open, close = _around_thinking(found.body)
        if opening and "".join((think_open + close).split()) == "".join(opening.split()):
            return key, Markup(think_open, close, empty_think=opening, content_close=closing), stop
        if opening and close.endswith(opening):
            close = close.removesuffix(opening).strip()
        return key, Markup(think_open, close, content_open=opening, content_close=closing), stop
    return None, Markup(content_open=opening, content_close=closing), stop


def _plain_answer(lens: Lens) -> tuple[str, str, str]:
    """What stands before and after an answer without thinking, and its stop token.

    Raises RenderError, Unaligned, TemplateError.
    """
    answer = {"role": "assistant", "content": t.ANSWER}
    turn = lens.turn(_user(), answer, None)
    two = lens.turn([*_user(), {**answer, "content": t.ANSWER_2}, {"role": "user", "content": t.USER_2}], answer, None)
    if t.ANSWER not in turn.body or t.ANSWER not in two.body:
        raise TemplateError("the chat template does not render the assistant's content where it is text")
    opening = turn.body[: turn.body.index(t.ANSWER)].strip()
    header = next((token for token in lens.control if opening.startswith(token)), "")
    bare = lens.template.render(_user(), None, generation_prompt=False)
    if header and turn.prompt == bare and header in bare[: bare.index(t.USER)]:
        raise TemplateError(
            f"the chat template has no generation prompt: the model would have to write the role header {opening!r}; "
            "give a template that honours add_generation_prompt"
        )
    return opening, turn.body[turn.body.index(t.ANSWER) + len(t.ANSWER) :].strip(), turn.stop


def _thinking_turn(lens: Lens, key: str) -> Turn | None:
    """A turn with thinking under `key`, None where the template does not show it before the answer."""
    try:
        turn = lens.turn(_user(), {"role": "assistant", "content": t.ANSWER, key: t.THINKING}, None)
    except (RenderError, Unaligned):
        return None
    return turn if -1 < turn.body.find(t.THINKING) < turn.body.find(t.ANSWER) else None


def _around_thinking(body: str) -> tuple[str, str]:
    start = body.index(t.THINKING)
    end = start + len(t.THINKING)
    return body[:start].strip(), body[end : body.index(t.ANSWER)].strip()


def _probe_button(lens: Lens, base: Adaptations, markup: Markup) -> tuple[ButtonFormat, str]:
    """BUTTON's text needs only system, user, assistant and something that carries tool results."""
    for as_user in (False, True):
        made = ButtonFormat(base._replace(results_as_user=as_user), markup)
        dialogue = probe_dialogue(thought=True)
        rows, _, at = made.adapt(dialogue)
        try:
            turns = [lens.turn(rows[: at[i]], rows[at[i]], None) for i in at]
        except (RenderError, Unaligned):
            continue
        if t.RESULT in turns[-1].prompt and all(
            found in turn.body for turn, found in zip(turns, (t.NAME, t.ANSWER), strict=True)
        ):
            return made, turns[0].stop
    return ButtonFormat(base._replace(results_as_user=True), markup), ""


PROBE_ARGUMENTS: dict[str, Any] = {t.KEY: t.VALUE}
RICH_ARGUMENTS: dict[str, Any] = {
    t.KEY: 'a "quoted" {brace} \\ back\nline, é 漢 🙂',
    "n": [1, -2.5, True, None, {"deep": {"x": []}}],
    "empty": {},
}


def probe_dialogue(
    thought: bool,
    parallel: bool = False,
    arguments: dict[str, Any] | None = None,
    thinking: str | None = None,
    system: bool = False,
) -> Dialogue:
    """user, call turn, results, answer; with sentinels in every field."""
    calls = [ToolCall(id="call_0", name=t.NAME, arguments=arguments or PROBE_ARGUMENTS)]
    results = [Message(role="tool", tool_call_id="call_0", name=t.NAME, content=f'{{"r": "{t.RESULT}"}}')]
    if parallel:
        calls.append(ToolCall(id="call_1", name=t.NAME_2, arguments={t.KEY: 7}))
        results.append(Message(role="tool", tool_call_id="call_1", name=t.NAME_2, content=f'{{"r": "{t.RESULT_2}"}}'))
    messages = (
        *([Message(role="system", content=t.SYSTEM)] if system else []),
        Message(role="user", content=t.USER),
        Message(role="assistant", content=t.THOUGHT if thought else "", tool_calls=tuple(calls)),
        *results,
        Message(role="assistant", content=t.ANSWER, thinking=thinking),
    )
    return Dialogue(id="probe", source="probe", messages=messages, tools=(_tool(t.NAME), _tool(t.NAME_2)))


def _tool(name: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {t.KEY: {"type": "string", "description": "qzparam"}},
        "required": [t.KEY],
    }
    return {"type": "function", "function": {"name": name, "description": "qztool", "parameters": schema}}


def _probe_native(lens: Lens, base: Adaptations, markup: Markup) -> tuple[NativeFormat, Lossy | None, str | None]:
    """Try the adaptations of calls until the probes prove one loss-free; else the reason of the best attempt."""
    best = Lossy(-1, "", "")
    best_format = NativeFormat(base, markup, None)
    for as_text, absent, nine in itertools.product((False, True), repeat=3):
        adaptations = base._replace(arguments_as_text=as_text, call_content_absent=absent, nine_character_ids=nine)
        made = NativeFormat(adaptations, markup, None)
        try:
            stop = _prove_native(lens, made)
        except Lossy as lossy:
            if lossy.depth > best.depth:
                best, best_format = lossy, made
            continue
        return made, None, stop
    return best_format, best, None


def _prove_native(lens: Lens, made: NativeFormat) -> str:
    """Render calls in every constellation and read them back; sets `made.syntax`. Raises Lossy."""
    turns: dict[tuple[bool, bool], list[Turn]] = {}
    for thought, parallel in itertools.product((False, True), repeat=2):
        turns[thought, parallel] = _turns(lens, made, probe_dialogue(thought, parallel))
    prompted = _turns(lens, made, probe_dialogue(thought=False, system=True))[0].prompt  # some show one of the two
    for prompt, beside in ((turns[False, False][0].prompt, ""), (prompted, " beside a system prompt")):
        if not all(word in prompt for word in (t.NAME, t.NAME_2, t.KEY, "qztool", "qzparam")):
            raise Lossy(1, "template_drops_tools", f"the template drops the tool list or parts of it{beside}")
        if t.USER not in prompt or (beside and t.SYSTEM not in prompt):
            what = "user's message" if t.USER not in prompt else "system prompt"
            raise Lossy(1, "template_drops_prompt", f"the template drops the {what} beside a tool list")
    bodies = {shape: made_turns[0].body for shape, made_turns in turns.items()}
    if t.NAME not in bodies[False, False] or t.VALUE not in bodies[False, False]:
        raise Lossy(2, "template_drops_call", "the template drops calls")
    stop = turns[False, False][0].stop
    if stop in bodies[False, True]:
        raise Lossy(3, "no_stop_token", f"a call turn ends in {stop!r}, which also stands inside a turn of two calls")
    made.syntax = _derive_syntax(made, bodies)
    if t.NAME_2 not in bodies[False, True]:
        raise Lossy(4, "template_drops_call", "the template drops a parallel call")
    if made.syntax is None:
        raise Lossy(3, "no_call_parser", "no parser can be derived from how the template writes a call")
    if not all(t.THOUGHT in bodies[True, parallel] for parallel in (False, True)):
        raise Lossy(5, "template_drops_thought", "the template drops the thought beside a call")
    for parallel in (False, True):
        after = turns[False, parallel][1].prompt
        if t.RESULT not in after or (parallel and not -1 < after.rfind(t.RESULT) < after.rfind(t.RESULT_2)):
            raise Lossy(6, "template_drops_results", "the template drops tool results or changes their order")
    if made.adaptations.thinking_key:
        answer = _turns(lens, made, probe_dialogue(thought=True, thinking=t.THINKING))[1]
        if t.THINKING not in answer.body:
            raise Lossy(6, "template_drops_thought", "the template drops the thinking of an answer after tool results")
    rich = [
        probe_dialogue(thought, parallel, RICH_ARGUMENTS)
        for thought, parallel in itertools.product((False, True), repeat=2)
    ]
    for dialogue in rich:
        turn = _turns(lens, made, dialogue)[0]
        try:
            read = made.parse(turn.body)
        except button.TurnParseError as error:
            raise Lossy(7, "not_parsed_back", f"a call does not parse back: {error.message}") from error
        if not same_turn(read, dialogue.messages[1]):
            raise Lossy(7, "not_parsed_back", "a call does not parse back to the same name, arguments and thought")
    return stop


def _turns(lens: Lens, made: NativeFormat, dialogue: Dialogue) -> list[Turn]:
    rows, tools, at = made.adapt(dialogue)
    try:
        return [lens.turn(rows[:place], rows[place], tools) for place in at.values()]
    except RenderError as error:
        raise Lossy(0, "template_raises", str(error)) from error
    except Unaligned as error:
        raise Lossy(0, error.code, error.message) from error


def _derive_syntax(made: NativeFormat, bodies: dict[tuple[bool, bool], str]) -> CallSyntax | None:
    expected = [(t.NAME, PROBE_ARGUMENTS), (t.NAME_2, {t.KEY: 7})]
    texts = []
    for parallel in (False, True):
        body = bodies[True, parallel]
        if t.THOUGHT in body:
            texts.append(body[body.index(t.THOUGHT) + len(t.THOUGHT) :])
        else:
            body = bodies[False, parallel].lstrip()
            empty = re.escape(made.markup.empty_think).replace("\\\n", r"\s*") if made.markup.empty_think else ""
            texts.append(re.sub(rf"\A{empty}", "", body) if empty else body)
    if t.NAME_2 not in texts[1]:  # one call at most: the single form still reads back what it writes
        texts[1] = ""
        return derive_single(texts[0], expected)
    return derive(texts[0], texts[1], expected)


def derive_single(text: str, expected: list[tuple[str, dict[str, Any]]]) -> CallSyntax | None:
    """The syntax of a template that writes one call a turn; a second call never parses."""
    doubled = text + "\x00" + text.replace(t.NAME, t.NAME_2).replace(f'"{t.VALUE}"', "7")
    syntax = derive(text, doubled, expected)
    return syntax._replace(between="\x00") if syntax else None


def same_turn(read: Message, wanted: Message) -> bool:
    """Equal calls by value, and equal thought, thinking and answer but for white space at their ends."""
    calls = [[(call.name, call.arguments) for call in message.tool_calls] for message in (read, wanted)]
    texts = [(m.content.strip(), (m.thinking or "").strip()) for m in (read, wanted)]
    return calls[0] == calls[1] and texts[0] == texts[1]
