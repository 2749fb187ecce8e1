"""`make bench`: trained tokens per second of train.py, against TRL's SFTTrainer, and of two processes against one.

SmolLM2-135M, float32, all cores, real rows (Glaive calls, MathDial tutoring, GSM8K), synthetic ones where those are not
at hand. All sides train the same ids and labels, since TRL cannot make this mask of this template; what an effective
batch holds is the same, and so is the optimizer. Sides take turns step by step; the first step of each is not counted,
and ratios are medians over steps, by the clock and by CPU seconds, which other work on the machine changes less.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench.bench_encode import CORES, ROOT
from tests.training.test_processes import launch
from training.progress import read_metrics
from training.smollm2 import smollm2_dir

STEPS = {"ours": 8, "trl_best": 8, "trl_float32": 6}  # TRL's defaults take several times as long
ROWS_A_STEP = 2
MAX_LENGTH = 768
OF_DEFAULTS, OF_BEST = 1.5, 1.15
SAME_LOSS, SAME_HELD_OUT = 1e-3, 0.02
LORA = {"use_peft": True, "learning_rate": 1e-3}
FULL = {"use_peft": False, "learning_rate": 1e-5}
NAMES = {
    "ours": "train.py",
    "trl_best": "TRL at its best",
    "trl_float32": "TRL's defaults, in float32",
    "trl_packed": "TRL, packing (bfd), padding-free",
}
Answer = dict[str, Any]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """A few rows of each kind as `train_data`: real ones, or synthetic ones made into `folder`."""
    real = Path(os.environ.get("REAL_DATA_DIR", ROOT.parent / "shared" / "data"))
    if real.is_dir():
        files = {
            "button": "button/glaive.jsonl",
            "mathchatsync": "mathchatsync/tutoring.json",
            "gsm8k": "gsm8k/train.jsonl",
        }
        return [{"source": source, "path": [str(real / file)], "samples": 12} for source, file in files.items()]
    made = {"button": ("button", "--simple"), "mathchatsync": ("mathchat",)}
    for source, words in made.items():
        command = [
            sys.executable,
            "-m",
            "data_prep",
            "synth",
            *words,
            "--out",
            f"{folder}/{source}.jsonl",
            "--rows",
            "18",
        ]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return [{"source": source, "path": [f"{folder}/{source}.jsonl"]} for source in made]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe, the schema's defaults wherever the bench needs nothing else, and its rows, built unpacked."""
    folder = tmp_path_factory.mktemp("train")
    recipe = {
        "name": "bench", "model_name_or_path": str(smollm2_dir()), "dtype": "float32", "tool_format": "button",
        "train_data": rows_of(folder), "held_out_share": 0.2, "max_rejected": 1.0, "max_length": MAX_LENGTH,
        "packing": False, "output_dir": str(folder / "run"), "lr_scheduler_type": "constant", "warmup_ratio": 0,
        "learning_rate": 1e-4, "gradient_accumulation_steps": ROWS_A_STEP,
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "data_prep", "build", str(path), "--out", str(folder / "rows")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path, folder / "rows"


def free_environment(**more: str) -> dict[str, str]:
    """This environment with all cores: tests/conftest.py allows one."""
    free = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**free, "PYTHONWARNINGS": "ignore", **more}


@contextmanager
def started(side: str, data: Path, words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A side that waits for its first turn."""
    command = [sys.executable, "-m", "tests.bench.train_sides", side, str(data), *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with log.open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=free_environment(), stderr=errors, **pipes)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def answers(process: subprocess.Popen[str], log: Path) -> Iterator[Answer]:
    """What a side answers, one turn for each."""
    assert process.stdin and process.stdout
    while True:
        with suppress(BrokenPipeError):  # it may be through, with its last answer unread
            process.stdin.write("\n")
            process.stdin.flush()
        line = next((line for line in process.stdout if line.startswith('{"answer"')), None)
        if line is None:
            break
        yield json.loads(line)["answer"]
    assert process.wait() == 0, log.read_text()[-3000:]


def taken(sides: Mapping[str, int], data: Path, recipe: Path, folder: Path, **changes: Any) -> dict[str, list[Answer]]:
    """The answers of all sides, which take turns until each has done its steps; the last one is the held-out loss."""
    said: dict[str, list[Answer]] = {side: [] for side in sides}
    with ExitStack() as stack:
        running = {}
        for side, steps in sides.items():
            fields = {"output_dir": str(folder / side), "max_steps": steps, **changes}
            words = [str(recipe), *(f"{field}={json.dumps(value)}" for field, value in fields.items())]
            log = folder / f"{side}.log"
            running[side] = answers(stack.enter_context(started(side, data, words, log)), log)
        while running:
            for side in list(running):
                answer = next(running[side], None)
                if answer is None:
                    del running[side]
                else:
                    said[side].append(answer)
    return said


def ratio(theirs: Sequence[Answer], ours: Sequence[Answer], field: str) -> float:
    """The median over the steps both did of how many times as much they take; the first step does not count."""
    return statistics.median(a[field] / b[field] for a, b in zip(theirs[1:], ours[1:], strict=False))


def report(title: str, said: Mapping[str, Sequence[Answer]]) -> str:
    """A line for each side."""
    lines = [title]
    for side, steps in said.items():
        speeds = [statistics.median(step["trained"] / step[field] for step in steps[1:])
                  for field in ("seconds", "cpu_seconds")]  # fmt: skip
        lines.append(
            f"{NAMES[side]:<34}{speeds[0]:6.1f} trained tokens/s, {speeds[1]:6.1f} a CPU second, "
            f"peak {steps[-1]['peak'] / 1e6:,.0f} MB"
        )
    return "\n  ".join(lines)


@pytest.mark.parametrize(("method", "changes"), [("full", FULL), ("LoRA", LORA)])
def test_steps_against_trl(method: str, changes: dict[str, Any], made: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, data = made
    said = taken(STEPS, data, recipe, tmp_path, **changes)
    held_out = {side: steps.pop()["held_out_loss"] for side, steps in said.items()}
    print("\n" + report(f"{method}, {ROWS_A_STEP} dialogues a step, {CORES} cores", said))
    ours = said["ours"]
    for peer, target in (("trl_best", OF_BEST), ("trl_float32", OF_DEFAULTS)):
        both = list(zip(said[peer], ours, strict=False))
        gap = max(abs(a["loss"] - b["loss"]) for a, b in both)
        times, by_cpu = (ratio(said[peer], ours, field) for field in ("seconds", "cpu_seconds"))
        print(
            f"  {times:.2f} times {NAMES[peer]} (target {target}), by CPU seconds {by_cpu:.2f}; equal dialogues, "
            f"losses within {gap:.1e}; its peak memory {said[peer][-1]['peak'] / ours[-1]['peak']:.2f} times ours"
        )
        assert all(a["tokens"] == b["tokens"] for a, b in both)
        assert gap < SAME_LOSS
        assert by_cpu > target
        assert said[peer][-1]["peak"] > ours[-1]["peak"]
    assert held_out["trl_best"] == pytest.approx(held_out["ours"], abs=SAME_LOSS)


def test_packed_rows_against_trl_after_equal_trained_tokens(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, data = made
    values = yaml.safe_load(made[0].read_text())
    few = [{**source, "samples": 5} for source in values["train_data"]]
    recipe = tmp_path / "packed.yaml"
    recipe.write_text(yaml.safe_dump({**values, "train_data": few, "gradient_accumulation_steps": 1}))
    data = tmp_path / "rows"
    command = [sys.executable, "-m", "data_prep", "build", str(recipe), "--out", str(data)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    said = taken({"ours": -1, "trl_packed": -1}, data, recipe, tmp_path, packing=True, **LORA)
    held_out = {side: steps.pop()["held_out_loss"] for side, steps in said.items()}
    print("\n" + report(f"LoRA, an epoch of packed rows of {MAX_LENGTH} tokens, one a step, {CORES} cores", said))
    trained = {side: sum(step["trained"] for step in steps) for side, steps in said.items()}
    spent = {side: sum(step["cpu_seconds"] for step in steps) for side, steps in said.items()}
    print(
        f"  {spent['trl_packed'] / spent['ours']:.2f} times TRL by CPU seconds; held-out loss after "
        f"{trained['ours']:,} trained tokens {held_out['ours']:.4f}, TRL's {held_out['trl_packed']:.4f}"
    )
    assert trained["ours"] == trained["trl_packed"]
    assert held_out["trl_packed"] == pytest.approx(held_out["ours"], rel=SAME_HELD_OUT)


def test_two_processes_against_one_of_as_many_threads(made: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, _ = made
    speeds: dict[str, float] = {}
    losses: dict[str, list[float]] = {}
    for config, processes in (("cpu", 1), ("cpu_ddp", 2), ("cpu_zero2", 2)):
        words = [f"output_dir={tmp_path / config}", f"gradient_accumulation_steps={4 // processes}", "max_steps=6",
                 *(f"{field}={json.dumps(value)}" for field, value in FULL.items())]  # fmt: skip
        environment = free_environment(OMP_NUM_THREADS=str(max(1, CORES // processes)))
        command = [*launch(config), "train.py", str(recipe), *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        steps = [row for row in read_metrics(tmp_path / config / "metrics.jsonl") if "loss" in row]
        losses[config] = [step["loss"] for step in steps]
        speeds[config] = statistics.median(step["tokens_per_s"] for step in steps[1:])
    print(f"\nfull, 4 dialogues a step, {CORES} threads in all, medians of 5 steps")
    for config, speed in speeds.items():
        print(f"  {config:<10}{speed:7.1f} tokens/s, {speed / speeds['cpu']:.2f} of one process")
        assert losses[config] == pytest.approx(losses["cpu"], abs=SAME_LOSS)
