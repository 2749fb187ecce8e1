"""A file that is whole or absent: written beside itself as `<path>.part`, renamed when all of it is on disk."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import BinaryIO

# What the system says when a file cannot grow: the disk, a quota or the process's own limit is used up.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutputError(OSError):
    """An output that can't be written: no permission, no disk space, a folder in the way."""


class OutFile:
    """Use as a context manager; an exception inside, or `discard()`, leaves nothing behind.

    Raises OutputError, naming the file, the cause and the remedy.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.part = Path(f"{self.path}.part")
        self._discarded = False
        self._file: BinaryIO | None = None

    def __enter__(self) -> OutFile:
        if self.path.is_dir():
            raise OutputError(f"{self.path}: is a folder; name a file in it")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.part, "wb")
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if self._file is None:
            raise ValueError(f"{self.path}: written to outside its with block")
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Leave no file when the block ends."""
        self._discarded = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._file is None:
            return
        keep = kind is None and not self._discarded
        try:
            if keep:
                self._file.flush()
                os.fsync(self._file.fileno())
            _close(self._file)
            if keep:
                os.replace(self.part, self.path)
        except OSError as failure:
            raise self._failed(failure) from failure
        finally:
            self._file = None
            self.part.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> OutputError:
        if self._file is not None:
            _close(self._file)
            self.part.unlink(missing_ok=True)
        return OutputError(
            f"{self.path}: can't be written ({error.strerror or error}); nothing was left behind. "
            "Free the space or choose another place with --out"
        )


def _close(file: BinaryIO) -> None:
    # Closing writes what is still buffered: on a full disk that fails once more, which is known by then.
    with contextlib.suppress(OSError):
        file.close()
