"""A stuck process ends the job, by name: `rank 3 (host gpu-07) has made no progress for 1800 s; last seen: forward`.

Each process counts its own progress, which costs nothing; a thread of each reports the count to a store every few
seconds and reads the others'. Once a process has not moved for `timeout_s`, it looks at all of them. One whose reports
have ceased is stopped, or its machine is gone; else the one with the least count is the one the others wait for. Then
the process ends, and the launcher ends the rest.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import torch
from torch.distributed import TCPStore

LEAVE_S = 30  # a store whose holder is gone is given up after so long
STUCK_STATUS = 70  # sysexits.h: EX_SOFTWARE


class Seen(NamedTuple):
    """What is known of a process: how often it reported, how far it is, what it does, and on which machine."""

    reports: int
    progress: int
    doing: str
    host: str


class Heartbeat:
    """Progress of this process, and the thread that watches all of them."""

    def __init__(self, rank: int = 0, processes: int = 1, timeout_s: float = math.inf, store: TCPStore | None = None):
        self.rank, self.processes, self.timeout_s, self.store = rank, processes, timeout_s, store
        self.every_s = min(5.0, timeout_s / 10)
        self._progress, self._doing = 0, "starting"
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[int, tuple[Seen, float]] = {}  # the last that was new of each process, and when it was

    @classmethod
    def together(cls, rank: int, processes: int, timeout_s: float, device: torch.device) -> Heartbeat:
        """One heartbeat over all processes, which must have joined their group; `device` is this process's."""
        if processes == 1:
            return cls()
        host = os.environ.get("MASTER_ADDR", "127.0.0.1")
        wait = timedelta(seconds=LEAVE_S)
        own = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=wait) if rank == 0 else None
        port = torch.tensor([own.port if own else 0], device=device)
        torch.distributed.broadcast(port, src=0)
        store = own or TCPStore(host, int(port.item()), is_master=False, wait_for_workers=False, timeout=wait)
        return cls(rank, processes, timeout_s, store)

    def beat(self, doing: str) -> None:
        """This process has got on; `doing` is what it turns to now."""
        self._progress += 1
        self._doing = doing

    def start(self) -> None:
        """Begin to watch. Nothing is done for one process: no other waits for it."""
        if self.store is not None:
            self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End watching, and the thread: one that is inside the store when the interpreter ends aborts the process."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(LEAVE_S)

    def _watch(self) -> None:
        reports, moved, last = 0, time.monotonic(), -1
        while not self._ended.is_set():
            reports += 1
            now = time.monotonic()
            if self._progress != last:
                last, moved = self._progress, now
            self._exchange(Seen(reports, self._progress, self._doing, socket.gethostname()), now)
            if now - moved > self.timeout_s and not self._ended.is_set():
                self._end_job(now)
            self._ended.wait(self.every_s)

    def _exchange(self, own: Seen, now: float) -> None:
        """Report, and note what is new of the others. A store that does not answer is itself a finding."""
        assert self.store is not None
        try:
            self.store.set(f"rank {self.rank}", "\t".join(map(str, own)))
            for rank in range(self.processes):
                if self.store.check([f"rank {rank}"]):
                    reports, progress, doing, host = self.store.get(f"rank {rank}").decode().split("\t")
                    seen = Seen(int(reports), int(progress), doing, host)
                    if rank not in self._seen or self._seen[rank][0].reports != seen.reports:
                        self._seen[rank] = (seen, now)
        except RuntimeError:
            return  # its holder, rank 0, does not answer: what was seen of it grows old, and `culprits` names it

    def _end_job(self, now: float) -> None:
        silent_s = max(4 * self.every_s, 1.0)
        named = culprits(self._seen, self.processes, now, silent_s)
        lines = "; ".join(f"rank {rank} {words}" for rank, words in named.items())
        print(
            f"error: no progress for {self.timeout_s:g} s (stuck_timeout_s), this rank, {self.rank}, at: "
            f"{self._doing}. The job waits for {lines}. It is ended; run the same command again to resume",
            file=sys.stderr,
            flush=True,
        )
        os._exit(STUCK_STATUS)  # the main thread hangs in a collective, so no exception could reach it


def culprits(seen: Mapping[int, tuple[Seen, float]], processes: int, now: float, silent_s: float) -> dict[int, str]:
    """The ranks that hold the others up, each with what is known of it.

    Where rank 0 stops, it takes the store with it and all reports cease at once: then it is the one.
    """
    silent = [rank for rank in range(processes) if rank not in seen or now - seen[rank][1] > silent_s]
    if silent:
        silent = [0] if 0 in silent else silent
        return {rank: _words(seen.get(rank), "answers no more (stopped, killed, or its machine is gone)")
                for rank in silent}  # fmt: skip
    least = min(one.progress for one, _ in seen.values())
    behind = [rank for rank, (one, _) in sorted(seen.items()) if one.progress == least]
    return {rank: _words(seen[rank], f"is stuck at: {seen[rank][0].doing}") for rank in behind}


def _words(seen: tuple[Seen, float] | None, state: str) -> str:
    return f"({'host ' + seen[0].host if seen else 'never seen'}) {state}"
