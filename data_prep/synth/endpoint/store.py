"""One SQLite file with every reply by the content hash of its request, stored before it is used, and every sending.

    replies    key, request, content, finish_reason, prompt_tokens, new_tokens
    sendings   id, key, run, outcome          NULL: in flight, or lost when the run was killed

A reply that was stored is never asked for again. A power cut may take the last replies with it; a kill takes none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.outfile import OutputError

TABLES = """
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, request TEXT, content TEXT, finish_reason TEXT,
                                    prompt_tokens INTEGER, new_tokens INTEGER);
CREATE TABLE IF NOT EXISTS sendings (id INTEGER PRIMARY KEY, key TEXT, run INTEGER, outcome TEXT);
CREATE INDEX IF NOT EXISTS sendings_of ON sendings (key);
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY);
"""
LOST = ("timeout", "cut")  # outcomes after which nobody knows whether the server did the work


class Reply(NamedTuple):
    """A stored reply; `key` is the request's."""

    key: str
    content: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int


class Sent(NamedTuple):
    """Sendings over all runs. `repeats` were sent again although the server may have done the work: each follows one
    sending that was lost in a kill, a cut connection or a timeout. `retries` follow a refusal such as 429 or 500."""

    runs: int
    sendings: int
    repeats: int
    retries: int


def request_key(body: dict[str, Any], sample: int) -> str:
    """The hash of a request's content and its sample index."""
    text = json.dumps([body, sample], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Use as a context manager. Raises OutputError where the file can't be opened or written."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def __enter__(self) -> Store:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")  # two runs would send the same twice
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(TABLES)
            self._run = self._write("INSERT INTO runs DEFAULT VALUES", ())
        except (OSError, sqlite3.Error) as error:
            self._db.close()
            raise self._unusable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def get(self, key: str) -> Reply | None:
        """The reply to this request, if it ever came."""
        row = self._db.execute(
            "SELECT key, content, finish_reason, prompt_tokens, new_tokens FROM replies WHERE key = ?", (key,)
        ).fetchone()
        return Reply(*row) if row else None

    def begin(self, key: str) -> int:
        """Note that the request is being sent; returns the sending's id."""
        return self._write("INSERT INTO sendings (key, run) VALUES (?, ?)", (key, self._run))

    def failed(self, sending: int, outcome: str) -> None:
        """Note why no reply came: `timeout`, `cut`, or `refused: status 429`."""
        self._write("UPDATE sendings SET outcome = ? WHERE id = ?", (outcome, sending))

    def put(self, sending: int, body: dict[str, Any], reply: Reply, outcome: str = "reply") -> None:
        """Store the reply to a sending, or `failed`, what stands for one; both or neither are on disk."""
        self._write("BEGIN", ())
        request = json.dumps(body, ensure_ascii=False)
        self._write("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)", (reply.key, request, *reply[1:]))
        self._write("UPDATE sendings SET outcome = ? WHERE id = ?", (outcome, sending))
        self._write("COMMIT", ())

    def tokens(self) -> tuple[int, int]:
        """Prompt tokens and new tokens of all replies, those of earlier runs too."""
        row = self._db.execute("SELECT total(prompt_tokens), total(new_tokens) FROM replies").fetchone()
        return int(row[0]), int(row[1])

    def sent(self) -> Sent:
        """Counts over all runs of this store."""
        runs, sendings = self._db.execute("SELECT (SELECT count(*) FROM runs), count(*) FROM sendings").fetchone()
        marks = ", ".join("?" * len(LOST))
        lost = f"""SELECT count(*) FROM sendings AS lost WHERE (lost.outcome IS NULL OR lost.outcome IN ({marks}))
            AND EXISTS (SELECT 1 FROM sendings AS again WHERE again.key = lost.key AND again.id > lost.id)"""
        repeats = self._db.execute(lost, LOST).fetchone()[0]
        first = self._db.execute("SELECT count(DISTINCT key) FROM sendings").fetchone()[0]
        return Sent(runs, sendings, repeats, sendings - first - repeats)

    def _unusable(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self.path}: is no usable store of replies ({error}); end the run that uses it, or name another --store"
        )

    def _write(self, statement: str, values: tuple[Any, ...]) -> int:
        try:
            return self._db.execute(statement, values).lastrowid or 0
        except sqlite3.Error as error:
            raise OutputError(
                f"{self.path}: can't be written ({error}); make room and give the same command again"
            ) from error
