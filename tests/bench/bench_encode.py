"""`make bench`: dialogues in memory to proven Arrow columns, against TRL and the bare tokenizer; the parts of a build.

All sides in one run, by turns, with all cores; medians. Rows are real: MathDial tutoring, Glaive and tau-bench calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CORES = len(os.sched_getaffinity(0))
RUNS = 3
OF_TRL = {"maths": 3.0, "calls": 4.0}
OF_BARE = 0.75


def in_its_own_process(*arguments: str) -> Any:
    """What a module of this folder prints as its last line, run with all cores."""
    free = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = {
        **free,
        "TOKENIZERS_PARALLELISM": "true",
        "RAYON_NUM_THREADS": str(CORES),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("what", ["maths", "calls"])
def test_encoding_with_proofs_against_trl_and_the_bare_tokenizer(what: str, real_data_dir: Path) -> None:
    found = in_its_own_process("tests.bench.encode_sides", str(real_data_dir), what, str(RUNS))
    counts, tokens, seconds, cpu = (found[key] for key in ("counts", "tokens", "seconds", "cpu"))
    lines = [
        f"{what}: {found['dialogues']:,} dialogues, {tokens:,} tokens, Qwen2.5, {CORES} cores "
        f"(RAYON_NUM_THREADS={CORES}; {CORES} of our processes, started before), medians of {RUNS}",
        f"same ids as TRL in {counts['same_ids']:,} of {counts['rows']:,} dialogues; trained by both "
        f"{counts['trained_by_both']:,} tokens",
        *(f"{difference}: {times:,} times" for difference, times in found["only"].items()),
        *(
            f"{side:<5}{tokens / value:>10,.0f} tokens/s {value:6.2f} s; {tokens / cpu[side]:>10,.0f} a CPU second"
            for side, value in seconds.items()
        ),
        f"{seconds['trl'] / CORES / seconds['ours']:.1f} times TRL, its start (two rows) taken off and its one process "
        f"taken to scale to {CORES} cores without loss (target {OF_TRL[what]})",
        f"{seconds['bare'] / seconds['ours']:.2f} of the bare tokenizer (target {OF_BARE})",
        f"by CPU seconds, which other work on the machine disturbs less: {cpu['trl'] / cpu['ours']:.1f} times TRL, "
        f"{cpu['bare'] / cpu['ours']:.2f} of the bare tokenizer",
    ]
    print("\n" + "\n  ".join(lines))
    for peer in ("axolotl", "llamafactory"):
        print(f"  {peer}: {'installed, not measured' if find_spec(peer) else 'not installed here, so not measured'}")
    assert counts["same_ids"] == counts["rows"]
    assert cpu["ours"] < cpu["trl"]


MAX_BYTES_A_ROW = 200
MAX_TIME_RATIO = 1.5


@pytest.mark.parametrize(
    ("words", "packing", "few", "many"),
    [(1, "true", 20_000, 200_000), (1, "false", 20_000, 200_000), (300, "true", 2_000, 20_000)],
)
def test_ten_times_the_rows_take_ten_times_the_time_and_at_most_200_bytes_a_row(
    words: int, packing: str, few: int, many: int
) -> None:
    fields = ["deduplicate=exact", "held_out_share=0.1", f"packing={packing}", "max_length=2000"]
    print(f"\nbuild of rows of {words} words, {', '.join(fields)}")
    found = [in_its_own_process("tests.bench.build_size", str(rows), str(words), *fields) for rows in (few, many)]
    for build in found:
        parts = ", ".join(f"{part} {value:.1f}" for part, value in build["parts"].items())
        print(f"  {build['rows']:>7,} rows: {build['seconds']:.1f} s ({parts}), peak {build['peak'] / 1e6:.1f} MB")
    small, large = found
    grown = (large["peak"] - small["peak"]) / (many - few)
    times = large["seconds"] / small["seconds"]
    mark = "" if large["mark_set_back"] else " (by ru_maxrss: the high-water mark cannot be set back here)"
    print(f"  {many / few:.0f} times the rows: {times:.1f} times the time; the peak, above what was resident before, "
          f"{grown:.0f} bytes a row higher (target {MAX_BYTES_A_ROW}){mark}")  # fmt: skip
    assert grown <= MAX_BYTES_A_ROW
    assert times < MAX_TIME_RATIO * many / few
