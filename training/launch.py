"""Launch facts: how many processes came up, under what, and whether the launch file asked for more.

`accelerate launch --config_file X.yaml train.py ...` starts them; `distributed_type: MULTI_CPU`, for one, silently
starts a single process whatever `num_processes` says. The launcher tells its children nothing about what was
asked for, so its own command line is read.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import torch
import yaml
from accelerate import PartialState
from accelerate.commands.config.config_args import default_config_file

from training.stopping import end_with_parent

# Encoding a large data set takes longer than a collective's default patience.
COLLECTIVE_TIMEOUT = timedelta(hours=4)


class LaunchError(RuntimeError):
    """The processes that came up are not those that were asked for; the message says what to change."""


class Launch(NamedTuple):
    """What this run was launched as."""

    distributed_type: str  # NO, MULTI_GPU, MULTI_CPU, DEEPSPEED ZeRO-3, FSDP
    processes: int
    rank: int
    device: str  # cpu, cuda
    command: list[str]
    launcher: tuple[str, ...] = ()  # the words of `accelerate launch` before train.py; empty without it

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "distributed_type": self.distributed_type,
            "processes": self.processes,
            "device": self.device,
            "command": self.command,
            "launcher": list(self.launcher),
            "machine": machine(),
        }


def start_processes(command: list[str]) -> Launch:
    """Join the process group, if any, and check it against what was asked for. Raises LaunchError."""
    launcher = launcher_command()
    end_with_parent(launcher)
    asked = asked_of(launcher)
    # accelerate hands `use_cpu` on to a single process only, and without it looks for GPUs.
    use_cpu = asked.use_cpu or _flag("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(cpu=use_cpu, timeout=COLLECTIVE_TIMEOUT)
    if asked.processes is not None and asked.processes > state.num_processes:
        raise LaunchError(
            f"{asked.source} asks for {asked.processes} processes, {state.num_processes} came up (distributed type "
            f"{state.distributed_type.value}). On CPUs use accelerate_configs/cpu_ddp.yaml: distributed_type MULTI_GPU "
            f"with use_cpu, since MULTI_CPU starts one process; on GPUs check that all of them are visible"
        )
    if state.device.type == "cpu":
        keep_freed_memory()
    return Launch(
        distributed_type=_distributed_type(state),
        processes=state.num_processes,
        rank=state.process_index,
        device=state.device.type,
        command=command,
        launcher=_before_script(launcher),
    )


def machine() -> dict[str, Any]:
    """What decides the bits of a run on a CPU beside versions: its model, and the threads of one process."""
    names = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.processor(), "threads": torch.get_num_threads()}


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _before_script(launcher: list[str]) -> tuple[str, ...]:
    """`accelerate launch --config_file X.yaml` of the launcher's command line, without its interpreter."""
    if not launcher:
        return ()
    start = next(i for i, word in enumerate(launcher) if word in ("launch", "accelerate.commands.launch"))
    script = next((i for i, word in enumerate(launcher) if word.endswith(".py") and i > start), len(launcher))
    return ("accelerate", "launch", *launcher[start + 1 : script])


def keep_freed_memory() -> None:
    """Have glibc keep what tensors free, so that no step faults its pages in anew; about 7 % of one on a virtual CPU.

    Numbers as in malloc.h; without glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)
        mallopt(top_pad, 1 << 28)


def give_back_freed_memory() -> None:
    """Have glibc give the system what is free now: where a model was spread over processes, the size of it or more."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


class Asked(NamedTuple):
    """What a launch asked for, and where it says so; None and False where it leaves them open."""

    processes: int | None = None
    use_cpu: bool = False
    source: str = ""


def asked_of(launcher: list[str]) -> Asked:
    """What an `accelerate launch` command line asks for, itself or by its launch file."""
    if not launcher:
        return Asked()
    file = Path(_option(launcher, "config_file") or default_config_file)
    settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}
    use_cpu = bool(settings.get("use_cpu")) or "--cpu" in launcher or "--use_cpu" in launcher
    on_command_line = _option(launcher, "num_processes")
    if on_command_line:
        return Asked(int(on_command_line), use_cpu, "--num_processes")
    processes = settings.get("num_processes")
    return Asked(None if processes is None else int(processes), use_cpu, str(file))


def launcher_command() -> list[str]:
    """The command line of the nearest `accelerate launch` above this process; empty where there is none."""
    for parent in psutil.Process().parents()[:4]:
        try:
            words = parent.cmdline()
        except psutil.Error:
            continue
        if "launch" in words or "accelerate.commands.launch" in words:
            return words
    return []


def _option(words: list[str], name: str) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option.startswith("--") and option[2:].replace("-", "_") == name:
            return value if equals else following
    return None


def _distributed_type(state: PartialState) -> str:
    """DeepSpeed and FSDP show in the environment only: accelerate joins the processes as MULTI_CPU or MULTI_GPU."""
    if _flag("ACCELERATE_USE_DEEPSPEED"):
        return f"DEEPSPEED ZeRO-{_zero_stage()}"
    return "FSDP" if _flag("ACCELERATE_USE_FSDP") else str(state.distributed_type.value)


def _zero_stage() -> int:
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
    if stage is not None and stage.isdigit():
        return int(stage)
    from accelerate.utils import DeepSpeedPlugin  # reads the DeepSpeed JSON file that the launch file names

    return int(DeepSpeedPlugin().zero_stage)


def _flag(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() in ("1", "true", "yes")
