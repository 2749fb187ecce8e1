"""Killed, asked to stop, damaged, out of disk, diverging, stuck: what is left, and that the run goes on from it."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from torch.distributed import TCPStore

import train
from tests.training.lives import begin_life, newest_step, same_bits, survive, wait_for
from tests.training.test_train import fails, losses, run
from training import heartbeat, trainer
from training.checkpoint import damage_of, run_identity
from training.heartbeat import Heartbeat, Seen, culprits
from training.loss import TokenScores
from training.progress import JsonLines, read_metrics
from training.stopping import MARKER, RESUME_STATUS, WINDOW_STEPS, LossWatch

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_hit_at_random_moments_ends_with_the_bits_of_an_undisturbed_one(write_recipe, tmp_path, sign):
    recipe = str(write_recipe(max_steps=30, save_steps=3, eval_steps=10, use_peft=True, lora_dropout=0.1))
    whole, hit = tmp_path / "whole", tmp_path / "hit"
    assert train.main([recipe, f"output_dir={whole}"]) == 0
    survive([recipe, f"output_dir={hit}"], hit, tmp_path / "log", sign, times=3, longest_s=4)
    assert same_bits(whole, hit)
    assert not (hit / MARKER).exists()
    held_out = [[row for row in read_metrics(folder / "metrics.jsonl") if "held_out_loss" in row]
                for folder in (whole, hit)]  # fmt: skip
    assert held_out[0] == held_out[1]
    if sign is signal.SIGKILL:
        assert losses(hit) == losses(whole)


@pytest.mark.slow
def test_sigterm_ends_training_with_a_checkpoint_of_the_step_a_marker_and_status_75(write_recipe, tmp_path):
    output = tmp_path / "run"
    life = begin_life([str(write_recipe(max_steps=5000))], tmp_path / "log")
    wait_for(lambda: len(losses(output)) > 2)
    os.kill(life.pid, signal.SIGTERM)
    life.join(120)
    assert life.exitcode == RESUME_STATUS == 75
    step = newest_step(output)
    assert step == read_metrics(output / "metrics.jsonl")[-1]["step"] >= 3
    assert json.loads((output / MARKER).read_text())["checkpoint"] == f"checkpoint-{step}"
    assert "resume me: run the same command again" in (tmp_path / "log").read_text()
    assert "stopped by SIGTERM and saved" in (output / "run.html").read_text()


def test_a_truncated_and_a_flipped_checkpoint_are_set_aside_for_the_one_before(write_recipe, capsys):
    recipe = write_recipe(max_steps=8, save_steps=2, save_total_limit=None)
    output = run(recipe)
    whole = output.rename(output.with_name("whole"))
    run(recipe, "max_steps=8")
    (output / "manifest.json").unlink()  # as if killed before the final model was complete
    optimizer, weights = output / "checkpoint-8" / "optimizer.pt", output / "checkpoint-6" / "model.safetensors"
    os.truncate(optimizer, optimizer.stat().st_size - 1)
    flipped = bytearray(weights.read_bytes())
    flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    weights.write_bytes(flipped)
    assert run(recipe) == output
    printed = capsys.readouterr().out
    assert f"WARNING: {output}/checkpoint-8 is damaged: optimizer.pt has" in printed
    assert f"WARNING: {output}/checkpoint-6 is damaged: model.safetensors has other contents" in printed
    assert f"resuming from {output}/checkpoint-4" in printed
    assert same_bits(whole, output)
    assert {"damaged-checkpoint-8", "damaged-checkpoint-6"} <= {path.name for path in output.iterdir()}


def test_any_changed_byte_of_a_checkpoint_is_noticed_its_manifest_included(write_recipe):
    checkpoint = run(write_recipe(max_steps=1, save_steps=1)) / "checkpoint-1"
    assert damage_of(checkpoint) is None
    for file in sorted(checkpoint.iterdir()):
        if file.name == "README.md":  # an evaluation writes its scores there
            continue
        content = file.read_bytes()
        at = random.randrange(len(content))
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert damage_of(checkpoint), f"byte {at} of {file.name}"
        file.write_bytes(content)
    assert damage_of(checkpoint) is None


def test_rows_of_metrics_wait_in_memory_while_the_disk_is_full(tmp_path, monkeypatch):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    assert lines.append({"step": 1})
    real = Path.open

    def half_written(path, *mode, **encoding):
        with real(path, *mode, **encoding) as file:
            file.write('{"ste')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", half_written)
    assert not lines.append({"step": 2})
    monkeypatch.setattr(Path, "open", real)
    assert lines.append({"step": 3})
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_a_loss_of_exactly_zero_stops_the_run_saved_and_a_key_lets_it_go_on(write_recipe, capsys, monkeypatch):
    real = trainer.token_scores

    def zero_from_the_third(*batch):
        scores = real(*batch)
        calls.append(1)
        return TokenScores(scores.losses * (len(calls) <= 2), scores.right)

    calls: list[int] = []
    monkeypatch.setattr(trainer, "token_scores", zero_from_the_third)
    recipe = write_recipe(max_steps=4, held_out_share=0)
    message = fails(capsys, recipe)
    output = recipe.parent / "run"
    assert "stopped at step 3: the loss is exactly 0" in message and f"{output}/checkpoint-2" in message
    assert damage_of(output / "checkpoint-2") is None
    assert "ended by an error: stopped at step 3" in (output / "run.html").read_text()
    run(recipe, "stop_on_anomaly=false")


def test_divergence_is_a_mean_loss_far_above_the_least_and_a_falling_or_noisy_loss_is_none():
    rng = random.Random(0)
    falling = [3 * math.exp(-step / 100) + rng.random() for step in range(400)]
    watch = LossWatch(stop_on_anomaly=True)
    assert not any(watch.reason(loss, trains=True) for loss in falling)
    reasons = [watch.reason(9.0, trains=True) for _ in range(WINDOW_STEPS)]
    assert "the loss diverges" in str(reasons[-1]) and reasons[0] is None
    assert LossWatch(True).reason(0.0, trains=False) is None  # a step of nothing but filler rows
    assert LossWatch(False).reason(math.nan, trains=True)


def test_the_rank_that_answers_no_more_or_got_least_far_is_the_one_named():
    def seen(progress: int, at: float, doing: str = "forward") -> tuple[Seen, float]:
        return Seen(9, progress, doing, "gpu-07"), at

    behind = culprits({0: seen(12, 100), 1: seen(11, 100, "the held-out loss"), 2: seen(12, 100)}, 3, 101, 20)
    assert behind == {1: "(host gpu-07) is stuck at: the held-out loss"}
    silent = culprits({0: seen(12, 100), 1: seen(12, 40), 2: seen(12, 100)}, 3, 101, 20)
    assert list(silent) == [1] and "answers no more" in silent[1]
    assert list(culprits({0: seen(12, 40), 1: seen(12, 40)}, 2, 101, 20)) == [0]  # it held the store


def test_a_process_without_progress_ends_within_the_timeout_and_names_it(monkeypatch, capsys):
    ended: list[tuple[int, float]] = []

    def end(status: int) -> None:
        ended.append((status, time.monotonic()))
        raise SystemExit

    monkeypatch.setattr(heartbeat.os, "_exit", end)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    both = [Heartbeat(0, 2, 0.5, store), Heartbeat(1, 2, 0.5, TCPStore("127.0.0.1", store.port))]
    both[0].beat("backward and the exchange of gradients")  # one ahead: it waits for the other
    began = time.monotonic()
    for one in both:
        one.start()
    wait_for(lambda: len(ended) == 2, 20)
    assert all(status == heartbeat.STUCK_STATUS and when - began < 10 for status, when in ended)
    assert "The job waits for rank 1 (host" in capsys.readouterr().err


def test_a_closed_heartbeat_leaves_no_thread_to_be_met_by_the_interpreters_end():
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    both = [Heartbeat(0, 2, 60.0, store), Heartbeat(1, 2, 60.0, TCPStore("127.0.0.1", store.port))]
    for one in both:
        one.start()
    wait_for(lambda: store.check(["rank 0", "rank 1"]), 20)
    began = time.monotonic()
    for one in both:
        one.close()
    assert time.monotonic() - began < 5
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_a_run_goes_on_with_other_processes_where_its_steps_stay_and_its_state_is_whole(write_recipe):
    from recipes import load_recipe

    recipe = load_recipe(write_recipe(per_device_train_batch_size=4, gradient_accumulation_steps=2))
    half = recipe.model_copy(update={"gradient_accumulation_steps": 1})
    assert run_identity(recipe, {}, 1, "NO") == run_identity(half, {}, 2, "MULTI_GPU")
    assert run_identity(recipe, {}, 1, "NO") != run_identity(recipe, {}, 2, "MULTI_GPU")
    assert run_identity(recipe, {}, 2, "DEEPSPEED ZeRO-2") != run_identity(half, {}, 4, "DEEPSPEED ZeRO-2")


def test_a_directory_of_another_version_is_refused_with_what_to_do(write_recipe, capsys):
    recipe = write_recipe(max_steps=1)
    run_file = run(recipe) / "run.json"
    identity = json.loads(run_file.read_text())
    run_file.write_text(json.dumps({key: value for key, value in identity.items() if key != "format"}))
    message = fails(capsys, recipe)
    assert "begun by another version of this program (run format 1" in message and "git commit" in message
    run_file.write_text("{")
    assert "run.json is not JSON" in fails(capsys, recipe)
