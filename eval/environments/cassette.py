"""Answers of web APIs, recorded once: no test and no evaluation opens a connection.

    movie.json        {"https://api.themoviedb.org/3/search/movie?language=en-US&query=Metropolis": {"results": [...]}}

One JSON object from request to the response's JSON body. A request is its address and its parameters, in any order;
keys of an API (`api_key`) are left out of it, so a recording holds no secret.
"""

from __future__ import annotations

import copy
import os
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from eval.protocol import EvalError

SECRETS = ("api_key", "apikey", "key", "token")


class NotRecordedError(Exception):
    """A request that the recordings do not hold."""


def request_key(url: str, parameters: dict[str, Any] | None = None) -> str:
    """The request in one form, whatever the order of its parameters."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True) + [(k, str(v)) for k, v in (parameters or {}).items()]
    query = urlencode(sorted((name, _plain(name, value)) for name, value in pairs if name not in SECRETS))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _plain(name: str, value: str) -> str:
    """A coordinate in one form: 52, 52.0 and "52.0" are the same request."""
    try:
        return repr(float(value)) if name in ("latitude", "longitude") else value
    except ValueError:
        return value


class Cassette:
    """The recordings of one API."""

    def __init__(self, recordings: dict[str, Any]):
        self.recordings = {request_key(url): body for url, body in recordings.items()}

    def get(self, url: str, parameters: dict[str, Any] | None = None) -> Any:
        """The body of the response, a copy. Raises NotRecordedError."""
        key = request_key(url, parameters)
        if key not in self.recordings:
            raise NotRecordedError(key)
        return copy.deepcopy(self.recordings[key])


def load_cassette(path: str | os.PathLike[str]) -> Cassette:
    """Recordings of a file; none where there is no file. Raises EvalError where it is not in the form above."""
    if not os.path.isfile(path):
        return Cassette({})
    try:
        with open(path, "rb") as file:
            value = msgspec.json.decode(file.read())
    except (msgspec.DecodeError, RecursionError) as error:
        raise EvalError(f"{path}: not JSON ({error}); it maps requests to responses") from error
    if not isinstance(value, dict):
        raise EvalError(f"{path}: must be an object of request to response, not {type(value).__name__}")
    return Cassette(value)
