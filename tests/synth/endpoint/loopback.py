"""A loopback OpenAI-compatible server: replies by a rule, network faults by chance, faults of the text by content.

    with loopback(say, Faults(network=0.1, text=0.1)) as server: ... server.url, server.served

`say(body)` is the rule. A fault of the text (prose around JSON, single quotes, wrong schema, cut JSON, `length`) hangs
on the request's content alone, as a greedy model's would: the same request is answered the same way in every run.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Body = dict[str, Any]
NETWORK = ("429 later", "429", "500", "hang", "cut", "half a body")
REFUSALS = ("400",)  # only where asked for by name: they end a row
TEXT = ("prose", "fence", "single quotes", "wrong schema", "cut JSON", "length")


class Faults(NamedTuple):
    """Shares of requests that meet a fault; `hang_s` is how long a hanging response takes."""

    network: float = 0.0
    text: float = 0.0
    hang_s: float = 2.0
    kinds: tuple[str, ...] = (*NETWORK, *TEXT)


class Loopback(ThreadingHTTPServer):
    """`served` counts how often each request was worked on, `faulted` the faults; `per_minute` is its limit."""

    daemon_threads = True
    request_queue_size = 64
    counts = True  # whether it says how many tokens were used

    def __init__(self, say: Callable[[Body], str], faults: Faults, per_minute: int | None, delay_s: float, seed: int):
        super().__init__(("127.0.0.1", 0), Handler)
        self.say, self.faults, self.per_minute, self.delay_s = say, faults, per_minute, delay_s
        self.served: Counter[str] = Counter()
        self.faulted: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self.most_at_once = self.at_once = self.over_limit = 0
        self.lock = threading.Lock()
        self.arrivals: deque[float] = deque()
        self.rng = random.Random(seed)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of a request is no news; any other error is."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError, json.JSONDecodeError)):
            super().handle_error(request, client_address)

    def admit(self) -> float | None:
        """None, or in how many seconds the last minute's requests allow another."""
        if self.per_minute is None:
            return None
        now = time.monotonic()
        while self.arrivals and self.arrivals[0] <= now - 60:
            self.arrivals.popleft()
        if len(self.arrivals) >= self.per_minute:
            self.over_limit += 1
            return self.arrivals[0] + 60 - now
        self.arrivals.append(now)
        return None

    def draw(self, kinds: tuple[str, ...], share: float, rng: random.Random) -> str | None:
        chosen = [kind for kind in kinds if kind in self.faults.kinds]
        fault = rng.choice(chosen) if chosen and rng.random() < share else None
        if fault:
            self.faulted[fault] += 1
        return fault


class Handler(BaseHTTPRequestHandler):
    server: Loopback
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
            wait = self.server.admit()
            fault = self.server.draw((*NETWORK, *REFUSALS), self.server.faults.network, self.server.rng)
            if wait is None and fault not in ("429 later", "429", "500", "400"):
                self.server.served[key] += 1
        try:
            self.respond(body, key, wait, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def respond(self, body: Body, key: str, wait: float | None, fault: str | None) -> None:
        if wait is not None:
            return self.send(429, b"slow down", {"Retry-After": f"{wait:.2f}"})
        if fault == "429 later":
            return self.send(429, b"slow down", {"Retry-After": "0.1"})
        if fault in ("429", "500", "400"):
            return self.send(int(fault), b"no")
        time.sleep(self.server.delay_s)
        content = json.dumps(self.completion(body, key)).encode()
        if fault == "half a body":
            return self.send(200, content[: len(content) // 2])
        if fault == "hang":  # a drip now and then, so that a limit between bytes would never end it
            self.send(200, b"", {"Content-Length": str(len(content))})
            for _ in range(int(self.server.faults.hang_s / 0.2)):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.2)
            self.close_connection = True
            return None
        if fault == "cut":
            self.send(200, content[:10], {"Content-Length": str(len(content))})
            self.close_connection = True
            return None
        return self.send(200, content)

    def completion(self, body: Body, key: str) -> dict[str, Any]:
        said, finish = self.server.say(body), "stop"
        with self.server.lock:
            fault = self.server.draw(TEXT, self.server.faults.text, random.Random(key))
        if fault == "length":
            said, finish = said[: len(said) // 2], "length"
        elif fault:
            said = spoil(said, fault)
        usage = {"prompt_tokens": len(json.dumps(body["messages"])) // 4, "completion_tokens": len(said) // 4}
        return {
            "choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": finish}],
            **({"usage": usage} if self.server.counts else {}),
        }

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


def spoil(said: str, fault: str) -> str:
    """The reply as a sloppy model would write it; a reply that is no JSON gets prose around it or is cut."""
    if fault == "prose":
        return f"Sure, here you go.\n\n{said}\n\nTell me if you need more."
    if fault == "fence":
        return f"```json\n{said}\n```"
    if fault == "single quotes" and said.startswith("{"):
        return repr(json.loads(said))
    if fault == "wrong schema" and said.startswith("{"):
        return json.dumps({"result": list(json.loads(said).values())})
    return said[: len(said) * 2 // 3]


@contextmanager
def loopback(
    say: Callable[[Body], str],
    faults: Faults = Faults(),  # noqa: B008 - immutable
    per_minute: int | None = None,
    delay_s: float = 0.0,
    seed: int = 0,
    counts: bool = True,
) -> Iterator[Loopback]:
    """A running server."""
    server = Loopback(say, faults, per_minute, delay_s, seed)
    server.counts = counts
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
