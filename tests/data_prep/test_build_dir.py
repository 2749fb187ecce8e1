"""A build directory is whole or not there: in use, full disk, killed, two at once, several processes."""

import json
import multiprocessing
import os
import resource
import threading
import time
from pathlib import Path

import psutil
import pytest

from data_prep import build_dir
from data_prep.build import build, build_once
from data_prep.build_dir import BuildError
from data_prep.split import SplitError
from tests.data_prep.byte_encoder import byte_encoder, chat, recipe_of, write_rows


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than the rest of a small build; test_build.py looks at the picture."""
    monkeypatch.setattr("data_prep.build.draw_lengths", lambda path, *_: path.write_bytes(b""))


@pytest.fixture
def chats(tmp_path):
    return write_rows(tmp_path / "chats.jsonl", [chat(number) for number in range(400)])


def what_is_left(tmp_path):
    return sorted(name for name in os.listdir(tmp_path) if name not in ("chats.jsonl", ".out.lock"))


def test_a_directory_that_holds_something_else_is_refused_and_left_alone(tmp_path, chats):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(BuildError, match=r"output directory in use: it holds thesis.tex.*give another --out"):
        build(recipe_of(chats), tmp_path / "out", byte_encoder())
    assert os.listdir(tmp_path / "out") == ["thesis.tex"]
    with pytest.raises(BuildError, match="is a file; give a directory"):
        build(recipe_of(chats), chats, byte_encoder())


def test_an_empty_directory_is_built_into(tmp_path, chats):
    (tmp_path / "out").mkdir()
    assert build(recipe_of(chats), tmp_path / "out", byte_encoder()).train.dialogues == 400


@pytest.mark.parametrize("limit", [1_000, 40_000, 90_000, 140_000])
def test_no_space_left_is_a_clear_error_with_nothing_half_written(tmp_path, chats, limit):
    # A limit on the size of any file fails the same writes as a full disk, whichever file reaches it first.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(BuildError, match=r"no disk space left while writing.*nothing was left behind"):
            build(recipe_of(chats, packing=False), tmp_path / "out", byte_encoder())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert what_is_left(tmp_path) == []


def test_a_failed_rebuild_leaves_the_old_build_as_it_was(tmp_path, chats):
    build(recipe_of(chats), tmp_path / "out", byte_encoder())
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(SplitError):
        build(recipe_of(write_rows(chats, [chat(0)]), held_out_share=0.5), tmp_path / "out", byte_encoder())
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert what_is_left(tmp_path) == ["out"]


def test_leftovers_of_a_killed_build_are_in_nobodys_way(tmp_path, chats):
    (tmp_path / ".out.partial" / "train").mkdir(parents=True)
    build(recipe_of(chats), tmp_path / "out", byte_encoder())
    assert what_is_left(tmp_path) == ["out"]


def _build_in_process(chats, out, report):
    report.put(build(recipe_of(chats), out, byte_encoder()).train.dialogues)


def test_two_builds_of_one_directory_do_not_clash(tmp_path, chats):
    context = multiprocessing.get_context("fork")
    reports = context.Queue()
    builders = [context.Process(target=_build_in_process, args=(chats, tmp_path / "out", reports)) for _ in range(2)]
    for builder in builders:
        builder.start()
    counts = [reports.get(timeout=120) for _ in builders]
    for builder in builders:
        builder.join()
    assert counts == [400, 400]
    assert what_is_left(tmp_path) == ["out"]


def run_ranks(recipe, out, delays, timeout_s=60.0):
    """What each rank returned or raised; rank r starts after delays[r] seconds."""
    results: list[object] = [None] * len(delays)

    def rank(number):
        time.sleep(delays[number])
        try:
            results[number] = build_once(recipe, out, number, len(delays), byte_encoder(), timeout_s)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(len(delays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("delays", [(0.5, 0, 0), (0, 0.5, 0.1)])
def test_all_ranks_return_the_report_of_the_one_build(tmp_path, chats, delays):
    results = run_ranks(recipe_of(chats), tmp_path / "out", delays)
    assert results[0].train.dialogues == 400
    assert results[1] == results[2] == results[0]


@pytest.mark.parametrize("delays", [(0.5, 0), (0, 0.5)])
def test_the_waiting_ranks_fail_with_rank_0s_error(tmp_path, delays):
    recipe = recipe_of(write_rows(tmp_path / "one.jsonl", [chat(0)]), held_out_share=0.5)
    started = time.monotonic()
    results = run_ranks(recipe, tmp_path / "out", delays)
    assert isinstance(results[0], SplitError)
    assert isinstance(results[1], BuildError) and f"rank 0 could not build the data set: {results[0]}" == str(
        results[1]
    )
    assert time.monotonic() - started < 20


def test_an_old_build_or_an_old_error_does_not_answer_for_this_one(tmp_path, chats):
    build(recipe_of(chats), tmp_path / "out", byte_encoder())
    note = tmp_path / ".out.failed"
    note.write_text(json.dumps({"time": psutil.Process().create_time() - 60, "error": "of an earlier launch"}))
    write_rows(chats, [chat(number) for number in range(10)])
    results = run_ranks(recipe_of(chats), tmp_path / "out", (1.0, 0))
    assert [result.train.dialogues for result in results] == [10, 10]
    assert not note.exists()


def test_a_rank_0_that_never_comes_ends_in_the_stated_timeout(tmp_path, chats, monkeypatch):
    monkeypatch.setattr(build_dir, "POLL_S", 0.01)
    with pytest.raises(BuildError, match=r"rank 0 did not finish building within 0 s; build the data set before"):
        build_once(recipe_of(chats), Path(tmp_path / "out"), 1, 2, byte_encoder(), timeout_s=0.05)
