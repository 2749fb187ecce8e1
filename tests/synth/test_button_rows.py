"""Laws of exported synthetic BUTTON rows."""

from __future__ import annotations

import copy
import json
import re

import pytest

from data_prep import button
from data_prep.sources.button import to_dialogue
from data_prep.synth import cli
from data_prep.synth.compose import make_row
from data_prep.synth.options import Options
from data_prep.synth.phrases import GRAMMARS
from data_prep.synth.verify import check_row

ROWS = {split: [make_row(split, 11, index) for index in range(250)] for split in ("train", "held_out")}
SIMPLE = Options(max_calls=2, max_tools=4, rows_per_list=2, simple=True)
BOTH = pytest.mark.parametrize("split", ["train", "held_out"])


def word_runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z']+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


@BOTH
def test_every_row_is_proven_by_the_independent_checker(split):
    problems = {row["id"]: check_row(row) for row in ROWS[split]}
    assert not {key: found for key, found in problems.items() if found}


def tampered(row, where, change):
    row = copy.deepcopy(row)
    row["messages"][where]["content"] = change(row["messages"][where]["content"])
    return row


def test_the_checker_notices_a_changed_result():
    row = ROWS["train"][0]
    entries = json.loads(row["messages"][3]["content"])
    key = next(iter(entries[0]["results"]))
    entries[0]["results"][key] = "something else"
    assert any("executed again" in p for p in check_row(tampered(row, 3, lambda _: json.dumps(entries))))


def test_the_checker_notices_a_number_from_nowhere_in_the_answer():
    problems = check_row(tampered(ROWS["train"][0], -1, lambda text: text.replace("<final>", "<final>31337 ")))
    assert any("31337" in problem for problem in problems)


def test_the_checker_notices_a_thought_that_miscounts_its_turn():
    row = tampered(ROWS["train"][0], 2, lambda text: text.replace("Step 1 of", "Step 2 of"))
    assert any("counts itself as 'Step 2 of" in problem for problem in check_row(row))


def test_the_checker_notices_an_argument_from_nowhere():
    row = next(row for row in ROWS["train"] if row["meta"]["chain"][0] == "find_station")
    city = json.loads(row["messages"][3]["content"])[0]["arguments"]["city"]
    assert any("comes from nowhere" in p for p in check_row(tampered(row, 1, lambda text: text.replace(city, "town"))))


def test_the_checker_notices_a_tool_name_in_the_request():
    row = ROWS["train"][0]
    assert any("names the tool" in p for p in check_row(tampered(row, 1, lambda t: t + row["meta"]["chain"][0])))


@BOTH
def test_rows_are_read_and_written_back_unchanged_by_the_button_source(split):
    for row in ROWS[split][:50]:
        dialogue = to_dialogue(row, "fallback")
        assert dialogue.id == row["id"]
        assert dialogue.meta["parallel_calls"] == row["meta"]["parallel_calls"]
        assert button.to_messages(dialogue) == row["messages"]


@BOTH
def test_parallel_on_calls_what_is_independent_in_one_turn_and_off_never(split):
    for row in ROWS[split]:
        first = button.parse_turn(row["messages"][2]["content"])
        together = row["meta"]["shape"].startswith("parallel") and row["meta"]["parallel_calls"]
        assert len(first.tool_calls) == (2 if together else 1)


@BOTH
def test_independent_calls_come_in_the_order_in_which_the_request_mentions_them(split):
    for row in (row for row in ROWS[split] if row["meta"]["shape"].startswith("parallel")):
        calls = [call for m in row["messages"] if m["role"] == "tool" for call in json.loads(m["content"])][:2]
        given = [str(next(iter(call["arguments"].values()))) for call in calls]
        request = row["messages"][1]["content"]
        assert request.find(given[0]) <= request.rfind(given[1]), (request, given)


@BOTH
def test_the_first_thought_quotes_the_request_and_the_others_the_plan_before_them(split):
    grammar = GRAMMARS[split]
    for row in ROWS[split]:
        request, first, *others = [m["content"] for m in row["messages"][1:] if m["role"] != "tool"]
        quote = re.match(r"\w+ 1 of \d+: (.*?)\. (?:I use|I call) ", first)[1].lower()
        words, request = quote.split(grammar.also), request.lower()
        halves = [(grammar.also.join(words[:at]), grammar.also.join(words[at:])) for at in range(len(words))]
        assert any(left in request and right in request for left, right in halves), (quote, request)
        planned = first.split("<call>")[0].rpartition("}")[2].split(grammar.then)[1:]  # behind the calls
        aims = [re.match(r"\w+ \d+ of \d+: (.*?)\.", text)[1] for text in others]
        assert aims == [*(name.rstrip(".") for name in planned), grammar.done]


def test_rows_that_share_a_simple_list_call_different_tools_of_it():
    rows = [make_row("train", 3, index, SIMPLE) for index in range(80)]
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    assert all(first["messages"][0] == second["messages"][0] for first, second in pairs)
    disjoint = [set(first["meta"]["chain"]).isdisjoint(second["meta"]["chain"]) for first, second in pairs]
    assert sum(disjoint) >= 0.95 * len(pairs)  # a call that can't be executed is replaced by the other plan's


@BOTH
def test_the_last_tool_of_the_list_is_not_always_the_last_of_the_plan(split):
    places = set()
    for row in ROWS[split]:
        listing = to_dialogue(row, "fallback").tools
        names = [tool["function"]["name"] for tool in listing]
        assert len(names) >= 4 and len(set(names) - set(row["meta"]["chain"])) >= 1
        places.add(names.index(row["meta"]["chain"][-1]))
    assert places >= {0, 1, 2, 3}


def test_held_out_requests_share_no_run_of_four_words_with_training_requests():
    seen = {split: set().union(*(word_runs(row["messages"][1]["content"], 4) for row in ROWS[split])) for split in ROWS}
    assert not seen["train"] & seen["held_out"]


def test_the_two_grammars_share_no_template_and_no_run_of_three_words():
    runs = {}
    for split, grammar in GRAMMARS.items():
        texts = [
            text for field in grammar for entry in field for text in ([entry] if isinstance(entry, str) else entry)
        ]
        pieces = [piece for text in texts for piece in re.split(r"{\w+}", text)]
        runs[split] = set().union(*(word_runs(piece, 3) for piece in pieces))
    assert not runs["train"] & runs["held_out"]


def test_the_rows_share_no_domain_and_no_tool_between_the_splits():
    domains, tools = {}, {}
    for split, rows in ROWS.items():
        domains[split] = {name for row in rows for name in row["meta"]["domains"]}
        tools[split] = {tool["function"]["name"] for row in rows for tool in to_dialogue(row, "x").tools}
    assert not domains["train"] & domains["held_out"]
    assert not tools["train"] & tools["held_out"]


def test_requests_are_varied():
    for rows in ROWS.values():
        assert len({row["messages"][1]["content"] for row in rows}) > 0.97 * len(rows)
        assert len({row["meta"]["template"] for row in rows}) > 20
        assert len({row["meta"]["shape"] for row in rows}) == 5


@pytest.mark.parametrize("kind", ["button", "mathchat"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(kind, tmp_path):
    for name, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        assert cli.main([kind, "--out", str(tmp_path / name), "--rows", "20", "--seed", seed]) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    assert a.count(b"\n") == 20


def test_the_first_rows_do_not_depend_on_how_many_are_asked_for(tmp_path):
    for name, rows in (("a", "5"), ("b", "12")):
        cli.main(["button", "--out", str(tmp_path / name), "--rows", rows])
    assert (tmp_path / "b").read_bytes().startswith((tmp_path / "a").read_bytes())


def test_an_unwritable_path_is_an_error_that_names_it(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["button", "--out", str(tmp_path / "file" / "rows.jsonl"), "--rows", "1"]) == 1
    assert "rows.jsonl" in capsys.readouterr().err


def test_an_unknown_backend_and_too_few_rows_are_refused(tmp_path, capsys):
    for extra in (["--rows", "0"], ["--rows", "1", "--backend", "endpoint"]):
        with pytest.raises(SystemExit):
            cli.main(["button", "--out", str(tmp_path / "x"), *extra])
    assert "a server needs --base-url and --model" in capsys.readouterr().err
