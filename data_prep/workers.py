"""Encoding in several processes: chunks out, results back in the order sent, whoever was first.

    with Workers(4, pickle.dumps(work)) as workers:
        for fitted in workers.map(tasks): ...             # work(task) of each

A worker is a process of its own (`python -m data_prep.workers`) that is sent pickles and answers with pickles; neither
fork nor multiprocessing's re-import of the main script is involved, so train.py's workers load no torch. A worker ends
when its input does, hence with its parent, however that ends.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from data_prep.build_dir import BuildError

if TYPE_CHECKING:
    from data_prep.fit import Fitted

ROOT = Path(__file__).resolve().parent.parent
ROWS_PER_PROCESS = 1_000  # a worker starts in two to three seconds, in which one process encodes about this many
AHEAD = 2  # chunks in work or done for each worker: what is done early must wait in memory


class Failed(NamedTuple):
    """What a worker answers where its work raised."""

    error: Exception
    trace: str


class Worker:
    """One process. Its methods raise BuildError where it has ended."""

    def __init__(self, setup: bytes):
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        alone = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        environment = {**os.environ, **alone, "PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false",
                       "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}  # fmt: skip
        command = [sys.executable, "-m", "data_prep.workers"]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._setup: bytes | None = setup

    def run(self, task: object) -> Fitted:
        """The result of one task; raises what it raised."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            if self._setup is not None:
                self.process.stdin.write(self._setup)
                self._setup = None
            self.process.stdin.write(pickle.dumps(task))
            self.process.stdin.flush()
            result = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise BuildError(
                f"an encoding process ended {_how(self.process.wait())}; nothing was left behind"
            ) from error
        if isinstance(result, Failed):
            result.error.add_note(f"in an encoding process:\n{result.trace}")
            raise result.error
        return result

    def kill(self) -> None:
        """End it at once and wait for its end."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # what was not sent yet is of no use to it any more
                continue


class Workers:
    """`count` workers that share the work; use as a context manager, which ends them, whatever happens inside."""

    def __init__(self, count: int, setup: bytes):
        self._workers = [Worker(setup) for _ in range(count)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:  # first, so that threads that wait for an answer get none
            worker.kill()
        self._threads.shutdown(cancel_futures=True)

    def map(self, tasks: Iterable[object]) -> Iterator[Fitted]:
        """The result of every task, in their order."""
        waiting: deque[Future[Fitted]] = deque()
        for task in tasks:
            waiting.append(self._threads.submit(self._run, task))
            if len(waiting) >= AHEAD * len(self._workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _run(self, task: object) -> Fitted:
        worker = self._idle.get()
        try:
            return worker.run(task)
        finally:
            self._idle.put(worker)


def processes_for(rows: int) -> int:
    """How many processes encode so many rows by default: one for each CPU at hand, one alone where the rows are few."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, rows // ROWS_PER_PROCESS))


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "killed (as the system does where memory runs out: try a smaller --num-proc)"
    return f"by signal {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"


def main() -> None:
    """A worker: what to work with, then tasks, each answered; until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints may not stand between the answers
    sys.modules["torch"] = None  # type: ignore[assignment]  # transformers would load it, for seconds and for nothing
    # Loading a vocabulary leaves its thread's heap full of holes, and tokenizing into those takes a third longer.
    with ThreadPoolExecutor(1) as apart:
        work = apart.submit(pickle.load, sys.stdin.buffer).result()
    gc.freeze()  # what was loaded stays; what encoding makes is freed as it is dropped, cycles apart
    gc.set_threshold(20_000, 20, 50)
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = pickle.dumps(work(task), protocol=5)
        except Exception as error:
            result = _failed(error)
        try:
            answers.write(result)
            answers.flush()
        except BrokenPipeError:  # the parent is gone
            return


def _failed(error: Exception) -> bytes:
    trace = traceback.format_exc()
    try:
        answer = pickle.dumps(Failed(error, trace))
        pickle.loads(answer)
    except Exception:  # some exceptions cannot be pickled
        return pickle.dumps(Failed(RuntimeError(f"{type(error).__name__}: {error}"), trace))
    return answer


if __name__ == "__main__":
    # As the module that the pickles name, not as __main__.
    from data_prep import workers

    workers.main()
