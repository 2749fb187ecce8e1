"""A loopback server with faults: what is retried, what is not, and what is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from data_prep.dialogue import Dialogue, Message
from eval.backends.openai import OpenAIBackend
from eval.protocol import EvalError, Reply, Request
from tests.eval.helpers import ask


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `answers`: (status, body), or a body that breaks off."""

    answers: list[tuple[int, bytes]]
    bodies: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.answers.pop(0)
        cut = body.endswith(b"CUT")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (100 if cut else 0)))
        self.end_headers()
        self.wfile.write(body.removesuffix(b"CUT"))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.answers, made.bodies = [], []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def said(content: str | None, calls: list[Any] | None = None, finish: str = "stop") -> tuple[int, bytes]:
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    body = {
        "choices": [{"message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
    return 200, json.dumps(body).encode()


def call(arguments: str) -> list[Any]:
    return [{"id": "c", "type": "function", "function": {"name": "forecast", "arguments": arguments}}]


def reply(server: Server, dialogue: Dialogue, tool_format: str = "native") -> Reply:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    backend = OpenAIBackend("m", url, 2, tool_format, first_pause_s=0.0)
    replies: list[Reply] = []
    with backend.client:
        backend.generate([Request(dialogue, 11)], lambda index, reply: replies.append(reply))
    return replies[0]


FAULTS = {
    "429": (429, b"slow down"),
    "500": (500, b"oops"),
    "garbage": (200, b"<html>"),
    "half a body": (200, b'{"choices": CUT'),
    "no choices": (200, b'{"choices": []}'),
    "deep": (200, b"[" * 100_000),
    "content is no text": (200, b'{"choices": [{"message": {"content": 5}}]}'),
    "endless usage": (200, b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1e999}}'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_is_retried_and_never_scored(server: Server, fault: str) -> None:
    server.answers = [FAULTS[fault], FAULTS[fault], said("Fine.")]
    assert reply(server, ask("Oslo", 0).before(1)).text == "Fine."
    server.answers = [FAULTS[fault]] * 5
    with pytest.raises(EvalError, match=r"failed 5 times.*same command again"):
        reply(server, ask("Oslo", 0).before(1))


def test_a_refused_request_is_the_items_own_fault_and_not_retried(server: Server) -> None:
    server.answers = [(400, b"context too long")]
    answer = reply(server, ask("Oslo", 0).before(1))
    assert (answer.error, answer.finish_reason) == ("refused_by_server", "rejected")
    assert "context too long" in answer.text


def test_a_wrong_address_says_what_to_check(server: Server) -> None:
    server.answers = [(404, b"")]
    with pytest.raises(EvalError, match="--base-url"):
        reply(server, ask("Oslo", 0).before(1))


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "http://[", "ftp://host/v1", "http://host:99999/v1"])
def test_what_is_no_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(EvalError, match="--base-url"):
        OpenAIBackend("m", url, 2)


def test_native_requests_carry_tools_calls_and_results(server: Server) -> None:
    server.answers = [said("4 degrees.")]
    answer = reply(server, ask("Oslo", 0).before(3))
    (body,) = server.bodies
    assert (body["temperature"], body["max_tokens"], len(body["tools"])) == (0, 11, 1)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    assert body["messages"][2]["tool_call_id"] == body["messages"][1]["tool_calls"][0]["id"] == "call_0"
    assert answer.message == Message(role="assistant", content="4 degrees.")
    assert (answer.prompt_tokens, answer.new_tokens) == (7, 3)


def test_button_requests_are_text_and_are_read_as_text(server: Server) -> None:
    server.answers = [said('Look.<call>[{"name": "forecast", "arguments": {"city": "Oslo"}}]</call>')]
    answer = reply(server, ask("Oslo", 0).before(3), "button")
    (body,) = server.bodies
    assert "tools" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert answer.message is not None and answer.message.tool_calls[0].arguments == {"city": "Oslo"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (said(None, call('{"city": "Oslo"}')), None),
        (said(None, call('{"city": ')), "call_json"),
        (said(None, call('{"city": NaN}')), "call_json"),
        (said(None, call("[1]")), "call_shape"),
        (said(None, call('{}, "name": "other"')), "call_json"),  # its own JSON, not a piece of ours
        (said(None, call('{"city": "Oslo"}, "x": 1')), "call_json"),
        (said(None, [{"function": {"name": "", "arguments": "{}"}}]), "call_shape"),
        (said(None, [{"function": {}}]), "call_shape"),
        (said(None, call("[" * 100_000)), "call_json"),
        (said("so far", finish="length"), "no_stop"),
        (said("half \ud800 a pair"), None),
    ],
)
def test_what_cannot_be_read_has_a_reason(server: Server, answer: tuple[int, bytes], error: str | None) -> None:
    server.answers = [answer]
    made = reply(server, ask("Oslo", 0).before(1))
    assert made.error == error
    assert (made.message is None) == (error is not None)
    made.text.encode()
