"""The laws of encoding in several processes: the same bytes as in one, no half result, nobody left behind."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data_prep import encode_rows
from data_prep.build import build, main
from data_prep.build_dir import BuildError
from data_prep.workers import Workers, processes_for
from tests.data_prep.byte_encoder import byte_encoder, chat, recipe_of, write_rows
from tests.data_prep.test_build import all_bytes

ROOT = Path(__file__).resolve().parent.parent.parent


class Strange(Exception):
    """One that does not survive pickling."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def work(task):
    """What workers do here."""
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "raise":
        raise BuildError("this row cannot be")
    if task == "strange":
        raise Strange("a", "b")
    if task == "loaded":
        return "torch" in sys.modules and sys.modules["torch"] is not None
    print("noise on stdout")
    time.sleep(task)
    return task


def rows_with_every_fate(path):
    """Some of 60 chats are cut, some refused for control text, some too long altogether."""
    rows = [chat(number) for number in range(60)]
    rows[7] = chat(7, "hi", "<|im_end|>")
    rows[20] = chat(20, "hi", "short", "more", "long " * 60)
    rows[41] = chat(41, "hi", "long " * 60)
    return write_rows(path, rows)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_how_many_processes_encode(tmp_path, monkeypatch):
    monkeypatch.setattr(encode_rows, "CHUNK_DIALOGUES", 7)
    path = rows_with_every_fate(tmp_path / "chats.jsonl")
    recipe = recipe_of(path, held_out_share=0.2, max_rejected=0.1, over_length="truncate_turns")
    for count in (1, 2, 3):
        report = build(recipe, tmp_path / str(count), byte_encoder(), num_proc=count)
        assert (report.rejected, report.truncated_dialogues) == (2, 1)
    one = all_bytes(tmp_path / "1")
    assert {"quarantine.jsonl", "report.json", "held_out.jsonl", "train/data-00000-of-00001.arrow"} < one.keys()
    assert all_bytes(tmp_path / "2") == one == all_bytes(tmp_path / "3")


@pytest.mark.slow
def test_results_come_in_the_order_of_the_tasks_and_workers_load_no_torch():
    with Workers(2, pickle.dumps(work)) as workers:
        assert list(workers.map([0.3, 0.0, 0.1, "loaded", 0.0])) == [0.3, 0.0, 0.1, False, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "error", "said"),
    [
        ("die", BuildError, "an encoding process ended killed"),
        ("raise", BuildError, "this row cannot be"),
        ("strange", RuntimeError, "Strange: a b"),
    ],
)
def test_a_worker_that_dies_or_raises_is_an_error_that_names_the_cause(task, error, said):
    before = psutil.Process().children()
    with pytest.raises(error, match=said), Workers(2, pickle.dumps(work)) as workers:
        list(workers.map([0.0, task, 30.0, 30.0]))
    assert psutil.Process().children() == before


@pytest.mark.slow
def test_a_build_whose_worker_raises_leaves_nothing_behind(tmp_path):
    path = rows_with_every_fate(tmp_path / "chats.jsonl")
    with pytest.raises(BuildError, match="over max_length"):
        build(recipe_of(path, max_rejected=1, over_length="error"), tmp_path / "out", byte_encoder(), num_proc=2)
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")] == ["chats.jsonl"]


# A shell starts its background jobs with Ctrl-C ignored, and this may be run by one.
SLEEPS = """
import pickle, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from data_prep.workers import Workers
from tests.data_prep.test_workers import work
with Workers(2, pickle.dumps(work)) as workers:
    for done in workers.map([0.0, 0.0, SECONDS, SECONDS, 0.0, 0.0, 0.0]):
        print(done, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("end", "seconds"), [(signal.SIGINT, 600), (signal.SIGKILL, 3)])
def test_no_worker_outlives_a_build_that_is_interrupted_or_killed(end, seconds):
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SLEEPS.replace("SECONDS", str(seconds))],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0.0\n"
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        if end == signal.SIGINT:
            os.killpg(process.pid, end)  # as a terminal does
        else:
            process.kill()
        process.wait(timeout=60)
        # A killed parent's workers end with the task in hand, whose answer nobody takes.
        psutil.wait_procs(workers, timeout=60)
        assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]


def test_few_rows_are_encoded_by_one_process():
    assert processes_for(0) == processes_for(1_999) == 1
    assert processes_for(10**9) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("number", ["0", "-2"])
def test_num_proc_below_one_is_wrong_usage(number, capsys):
    with pytest.raises(SystemExit):
        main(["recipe.yaml", "--out", "out", f"--num-proc={number}"])
    assert "give 1 or more" in capsys.readouterr().err


def test_the_quarantine_holds_what_was_read(tmp_path):
    path = rows_with_every_fate(tmp_path / "chats.jsonl")
    build(recipe_of(path, max_rejected=1), tmp_path / "out", byte_encoder())
    found = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["row"], row["code"]) for row in found] == [
        (8, "control_token"),
        (21, "over_length"),
        (42, "over_length"),
    ]
