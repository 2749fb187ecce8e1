"""Fetch one file so that it is whole, verified and in place, or not there at all.

    fetch("https://host/rows.jsonl", Path("data/rows.jsonl"), blob_id="5dfcf62a...")

What has arrived stays in `<path>.part`: a cut connection or a stopped command goes on from there. The file gets its
name only after its git blob id proved right; a wrong one leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx

from data_prep.outfile import FULL_DISK

TIMEOUT_S = 30.0
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before each further try
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where the server says


class DownloadError(OSError):
    """A download that can't be completed; the message names the address, the cause and the remedy."""


class _TryAgain(Exception):
    """A fault that may pass: no answer, a cut connection, a server in trouble."""


def git_blob_id(path: Path) -> str:
    """What git calls the file's content: sha1 over `blob <size>\\0` and the bytes, as 40 hex digits."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The file's sha256 as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    url: str,
    path: Path,
    blob_id: str | None = None,
    progress: Progress = lambda done, total: None,
    waits_s: tuple[float, ...] = WAITS_S,
    client: httpx.Client | None = None,
) -> bool:
    """Download `url` to `path`; False where a verified file was there already. Raises DownloadError."""
    if path.is_file() and (blob_id is None or git_blob_id(path) == blob_id):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if client is not None:
            _fetch_and_verify(client, url, path, blob_id, progress, waits_s)
        else:
            with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as own:
                _fetch_and_verify(own, url, path, blob_id, progress, waits_s)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{path}: can't be written ({error.strerror or error})") from error
    return True


def _fetch_and_verify(
    client: httpx.Client, url: str, path: Path, blob_id: str | None, progress: Progress, waits_s: tuple[float, ...]
) -> None:
    part = Path(f"{path}.part")
    resumed = part.exists() and part.stat().st_size > 0
    _fetch_with_retries(client, url, part, progress, waits_s)
    if blob_id is not None and git_blob_id(part) != blob_id and resumed:
        part.unlink()  # the first half may be of another file: once more from the start before giving up
        _fetch_with_retries(client, url, part, progress, waits_s)
    if blob_id is not None and (found := git_blob_id(part)) != blob_id:
        size = part.stat().st_size
        part.unlink()
        raise DownloadError(
            f"{url}: wrong content: git blob id {found} ({size:,} bytes), wanted {blob_id}; nothing was kept. "
            "A proxy or mirror changed the file, or it was cut: try again or give another --base-url"
        )
    part.replace(path)


def _fetch_with_retries(
    client: httpx.Client, url: str, part: Path, progress: Progress, waits_s: tuple[float, ...]
) -> None:
    for wait_s in (*waits_s, None):
        try:
            return _fetch_once(client, url, part, progress)
        except (_TryAgain, httpx.TransportError) as error:
            if wait_s is None:
                kept = f"; {part} is kept, the same command goes on from there" if part.exists() else ""
                raise DownloadError(
                    f"{url}: {error or type(error).__name__}, {len(waits_s) + 1} tries{kept}"
                ) from error
            time.sleep(wait_s)
        except OSError as error:
            if error.errno in FULL_DISK:
                part.unlink(missing_ok=True)
                raise DownloadError(
                    f"{part}: no disk space left; the part was removed. Free some space or choose another --dir"
                ) from error
            raise


def _fetch_once(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """One try: append to `part` what is missing, or start over where the server can't send a range."""
    for _ in range(3):  # the address, and at most two pages that ask for a confirmation
        start = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 416:  # nothing after `start`: complete, or a part of something else
                if response.headers.get("Content-Range") != f"bytes */{start}":
                    part.unlink()
                    raise _TryAgain("the part on disk does not fit the file; starting over")
                return
            _refuse_status(response, url)
            if response.headers.get("Content-Type", "").startswith("text/html"):
                url = _confirmed_url(response, url)
                continue
            return _append(response, part, start, progress)
    raise DownloadError(f"{url}: a page instead of the file; open the address in a browser and save the file by hand")


def _refuse_status(response: httpx.Response, url: str) -> None:
    status = f"{response.status_code} {response.reason_phrase}"
    if response.status_code in RETRIED_STATUS:
        raise _TryAgain(f"the server answered {status}")
    if response.status_code not in (200, 206):
        raise DownloadError(f"{url}: the server answered {status}; the file was moved, or --base-url is wrong")


def _append(response: httpx.Response, part: Path, start: int, progress: Progress) -> None:
    if response.status_code == 206:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise _TryAgain("the server sent another range than asked for")
    else:
        start = 0
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    if total is not None and shutil.disk_usage(part.parent).free < total - start:
        raise OSError(errno.ENOSPC, "No space left on device")
    done = start
    progress(done, total)
    with open(part, "ab" if start else "wb") as file:
        for chunk in response.iter_bytes():
            file.write(chunk)
            done += len(chunk)
            progress(done, total)


class _Form(HTMLParser):
    """The first form of a page that has an id field: Google Drive's "can't scan this file for viruses"."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "form" and "id" not in self.fields:
            self.action, self.fields = values.get("action", ""), {}
        elif tag == "input" and values.get("type") == "hidden" and self.action:
            self.fields[values.get("name", "")] = values.get("value", "")


def _confirmed_url(response: httpx.Response, url: str) -> str:
    """The address behind Google Drive's confirmation page for large files: its form, or an older page's token."""
    page = response.read().decode("utf-8", errors="replace")
    form = _Form()
    form.feed(page)
    if form.action and "id" in form.fields:
        return str(httpx.URL(urljoin(str(response.url), form.action)).copy_merge_params(form.fields))
    token = re.search(r"[?&;]confirm=([\w-]+)", page)
    if token and "id" in httpx.URL(url).params:
        return str(httpx.URL(url).copy_merge_params({"confirm": token.group(1)}))
    title = re.search(r"<title>(.*?)</title>", page, re.DOTALL | re.IGNORECASE)
    raise DownloadError(
        f"{url}: a page instead of the file ({title.group(1).strip()[:100] if title else 'no title'}). Too many people "
        "may have fetched it today: try again tomorrow, or save it by hand from a browser"
    )
