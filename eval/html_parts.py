"""A transcript as coloured text: each turn's prompt, thought, call and answer, made safe to show.

    item_of(record) -> {"id": "gsm8k-0", "cluster": "gsm8k-0", "gold": [["answer", "#### 18"]],
                        "values": {"strict": 1.0}, "unparsed": {}, "notes": {},
                        "steps": [{"prompt": "...", "parts": [["thought", "..."], ["call", "..."]], "error": null,
                                   "finish": "stop", "prompt_tokens": 654, "new_tokens": 33}]}

Kinds are those of training (context, thought, call, answer), and `unparsed` for text of which nothing can be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from data_prep import button
from data_prep.dialogue import Dialogue, DialogueError

# What no font draws and what changes how its neighbours read: control characters but tab and line feed, directional
# marks, zero-width space, byte-order mark, line separators, halves of surrogate pairs.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
MARKERS = re.compile(r"(<call>|<tool_call>|<final>|</think>)")
MARKED = {"<call>": "call", "<tool_call>": "call", "<final>": "answer"}
CLOSING = re.compile(r"\s*</\w+>\s*")
CUTS = (100_000, 20_000, 5_000, 1_000, 200)  # characters of one text
PAGE_CHARACTERS = 50_000_000  # a browser reads this in about a second

Parts = list[tuple[str, str]]


def item_of(record: dict[str, Any]) -> dict[str, Any]:
    """One line of transcripts.jsonl as the page shows it; a step's prompt without what the steps before it showed."""
    steps = []
    before = said = ""
    for step in record["steps"]:
        prompt = prompt_text(step["prompt"])
        steps.append(
            {
                "prompt": _news(prompt, before, said),
                "parts": reply_parts(step["text"], step["message"]),
                "error": step["error"],
                "finish": step["finish_reason"],
                "prompt_tokens": step["prompt_tokens"],
                "new_tokens": step["new_tokens"],
            }
        )
        before, said = prompt, step["text"]
    copied = {key: record[key] for key in ("cluster", "values", "unparsed", "notes")}
    return {"id": record["item"], "gold": gold_parts(record["gold"]), "steps": steps} | copied


def prompt_text(prompt: Any) -> str:
    """A prompt's text; of a server's messages and tools one paragraph each."""
    if isinstance(prompt, str):
        return prompt
    paragraphs = [f"tools: {button.dump_json(prompt['tools'])}\n\n"] if prompt.get("tools") else []
    for message in prompt["messages"]:
        calls = f"\n{button.dump_json(message['tool_calls'])}" if message.get("tool_calls") else ""
        paragraphs.append(f"{message['role']}: {message.get('content') or ''}{calls}\n\n")
    return "".join(paragraphs)


def _news(prompt: str, before: str, said: str) -> str:
    """What a prompt adds to the one before it and its reply; where the template tells the reply otherwise, that too."""
    for shown in (before + said, before):
        if before and prompt.startswith(shown):
            return prompt[len(shown) :]
    return prompt


def reply_parts(text: str, message: dict[str, Any] | None) -> Parts:
    """Generated text cut into kinds; the parts joined are the text.

    A parsed turn is cut where its message says, any other at BUTTON's and Hermes' markers as far as there are any.
    """
    if message is None or "unrepresentable" in message:
        return _marked(text)
    calls = bool(message.get("tool_calls"))
    pieces = [("thought", message.get("thinking")), ("thought" if calls else "answer", message.get("content"))]
    parts: Parts = []
    end = 0
    for kind, piece in pieces:
        piece = (piece or "").strip()
        at = text.find(piece, end) if piece else -1
        if at < 0:
            continue
        closing = CLOSING.match(text, end, at)
        if parts and closing:  # </think> belongs to the thought, what follows to the answer
            parts[-1] = (parts[-1][0], parts[-1][1] + closing.group())
            end = closing.end()
        parts.append((kind, text[end : at + len(piece)]))
        end = at + len(piece)
    rest = text[end:]
    if calls or not parts:
        parts.append(("call" if calls else "answer", rest))
    else:
        parts[-1] = (parts[-1][0], parts[-1][1] + rest)
    return [part for part in parts if part[1]]


def _marked(text: str) -> Parts:
    pieces = MARKERS.split(text)
    if len(pieces) == 1:
        return [("unparsed", text)] if text else []
    parts: Parts = [("thought", pieces[0])]
    for marker, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if marker in MARKED:
            parts.append((MARKED[marker], marker + piece))
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] + marker)
            parts.append(("unparsed", piece))
    return [part for part in parts if part[1]]


def gold_parts(gold: dict[str, Any]) -> Parts:
    """The gold turn in the same colours where it is a message, else its values as JSON."""
    if set(gold) == {"message"}:
        try:
            message = Dialogue.from_dict({"messages": [gold["message"]]}).messages[0]
        except DialogueError:
            message = None
        if message is not None:
            thought, action = button.render_turn(message)
            kind = "call" if message.tool_calls else "answer"
            return [part for part in (("thought", thought), (kind, action)) if part[1]]
    lines = [f"{key}: {value if isinstance(value, str) else button.dump_json(value)}" for key, value in gold.items()]
    return [("answer", "\n".join(lines))] if lines else []


def visible(text: str) -> str:
    """Text that shows what it holds: ESC as ⟨U+001B⟩, a right-to-left override as ⟨U+202E⟩."""
    return HIDDEN.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def fitted(items: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int | None]:
    """The items with every text visible, and cut in its middle to the longest of CUTS at which the page stays usable.

    The second value is that length, None where nothing was cut.
    """
    lengths = [length for item in items for length in _lengths(item)]
    cut = next((cut for cut in CUTS if sum(min(length, cut) for length in lengths) <= PAGE_CHARACTERS), CUTS[-1])
    return [_shown(item, cut) for item in items], cut if any(length > cut for length in lengths) else None


def _lengths(value: Any) -> Iterator[int]:
    if isinstance(value, str):
        yield len(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _lengths(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _lengths(inner)


def _shown(value: Any, cut: int) -> Any:
    if isinstance(value, str):
        if len(value) > cut:
            left_out = f"\n[… {len(value) - cut:,} characters left out; transcripts.jsonl has them …]\n"
            value = value[: cut // 2] + left_out + value[-(cut // 2) :]
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): _shown(inner, cut) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(inner, cut) for inner in value]
    return value


def as_json(value: Any) -> str:
    """JSON that can stand in a <script> element: ASCII, and nothing in it can end the element or open a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
