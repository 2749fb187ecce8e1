"""`make bench`: multi-turn generation by our engine, against a plain sequential loop and a padded, unsorted one.

SmolLM2-135M, greedy, float32, all cores; three-round conversations of MathChat's real follow-up rows, the model's own
answers fed back, and calls for dialogues that share tool lists. All sides in one run, by turns; medians, and for the
sequential loop the sum of its turns, each over a third of the conversations.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.bench_encode import CORES, ROOT, in_its_own_process

RUNS = 3
OF_SEQUENTIAL, OF_PADDED = 3.0, 1.3
NEAR_TIE = 1e-3  # logits; closer ones may change places by rounding alone
NAMES = {
    "ours": "ours",
    "padded": "generate, padded batches, unsorted",
    "sequential": "generate, one by one",
}


def report(task: str, found: dict[str, Any]) -> str:
    """The lines of one workload."""
    sides, gaps = found["sides"], found["gaps"]
    lines = [
        f"{task}: {found['conversations']} conversations, {found['turns']} turns of up to {found['limit']} tokens, "
        f"prompts of {found['shortest']:,} to {found['longest']:,} tokens, batches of {found['rows']}, {CORES} cores, "
        f"medians of {RUNS}"
    ]
    for side, name in NAMES.items():
        took = sides[side]
        share = 100 * took["computed"] / found["prompt_tokens"]
        lines.append(
            f"{name:<36}{took['seconds']:7.1f} s, {took['new_tokens'] / took['seconds']:6.1f} new tokens/s, "
            f"{took['cpu_seconds']:7.1f} CPU s, {share:4.0f} % of the prompts' tokens computed"
        )
    for peer, target in (("sequential", OF_SEQUENTIAL), ("padded", OF_PADDED)):
        different = ", ".join(f"{gap:.1e}" for gap in gaps[peer]) or "none"
        lines.append(
            f"{ratio(sides, peer, 'seconds'):.2f} times {peer} (target {target}), by CPU seconds "
            f"{ratio(sides, peer, 'cpu_seconds'):.2f}; conversations that say something else: {len(gaps[peer])} "
            f"(the top two logits at the first difference are apart by: {different})"
        )
    return "\n  ".join(lines)


def ratio(sides: dict[str, Any], peer: str, field: str) -> float:
    """How many times as much the peer takes, per new token where a near tie made answers of another length."""
    theirs, mine = (sides[side][field] / sides[side]["new_tokens"] for side in (peer, "ours"))
    return theirs / mine


def test_generation_against_a_sequential_and_a_padded_loop(real_data_dir: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    shape = [
        "--rows",
        "16",
        "--rows-per-list",
        "8",
        "--split",
        "held_out",
        "--max-calls",
        "2",
        "--max-tools",
        "4",
        "--simple",
    ]
    command = [sys.executable, "-m", "data_prep", "synth", "button", "--out", str(calls), *shape]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = in_its_own_process("tests.bench.generate_sides", str(RUNS), str(real_data_dir), str(calls))
    for task, workload in found.items():
        print("\n" + report(task, workload))
        for gaps in workload["gaps"].values():
            assert all(gap < NEAR_TIE for gap in gaps), gaps
        assert ratio(workload["sides"], "sequential", "cpu_seconds") > 1
