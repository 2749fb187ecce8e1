"""Launch facts: how many processes came up, under what, and whether the launch file asked for more.

`accelerate launch --config_file X.yaml train.py ...` starts them; `distributed_type: MULTI_CPU`, for one, silently
starts a single process whatever `num_processes` says (DESIGN 9). The launcher tells its children nothing about what was
asked for, so its own command line is read.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import yaml
from accelerate import PartialState
from accelerate.commands.config.config_args import default_config_file

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

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "distributed_type": self.distributed_type,
            "processes": self.processes,
            "device": self.device,
            "command": self.command,
        }


def start_processes(command: list[str]) -> Launch:
    """Join the process group, if any, and check it against what was asked for. Raises LaunchError."""
    state = PartialState(timeout=COLLECTIVE_TIMEOUT)
    asked = asked_processes(launcher_command())
    if asked is not None and asked.processes > state.num_processes:
        raise LaunchError(
            f"{asked.where} asks for {asked.processes} processes, {state.num_processes} came up (distributed type "
            f"{state.distributed_type.value}). On CPUs use accelerate_configs/cpu_ddp.yaml: distributed_type MULTI_GPU "
            f"with use_cpu, since MULTI_CPU starts one process; on GPUs check that all of them are visible"
        )
    return Launch(
        distributed_type=_distributed_type(state),
        processes=state.num_processes,
        rank=state.process_index,
        device=state.device.type,
        command=command,
    )


class Asked(NamedTuple):
    """How many processes a launch asked for, and where it says so."""

    processes: int
    where: str


def asked_processes(launcher: list[str]) -> Asked | None:
    """What an `accelerate launch` command line asks for; None where it leaves the number open or is no such command."""
    if not any(Path(word).name == "accelerate" for word in launcher[:3]) and "accelerate.commands.launch" not in launcher:
        return None
    on_command_line = _option(launcher, "--num_processes") or _option(launcher, "--num-processes")
    if on_command_line:
        return Asked(int(on_command_line), "--num_processes")
    file = _option(launcher, "--config_file") or _option(launcher, "--config-file") or default_config_file
    if not Path(file).is_file():
        return None
    processes = (yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}).get("num_processes")
    return None if processes is None else Asked(int(processes), str(file))


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
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _distributed_type(state: PartialState) -> str:
    name = state.distributed_type.value
    if name == "DEEPSPEED":
        return f"DEEPSPEED ZeRO-{zero_stage()}"
    return "MULTI_CPU" if name == "MULTI_GPU" and state.device.type == "cpu" else name


def zero_stage() -> int | None:
    """The stage of DeepSpeed's ZeRO as the launch file sets it; None without DeepSpeed."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() not in ("1", "true"):
        return None
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
    if stage is not None and stage.isdigit():
        return int(stage)
    from accelerate.utils import DeepSpeedPlugin

    return int(DeepSpeedPlugin().zero_stage)
