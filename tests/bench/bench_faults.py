"""`make bench`: the fault table. What happens to a run that is killed, stopped, damaged, out of disk, or changed.

Each fault hits real runs of train.py with a tiny random model; afterwards the run is resumed and its final weights are
compared with those of a run that nothing happened to, bit for bit on one process.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from recipes.manifest import FILE_NAME as MANIFEST
from tests.training.conftest import REPOSITORY, sums_file, tiny_checkpoint, write_recipe, write_sums  # noqa: F401
from tests.training.lives import begin_life, newest_step, same_bits, survive, wait_for
from tests.training.test_processes import launch, losses
from training.stopping import MARKER, RESUME_STATUS

MOMENTS = 20
STEPS, SAVE_EVERY = 60, 4
TABLE: list[tuple[str, str]] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print the table when all faults are through."""
    yield
    print("\n\n" + "\n".join(f"{fault:<44}{what}" for fault, what in TABLE))


def ended(arguments: list[str], log: Path) -> tuple[int, str]:
    """Exit status and output of one life."""
    before = log.stat().st_size if log.exists() else 0
    life = begin_life(arguments, log)
    life.join(300)
    return life.exitcode or 0, log.read_text()[before:]


@pytest.fixture
def runs(write_recipe: Callable[..., Path], tmp_path: Path) -> tuple[list[str], Path, Path]:  # noqa: F811
    """Arguments of a run, the directory of the run that nothing happened to, and the log."""
    recipe = str(
        write_recipe(max_steps=STEPS, save_steps=SAVE_EVERY, save_total_limit=3, use_peft=True, lora_dropout=0.1)
    )
    status, said = ended([recipe, f"output_dir={tmp_path / 'whole'}"], tmp_path / "log")
    assert status == 0, said
    return [recipe, f"output_dir={tmp_path / 'hit'}"], tmp_path / "whole", tmp_path / "log"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_signals_at_random_moments(runs, sign):
    arguments, whole, log = runs
    began = time.monotonic()
    assert ended([arguments[0], f"output_dir={whole.with_name('timed')}"], log)[0] == 0
    longest_s = time.monotonic() - began
    hits = finished = 0
    while hits < MOMENTS:  # a run that ends before all of them is followed by a new one
        hit = whole.with_name(f"hit-{finished}")
        lives = survive([arguments[0], f"output_dir={hit}"], hit, log, sign, MOMENTS - hits, longest_s)
        assert same_bits(whole, hit)
        hits, finished = hits + lives - 1, finished + 1
    said = f"{finished} runs in {hits + finished} lives; the weights of each are bit-identical"
    TABLE.append((f"{sign.name} at {hits} random moments", said))


@pytest.mark.parametrize("damage", ["truncated", "flipped bit"])
def test_a_damaged_checkpoint(runs, damage):
    arguments, whole, log = runs
    hit = shutil.copytree(whole, whole.with_name("hit"))
    (hit / MANIFEST).unlink()
    newest = newest_step(hit)
    file = random.choice([path for path in (hit / f"checkpoint-{newest}").glob("*.*t*") if path.stat().st_size > 1000])
    content = bytearray(file.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
    # The copy says it belongs to another output_dir in nothing but its name, which is free.
    status, said = ended(arguments, log)
    assert status == 0 and f"checkpoint-{newest} is damaged" in said, said
    assert f"resuming from {hit}/checkpoint-{newest - SAVE_EVERY}" in said and same_bits(whole, hit)
    TABLE.append((f"{damage} in {file.name}", f"set aside; resumed {SAVE_EVERY} steps before; bit-identical"))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size at the folder; skips where mounting is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(runs, tmp_path):
    arguments, whole, log = runs
    disk = tmp_path / "disk"
    with small_disk(disk, "2m"):
        arguments = [arguments[0], f"output_dir={disk / 'hit'}", "save_total_limit=null"]
        status, said = ended(arguments, log)
        failed = said.count("is NOT saved: no space left")
        assert status == 1 and failed > 1 and "the final model is NOT saved" in said, said
        kept = newest_step(disk / "hit")
        assert kept > 0 and len(losses(disk / "hit")) <= STEPS
        for checkpoint in sorted((disk / "hit").glob("checkpoint-*"))[:-1]:
            if checkpoint.name != f"checkpoint-{kept}":
                shutil.rmtree(checkpoint)
        status, said = ended([*arguments[:2], "save_total_limit=1"], log)
        assert status == 0 and f"checkpoint-{kept}" in said, said
        assert same_bits(whole, disk / "hit")
    said = f"{failed - 1} saves failed, all {STEPS} steps ran, the final save is an error"
    TABLE.append(("full disk (tmpfs of 2 MB)", f"{said}; with space, resumed from checkpoint-{kept}; bit-identical"))


@pytest.mark.parametrize("change", ["recipe", "data set"])
def test_a_change_before_resuming(runs, change, tmp_path):
    arguments, whole, log = runs
    hit = shutil.copytree(whole, whole.with_name("hit"))
    (hit / MANIFEST).unlink()
    if change == "recipe":
        arguments, expected = [*arguments, "learning_rate=0.002"], "learning_rate was 0.001, is 0.002"
    else:
        rows = write_sums(tmp_path / "other.jsonl", 40, seed=1)
        arguments, expected = [*arguments, f"train_data.0.path={rows}"], "changed: the rows of train_data"
    status, said = ended(arguments, log)
    assert status == 1 and expected in said and newest_step(hit) == newest_step(whole), said
    TABLE.append((f"changed {change} on resume", f"refused, nothing touched: {expected}"))


@contextmanager
def launched(mode: str, arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[psutil.Popen]:
    with log.open("a") as out:
        process = psutil.Popen([*launch(f"cpu_{mode}"), "train.py", *arguments], cwd=REPOSITORY, env=environment,
                               stdout=out, stderr=out)  # fmt: skip
        try:
            yield process
        finally:
            for one in [*process.children(recursive=True), process] if process.is_running() else []:
                one.kill()
            process.wait(60)


@pytest.mark.parametrize("mode", ["ddp", "zero2"])
def test_a_rank_that_is_killed(mode, write_recipe, launch_env, tmp_path):  # noqa: F811
    recipe = str(write_recipe(max_steps=40, save_steps=4, per_device_train_batch_size=2, held_out_share=0))
    whole, hit, log = tmp_path / "whole", tmp_path / "hit", tmp_path / "log"
    with launched(mode, [recipe, f"output_dir={whole}"], launch_env, log) as process:
        assert process.wait(400) == 0, log.read_text()[-3000:]
    arguments = [recipe, f"output_dir={hit}"]
    with launched(mode, arguments, launch_env, log) as process:
        wait_for(lambda: len(losses(hit)) > 9)
        random.choice(workers(process)).kill()
        began = time.monotonic()
        assert process.wait(120) != 0
        took = time.monotonic() - began
    kept = newest_step(hit)
    assert kept >= 8
    with launched(mode, arguments, launch_env, log) as process:
        assert process.wait(400) == 0, log.read_text()[-3000:]
    assert losses(hit) == pytest.approx(losses(whole), rel=1e-4)
    same = "bit-identical" if same_bits(whole, hit) else "losses within 1e-4"
    TABLE.append((f"killed rank, {mode}", f"job ended after {took:.0f} s; resumed from checkpoint-{kept}; {same}"))


def test_a_rank_that_hangs_and_a_launcher_that_is_killed_or_asked_to_stop(write_recipe, launch_env, tmp_path):  # noqa: F811
    recipe = str(write_recipe(max_steps=5000, per_device_train_batch_size=2, stuck_timeout_s=15, held_out_share=0))
    log = tmp_path / "log"
    with launched("ddp", [recipe, f"output_dir={tmp_path / 'stuck'}"], launch_env, log) as process:
        wait_for(lambda: len(losses(tmp_path / "stuck")) > 3)
        rank_1 = next(one for one in workers(process) if one.environ()["RANK"] == "1")
        rank_1.suspend()
        began = time.monotonic()
        assert process.wait(120) != 0
        took = time.monotonic() - began
    assert "The job waits for rank 1 (host" in log.read_text(), log.read_text()[-3000:]
    TABLE.append(("hung rank, ddp, stuck_timeout_s 15", f"job ended after {took:.0f} s, rank 1 named"))

    for sign in (signal.SIGKILL, signal.SIGTERM):
        hit = tmp_path / sign.name
        with launched("ddp", [recipe, f"output_dir={hit}"], launch_env, log) as process:
            wait_for(lambda hit=hit: len(losses(hit)) > 3)
            left = workers(process)
            process.send_signal(sign)
            _, alive = psutil.wait_procs(left, 60)
            assert not alive, "workers outlive their launcher"
        assert newest_step(hit) == len(losses(hit)) and (hit / MARKER).exists()
        TABLE.append(
            (f"{sign.name} to the launcher only, ddp", f"both workers saved checkpoint-{newest_step(hit)} and ended")
        )

    resumed = tmp_path / signal.SIGKILL.name
    step = newest_step(resumed)
    arguments = [recipe, f"output_dir={resumed}", "per_device_train_batch_size=4", f"max_steps={5000}"]
    life = begin_life(arguments, log)
    wait_for(lambda: len(losses(resumed)) > step + 2)
    os.kill(life.pid or 0, signal.SIGTERM)
    life.join(60)
    assert life.exitcode == RESUME_STATUS and f"resuming from {resumed}/checkpoint-{step}" in log.read_text()
    TABLE.append(("resumed on 1 process after 2 (ddp)", f"goes on from checkpoint-{step} with the same rows a step"))


def workers(process: psutil.Popen) -> list[psutil.Process]:
    """The launcher's training processes."""
    return [one for one in process.children(recursive=True) if "RANK" in one.environ() and "train.py" in one.cmdline()]
