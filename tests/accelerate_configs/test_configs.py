"""The launch files: each starts what its name says, and none holds what belongs to a recipe."""

from __future__ import annotations

import os
import shlex
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "accelerate_configs").glob("*.yaml"))
NAMES = {"cpu", "cpu_ddp", "cpu_zero2", "cpu_zero3", "single_gpu", "ddp", "zero2", "zero3", "zero3_offload", "fsdp2",
         "multi_node_zero3"}  # fmt: skip
RECIPE_KEYS = {"mixed_precision", "gradient_accumulation_steps", "gradient_clipping", "train_batch_size"}


def read(config: Path) -> dict[str, Any]:
    return yaml.safe_load(config.read_text(encoding="utf-8"))


def test_the_launch_files_of_the_design_are_all_there() -> None:
    assert {config.stem for config in CONFIGS} == NAMES


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_a_launch_file_holds_launch_facts_only(config: Path) -> None:
    values = read(config)
    keys = set(values) | set(values.get("deepspeed_config", {})) | set(values.get("fsdp_config", {}))
    assert not keys & RECIPE_KEYS
    assert values["use_cpu"] == config.stem.startswith("cpu")
    wanted = {"cpu": 1, "single_gpu": 1, "multi_node_zero3": 4 * 8}.get(config.stem, 2 if values["use_cpu"] else 8)
    assert values["num_processes"] == wanted


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_accelerate_reads_every_key_of_a_launch_file(config: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    read_back = load_config_from_file(str(config))  # raises for a key that it does not know
    assert read_back.num_processes == read(config)["num_processes"]


def launches() -> dict[str, str]:
    """The `accelerate launch` line of each cluster example, its variables given values."""
    values = {"SLURM_NNODES": "4", "SLURM_NODEID": "1", "PROCESSES": "32", "MACHINES": "4", "MAIN": "node-0",
              "PORT": "29500", "JOB_COMPLETION_INDEX": "1", "RECIPE": "recipes/button/llama3-8b-full.yaml"}  # fmt: skip
    pod = yaml.safe_load((ROOT / "docs/cluster/kubernetes.yaml").read_text().split("---")[1])
    container = pod["spec"]["template"]["spec"]["containers"][0]
    texts = {"slurm.sh": (ROOT / "docs/cluster/slurm.sh").read_text(), "kubernetes.yaml": container["args"][0]}
    found = {}
    for name, text in texts.items():
        text = text.replace("\\\n", " ").replace("'", "")
        [line] = [line for line in text.splitlines() if "accelerate launch" in line]
        line = line[line.index("accelerate launch") :].partition('"$@"')[0]
        found[name] = string.Template(line).substitute(values)
    return found


def test_the_cluster_examples_launch_with_options_that_accelerate_has() -> None:
    from accelerate.commands.launch import launch_command_parser

    subprocess.run(["bash", "-n", str(ROOT / "docs/cluster/slurm.sh")], check=True)
    for name, line in launches().items():
        options = launch_command_parser().parse_args(shlex.split(line)[2:])
        assert (options.num_machines, options.num_processes, options.machine_rank) == (4, 32, 1), name
        assert options.main_process_ip == "node-0" and options.main_process_port == 29500, name
        assert (ROOT / options.config_file).exists() and options.training_script == "train.py", name
        assert (ROOT / options.training_script_args[0]).exists(), name


def test_several_machines_start_their_own_processes_wherever_a_header_says_so() -> None:
    for path in sorted((ROOT / "recipes").glob("*/*.yaml")):
        text = " ".join(line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines())
        if "4 machines" in text:  # zero3.yaml would have DeepSpeed log in to the others by ssh
            assert "accelerate_configs/multi_node_zero3.yaml" in text, path


def test_a_pod_and_a_job_have_time_to_save_before_they_are_killed() -> None:
    pod = yaml.safe_load((ROOT / "docs/cluster/kubernetes.yaml").read_text().split("---")[1])["spec"]["template"][
        "spec"
    ]
    environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] > int(environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) > 30
    script = (ROOT / "docs/cluster/slurm.sh").read_text()
    assert "--signal=TERM@600" in script and "export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=570" in script


@pytest.mark.parametrize("stopped", [True, False])
def test_a_slurm_job_that_was_stopped_and_saved_is_queued_again_and_one_that_failed_is_not(tmp_path, stopped) -> None:
    said = tmp_path / "said"
    programs = {
        "srun": f"[ {int(stopped)} = 0 ] || touch {tmp_path}/run/RESUME_ME\nexit 1",
        "scontrol": f'[ "$1" = show ] && echo node-0 || echo "$@" >> {said}',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()
    environment = {**os.environ, "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                   "PYTHONPATH": str(ROOT), "SLURM_JOB_NODELIST": "node-[0-3]", "SLURM_NNODES": "4",
                   "SLURM_JOB_ID": "7"}  # fmt: skip
    command = ["bash", str(ROOT / "docs/cluster/slurm.sh"), str(ROOT / "recipes/quickstart/button.yaml")]
    done = subprocess.run([*command, f"output_dir={tmp_path}/run"], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1
    assert said.exists() == stopped and (not stopped or said.read_text() == "requeue 7\n")


def test_zero3_saves_whole_weights() -> None:
    stage3 = [config for config in CONFIGS if read(config).get("deepspeed_config", {}).get("zero_stage") == 3]
    assert {config.stem for config in stage3} == {"cpu_zero3", "zero3", "zero3_offload", "multi_node_zero3"}
    for config in stage3:
        assert read(config)["deepspeed_config"]["zero3_save_16bit_model"] is True, config
