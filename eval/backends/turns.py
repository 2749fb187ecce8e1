"""What every backend that runs a model itself does around the tokens: a request to prompt ids, new ids to a reply."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from data_prep import button
from data_prep.dialogue import Dialogue, Message
from data_prep.encode import Encoder, RejectedDialogue
from eval.protocol import Reply, Request


class Prompt(NamedTuple):
    """A turn that can be asked for: its ids, their hash, and how many tokens may follow."""

    ids: list[int]
    hash: str
    max_new_tokens: int


def prompt_of(encoder: Encoder, request: Request, limit: int | None) -> Prompt | Reply:
    """The prompt, or the reply that says why there can be none; `limit` is the most tokens that the model reads."""
    try:
        ids = encoder.prompt_ids(request.dialogue)
    except RejectedDialogue as rejected:
        return Reply("", None, rejected.code, "rejected", rejected.message, "", 0, 0)
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    if limit is None:
        return Prompt(ids, digest, request.max_new_tokens)
    if len(ids) >= limit:
        return Reply("", None, "prompt_too_long", "rejected", f"{len(ids)} of {limit} tokens", digest, len(ids), 0)
    return Prompt(ids, digest, min(request.max_new_tokens, limit - len(ids)))


def reply_of(encoder: Encoder, dialogue: Dialogue, prompt: Prompt, new_ids: list[int], stopped: bool) -> Reply:
    """What the model said; `stopped`: the last id is a stop token. A turn cut by its limit is unparsed (`no_stop`)."""
    said = new_ids[:-1] if stopped else new_ids
    message, error = _parse(encoder, said, dialogue) if stopped else (None, "no_stop")
    return Reply(
        text=encoder.tokenizer.decode(said),
        message=message,
        error=error,
        finish_reason="stop" if stopped else "length",
        prompt=encoder.tokenizer.decode(prompt.ids),
        prompt_hash=prompt.hash,
        prompt_tokens=len(prompt.ids),
        new_tokens=len(new_ids),
    )


def _parse(encoder: Encoder, ids: list[int], dialogue: Dialogue) -> tuple[Message | None, str | None]:
    in_button = encoder.tool_format == "button"
    has_tools = button.uses_button_prompt(dialogue) if in_button else bool(dialogue.tools)
    try:
        return encoder.parse(ids, has_tools), None
    except button.TurnParseError as error:
        return None, error.code
    except RecursionError:
        return None, "nested_too_deep"
