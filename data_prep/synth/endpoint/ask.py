"""`await ask.json(prompt, Scenario)`: a stage's questions to the model, each answered usably, or the row is rejected.

A reply that can't be read is sent back once with what is wrong with it. One that is cut off (`length`), refused, or
unusable a second time, or that never comes although others do, raises Rejected with the reason and the reply.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from data_prep.synth.endpoint import loose_json
from data_prep.synth.endpoint.client import CHARS_PER_TOKEN, Client
from data_prep.synth.endpoint.prompts import Prompt
from data_prep.synth.endpoint.store import Reply

T = TypeVar("T")
Messages = list[dict[str, str]]
SHOWN_CHARS = 200


class Rejected(Exception):
    """A row goes no further; `code` is a short stable reason that the report counts by."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Asked(NamedTuple):
    """One reply that a row is made of: the prompt's name and hash, the request's key, who answered, tokens."""

    prompt: str
    prompt_sha256: str
    request: str
    model: str
    prompt_tokens: int
    new_tokens: int


class Replier(Protocol):
    """What answers: a server through its store, or the prompts' own examples in a dry run."""

    model: str

    async def answer(self, prompt: Prompt, messages: Messages, sample: int, schema: dict[str, Any] | None) -> Reply:
        """A reply of any quality."""


class Endpoint:
    """Answers by asking the server. `structured` sends JSON schemas along; `seed` makes other samples of everything."""

    def __init__(self, client: Client, structured: bool, seed: int):
        self.client = client
        self.model = client.model
        self.structured = structured
        self.seed = seed

    async def answer(self, prompt: Prompt, messages: Messages, sample: int, schema: dict[str, Any] | None) -> Reply:
        """See Replier. Raises BudgetSpent, EndpointError."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
        }
        if schema is not None and self.structured:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
        # A server may or may not honour it; by content, so that the order of requests does not matter.
        seeded = json.dumps([self.seed, sample, messages])
        body["seed"] = int.from_bytes(hashlib.sha256(seeded.encode()).digest()[:4], "big") >> 1
        return await self.client.reply(body, sample)


class DryRun:
    """Answers with the examples of the prompt files and keeps the prompts: `filled[name]` is the first of each."""

    def __init__(self, model: str):
        self.model = model
        self.filled: dict[str, Prompt] = {}
        self.tokens: dict[str, list[int]] = {}  # by prompt: requests, prompt tokens, new tokens

    async def answer(self, prompt: Prompt, messages: Messages, sample: int, schema: dict[str, Any] | None) -> Reply:
        """See Replier; token counts are estimates."""
        counts = self.tokens.setdefault(prompt.name, [0, 0, 0])
        self.filled.setdefault(prompt.name, prompt)
        example = prompt.examples[counts[0] % len(prompt.examples)]
        asked, said = len(json.dumps(messages)) // CHARS_PER_TOKEN, len(example) // CHARS_PER_TOKEN
        for place, number in enumerate((1, asked, said)):
            counts[place] += number
        return Reply("dry-run", example, "stop", asked, said)


class Ask:
    """What a stage asks through, for one row. `rng` depends on the run's seed, the row and the stage only."""

    def __init__(self, replier: Replier, rng: Random):
        self.rng = rng
        self.asked: list[Asked] = []
        self.discarded: list[Rejected] = []
        self._replier = replier

    async def first_good(self, make: Callable[[int], Awaitable[T]], samples: Iterable[int]) -> T:
        """What `make(sample)` gives for the first sample that it does not reject; the others are counted as discarded.

        Raises the last Rejected where there is none: one bad turn need not cost a whole dialogue, a bad seed does.
        """
        last: Rejected | None = None
        for sample in samples:
            if last is not None:
                self.discarded.append(last)
            try:
                return await make(sample)
            except Rejected as reason:
                last = reason
        raise last or ValueError("no samples to try")

    async def text(self, prompt: Prompt, parse: Callable[[str], T], sample: int = 0) -> T:
        """What `parse` makes of the reply; its ValueError is fed back once. Raises Rejected."""
        return await self._until_read(prompt, parse, sample, None)

    async def json(
        self, prompt: Prompt, kind: type[T], check: Callable[[T], object] | None = None, sample: int = 0
    ) -> T:
        """The reply's JSON as `kind`, a msgspec Struct; `check` may raise ValueError. Raises Rejected."""

        def parse(text: str) -> T:
            value = msgspec.convert(loose_json.loads(text), kind)
            if check is not None:
                check(value)
            return value

        return await self._until_read(prompt, parse, sample, _schema(kind))

    async def _until_read(
        self, prompt: Prompt, parse: Callable[[str], T], sample: int, schema: dict[str, Any] | None
    ) -> T:
        messages = [{"role": "user", "content": prompt.text}]
        failure = ""
        for _ in range(2):
            reply = await self._replier.answer(prompt, messages, sample, schema)
            self.asked.append(
                Asked(prompt.name, prompt.sha256, reply.key, self._replier.model, reply.prompt_tokens, reply.new_tokens)
            )
            if reply.finish_reason == "refused":
                raise Rejected("refused_by_server", f"{prompt.name}: {reply.content[:SHOWN_CHARS]}")
            if reply.finish_reason == "failed":
                raise Rejected("no_reply", f"{prompt.name}: {reply.content[:SHOWN_CHARS]}")
            if reply.finish_reason == "length":
                raise Rejected("length", f"{prompt.name}: cut off after {prompt.max_tokens} tokens")
            try:
                return parse(reply.content.rpartition("</think>")[2].strip())
            except ValueError as error:
                failure = f"{prompt.name}: {error}; the reply was {reply.content[:SHOWN_CHARS]!r}"
                again = f"That can't be used: {error}. Answer again, in the form asked for and with nothing else."
            messages = [
                *messages,
                {"role": "assistant", "content": reply.content or "(empty)"},
                {"role": "user", "content": again},
            ]
        raise Rejected("unusable_reply", failure)


def _schema(kind: Any) -> dict[str, Any]:
    """The kind's JSON schema, its definitions in place: not every server follows `$ref`."""
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="{name}")

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            return inlined(definitions[value["$ref"]]) if "$ref" in value else {k: inlined(v) for k, v in value.items()}
        return [inlined(item) for item in value] if isinstance(value, list) else value

    return inlined(schema)
