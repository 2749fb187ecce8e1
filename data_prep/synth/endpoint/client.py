"""An asynchronous client of one OpenAI-compatible server: bounded, paced, patient, and never past its budget.

async with Client(url, "m", Limits(concurrency=8, requests_per_minute=600), store, Budget()) as client:
    reply = await client.reply(body, sample=0)
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NamedTuple

import httpx

from data_prep.chat_completions import (
    EndpointError,
    Garbled,
    Refused,
    Unusable,
    completions_url,
    key_headers,
    pause_s,
    public_url,
    read_response,
)
from data_prep.synth.endpoint.store import Reply, Store, request_key

ATTEMPTS = 8  # of a request while the server answers no other either: then it is down
MOST_ATTEMPTS = 12  # while it answers others: then it can't answer this one
CHARS_PER_TOKEN = 4  # to reserve budget and pace by; the server's own count replaces the estimate


class BudgetSpent(Exception):
    """Another request could exceed the budget."""


class Limits(NamedTuple):
    """What the server bears; None is no limit. `timeout_s` is for a whole response, however slowly it drips."""

    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 300.0
    first_pause_s: float = 1.0


class Budget(NamedTuple):
    """Most tokens or money for all runs of a store together; prices are for a million tokens.

    What a lost reply cost is not known and not counted; the report says how many were lost.
    """

    tokens: int | None = None
    money: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0

    def cost(self, prompt_tokens: int, new_tokens: int) -> float:
        """What these tokens cost."""
        return (prompt_tokens * self.price_in + new_tokens * self.price_out) / 1e6

    def allows(self, prompt_tokens: int, new_tokens: int) -> bool:
        """Whether this many may be used in all."""
        within_tokens = self.tokens is None or prompt_tokens + new_tokens <= self.tokens
        return within_tokens and (self.money is None or self.cost(prompt_tokens, new_tokens) <= self.money)


class Pace:
    """At most so many a minute, evenly spread, so that no window of the server's sees more."""

    def __init__(self, per_minute: float | None):
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def take(self, amount: float) -> None:
        """Wait for this amount's turn."""
        at = max(time.monotonic(), self._next)
        self._next = at + amount * self._seconds_each
        await asyncio.sleep(at - time.monotonic())

    def correct(self, amount: float) -> None:
        """So much more, or less, was used than taken."""
        self._next += amount * self._seconds_each


class Client:
    """Replies by request, from the store or from the server. `asked` counts requests, `at_hand` those not sent."""

    def __init__(self, base_url: str, model: str, limits: Limits, store: Store, budget: Budget):
        self.model = model
        self.store = store
        self.limits = limits
        self.budget = budget
        self.asked = self.at_hand = self._answered = 0
        self._url = completions_url(base_url)
        self._places = asyncio.Semaphore(limits.concurrency)
        self._requests, self._tokens = Pace(limits.requests_per_minute), Pace(limits.tokens_per_minute)
        self._not_before = 0.0
        self._flying: dict[str, asyncio.Future[Reply]] = {}
        self._spent = list(store.tokens())
        self._reserved = [0, 0]
        self._returned = asyncio.Event()
        timeout = httpx.Timeout(limits.timeout_s, connect=min(limits.timeout_s, 10.0))
        connections = httpx.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency)
        self._http = httpx.AsyncClient(headers=key_headers(), timeout=timeout, limits=connections)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def reply(self, body: dict[str, Any], sample: int = 0) -> Reply:
        """The reply to this request. Raises BudgetSpent, or EndpointError when the server stays down.

        A request that the server refuses for good (4xx) has a reply of finish_reason `refused`; one that it fails to
        answer again and again while it answers others, `failed`.
        """
        key = request_key(body, sample)
        self.asked += 1
        stored = self.store.get(key)
        if stored is not None:
            self.at_hand += 1
            return stored
        if key in self._flying:  # two rows ask for the same
            self.at_hand += 1
            return await asyncio.shield(self._flying[key])
        self._flying[key] = asyncio.ensure_future(self._ask(key, body))
        try:
            return await self._flying[key]
        finally:
            del self._flying[key]

    async def _ask(self, key: str, body: dict[str, Any]) -> Reply:
        async with self._places:
            need = (len(json.dumps(body["messages"])) // CHARS_PER_TOKEN, body["max_tokens"])
            await self._reserve(need)
            try:
                reply = await self._send(key, body, need)
                self._spent[0] += reply.prompt_tokens
                self._spent[1] += reply.new_tokens
                return reply
            finally:
                self._reserved[0] -= need[0]
                self._reserved[1] -= need[1]
                self._returned.set()

    async def _reserve(self, need: tuple[int, int]) -> None:
        """Set aside what the request may use, once enough of what others may use has come back."""
        while not self._fits(need, self._reserved):
            if not self._fits(need, [0, 0]):
                raise BudgetSpent("the budget is spent")
            self._returned.clear()
            await self._returned.wait()
        self._reserved[0] += need[0]
        self._reserved[1] += need[1]

    def _fits(self, need: tuple[int, int], reserved: list[int]) -> bool:
        return self.budget.allows(*(self._spent[i] + reserved[i] + need[i] for i in (0, 1)))

    async def _send(self, key: str, body: dict[str, Any], need: tuple[int, int]) -> Reply:
        failure: Exception | None = None
        answered, attempts, sending = self._answered, 0, 0
        while attempts < (ATTEMPTS if self._answered == answered else MOST_ATTEMPTS):
            attempts += 1
            if attempt := attempts - 1:
                await asyncio.sleep(pause_s(attempt, self.limits.first_pause_s, failure))
            await self._tokens.take(sum(need))
            await self._requests.take(1)
            while (wait := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            sending = self.store.begin(key)
            try:
                reply = await self._post(key, body)
            except (Unusable, httpx.HTTPError, TimeoutError) as error:
                self.store.failed(sending, _outcome(error))
                failure = error
                if isinstance(error, Unusable) and error.retry_after_s:  # it says so to all of our requests
                    self._not_before = max(self._not_before, time.monotonic() + error.retry_after_s)
                continue
            except EndpointError as error:
                self.store.failed(sending, f"refused: {error}"[:200])
                raise
            self.store.put(sending, body, reply)
            self._answered += 1
            self._tokens.correct(reply.prompt_tokens + reply.new_tokens - sum(need))
            return reply
        last = f"{type(failure).__name__}: {str(failure)[:300]}"
        if self._answered > answered:
            reply = Reply(key, f"failed {attempts} times, last with {last}", "failed", 0, 0)
            self.store.put(sending, body, reply, "failed")  # so that the run, if it is killed, goes on to the same rows
            return reply
        raise EndpointError(
            f"{public_url(self._url)} failed {attempts} times, last with {last}; "
            "see that the server runs and give the same command again: no reply is asked for twice"
        )

    async def _post(self, key: str, body: dict[str, Any]) -> Reply:
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                answer = read_response(await self._http.post(self._url, json=body))
        except Refused as refusal:
            return Reply(key, str(refusal), "refused", 0, 0)
        content = answer.content.encode("utf-8", "replace").decode("utf-8")  # half surrogate pairs can't be stored
        tokens = answer.prompt_tokens, answer.new_tokens
        if not any(tokens):  # a server that does not count: the budget and the pace must hold all the same
            tokens = len(json.dumps(body["messages"])) // CHARS_PER_TOKEN, max(1, len(content) // CHARS_PER_TOKEN)
        return Reply(key, content, answer.finish_reason, *tokens)


def _outcome(error: Exception) -> str:
    """What is noted of a sending without a reply; see store.LOST."""
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return "timeout"
    if isinstance(error, httpx.ConnectError):
        return "refused: no connection"
    if isinstance(error, Unusable) and not isinstance(error, Garbled):
        return f"refused: {error}"[:200]
    return "cut"
