"""A scripted backend, a tiny random model with a byte tokenizer, and dialogues: what the evaluation's tests share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from data_prep import button
from data_prep.dialogue import Dialogue, Message
from eval.protocol import FollowUp, Item, Reply, Request

TOOL = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


class ScriptedBackend:
    """Says what `say(dialogue)` says; stops after `dies_after` replies, as a killed run would."""

    def __init__(self, say: Callable[[Dialogue], str], dies_after: int | None = None, **identity: Any):
        self.say = say
        self.dies_after = dies_after
        self.facts = {
            "backend": "scripted",
            "encoder": {"tool_format": "button", "template_sha256": "0" * 64},
        } | identity
        self.replies = 0

    def identity(self) -> dict[str, Any]:
        return self.facts

    def describe(self) -> dict[str, Any]:
        return {"device": "none"}

    def generate(self, requests: Sequence[Request], follow_up: FollowUp) -> None:
        for index, first in enumerate(requests):
            request: Request | None = first
            while request is not None:
                if self.replies == self.dies_after:
                    raise KeyboardInterrupt
                self.replies += 1
                request = follow_up(index, self._reply(request))

    def _reply(self, request: Request) -> Reply:
        prompt = str(button.to_messages(request.dialogue)) + str(self.facts["encoder"])
        digest = hashlib.sha256(prompt.encode()).hexdigest()
        return reply_of(self.say(request.dialogue), bool(request.dialogue.tools))._replace(
            prompt=prompt, prompt_hash=digest
        )


def reply_of(text: str, has_tools: bool = False) -> Reply:
    """A reply as a backend makes it from this text."""
    message, error = None, None
    try:
        message = button.parse_turn(text) if has_tools else Message(role="assistant", content=text)
    except button.TurnParseError as failure:
        error = failure.code
    return Reply(text, message, error, "stop", "", "", 1, 1)


def ask(city: str, index: int) -> Dialogue:
    """A question, a call, its result, an answer."""
    call = {"name": "forecast", "arguments": {"city": city}}
    return Dialogue.from_dict(
        {
            "id": f"weather-{index}",
            "messages": [
                {"role": "user", "content": f"Weather in {city}?"},
                {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "call_0", "function": call}]},
                {"role": "tool", "tool_call_id": "call_0", "name": "forecast", "content": '{"temp_c": 4}'},
                {"role": "assistant", "content": f"4 degrees in {city}."},
            ],
            "tools": [TOOL],
        }
    )


def gold_speaker(items: Sequence[Item]) -> Callable[[Dialogue], str]:
    """Says the gold turn of whichever item's dialogue it is asked."""
    from eval.tasks.function_calls import gold_turn

    golds = {str(button.to_messages(item.dialogue)): "".join(button.render_turn(gold_turn(item))) for item in items}
    return lambda dialogue: golds[str(button.to_messages(dialogue))]


def tiny_tokenizer() -> Any:
    """A tokenizer of the 256 bytes and ChatML's control tokens, with ChatML's template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from data_prep.encode import read_template

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*specials, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                   additional_special_tokens=["<|im_start|>"])  # fmt: skip
    fast.chat_template = read_template("chatml")
    return fast


def tiny_model(architecture: str = "llama", **options: Any) -> Any:
    """A random two-layer model over the tiny tokenizer's vocabulary, float32, large weights so that logits differ."""
    import torch
    import transformers

    shape = {
        "vocab_size": 259, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "pad_token_id": 0,
        "bos_token_id": None, "eos_token_id": 2, "initializer_range": 0.4,
    }  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture.capitalize()}Config")(**(shape | options))
    return getattr(transformers, f"{architecture.capitalize()}ForCausalLM")(config).eval()
