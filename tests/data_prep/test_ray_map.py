"""Ray Data's map gives the rows of an ordinary build; in a process of its own, since Ray starts many."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from datasets import load_from_disk

from data_prep.build import build
from data_prep.dialogue import Dialogue
from tests.data_prep.byte_encoder import byte_encoder, recipe_of
from tests.data_prep.test_workers import rows_with_every_fate

ROOT = Path(__file__).resolve().parent.parent.parent

SCRIPT = """
import json, os, sys
from pathlib import Path
import ray
from data_prep.ray_map import encoded_by_ray
from tests.data_prep.byte_encoder import byte_encoder, recipe_of

lines, temporary = sys.argv[1:]
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20, _temp_dir=temporary)
data = ray.data.read_text(lines).repartition(4)
recipe = recipe_of(Path(lines), over_length="truncate_turns")
rows = encoded_by_ray(data, recipe, byte_encoder(), workers=2).take_all()
print(json.dumps([{name: list(v) if hasattr(v, "__len__") and not isinstance(v, str) else v for name, v in row.items()}
                  for row in rows], default=int))
"""


@pytest.mark.slow
def test_two_workers_of_ray_give_the_rows_of_an_ordinary_build(tmp_path):
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install -c constraints.txt -e .[ray]")
    path = rows_with_every_fate(tmp_path / "chats.jsonl")
    lines = tmp_path / "canonical.jsonl"
    raw = [json.loads(line) for line in path.read_text().splitlines()]
    lines.write_text("".join(json.dumps(Dialogue.from_dict(row).to_dict()) + "\n" for row in raw))
    recipe = recipe_of(lines, over_length="truncate_turns", packing=False, max_rejected=1)
    report = build(recipe, tmp_path / "out", byte_encoder(), num_proc=1)
    # A token of its own: else Ray writes one into the user's home.
    own = {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32),
           "RAY_worker_niceness": "0"}  # fmt: skip
    # Four CPUs by its own count: the two workers hold one each, and reading needs another. Sockets need short names.
    with tempfile.TemporaryDirectory(prefix="ray-") as short:
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(lines), short]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **own}, timeout=600, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {row["dialogue_id"]: row for row in json.loads(done.stdout.splitlines()[-1])}
    assert len(rows) == 60
    refused = [row["refused"] for row in rows.values() if row["refused"]]
    assert sorted(text.partition(":")[0] for text in refused) == sorted(report.rejected_by_reason)
    built = list(load_from_disk(str(tmp_path / "out"))["train"])
    assert len(built) == 58
    for row in built:
        for column in ("input_ids", "labels", "kinds", "source"):
            assert rows[row["dialogue_id"]][column] == row[column]
