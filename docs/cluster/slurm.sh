#!/bin/bash
# sbatch docs/cluster/slurm.sh recipes/button/llama3-70b-full.yaml gradient_accumulation_steps=1 [key=value ...]
#
# 4 machines of 8 GPUs. One task a machine: accelerate starts that machine's processes. The repository, its data and
# output_dir must be on storage that all machines see. A job is asked to stop ten minutes before its time is up; it
# then saves, is queued again, as one that is pre-empted is, and resumes by itself (resume: auto) from its newest complete
# checkpoint. Not run by us: no cluster was at hand.
#SBATCH --job-name=multiturn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@600
#SBATCH --output=slurm-%j.log
set -euo pipefail

export RECIPE=$1
shift
MAIN=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MAIN PORT=29500 MACHINES=$SLURM_NNODES PROCESSES=$((SLURM_NNODES * 8))
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=570  # for the last checkpoint; the launcher kills after 30 s otherwise
export HF_HUB_OFFLINE=1  # fetch model and data on a machine with a network first

# Single quotes: SLURM_NODEID differs from machine to machine and must be read there.
srun --kill-on-bad-exit=1 bash -c '. .venv/bin/activate && exec accelerate launch \
    --config_file accelerate_configs/multi_node_zero3.yaml \
    --num_machines $MACHINES --num_processes $PROCESSES --machine_rank $SLURM_NODEID \
    --main_process_ip $MAIN --main_process_port $PORT \
    train.py $RECIPE "$@"' bash "$@" && status=0 || status=$?

# Stopped by SIGTERM and saved: train.py says so in the run directory, for a launcher has an exit status of its own.
OUTPUT=$(. .venv/bin/activate && python -m recipes show "$RECIPE" "$@" | sed -n 's/^output_dir: //p')
if [ -e "$OUTPUT/RESUME_ME" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
