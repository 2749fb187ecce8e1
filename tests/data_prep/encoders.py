"""Encoders that the tests share: every tokenizer with a template and every template we ship, loaded once.

encoder("qwen3"), encoder("chatml", "button", control_text="plain"), KNOWN[...] is what a person knows of each
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, NamedTuple

from transformers import AddedToken, PreTrainedTokenizerBase
from transformers.utils import logging

from data_prep.dialogue import Dialogue, Message
from data_prep.encode import STOP, Encoded, Encoder, load_tokenizer
from tests.assets import tokenizer_dir
from tests.data_prep.oracle import LLAMA_HEADER, Known
from training.smollm2 import smollm2_dir

logging.set_verbosity_error()  # some published configurations name another tokenizer class than their file holds


class Case(NamedTuple):
    tokenizer: str
    chat_template: str | None
    known: Known


CASES = {
    "llama3": Case("llama3", None, Known(("<|eot_id|>",), header_unasked=LLAMA_HEADER)),
    "llama3_1": Case("llama3_1", None, Known(("<|eot_id|>",))),
    "qwen2_5": Case("qwen2_5", None, Known(("<|im_end|>",), call_open="<tool_call>")),
    "qwen3": Case("qwen3", None, Known(("<|im_end|>",), think_close="</think>", call_open="<tool_call>")),
    "gemma3": Case("gemma3", None, Known(("<end_of_turn>",))),
    "mistral_nemo": Case("mistral_nemo", None, Known(("</s>",), call_open="[TOOL_CALLS]")),
    "deepseek_v3": Case("deepseek_v3", None, Known(("<｜end▁of▁sentence｜>",))),
    "smollm2": Case("smollm2", None, Known(("<|im_end|>",))),
    "shipped chatml": Case("qwen2_5", "chatml", Known(("<|im_end|>",))),
    "shipped llama3": Case("llama3", "llama3", Known(("<|eot_id|>",))),
    "shipped gemma": Case("gemma", "gemma", Known(("<end_of_turn>",))),
    "shipped mistral": Case("mistral_nemo", "mistral", Known(("</s>",))),
}


@cache
def tokenizer(name: str) -> PreTrainedTokenizerBase:
    made = load_tokenizer(str(smollm2_dir() if name == "smollm2" else tokenizer_dir(name)))
    if name == "gemma":  # the published base model marks these two as special; this copy of its tokenizer does not
        made.add_tokens(
            [AddedToken(text, normalized=False, special=True) for text in ("<start_of_turn>", "<end_of_turn>")]
        )
    return made


@cache
def encoder(case: str, tool_format: str = "auto", **options: Any) -> Encoder:
    return Encoder(tokenizer(CASES[case].tokenizer), tool_format, CASES[case].chat_template, **options)


def turns_of(sample: Encoded) -> list[list[int]]:
    """The trained spans of a sample, stop token included."""
    turns: list[list[int]] = [[]]
    for token, kind in zip(sample.input_ids, sample.kinds, strict=True):
        if kind:
            turns[-1].append(token)
        if kind == STOP:
            turns.append([])
    assert not turns[-1], "a trained span without its stop token"
    return turns[:-1]


def said(made: Encoder, dialogue: Dialogue, message: Message) -> tuple[Any, str, str]:
    """(calls, thought or thinking, answer) of a message as this encoder's parser must read it."""
    calls = [(call.name, _normal(made, call.arguments)) for call in message.tool_calls]
    thinking = message.thinking or ""
    if in_button(made, dialogue):
        beside = message.content if message.tool_calls else ""
        thought = "\n\n".join(text for text in (thinking, beside) if text)
        return (
            calls,
            _normal(made, thought).strip(),
            "" if message.tool_calls else _normal(made, message.content).strip(),
        )
    if made.format.adaptations.thinking_key:
        return calls, _normal(made, thinking).strip(), _normal(made, message.content).strip()
    before = f"{thinking.strip()}\n\n" if thinking.strip() else ""
    return calls, "", _normal(made, before + message.content).strip()


def read(made: Encoder, dialogue: Dialogue, turn: list[int]) -> tuple[Any, str, str]:
    """(calls, thought or thinking, answer) as the encoder's parser reads a turn's ids."""
    message = made.parse(turn, has_tools=bool(dialogue.tools) or in_button(made, dialogue))
    calls = [(call.name, call.arguments) for call in message.tool_calls]
    if in_button(made, dialogue) and calls:
        return calls, message.content.strip(), ""
    return calls, (message.thinking or "").strip(), message.content.strip()


def in_button(made: Encoder, dialogue: Dialogue) -> bool:
    return made.tool_format == "button" and (bool(dialogue.tools) or "parallel_calls" in dialogue.meta)


def _normal(made: Encoder, value: Any) -> Any:
    """Text as the tokenizer can tell it: Qwen composes accents, Gemma writes a space and U+2581 alike."""
    if isinstance(value, dict):
        return {_normal(made, key): _normal(made, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(made, item) for item in value]
    if not isinstance(value, str):
        return value
    normalizer = str(made.tokenizer.backend_tokenizer.normalizer)
    if "NFC" in normalizer:
        return unicodedata.normalize("NFC", value)
    return value.replace("\u2581", " ") if "\u2581" in normalizer else value
