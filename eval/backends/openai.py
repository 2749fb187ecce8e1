"""Any OpenAI-compatible server: POST BASE_URL/chat/completions with messages and tools, greedy unless told otherwise.

    python -m eval run NAME --backend openai --base-url http://localhost:8000/v1 --tasks gsm8k --out DIR

The key is read from OPENAI_API_KEY where there is one. 429, 5xx, timeouts and garbled bodies are retried; a server that
stays down ends the run with an error, and the same command goes on later: no item is scored for a fault of the network.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

import httpx

from data_prep import button
from data_prep.chat_completions import (
    Answer,
    EndpointError,
    Refused,
    Unusable,
    completions_url,
    key_headers,
    pause_s,
    public_url,
    read_response,
)
from data_prep.dialogue import Dialogue, Message, ToolCall
from eval.protocol import GREEDY, EvalError, FinishReason, FollowUp, Reply, Request, Sampling

ATTEMPTS = 5
FIRST_PAUSE_S = 1.0
TIMEOUT_S = 600.0  # a long turn on a busy server; the connection itself must come in 10 s


class OpenAIBackend:
    """Implements eval.protocol.Backend on a server; `concurrency` requests are in flight at once."""

    def __init__(
        self,
        model: str,
        base_url: str,
        concurrency: int,
        tool_format: str = "native",
        first_pause_s: float = FIRST_PAUSE_S,
        sampling: Sampling = GREEDY,
        timeout_s: float = TIMEOUT_S,
    ):
        self.model = model
        self.base_url = base_url
        self.url = completions_url(base_url)
        if not _is_http(base_url):
            raise EvalError(f"--base-url {base_url!r} is no address such as http://localhost:8000/v1")
        self.concurrency = concurrency
        self.tool_format = tool_format
        self.first_pause_s = first_pause_s
        self.sampling = sampling
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0))
        self.client = httpx.Client(headers=key_headers(), timeout=timeout)
        self.retries = 0

    def identity(self) -> dict[str, Any]:
        """The server renders the template, so only the model's name and the form of the request are known."""
        facts = self.sampling.facts()
        return {"backend": "openai", "model": self.model, "tool_format": self.tool_format, "sampling": facts}

    def describe(self) -> dict[str, Any]:
        """Where it ran and how often it was asked again."""
        return {"url": public_url(self.url), "batch_size": self.concurrency, "retries": self.retries}

    def generate(self, requests: Sequence[Request], follow_up: FollowUp) -> None:
        """See Backend. `follow_up` is called in this thread only. Raises EvalError when the server stays down."""
        queue = list(enumerate(requests))[::-1]
        flying: dict[Future[Reply], int] = {}
        with ThreadPoolExecutor(self.concurrency) as pool:
            try:
                while queue or flying:
                    while queue and len(flying) < self.concurrency:
                        index, request = queue.pop()
                        flying[pool.submit(self._answer, request)] = index
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        index = flying.pop(future)
                        following = follow_up(index, future.result())
                        if following is not None:
                            queue.append((index, following))
            finally:
                for future in flying:
                    future.cancel()

    def _answer(self, request: Request) -> Reply:
        body = self.body(request)
        prompt = {"messages": body["messages"], "tools": body.get("tools")}
        digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()
        try:
            answer = self.complete(body)
        except Refused as refusal:
            return Reply(str(refusal), None, "refused_by_server", "rejected", prompt, digest, 0, 0)
        message, error = None, None
        if answer.finish_reason == "length":
            error = "no_stop"
        else:
            try:
                message = self.read(answer, request.dialogue)
            except button.TurnParseError as failure:
                error = failure.code
        text = answer.content + (json.dumps(answer.tool_calls) if answer.tool_calls else "")
        finish: FinishReason = "length" if answer.finish_reason == "length" else "stop"
        return Reply(_clean(text), message, error, finish, prompt, digest, answer.prompt_tokens, answer.new_tokens)

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent."""
        dialogue = request.dialogue
        body: dict[str, Any] = {"model": self.model, "temperature": 0, "max_tokens": request.max_new_tokens}
        if self.sampling.temperature:
            body |= {"temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
            body["seed"] = self.sampling.turn_seed(dialogue, "")  # a server may or may not honour it
        if self.tool_format == "button":
            rows = button.to_messages(dialogue)
            # A server takes a tool message only in answer to a native call.
            body["messages"] = [row | {"role": "user"} if row["role"] == "tool" else row for row in rows]
            return body
        body["messages"] = [_to_openai(message) for message in dialogue.messages]
        if dialogue.tools:
            body["tools"] = list(dialogue.tools)
        return body

    def read(self, answer: Answer, dialogue: Dialogue) -> Message:
        """The answer as a message. Raises TurnParseError."""
        if self.tool_format == "button" and button.uses_button_prompt(dialogue):
            return button.parse_turn(answer.content)
        calls = tuple(_read_call(number, call) for number, call in enumerate(answer.tool_calls))
        return Message(role="assistant", content=_clean(answer.content), tool_calls=calls)

    def complete(self, body: dict[str, Any]) -> Answer:
        """Send until an answer comes. Raises Refused for a 4xx, EvalError after ATTEMPTS failures."""
        failure: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self.retries += 1
                time.sleep(pause_s(attempt, self.first_pause_s, failure))
            try:
                return read_response(self.client.post(self.url, json=body))
            except (httpx.HTTPError, Unusable) as error:
                failure = error
            except EndpointError as error:
                raise EvalError(str(error)) from error
        last = f"{type(failure).__name__}: {str(failure)[:300]}"
        raise EvalError(
            f"{public_url(self.url)} failed {ATTEMPTS} times, last with {last}; see that the server runs and "
            "give the same command again: finished items are kept"
        )


def _read_call(number: int, call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise button.TurnParseError("call_shape", "a tool call without a function name")
    arguments = function.get("arguments") or "{}"
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    value = button.parse_json(text)  # by itself: `{}, "name": "other"` is no arguments
    if not isinstance(value, dict) or not function["name"]:
        raise button.TurnParseError("call_shape", f"arguments must be an object, not {type(value).__name__}")
    return ToolCall(id=f"call_{number}", name=function["name"], arguments=value)


def _to_openai(message: Message) -> dict[str, Any]:
    """One canonical message in the server's form: arguments as JSON text, thinking before the answer."""
    row: dict[str, Any] = {"role": message.role, "content": button.plain_content(message)}
    if message.tool_calls:
        row["content"] = message.content or None
        row["tool_calls"] = [
            {"id": call.id, "type": "function",
             "function": {"name": call.name, "arguments": button.dump_json(call.arguments)}}
            for call in message.tool_calls
        ]  # fmt: skip
    if message.role == "tool":
        row["tool_call_id"] = message.tool_call_id
    return row


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _clean(text: str) -> str:
    """Half surrogate pairs, which JSON can carry and UTF-8 cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
