"""What tasks and backends say to each other: a task asks with a `Request`, a backend answers with a `Reply`.

    item = Item(id="gsm8k-0", cluster="gsm8k-0", gold={"answer": "#### 18"}, dialogue=...)
    while request := task.next_request(item, steps):      # the model's own replies are in `steps`
        steps.append(Step(request.dialogue, reply))
    score = task.score(item, steps)

A task that executes tools between turns does it in `next_request`: it reads the calls of the last reply and returns a
dialogue that ends in their results, so what the model was shown is always in the transcript.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from data_prep.dialogue import Dialogue, Message

FinishReason = Literal["stop", "length", "rejected"]


class EvalError(Exception):
    """Bad input to an evaluation; the message says where, what came, and what to do."""


class Request(NamedTuple):
    """A dialogue that ends where the assistant is to speak, and how many tokens the turn may take."""

    dialogue: Dialogue
    max_new_tokens: int


class Reply(NamedTuple):
    """One generated turn. Exactly one of `message` and `error` is set.

    text: as generated, control tokens included. error: reason code when the text is no well-formed turn (`call_json`,
    `no_stop`, ...) or when the prompt could not be made (finish_reason `rejected`). prompt: the prompt's text, or
    for a server the messages and tools sent. prompt_hash: over the ids or the request body.
    """

    text: str
    message: Message | None
    error: str | None
    finish_reason: FinishReason
    prompt: Any
    prompt_hash: str
    prompt_tokens: int
    new_tokens: int


class Sampling(NamedTuple):
    """How tokens are chosen: the likeliest at temperature 0, else drawn by `seed` from the likeliest `top_p`."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """For the report and the key of the run; what has no effect on greedy decoding is left out."""
        if self.temperature == 0:
            return {"do_sample": False, "temperature": 0.0}
        return {"do_sample": True, **self._asdict()}

    def turn_seed(self, dialogue: Dialogue, prompt_hash: str) -> int:
        """A seed for one turn, 32 bits: the same whatever stands beside it in a batch, and after a resumed run."""
        text = f"{self.seed} {dialogue.id} {prompt_hash}"
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4])


GREEDY = Sampling()


class Step(NamedTuple):
    """One turn of a conversation under evaluation: what the model was shown, and what it said."""

    dialogue: Dialogue
    reply: Reply


class Item(NamedTuple):
    """One thing to score. `cluster` names what is resampled together (a dialogue, a question)."""

    id: str
    cluster: str
    dialogue: Dialogue
    gold: dict[str, Any]


class Loaded(NamedTuple):
    """The items of a task, and how many rows its protocol leaves out, by reason."""

    items: list[Item]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Score:
    """Values in 0..1 by metric; a metric that does not apply to the item is absent and not in its denominator.

    unparsed: reason code by metric where the value is 0 because nothing could be read. notes: facts that the report
    counts, such as the kind of gold.
    """

    values: dict[str, float]
    unparsed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class Claim(NamedTuple):
    """A number that a scorer compared: the metrics' suffix, the reference's text, and what the model said."""

    suffix: str
    gold: str
    said: str


@dataclass(frozen=True)
class Task:
    """A benchmark. `metrics` maps each metric to what it says and over what; raise `version` when a score can change.

    load(data_dirs, limit) -> Loaded, raising EvalError; next_request(item, steps) -> Request, None at the end;
    score(item, steps) -> Score, pure. `data_files(data_dirs)` are hashed into the report. claims(gold, texts): the
    numbers that a finished item's turns state, for a second opinion; None for a task that scores none. totals(records):
    scores of all transcripts together that are no mean over items; None for a task without any.
    """

    name: str
    version: int
    description: str
    metrics: dict[str, str]
    max_new_tokens: int
    data_files: Callable[[Sequence[str]], list[str]]
    load: Callable[[Sequence[str], int | None], Loaded]
    next_request: Callable[[Item, Sequence[Step]], Request | None]
    score: Callable[[Item, Sequence[Step]], Score]
    claims: Callable[[dict[str, Any], Sequence[str]], list[Claim]] | None = None
    totals: Callable[[Sequence[dict[str, Any]]], dict[str, float]] | None = None


class FollowUp(Protocol):
    def __call__(self, index: int, reply: Reply) -> Request | None: ...


class Backend(Protocol):
    """Generates for many conversations at once."""

    def generate(self, requests: Sequence[Request], follow_up: FollowUp) -> None:
        """Answer every request, in any order.

        `follow_up(index, reply)` is called once per reply, with the position of the conversation's first request; the
        request it returns continues that conversation, None ends it.
        """

    def identity(self) -> dict[str, Any]:
        """What fixes the prompts and the tokens: model, template, tool format, stop tokens; JSON-able.

        `sampling` among it is Sampling.facts(); a backend that does not name it is greedy.
        """

    def describe(self) -> dict[str, Any]:
        """What may differ between equal runs: device, dtype, batch size, timings; JSON-able."""
