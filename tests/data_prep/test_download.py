"""Downloads against a server on the loopback that misbehaves on purpose: whole and verified, or not there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from data_prep import published
from data_prep.__main__ import main
from data_prep.download import DownloadError, fetch, git_blob_id
from data_prep.published import PUBLISHED, Published, PublishedFile

CONTENT = b"".join(b'{"question": "%d?", "answer": "It is %d.\\n#### %d"}\n' % (k, k, k) for k in range(40_000))
BLOB_ID = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
NO_WAIT = (0.0, 0.0, 0.0)


@dataclass
class Server:
    """What the server does with the next requests, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)  # answered before any content
    cut_after: list[int] = field(default_factory=list)  # bytes sent before the connection is dropped
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request
    page: Callable[[str, dict[str, list[str]]], bytes | None] = lambda path, query: None


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def reply(self, status: int, body: bytes, headers: dict[str, str], sent: int | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if sent is None else body[:sent])
            if sent is not None:
                self.close_connection = True

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.asked.append(wanted)
            if server.statuses and (status := server.statuses.pop(0)) != 200:
                return self.reply(status, b"", {})
            parts = urlsplit(self.path)
            page = server.page(parts.path, parse_qs(parts.query))
            if page is not None:
                return self.reply(200, page, {"Content-Type": "text/html; charset=utf-8"})
            sent = server.cut_after.pop(0) if server.cut_after else None
            if not (wanted and server.ranges):
                return self.reply(200, server.content, {}, sent)
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                return self.reply(416, b"", {"Content-Range": f"bytes */{len(server.content)}"})
            span = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            self.reply(206, server.content[start:], {"Content-Range": span}, sent)

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def get(server: Server, path: Path, blob_id: str | None = BLOB_ID, **options: Any) -> bool:
    return fetch(f"{server.url}/rows.jsonl", path, blob_id, waits_s=NO_WAIT, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_fresh_download_is_whole_verified_and_counted(server: Server, tmp_path: Path):
    steps: list[tuple[int, int | None]] = []
    assert get(server, tmp_path / "deep" / "rows.jsonl", progress=lambda done, total: steps.append((done, total)))
    assert (tmp_path / "deep" / "rows.jsonl").read_bytes() == CONTENT
    assert names(tmp_path / "deep") == ["rows.jsonl"]
    assert steps[0] == (0, len(CONTENT)) and steps[-1] == (len(CONTENT), len(CONTENT))


def test_a_verified_file_is_not_fetched_again_and_a_changed_one_is(server: Server, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    assert get(server, path) and not get(server, path)
    assert len(server.asked) == 1
    path.write_bytes(b"changed")
    assert get(server, path)
    assert git_blob_id(path) == BLOB_ID


def test_a_cut_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path):
    server.cut_after = [300_000, 100_000]
    get(server, tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:] if asked]
    assert len(starts) == 2 and 0 < starts[0] <= 300_000 and starts[0] < starts[1] <= 400_000


def test_an_interrupted_command_goes_on_from_its_part(server: Server, tmp_path: Path):
    server.cut_after = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"4 tries; .*rows\.jsonl\.part is kept, the same command goes on"):
        get(server, tmp_path / "rows.jsonl")
    kept = (tmp_path / "rows.jsonl.part").stat().st_size
    assert names(tmp_path) == ["rows.jsonl.part"] and kept > 0
    server.asked.clear()
    get(server, tmp_path / "rows.jsonl")
    assert server.asked == [f"bytes={kept}-"]
    assert (tmp_path / "rows.jsonl").read_bytes() == CONTENT


def test_without_range_support_it_starts_over(server: Server, tmp_path: Path):
    server.ranges = False
    server.cut_after = [300_000]
    get(server, tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == CONTENT


def test_a_complete_part_only_needs_its_name(server: Server, tmp_path: Path):
    (tmp_path / "rows.jsonl.part").write_bytes(CONTENT)
    get(server, tmp_path / "rows.jsonl")
    assert server.asked == [f"bytes={len(CONTENT)}-"]
    assert names(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize("part", [b"of another file", CONTENT + b"and more"])
def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path, part: bytes):
    (tmp_path / "rows.jsonl.part").write_bytes(part)
    get(server, tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == CONTENT
    assert names(tmp_path) == ["rows.jsonl"]


def test_a_wrong_hash_leaves_nothing_behind(server: Server, tmp_path: Path):
    server.content = CONTENT.replace(b"It is 7.", b"It is 8.")
    with pytest.raises(DownloadError, match=f"wanted {BLOB_ID}; nothing was kept"):
        get(server, tmp_path / "rows.jsonl")
    assert names(tmp_path) == []


def test_a_wrong_hash_leaves_an_earlier_file_alone(server: Server, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_bytes(b"mine")
    server.content = b"theirs"
    with pytest.raises(DownloadError):
        get(server, tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == b"mine" and names(tmp_path) == ["rows.jsonl"]


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path):
    server.statuses = [500, 503, 429]
    assert get(server, tmp_path / "rows.jsonl")
    assert len(server.asked) == 4


def test_a_server_that_stays_in_trouble_is_an_error_after_all_tries(server: Server, tmp_path: Path):
    server.statuses = [500] * 4
    with pytest.raises(DownloadError, match="500 Internal Server Error, 4 tries"):
        get(server, tmp_path / "rows.jsonl")
    assert names(tmp_path) == []


def test_not_found_is_an_error_at_once(server: Server, tmp_path: Path):
    server.statuses = [404] * 4
    with pytest.raises(DownloadError, match="404 Not Found; the file was moved, or --base-url is wrong"):
        get(server, tmp_path / "rows.jsonl")
    assert len(server.asked) == 1 and names(tmp_path) == []


def test_a_timeout_is_tried_again(server: Server, tmp_path: Path):
    failures = [httpx.ReadTimeout("slow"), httpx.ConnectTimeout("slow")]

    class Slow(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if failures:
                raise failures.pop()
            return super().handle_request(request)

    with httpx.Client(transport=Slow()) as client:
        assert get(server, tmp_path / "rows.jsonl", client=client)


def test_a_full_disk_is_named_and_leaves_no_part(server: Server, tmp_path: Path):
    (tmp_path / "rows.jsonl.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="no disk space left; the part was removed"):
        get(server, tmp_path / "rows.jsonl")
    assert names(tmp_path) == []


def test_too_little_space_is_known_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = type("Usage", (), {"free": len(CONTENT) - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match="no disk space left"):
        get(server, tmp_path / "rows.jsonl")
    assert names(tmp_path) == []


def test_google_drives_form_for_large_files_is_confirmed(server: Server, tmp_path: Path):
    def page(path: str, query: dict[str, list[str]]) -> bytes | None:
        if path == "/download" and query == {"id": ["ID"], "export": ["download"], "confirm": ["t"], "uuid": ["u-1"]}:
            return None
        return (
            f'<html><title>Google Drive - Virus scan warning</title><form id="search" action="/search"></form>'
            f'<form id="download-form" action="{server.url}/download" method="get"><input type="submit" value="Go"/>'
            '<input type="hidden" name="id" value="ID"><input type="hidden" name="export" value="download">'
            '<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="u-1"></form></html>'
        ).encode()

    server.page = page
    fetch(f"{server.url}/uc?export=download&id=ID", tmp_path / "rows.jsonl", BLOB_ID, waits_s=NO_WAIT)
    assert (tmp_path / "rows.jsonl").read_bytes() == CONTENT


def test_google_drives_older_token_is_confirmed(server: Server, tmp_path: Path):
    def page(path: str, query: dict[str, list[str]]) -> bytes | None:
        confirmed = query.get("confirm") == ["aB3_"]
        return None if confirmed else b'<a href="/uc?export=download&amp;confirm=aB3_&amp;id=ID">Download anyway</a>'

    server.page = page
    fetch(f"{server.url}/uc?export=download&id=ID", tmp_path / "rows.jsonl", BLOB_ID, waits_s=NO_WAIT)
    assert (tmp_path / "rows.jsonl").read_bytes() == CONTENT


def test_a_page_instead_of_the_file_is_an_error_with_its_title(server: Server, tmp_path: Path):
    server.page = lambda path, query: b"<html><title>Google Drive - Quota exceeded</title></html>"
    with pytest.raises(DownloadError, match="Quota exceeded"):
        get(server, tmp_path / "rows.jsonl", blob_id=None)
    assert names(tmp_path) == []


def shrink(monkeypatch: pytest.MonkeyPatch, name: str, *files: PublishedFile) -> None:
    monkeypatch.setitem(published.PUBLISHED, name, PUBLISHED[name]._replace(files=files))


def test_the_command_fetches_verifies_and_states_the_licence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first = PUBLISHED["gsm8k"].files[0]
    shrink(monkeypatch, "gsm8k", first._replace(blob_id=BLOB_ID))
    argv = ["download", "gsm8k", "--dir", str(tmp_path), "--base-url", f"{server.url}/"]
    assert main(argv) == 0 and main(argv) == 0
    out = capsys.readouterr().out
    assert "gsm8k: licence: MIT" in out
    assert f"train.jsonl: fetched, {len(CONTENT):,} bytes, git blob id {BLOB_ID}" in out
    assert "train.jsonl: there already" in out
    assert len(server.asked) == 1


def test_the_command_names_a_wrong_hash_and_exits_with_one(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["download", "mathchat", "--dir", str(tmp_path), "--base-url", server.url]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "MathChat%20Benchmark/P2P_Generation.jsonl: wrong content" in error
    assert names(tmp_path / "mathchat") == []


def test_without_a_published_hash_another_row_count_warns_and_a_broken_file_is_removed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    server.content = json.dumps([{"conversations": []}] * 3).encode()
    argv = ["download", "mathchatsync", "--dir", str(tmp_path), "--base-url", server.url]
    assert main(argv) == 0
    assert "3 rows, 144,978 were published" in capsys.readouterr().err
    (tmp_path / "mathchatsync" / "mathchatsync.json").unlink()
    server.content = server.content[:-5]
    assert main(argv) == 1
    assert "the file was removed" in capsys.readouterr().err
    assert names(tmp_path / "mathchatsync") == []


def test_every_published_file_is_pinned():
    hashed = [file for data in PUBLISHED.values() for file in data.files if file.blob_id]
    assert len(hashed) == 1 + 4 + 2
    assert all(len(file.blob_id or "") == 40 and file.host == published.GITHUB for file in hashed)
    assert [file.rows for data in PUBLISHED.values() for file in data.files if not file.blob_id] == [144_978]
    assert all(isinstance(data, Published) and data.licence for data in PUBLISHED.values())


HUB_FILE = b'[{"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]}]'


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub's API as its own client asks for one data set of one large file."""

    protocol_version = "HTTP/1.1"
    commit = "a" * 40
    sha256 = hashlib.sha256(HUB_FILE).hexdigest()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def entry(self, path_key: str) -> dict[str, Any]:
        size, lfs = len(HUB_FILE), {"sha256": self.sha256, "oid": self.sha256, "size": len(HUB_FILE), "pointerSize": 1}
        return {path_key: "rows.json", "type": "file", "size": size, "oid": "b" * 40, "blobId": "b" * 40, "lfs": lfs}

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if "/tree/" in path:
            body, kind = json.dumps([self.entry("path")]).encode(), "application/json"
        elif "/resolve/" in path:
            body, kind = HUB_FILE, "application/octet-stream"
        else:
            info = {"id": "teknium/OpenHermes-2.5", "sha": self.commit, "siblings": [self.entry("rfilename")]}
            body, kind = json.dumps(info).encode(), "application/json"
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": kind, "ETag": f'"{self.sha256}"',
                            "X-Repo-Commit": self.commit}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


@pytest.mark.parametrize("sha256", [FakeHub.sha256, "c" * 64])
def test_openhermes_comes_through_the_hubs_client_pinned_and_verified(tmp_path: Path, sha256: str):
    handler = type("Hub", (FakeHub,), {"sha256": sha256})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "data_prep", "download", "openhermes", "--dir", str(tmp_path / "data"),
             "--base-url", f"http://127.0.0.1:{http.server_address[1]}"],
            capture_output=True, text=True, timeout=120,
            env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"},
        )  # fmt: skip
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
    rows = tmp_path / "data" / "openhermes" / "rows.json"
    if sha256 == FakeHub.sha256:
        assert done.returncode == 0, done.stderr
        assert rows.read_bytes() == HUB_FILE
        assert (rows.parent / "REVISION").read_text() == f"{FakeHub.commit}\n"
    else:
        assert done.returncode == 1 and "the file was removed" in done.stderr, done.stderr
        assert not rows.exists()
