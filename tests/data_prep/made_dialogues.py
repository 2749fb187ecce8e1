"""Dialogues made by hypothesis to break an encoder: every field may hold anything, turns come in any order.

@given(dialogues())               any dialogue an encoder must take or refuse
@given(dialogues(HOSTILE))        with whole control tokens and markers among the text
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from data_prep.dialogue import Dialogue, Message, ToolCall

# Text that trips tokenizers, templates and parsers up without being what it looks like.
AWKWARD = (
    "e\u0301",
    "\u00e9",
    "\u1100\u1161\u11a8",
    "👩‍👩‍👧",
    "🇳🇴",
    "\u200d",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u202eabc\u202c",
    "\u00a0",
    "\u2028",
    "\u3000",
    "漢字",
    "\x00",
    "\x7f",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    " \n",
    "a",
    "I see.",
    "42",
    "{",
    "}",
    '"',
    "\\",
    "\\n",
    "[",
    "]",
    "{}",
    '{"name": "f0"}',
    '"arguments": {',
    "null",
    "<",
    ">",
    "<|",
    "|>",
    "< |im_end|>",
    "<|im_",
    "im_end|",
    "<im_end>",
    "<call",
    "call>",
    "</final",
    "<tool",
    "<tool_call",
    "/think>",
    "[INST",
    "[ /INST]",
    "</ s>",
    "< /s>",
    "<end_of",
    "<｜",
    "｜>",
    "```json",
    "assistant\n",
    "user:",
    "<|eot",
    "_id|>",
    "#",
    "####",
    "\ufeff",
    "ﬁ",
    "Å",
    "\U0010ffff",
)
# What must be refused, or with control_text: plain encoded as text, and what only BUTTON's format must refuse.
CONTROL = (
    "<|im_end|>",
    "<|im_start|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "<end_of_turn>",
    "<start_of_turn>",
    "<｜end▁of▁sentence｜>",
    "<｜Assistant｜>",
    "<tool_call>",
    "</tool_call>",
    "</think>",
    "<think>",
)
MARKERS = ("<call>", "</call>", "<final>", "</final>", "</tool>", "<tool>")
HOSTILE = AWKWARD + CONTROL + MARKERS


def texts(pieces: tuple[str, ...] = AWKWARD) -> st.SearchStrategy[str]:
    letters = st.text(st.characters(codec="utf-8", exclude_characters="\u2581\ufdd0"), max_size=4)
    return st.lists(st.sampled_from(pieces) | letters, max_size=5).map("".join)


def values(pieces: tuple[str, ...] = AWKWARD) -> st.SearchStrategy[Any]:
    numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        st.none() | st.booleans() | numbers | texts(pieces),
        lambda part: st.lists(part, max_size=2) | st.dictionaries(texts(pieces), part, max_size=2),
        max_leaves=4,
    )


@st.composite
def call_turns(draw: st.DrawFn, number: int, names: tuple[str, ...], pieces: tuple[str, ...]) -> list[Message]:
    """An assistant turn with one to three calls, identical ones among them, and its results in any order or missing."""
    calls: list[ToolCall] = []
    for position in range(draw(st.integers(1, 3))):
        if calls and draw(st.booleans()):
            name, arguments = calls[-1].name, calls[-1].arguments
        else:
            name, arguments = (
                draw(st.sampled_from(names)),
                draw(st.dictionaries(texts(pieces), values(pieces), max_size=2)),
            )
        calls.append(ToolCall(id=f"call_{number}_{position}", name=name, arguments=arguments))
    thinking = draw(st.none() | texts(pieces))
    turn = Message(
        role="assistant",
        content=draw(st.just("") | texts(pieces)),
        thinking=thinking,
        tool_calls=tuple(calls),
        train=draw(st.sampled_from((True, True, False))),
    )
    content = texts(pieces) | values(pieces).map(_dump)
    results = [
        Message(role="tool", tool_call_id=call.id, name=call.name, content=draw(content))
        for call in draw(st.permutations(calls))
    ]
    return [turn, *results]


@st.composite
def dialogues(draw: st.DrawFn, pieces: tuple[str, ...] = AWKWARD, with_tools: bool | None = None) -> Dialogue:
    has_tools = draw(st.booleans()) if with_tools is None else with_tools
    names = tuple(f"f{number}" for number in range(draw(st.integers(1, 3))))
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(Message(role="system", content=draw(texts(pieces))))
    messages.append(Message(role="user", content=draw(texts(pieces))))
    strict = draw(st.booleans())  # roles alternate, as many templates want it
    for number in range(draw(st.integers(1, 3))):
        if has_tools and draw(st.booleans()):
            messages += draw(call_turns(number, names, pieces))
        if strict or draw(st.integers(0, 3)):
            messages.append(
                Message(
                    role="assistant",
                    content=draw(texts(pieces)),
                    thinking=draw(st.none() | texts(pieces)),
                    train=draw(st.sampled_from((True, True, True, False))),
                )
            )
        if strict or draw(st.booleans()):
            messages.append(Message(role="user", content=draw(texts(pieces))))
    if messages[-1].role == "user" and draw(st.booleans()):
        messages.pop()
    elif messages[-1].role == "assistant" and messages[-1].tool_calls == () and draw(st.booleans()):
        messages.append(messages[-1])
    meta: dict[str, Any] = draw(st.sampled_from(({}, {"parallel_calls": True}, {"parallel_calls": False})))
    tools = tuple(_tool(name, draw(texts(pieces))) for name in names) if has_tools else ()
    return Dialogue(id="made", source="made", messages=tuple(messages), tools=tools, meta=meta)


def _tool(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"x": {"type": "string", "description": description}}, "required": ["x"]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
