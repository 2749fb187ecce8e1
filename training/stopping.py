"""SIGTERM ends a run with a checkpoint, exit status 75, and RESUME_ME in the run directory.

{"checkpoint": "checkpoint-120", "reason": "SIGTERM", "resume": "run the same command again"}

75 is EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. A launcher has an exit status of its own, so a job script
looks for the file: `test -e runs/x/RESUME_ME && scontrol requeue $SLURM_JOB_ID`. It is removed when the run goes on.
Other reasons to stop are anomalies of the loss; those end with status 1.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RESUME_STATUS = 75
MARKER = "RESUME_ME"
# Divergence: the mean loss of so many steps is over twice the least such mean so far, and a nat more.
WINDOW_STEPS = 20
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Preempted(BaseException):
    """The run was asked to stop; no Exception, so that no library takes it for an error to go on after."""


class Anomaly(RuntimeError):
    """The loss says that training on would be a waste."""


class StopRequest:
    """Whether SIGTERM has come. Until `deferred` is set it ends the process at once, for nothing is trained yet."""

    def __init__(self) -> None:
        self.received = False
        self.deferred = False

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take SIGTERM for as long as the block lasts. Only the main thread can."""
        before = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = True
        if not self.deferred:
            raise Preempted


def end_with_parent(launcher: Sequence[str]) -> None:
    """Have the kernel send SIGTERM to this process when its launcher, if any, dies, even by SIGKILL. On Linux only.

    Without it the workers of a killed launcher train on, unseen, and hold the GPUs and the run directory.
    """
    if not launcher or sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def marked(output_dir: Path, is_main_process: bool, newest: Callable[[Path], Path | None]) -> Iterator[None]:
    """Leave RESUME_ME in the run directory, if there is one yet, where the block ends because of SIGTERM."""
    try:
        yield
    except Preempted:
        if is_main_process and output_dir.is_dir():
            checkpoint = newest(output_dir)
            note = {"checkpoint": checkpoint.name if checkpoint else None, "reason": "SIGTERM",
                    "resume": "run the same command again"}  # fmt: skip
            (output_dir / MARKER).write_text(json.dumps(note) + "\n", encoding="utf-8")
        raise


class LossWatch:
    """Says of each optimizer step's loss what is wrong with it, or None."""

    def __init__(self, stop_on_anomaly: bool) -> None:
        self.stop_on_anomaly = stop_on_anomaly
        self.recent: deque[float] = deque(maxlen=WINDOW_STEPS)
        self.least = math.inf

    def reason(self, loss: float, trains: bool) -> str | None:
        """What is wrong with the loss of a step; `trains` is whether the step has a trained token at all.

        A loss that is not finite always ends the run: every later weight would be NaN.
        """
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not self.stop_on_anomaly or not trains:
            return None
        if loss == 0:
            return "the loss is exactly 0: labels or numbers are broken, no model is that sure of every token"
        self.recent.append(loss)
        if len(self.recent) < WINDOW_STEPS:
            return None
        mean = sum(self.recent) / WINDOW_STEPS
        self.least = min(self.least, mean)
        if mean > 2 * self.least + 1:
            return f"the loss diverges: its mean over {WINDOW_STEPS} steps is {mean:.3f} and was {self.least:.3f}"
        return None
