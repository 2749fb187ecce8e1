"""Runs of train.py in processes of their own that can be killed, forked from one that has imported everything once.

with lives(folder) as begin:
    life = begin(["recipe.yaml", "output_dir=..."])       a multiprocessing.Process; its output is in folder
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from safetensors.torch import load_file

from recipes.manifest import FILE_NAME as MANIFEST
from training.stopping import RESUME_STATUS

Begin = Callable[[list[str]], BaseProcess]


def begin_life(arguments: list[str], log: Path) -> BaseProcess:
    """Start `python train.py ARGUMENTS`, whose output is appended to `log`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train", "tests.training.lives"])
    process = context.Process(target=_live, args=(arguments, str(log)))
    process.start()
    return process


def _live(arguments: list[str], log: str) -> None:
    import train

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.exit(train.main(arguments))


def survive(arguments: list[str], output: Path, log: Path, sign: signal.Signals, times: int, longest_s: float) -> int:
    """Run until it is done, sending `sign` to the first `times` lives after a random time; the number of lives.

    Asserts of each life that it ended by the signal, asked to be resumed, or was done, and that no complete checkpoint
    was ever lost.
    """
    newest = -1
    for life in range(1, times + 20):
        process = begin_life(arguments, log)
        if life <= times:
            process.join(random.uniform(0, longest_s))
            if process.is_alive():
                os.kill(process.pid or 0, sign)
        process.join(300)
        assert process.exitcode in (0, RESUME_STATUS, -sign), f"life {life} ended with {process.exitcode}: {log}"
        assert newest_step(output) >= newest, f"life {life} lost checkpoint-{newest}"
        newest = newest_step(output)
        if process.exitcode == 0:
            return life
    raise AssertionError(f"the run did not end in {life} lives: {log}")


def newest_step(output: Path) -> int:
    """The step of the newest complete checkpoint, -1 without any."""
    found = [path.parent.name for path in output.glob(f"checkpoint-*/{MANIFEST}")]
    return max((int(name.removeprefix("checkpoint-")) for name in found), default=-1)


def same_bits(one: Path, other: Path) -> bool:
    """Whether two run directories hold the same final weights."""
    name = "adapter_model.safetensors" if (one / "adapter_model.safetensors").exists() else "model.safetensors"
    left, right = load_file(one / name), load_file(other / name)
    return left.keys() == right.keys() and all(torch.equal(right[key], tensor) for key, tensor in left.items())


def wait_for(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    """Return once the condition holds; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
