"""Known answers of GTA on three samples of our own in the release's form: T = 6 gold calls, A = 2 gold answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from data_prep.dialogue import Dialogue, Message, ToolCall, call_to_dict, message_to_dict
from eval.environments.gta import GtaEnvironment
from eval.gta_data import answer_score, call_error, load_similarity, read_samples
from eval.protocol import EvalError, Item, Score, Step
from eval.run import evaluate
from eval.tasks import gta, gta_step
from eval.transcripts import make_record
from tests.eval.helpers import ScriptedBackend, reply_of
from tests.eval.policies import answering, calling, text_of

DATA = [str(Path(__file__).parent / "fixtures" / "gta")]
STEPS = gta_step.load(DATA, None).items
QUERIES = gta.load(DATA, None).items
Similarity = Callable[[str, str], float]
QUIET = Console(quiet=True)


def words_shared(left: str, right: str) -> float:
    """A similarity that is known by hand: the share of the reference's words that the answer has; 0.2 less, to go
    below 0 where nothing is shared."""
    wanted = right.lower().strip(".").split()
    return sum(word in left.lower() for word in wanted) / len(wanted) - 0.2


def step_score(item: Item, text: str, similarity: Similarity | None = words_shared) -> Score:
    assert gta_step.next_request(item, []) is not None
    steps = [Step(item.dialogue, reply_of(text, True))]
    assert gta_step.next_request(item, steps) is None
    return gta_step.scorer(lambda: similarity)(item, steps)


def gold_text(item: Item) -> str:
    message = item.gold["message"]
    if "tool_calls" not in message:
        return text_of(answering(message["content"]))
    call = gta_step.gold_call(item)
    return text_of(calling((call.name, call.arguments)))


def mean(scores: list[Score], metric: str) -> tuple[float, int]:
    """(sum, denominator)"""
    values = [score.values[metric] for score in scores if metric in score.values]
    return sum(values), len(values)


# ---- step by step


def test_the_denominators_are_t_plus_a_t_t_and_a() -> None:
    # Sample 0 has 2 calls and an answer, sample 1 too, sample 2 has 2 calls and no answer: T = 6, A = 2.
    scores = [step_score(item, gold_text(item)) for item in STEPS]
    assert {metric: mean(scores, metric)[1] for metric in gta_step.METRICS} == {
        "inst_acc": 8,
        "tool_acc": 6,
        "arg_acc": 6,
        "summ_acc": 2,
    }


def test_the_gold_policy_makes_every_step_right() -> None:
    scores = [step_score(item, gold_text(item)) for item in STEPS]
    assert [mean(scores, metric)[0] for metric in ("inst_acc", "tool_acc", "arg_acc")] == [8, 6, 6]
    # Sample 0: "18" and "tomato soups" are there, "20.8" is not: 1. Sample 1: "The seven sheep keep the meadow open by
    # grazing." has grazing, sheep, keep, a (in "meadow"), meadow, open: 6 of 6 - 0.2 = 0.8 of the first reference; of
    # the second only sheep of 7: lower.
    assert [score.values["summ_acc"] for score in scores if "summ_acc" in score.values] == [1.0, pytest.approx(0.8)]


def test_each_error_costs_inst_acc_and_only_what_depends_on_it() -> None:
    item = next(item for item in STEPS if item.id == "gta-0/1")  # gold: OCR(image="image/image_1.jpg")
    image = {"image": "image/image_1.jpg"}
    known = {
        text_of(calling(("OCR", image))): (1, 1, 1, "without error"),
        text_of(calling(("OCR", image), ("Shell", {}))): (1, 1, 1, "without error"),  # only the first call counts
        text_of(calling(("Shell", {}), ("OCR", image))): (0, 0, 0, "unknown_function"),
        text_of(calling(("OCR", {}))): (0, 1, 0, "missing_argument"),
        text_of(calling(("OCR", image | {"lang": "en"}))): (0, 1, 0, "unknown_argument"),
        text_of(calling(("OCR", {"image": "image/image_9.jpg"}))): (0, 1, 0, "missing_file"),
        text_of(calling(("Calculator", {"expression": "1"}))): (1, 0, 0, "without error"),
        text_of(calling(("Calculator", {"expression": 1}))): (1, 0, 0, "without error"),  # a wrong type is no error
    }
    for text, (inst, tool, arguments, note) in known.items():
        score = step_score(item, text)
        assert list(score.values.values()) == [inst, tool, arguments] and score.notes["call"] == note, text
        assert not score.unparsed


def test_the_wrong_kind_of_step_is_wrong_and_a_turn_that_cannot_be_read_is_unparsed_besides() -> None:
    call, answer = STEPS[0], next(item for item in STEPS if item.id == "gta-0/5")
    said = step_score(call, text_of(answering("18, tomato soup.")))
    assert set(said.values.values()) == {0.0} and not said.unparsed
    called = step_score(answer, text_of(calling(("Calculator", {"expression": "1"}))))
    assert called.values == {"inst_acc": 0.0, "summ_acc": 0.0} and not called.unparsed
    for item in (call, answer):
        broken = step_score(item, 'I call. <call>[{"name": "OCR", "arguments": {</call>')
        assert set(broken.values.values()) == {0.0} and set(broken.unparsed) == set(broken.values)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("It is EIGHTEEN for the Tomato Soup.", 1),
        ("18.", 0),  # one group of two
        ("It costs 180 for tomato soup", 0),  # 18 is no word of it
        ("18 for tomato soup, 20.8 for the other", 0),  # the blacklist
    ],
)
def test_a_whitelist_needs_every_group_as_words_and_a_blacklist_none(text: str, right: int) -> None:
    assert answer_score(text, STEPS[2].gold["answer"], None) == right


def test_an_alias_that_ends_in_a_sign_matches_before_a_space() -> None:
    assert answer_score("about 50% of it", {"whitelist": [["50%"]], "blacklist": []}, None) == 1


def test_similarity_is_the_best_over_the_references_and_never_below_0() -> None:
    references = ["cats sleep", "dogs bark loudly now"]
    assert answer_score("dogs bark", references, words_shared) == pytest.approx(0.5 - 0.2)  # 2 of 4; of the first 0
    assert answer_score("fish", references, words_shared) == 0.0  # -0.2 of both


@pytest.mark.parametrize("text", [answering("Sheep graze."), calling(("GoogleSearch", {"query": "x"}))])
def test_without_a_similarity_model_a_sentence_answer_is_unscored_whatever_was_said(text: Message) -> None:
    item = next(item for item in STEPS if item.id == "gta-1/5")
    score = step_score(item, text_of(text), similarity=None)
    assert set(score.values) == {"inst_acc"} and "sentence-transformers" in score.notes["unscored"]


def test_the_default_similarity_names_the_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(EvalError, match="package sentence-transformers"):
        load_similarity()


def test_the_model_sees_gold_calls_and_results_but_no_gold_thought_and_no_gold_answer() -> None:
    item = next(item for item in STEPS if item.id == "gta-0/5")
    shown = json.dumps(item.dialogue.to_dict())
    assert "Onion soup 5.20" in shown and "4 * 4.5" in shown and "`image/image_1.jpg`" in shown
    assert "I use" not in shown and "Four tomato soups" not in shown


def test_a_missing_release_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"dataset.json.*gta_dataset.zip.*--data DIR"):
        gta.load([str(tmp_path)], None)
    (tmp_path / "dataset.json").write_text('{"0": {"tools": []}}')
    with pytest.raises(EvalError, match="sample '0'"):
        gta.load([str(tmp_path)], None)


def test_tools_that_the_data_only_name_are_read_from_toolmeta(tmp_path: Path) -> None:
    rows = json.loads((Path(DATA[0]) / "dataset.json").read_text())
    for row in rows.values():
        row["tools"] = [{"name": tool["name"]} for tool in row["tools"]]
    (tmp_path / "dataset.json").write_text(json.dumps(rows))
    (tmp_path / "toolmeta.json").write_text((Path(DATA[0]) / "toolmeta.json").read_text())
    assert read_samples([str(tmp_path)]) == read_samples(DATA)


def test_a_sample_in_which_nobody_asks_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = json.loads((Path(DATA[0]) / "dataset.json").read_text())
    first = next(iter(rows))
    rows[first]["dialogs"] = [{"role": "assistant", "content": "Hello."}]
    (tmp_path / "dataset.json").write_text(json.dumps(rows))
    samples, left_out = read_samples([str(tmp_path)])
    assert first not in [sample.id for sample in samples] and left_out == {"no_user_turn": 1}


# ---- end to end

Policy = Callable[[Item, int], Message]


def play(item: Item, policy: Policy) -> list[Step]:
    steps: list[Step] = []
    while (request := gta.next_request(item, steps)) is not None:
        steps.append(Step(request.dialogue, reply_of(text_of(policy(item, len(steps))), True)))
    return steps


def run(item: Item, policy: Policy) -> Score:
    return gta.scorer(lambda: words_shared)(item, play(item, policy))


def gold(item: Item, turn: int) -> Message:
    chain = gta.gold_chain(item)
    if turn < len(chain):
        return calling((chain[turn][0].name, chain[turn][0].arguments))
    return answering(
        {"gta-0": "18 for tomato soup", "gta-1": "Grazing sheep keep a meadow open."}.get(item.id, "Done.")
    )


def totals(policy: Policy) -> dict[str, float]:
    played = [(item, play(item, policy)) for item in QUERIES]
    return gta.totals([make_record(gta.TASK, item, steps, gta.TASK.score(item, steps)) for item, steps in played])


def test_the_gold_policy_answers_right_with_full_tool_f1() -> None:
    scores = [run(item, gold) for item in QUERIES]
    # Sample 1: all 6 words of the first reference - 0.2. Sample 2 has no gold answer and is not in A.
    assert [score.values.get("ans_acc") for score in scores] == [1.0, pytest.approx(0.8), None]
    f1 = {name: value for score in scores for name, value in score.values.items() if name.startswith("f1_")}
    assert set(f1.values()) == {1.0} and set(f1) == {"f1_perception", "f1_operation", "f1_logic", "f1_creativity"}
    assert {score.notes["failed_calls"] for score in scores} == {"0"}
    assert set(totals(gold).values()) == {1.0}


def test_the_first_results_come_back_to_the_model() -> None:
    steps = play(QUERIES[0], gold)
    shown = [message.content for message in steps[-1].dialogue.messages if message.role == "tool"]
    assert shown == ["Tomato soup 4.50\nOnion soup 5.20", "18.0"]


def test_tool_f1_is_taken_over_all_samples_and_a_name_hits_anywhere() -> None:
    def calls_ocr_twice(item: Item, turn: int) -> Message:
        image = {"image": item.gold["files"][0]}
        return calling(("OCR", image)) if turn < 2 else answering("Done.")

    # Gold: perception OCR in 0 and 2, logic Calculator in 0 and CountGivenObject in 1, operation GoogleSearch in 1,
    # creativity ImageStylization in 2. Made: OCR twice in each of the three samples = 6 perception calls, of which the
    # gold OCRs of samples 0 and 2 are hit. F1 = 2 * 2 / (2 + 6) = 0.5, P = 2/6, R = 2/2; the others 0.
    assert totals(calls_ocr_twice) == {
        "tool_f1_perception": pytest.approx(0.5),
        "tool_f1_operation": 0.0,
        "tool_f1_logic": 0.0,
        "tool_f1_creativity": 0.0,
    }
    # Within sample 0: perception 2 * 1 / (1 + 2) = 2/3. Sample 1's gold has no perception call: not in the denominator.
    found = [run(item, calls_ocr_twice).values.get("f1_perception") for item in QUERIES]
    assert found == [pytest.approx(2 / 3), None, pytest.approx(2 / 3)]


def test_a_policy_that_never_stops_ends_after_10_turns_without_an_answer() -> None:
    steps = play(QUERIES[0], lambda item, turn: calling(("Calculator", {"expression": f"{turn} + 1"})))
    score = gta.TASK.score(QUERIES[0], steps)
    assert len(steps) == 10 and score.notes["ending"] == "step_limit" and score.values["ans_acc"] == 0.0


def environment() -> GtaEnvironment:
    item = QUERIES[1]
    return GtaEnvironment(item.dialogue.tools, item.gold["files"], gta.gold_chain(item))


def test_another_call_of_a_tool_gets_its_next_unused_gold_result_once() -> None:
    world = environment()
    search = ToolCall("", "GoogleSearch", {"query": "sheep meadow"})
    assert world.execute(search) == "Grazing keeps meadows open."
    assert world.execute(search).startswith("Error: GoogleSearch found nothing")
    exact = ToolCall("", "GoogleSearch", {"query": "use of sheep on meadows"})
    assert [world.execute(exact), world.execute(exact)] == ["Grazing keeps meadows open."] * 2
    assert world.errors == ["no_result"]


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("(1.5 + 2) * 4", "14"),
        ("1 / 3", "0.333333333333"),
        ("__import__('os').system('true')", "Error: not arithmetic"),
        ("9 ** 9 ** 9", "Error: not arithmetic"),
        ("1 / 0", "Error: not arithmetic"),
        ("9" * 2000, "Error: expression must"),
        (["1"], "Error: expression must"),
    ],
)
def test_the_calculator_computes_arithmetic_and_nothing_else(expression: object, result: str) -> None:
    item = QUERIES[0]
    world = GtaEnvironment(item.dialogue.tools, item.gold["files"], gta.gold_chain(item))
    found = world.execute(ToolCall("", "Calculator", {"expression": expression}))
    assert found == result if not result.startswith("Error") else found.startswith(result)


def test_hostile_turns_end_unparsed_or_as_tool_errors() -> None:
    hostile = ["<call>" + "[" * 3000 + "</call>", '<call>[{"name": "\\ud800", "arguments": {}}]</call>', "\x1b[2J"]
    for text in hostile:
        steps = [Step(QUERIES[0].dialogue, reply_of(text, True))]
        score = gta.scorer(lambda: words_shared)(QUERIES[0], steps)
        assert score.values["ans_acc"] == 0.0
    for call in (ToolCall("", "OCR", {"image": "/etc/passwd"}), ToolCall("", "OCR", {"image": ["x"]})):
        assert call_error(call, QUERIES[0].dialogue.tools, QUERIES[0].gold["files"]) == "missing_file"


def test_a_gold_call_stands_in_the_transcript_as_json() -> None:
    assert QUERIES[0].gold["chain"][0]["call"] == call_to_dict(gta.gold_chain(QUERIES[0])[0][0])
    assert json.loads(json.dumps(QUERIES[0].gold)) == QUERIES[0].gold
    assert message_to_dict(QUERIES[0].dialogue.messages[0])["role"] == "user"


def test_a_report_of_both_modes_holds_the_published_tool_f1(tmp_path: Path) -> None:
    def place(dialogue: Dialogue) -> tuple[str, int]:
        return dialogue.messages[0].content, len(dialogue.messages)

    golds = {place(item.dialogue): gold_text(item) for item in STEPS}

    def say(dialogue: Dialogue) -> str:  # the gold step; after sample 2's chain, which has no answer, a word
        return golds.get(place(dialogue), text_of(answering("Done.")))

    tasks = [gta_step.TASK, gta.TASK]
    loaded = {task.name: task.load(DATA, None) for task in tasks}
    report = evaluate(ScriptedBackend(say), "m", tasks, loaded, DATA, str(tmp_path / "report"), console=QUIET)
    steps, whole = report["tasks"]["gta_step"], report["tasks"]["gta"]
    assert [steps["metrics"][name]["right"] for name in ("inst_acc", "tool_acc", "arg_acc")] == [8, 6, 6]
    assert set(whole["totals"].values()) == {1.0} and len(whole["totals"]) == 4
    assert whole["notes"]["ending"] == {"answer": 3} and "totals" not in steps
    for file in ("report.md", "report.html"):
        assert "tool_f1_perception, over all items" in (tmp_path / "report" / file).read_text(encoding="utf-8")
