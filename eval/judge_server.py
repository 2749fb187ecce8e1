"""A model that gives scores: any OpenAI-compatible server, its replies validated, and stored before they are used.

    {"key": "sha256 of server, request and sample", "reply": "The error is named.\\nScore: 4"}      replies.jsonl

A reply must end in a line `Score: N`, N from 1 to 5. Another one is sent back with what is wrong with it; after TRIES
of them the answer has no score, which is a failure of the judge and never a low score.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from data_prep.chat_completions import Refused, public_url
from eval.backends.openai import OpenAIBackend
from eval.protocol import EvalError

TRIES = 3
MAX_TOKENS = 512
MAX_REPLY_CHARS = 20_000
_SCORE = re.compile(r"(?:final )?score\s{0,3}[:=]?[\s*_`]{0,5}(-?\d{1,9}(?:\.\d{1,9})?)(?:\s?/\s?5)?", re.IGNORECASE)
_BARE = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")


class Ask(NamedTuple):
    """A prompt to be graded; `sample` tells one asked again from the first time."""

    prompt: str
    sample: int = 0


class InvalidScore(Exception):
    """A reply without a valid score; the message is what the judge is told."""


class Judgement(NamedTuple):
    """One score of 1 to 5 with the judge's words, or the reason why there is none."""

    score: int | None
    reply: str
    failure: str | None = None


def read_score(reply: str) -> int:
    """The score that a reply ends in, or is. Raises InvalidScore: 6, 4.5, prose and silence are no scores."""
    text = reply[-MAX_REPLY_CHARS:].rpartition("</think>")[2].strip()
    if not text:
        raise InvalidScore("your reply was empty")
    last = text.rpartition("\n")[2].strip(" \t*_`#.")
    match = _SCORE.fullmatch(last)
    written = match[1] if match else last if text == last and _BARE.fullmatch(text) else None
    if written is None:
        raise InvalidScore("your reply did not end in a line of the form `Score: N`")
    if not written.isascii() or written not in ("1", "2", "3", "4", "5"):
        raise InvalidScore(f"{written} is not one of the whole numbers 1, 2, 3, 4 and 5")
    return int(written)


class ReplyStore:
    """Replies by key, on disk before they are used. Raises EvalError where the file cannot be written."""

    def __init__(self, path: Path):
        self.path = path
        self.lock = threading.Lock()
        self.replies: dict[str, str] = {}
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            os.truncate(path, whole)  # a line that a kill cut short
            self.replies = dict(filter(None, map(_read_line, content[:whole].splitlines())))

    def get(self, key: str) -> str | None:
        return self.replies.get(key)

    def put(self, key: str, reply: str) -> None:
        line = json.dumps({"key": key, "reply": reply}) + "\n"
        try:
            with self.lock, open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise EvalError(f"{self.path}: {error.strerror}; make room and give the same command again") from error
        self.replies[key] = reply


def _read_line(line: bytes) -> tuple[str, str] | None:
    """Key and reply; None for a line that a full disk garbled, which is asked for again."""
    try:
        row = json.loads(line)
        return row["key"], row["reply"]
    except (ValueError, KeyError, TypeError):
        return None


class Judge:
    """Asks one server; `score` may be called from several threads. asked, cached: requests, replies at hand."""

    def __init__(self, server: OpenAIBackend, store: ReplyStore, temperature: float):
        self.server = server
        self.store = store
        self.temperature = temperature
        self.asked = 0
        self.cached = 0

    def score(self, prompt: str, sample: int = 0) -> Judgement:
        """Ask until a valid score comes. Raises EvalError when the server stays down."""
        messages = [{"role": "user", "content": prompt}]
        reply = ""
        for _ in range(TRIES):
            try:
                reply = self._reply(messages, sample)
                return Judgement(read_score(reply), reply)
            except Refused as refusal:
                return Judgement(None, str(refusal), "refused_by_server")
            except InvalidScore as error:
                again = f"That can't be used: {error}. Grade again, and end with one line `Score: N`, N from 1 to 5."
                messages += [{"role": "assistant", "content": reply or "(empty)"}, {"role": "user", "content": again}]
        return Judgement(None, reply, "no_valid_score")

    def _reply(self, messages: list[dict[str, str]], sample: int) -> str:
        body = {
            "model": self.server.model,
            "temperature": self.temperature,
            "max_tokens": MAX_TOKENS,
            "messages": messages,
        }
        keyed = json.dumps([public_url(self.server.base_url), body, sample], sort_keys=True)
        key = hashlib.sha256(keyed.encode()).hexdigest()
        known = self.store.get(key)
        if known is not None:
            self.cached += 1
            return known
        self.asked += 1
        reply = self.server.complete(body).content[-MAX_REPLY_CHARS:].encode("utf-8", "replace").decode()
        self.store.put(key, reply)
        return reply


def grade(judge: Judge, asks: Sequence[Ask], console: Console, title: str) -> list[Judgement]:
    """Judgements in order, many requests at once. Raises EvalError when the server stays down; what came is kept."""
    with ThreadPoolExecutor(judge.server.concurrency) as pool, Progress(console=console) as progress:
        bar = progress.add_task(title, total=len(asks))
        flying = [pool.submit(judge.score, ask.prompt, ask.sample) for ask in asks]
        try:
            for future in as_completed(flying):
                future.result()
                progress.advance(bar)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [future.result() for future in flying]
