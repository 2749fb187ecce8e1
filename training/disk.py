"""A full disk fails a save, not the run: `with disk.spared(): torch.save(...)` notes the error and goes on.

A process that left a save halfway would leave the others waiting in DeepSpeed's barriers. So every process goes through
the whole save whatever it could write, and only then do all of them agree on whether it counts.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Space, quota, and a limit on the size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Disk:
    """Notes the errors of a full disk during one save; `error` is the first one."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Swallow and note the error of a full disk; any other goes its way."""
        try:
            yield
        except Exception as error:
            if not is_full_disk(error):
                raise
            self.error = self.error or error

    def sparing(self, save: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
        """DeepSpeed's `save(state, path)` that spares the run; a file cut short is removed, so that small ones fit."""

        def spared_save(state: Any, path: str) -> None:
            before = self.error
            with self.spared():
                save(state, path)
            if self.error is not before:
                Path(path).unlink(missing_ok=True)

        return spared_save


def is_full_disk(error: BaseException) -> bool:
    """safetensors and torch.save report a full disk as errors of their own, with the system's words in the text."""
    words = str(error)
    return (
        (isinstance(error, OSError) and error.errno in FULL)
        or any(os.strerror(number) in words for number in FULL)
        or "PytorchStreamWriter failed" in words
        or "inline_container" in words  # torch's archive writer when it cannot close what it could not write
    )
