"""POST BASE_URL/chat/completions: what any OpenAI-compatible server's response says, and when to ask again.

    {"choices": [{"message": {"content": "4 degrees."}, "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 7, "completion_tokens": 3}}                               a response's body

Shared by the endpoint backend of evaluation, the judges and the generation pipelines.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import httpx

LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
# Key, balance, address or method: another request would fare no better, and this one may once that is mended.
NOT_THE_REQUEST = (401, 402, 403, 404, 405, 407, 410)


class Answer(NamedTuple):
    """A server's choice: raw content, its tool calls as sent, and why it ended."""

    content: str
    tool_calls: list[Any]
    finish_reason: str
    prompt_tokens: int
    new_tokens: int


class Unusable(Exception):
    """A response that is no completion: to be asked for again, not before `retry_after_s` where the server says so."""

    def __init__(self, message: str, retry_after_s: float | None = None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Garbled(Unusable):
    """A response that was served, and broke on its way."""


class Refused(Exception):
    """The server says that this request can never succeed (4xx): no retry."""


class EndpointError(ValueError):
    """The server can't be used at all: it stays down, or wants another address, model or key."""


def completions_url(base_url: str) -> str:
    """Where completions are asked for."""
    return base_url.rstrip("/") + "/chat/completions"


def key_headers() -> dict[str, str]:
    """The key from OPENAI_API_KEY, where there is one."""
    key = os.environ.get("OPENAI_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def public_url(url: str) -> str:
    """The address without user, password and query, which may hold a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_http(url: str) -> bool:
    """Whether requests can be sent to this address: it names http or https and a host."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host)


def read_response(response: httpx.Response) -> Answer:
    """The answer in a response. Raises Unusable, Refused, or EndpointError for a wrong address, model or key."""
    status = response.status_code
    if status in (408, 409, 425, 429) or status >= 500:
        raise Unusable(f"status {status}", _retry_after_s(response.headers.get("Retry-After")))
    if status in NOT_THE_REQUEST or 300 <= status < 400:
        place = response.headers.get("Location")
        raise EndpointError(
            f"{public_url(str(response.url))} answers {status}: check --base-url, the model's name and OPENAI_API_KEY"
            + (
                f"; it points to {public_url(place)}"
                if place
                else "; the account's balance too"
                if status == 402
                else ""
            )
        )
    if status >= 400:
        raise Refused(f"status {status}: {response.text[:300]}")
    try:
        data = response.json()
        choice, usage = data["choices"][0], data.get("usage") or {}
        message = choice["message"]
        content, calls = message.get("content") or "", message.get("tool_calls") or []
        tokens = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Garbled(f"no completion in the body ({type(error).__name__}): {response.text[:100]!r}") from error
    if not isinstance(content, str) or not isinstance(calls, list):
        raise Garbled(f"content is {type(content).__name__}, tool_calls {type(calls).__name__}")
    return Answer(content, calls, str(choice.get("finish_reason")), *tokens)


def pause_s(attempt: int, first_pause_s: float, failure: BaseException | None) -> float:
    """Seconds before attempt 1, 2, ...: doubled each time, with jitter, never before the server's Retry-After."""
    backoff = min(LONGEST_PAUSE_S, first_pause_s * 2 ** (attempt - 1))
    asked_for = failure.retry_after_s if isinstance(failure, Unusable) else None
    return max(asked_for or 0.0, backoff * random.uniform(0.5, 1.0))


def _retry_after_s(header: str | None) -> float | None:
    """Retry-After in seconds: a number or a date; None where there is none that can be read."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S) if seconds == seconds else None
