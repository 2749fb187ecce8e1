"""The output directory of a build: one writer at a time, whole or not there, and a cache hit where nothing changed.

    with BuildDir("runs/button/data").writing() as folder: ...        folder is renamed to it at the end

`build.json` in the directory is the proof that it is complete. It holds the build's key, a hash over everything that
decides the samples, and each part of it, so that a rebuild can say what changed. Hidden beside the directory stand
`.NAME.lock` (a build runs), `.NAME.partial` (what it has written so far) and `.NAME.failed` (why the last one failed,
for the processes that wait for it).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from data_prep.outfile import FULL_DISK

MARKER = "build.json"
POLL_S = 0.5
CLOCK_SLACK_S = 1.0


class BuildError(ValueError):
    """A build that cannot be made as asked; the message names the place, the cause and the remedy."""


class BuildDir:
    """The directory `out` as a build's target."""

    def __init__(self, out: str | os.PathLike[str]):
        self.path = Path(os.path.abspath(out))
        self._beside = lambda what: self.path.parent / f".{self.path.name}.{what}"

    @contextmanager
    def locked(self, log: Any) -> Iterator[None]:
        """Hold the directory's lock; another build of it is waited for. The lock dies with its process."""
        self._prepare_parent()
        lock = FileLock(self._beside("lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"{self.path}: another process is building here; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def key(self) -> dict[str, Any] | None:
        """What build.json says, or None where there is no complete build: every file must stand at its full size."""
        try:
            marker = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
            whole = all((self.path / name).stat().st_size == size for name, size in marker["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return marker if whole else None

    def refuse_if_in_use(self) -> None:
        """Raise BuildError where the directory holds anything that no build of ours put there."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise BuildError(f"{self.path}: is a file; give a directory for the built data set")
        found = sorted(entry.name for entry in self.path.iterdir())
        if found and MARKER not in found:
            some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            raise BuildError(
                f"{self.path}: output directory in use: it holds {some} and no {MARKER}, so it is no built data "
                "set and is left alone; give another --out, or empty it"
            )

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A fresh folder to write into, renamed to the directory when the block ends well, removed when it does not."""
        partial, old = self._beside("partial"), self._beside("old")
        for leftover in (partial, old):  # of a build that was killed; the lock is ours, so nobody uses them
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            if self.path.exists():
                os.rename(self.path, old)
            os.rename(partial, self.path)
        except OSError as error:
            self._explain(error)
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def keep_beside(self, file: Path, name: str) -> Path:
        """Move a file out of the partial folder to stand beside the directory; returns its new path."""
        kept = self.path.parent / f"{self.path.name}.{name}"
        shutil.move(file, kept)
        return kept

    def note_failure(self, error: BaseException) -> None:
        """Leave the error's text for the processes that wait; a full disk may not hide the error itself."""
        note = {"time": time.time(), "error": f"{error}" or type(error).__name__}
        try:
            self._beside("failed").write_text(json.dumps(note), encoding="utf-8")
        except OSError:
            return

    def clear_failure(self) -> None:
        """Forget the last build's error."""
        self._beside("failed").unlink(missing_ok=True)

    def wait_for(self, key: str, timeout_s: float, log: Any) -> None:
        """Return when another process has built `key` here. Raises BuildError with its error, or after `timeout_s`."""
        started = time.monotonic()
        # A note older than this process is of an earlier launch: rank 0 of this one has just not removed it yet.
        since = psutil.Process().create_time() - CLOCK_SLACK_S
        log(f"{self.path}: waiting for rank 0 to build it (at most {timeout_s:,.0f} s)")
        while (self.key() or {}).get("key") != key:
            note = self._failure()
            if note and note["time"] >= since:
                raise BuildError(f"rank 0 could not build the data set: {note['error']}")
            if time.monotonic() - started > timeout_s:
                raise BuildError(
                    f"{self.path}: rank 0 did not finish building within {timeout_s:,.0f} s; build the data set before "
                    "the launch with `python -m data_prep build RECIPE.yaml --out DIR`, on a file system all nodes see"
                )
            time.sleep(POLL_S)

    def _failure(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._beside("failed").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _prepare_parent(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._explain(error)
            raise

    def _explain(self, error: OSError) -> None:
        """Raise BuildError for a full disk; return for any other error."""
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error  # what OutFile made its error from
        if error.errno in FULL_DISK or cause.errno in FULL_DISK or "No space left" in str(error):
            raise BuildError(
                f"{self.path}: no disk space left while writing ({cause.strerror or cause}); nothing was left behind; "
                "free some space or give --out on another disk (a build needs about 18 bytes per token while it runs)"
            ) from error


def mark_complete(folder: Path, key: str, parts: dict[str, str]) -> None:
    """Write build.json, the last file of a build: its key, what the key was made of, and the files with their sizes."""
    files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    marker = {"key": key, "parts": parts, "files": files}
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def sha256_of_files(paths: list[Path]) -> str:
    """One hash over the contents of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
