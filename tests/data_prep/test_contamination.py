"""Evaluation text is found in training data however it is wrapped, named, and kept out; stock phrases are not it."""

import json
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from data_prep import contamination
from data_prep.build import build
from data_prep.contamination import Contamination, EvaluationSetError, evaluation_files, read_items, words_of
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.sources import gsm8k
from recipes import RecipeError
from tests.data_prep.byte_encoder import byte_encoder, chat, recipe_of, write_rows

QUESTION = (
    "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning, sells 1,200 eggs a year at the "
    "market for $2 per egg, and bakes muffins. How much in dollars does she make every day?"
)
ANSWER = "She sells 16 - 3 = <<16-3=13>>13 eggs.\n#### 18"


def dialogue(*texts, number=0):
    return Dialogue.from_dict(chat(number, *texts))


@pytest.fixture
def items(tmp_path):
    return write_rows(tmp_path / "items.jsonl", [{"question": QUESTION, "answer": ANSWER}])


def find(path, *texts):
    return Contamination([str(path)]).find(dialogue(*texts))


def test_words_leave_out_case_punctuation_and_calculator_annotations():
    assert words_of("She's paid $1,200 <<600*2=1200>>for ２ days") == ["she", "s", "paid", "1200", "for", "2", "days"]


def test_a_copy_in_other_case_and_punctuation_inside_a_longer_message_is_found(items):
    copy = QUESTION.upper().replace("’", "'").replace(". ", " -- ").replace("1,200", "1200")
    match = find(items, "Hello!", "Hi.", f"Solve this, please:\n{copy} Thank you!", "18")
    assert match is not None and match.set_name == str(items) and match.item == "items.jsonl:1"
    assert match.words == match.of_words == len(words_of(QUESTION))
    assert match.passage.startswith("janet s ducks lay 16 eggs per day")
    assert "items.jsonl:1: 'janet s ducks lay" in match.message()


@pytest.mark.parametrize("turn", [0, 1])
def test_it_is_found_in_either_sides_turns(items, turn):
    texts = ["something", "something else"]
    texts[turn] = QUESTION
    assert find(items, *texts) is not None


def test_thoughts_are_searched_too(items):
    row = chat(0)
    row["messages"][1]["thinking"] = f"I remember: {QUESTION}"
    assert Contamination([str(items)]).find(Dialogue.from_dict(row)) is not None


def test_the_arguments_of_calls_are_searched_too(items):
    call = ToolCall(id="a", name="solve", arguments={"problem": [f"Solve this:\n{QUESTION}"], "digits": 2})
    asked = dialogue("Help me.", "Gladly.")
    called = replace(asked, messages=(asked.messages[0], Message(role="assistant", tool_calls=(call,))))
    assert Contamination([str(items)]).find(called) is not None


@pytest.mark.parametrize("name", ["items.jsonl", "items.json"])
def test_an_item_that_cannot_be_read_is_an_error_and_never_passed_over(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"question": QUESTION}) + '\n{"question": "cut o\n')
    with pytest.raises(EvaluationSetError, match=rf"{name}:2: the line is not JSON"):
        Contamination([str(tmp_path / name)])


def test_a_part_counts_from_half_of_the_passage_on(items):
    words = QUESTION.split()
    assert find(items, " ".join(words[: len(words) // 2 + 2]), "18") is not None
    assert find(items, " ".join(words[:14]), "18") is None  # a run of 13, but not half of it
    mixed = " ".join(word for at, word in enumerate(words) for word in ([word, "umm"] if at % 12 == 11 else [word]))
    assert find(items, mixed, "18") is None  # no 13 words in a row


def test_thirty_words_are_enough_of_a_long_passage(tmp_path):
    passage = " ".join(f"word{number}" for number in range(200))
    path = write_rows(tmp_path / "items.jsonl", [{"text": passage}])
    assert find(path, " ".join(passage.split()[100:130]), "x") is not None
    assert find(path, " ".join(passage.split()[100:129]), "x") is None


def test_words_that_continue_in_the_next_turn_are_not_one_run(items):
    words = QUESTION.split()
    pieces = [" ".join(words[at : at + 10]) for at in range(0, len(words), 10)]
    assert find(items, *pieces) is None


def test_a_short_passage_must_stand_there_whole(tmp_path):
    path = write_rows(tmp_path / "items.jsonl", [{"question": "How many apples does Tim have after Tuesday then?"}])
    assert find(path, "Well: how many apples does Tim have after Tuesday, then? Thanks.", "4") is not None
    assert find(path, "How many apples does Tim have after Tuesday?", "4") is None


def test_an_item_of_tiny_requests_matches_the_same_whole_turns_only(tmp_path):
    turns = [[{"role": "user", "content": "List the files."}], [{"role": "user", "content": "Move a.txt to /tmp."}]]
    path = tmp_path / "bfcl.json"  # BFCL's own files: JSON Lines called .json, `question` a list per turn
    path.write_text(json.dumps({"id": "multi_turn_base_0", "question": turns, "initial_config": {}}) + "\n")
    assert find(path, "list the files", "a.txt", "Move a.txt to /tmp", "Done.") is not None
    assert find(path, "List the files.", "a.txt", "Thanks.", "Done.") is None
    assert find(path, "Please: List the files. Move a.txt to /tmp.", "Done.") is None


def test_a_mathchat_dialogue_is_searched_turn_by_turn(tmp_path):
    turn = "If Janet donates two of her eggs to a local food pantry every day, how much does she make now?"
    row = {"question": QUESTION, "answer": ANSWER, "followup": f"A: {turn}\nB: She makes 14.\n\nA: {turn[::-1]} ?"}
    path = write_rows(tmp_path / "follow_up.jsonl", [row])
    [item] = read_items(path)
    assert words_of(turn) in item.passages
    assert find(path, turn, "14") is not None


def test_a_phrase_that_unrelated_items_share_is_left_out(tmp_path):
    phrase = "Understood, please give me the seed problem and I will write a new one in another context for you."
    rows = [{"question": f"{QUESTION} {number}", "reply": phrase} for number in range(3)]
    assert find(write_rows(tmp_path / "few.jsonl", rows[:2]), phrase, "x") is not None
    assert find(write_rows(tmp_path / "many.jsonl", rows), phrase, "x") is None


@pytest.mark.parametrize("name", ["gsm8k", "mathchat"])
def test_a_set_that_was_not_downloaded_is_an_error_that_names_the_command(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvaluationSetError, match=f"there is no data/{name}/.*python -m data_prep download {name}`"):
        evaluation_files([name])


def test_an_unknown_set_is_an_error_that_says_which_there_are(tmp_path):
    with pytest.raises(EvaluationSetError, match="did you mean mathchat"):
        evaluation_files(["math_chat"])
    with pytest.raises(EvaluationSetError, match="known sets are gsm8k, mathchat"):
        evaluation_files(["bfcl"])
    with pytest.raises(EvaluationSetError, match="no text was found"):
        Contamination([str(write_rows(tmp_path / "empty.jsonl", [{"n": 1}]))])


def test_a_set_listed_twice_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="decontaminate: 'gsm8k' is listed twice"):
        recipe_of(tmp_path, decontaminate=["gsm8k", "gsm8k"])


@pytest.fixture(scope="module")
def encoder():
    return byte_encoder()


def test_a_build_sets_contaminated_rows_aside_and_still_adds_up(tmp_path, items, encoder):
    rows = [chat(number) for number in range(5)] + [chat(5, QUESTION, "18"), chat(6, "x", f"As in: {QUESTION}")]
    recipe = recipe_of(write_rows(tmp_path / "rows.jsonl", rows), decontaminate=str(items), max_length=500)
    report = build(recipe, tmp_path / "out", encoder)
    assert report.quality.contaminated == {str(items): 2} and report.quality.evaluation_items == {str(items): 1}
    assert (report.read, report.kept, report.rejected) == (7, 5, 2) and report.train.dialogues == 5
    entries = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [(entry["code"], entry["row"]) for entry in entries] == [("contaminated", 6), ("contaminated", 7)]
    assert all("items.jsonl:1: 'janet s ducks" in entry["message"] for entry in entries)
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert report.quality.line() in summary and "janet s ducks" in summary


def test_held_out_data_may_be_the_evaluation_set(tmp_path, items, encoder):
    train = write_rows(tmp_path / "rows.jsonl", [chat(1)])
    held_out = [{"source": "messages", "path": [str(write_rows(tmp_path / "test.jsonl", [chat(2, QUESTION, "18")]))]}]
    report = build(
        recipe_of(train, held_out_data=held_out, decontaminate=[str(items)], max_length=500), tmp_path / "out", encoder
    )
    assert (report.held_out.dialogues, report.rejected) == (1, 0)


def test_a_changed_evaluation_file_makes_the_build_again(tmp_path, items, encoder, capsys):
    rows = write_rows(tmp_path / "rows.jsonl", [chat(1), chat(2, QUESTION, "18")])
    recipe = recipe_of(rows, decontaminate=[str(items)], max_length=500)
    assert build(recipe, tmp_path / "out", encoder).rejected == 1
    write_rows(items, [{"question": "Something else, of at least eight words, is asked here."}])
    assert build(recipe, tmp_path / "out", encoder).rejected == 0
    assert "because this changed: evaluation sets" in capsys.readouterr().out


def test_a_missing_evaluation_set_fails_before_anything_is_read(tmp_path, encoder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvaluationSetError, match="download gsm8k"):
        build(recipe_of(tmp_path / "absent.jsonl", decontaminate=["gsm8k"]), tmp_path / "out", encoder)


# Planted data: real training rows, some of them around a copy of an evaluation item.

PLANTED = 400


def evaluation_texts(folder: Path) -> list[str]:
    """Questions and follow-up turns, as whole as a benchmark shows them to a model."""
    rows = [json.loads(line) for line in (folder / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [row["question"] for row in rows]
    for line in (folder / "mathchat" / "follow_up.jsonl").read_text(encoding="utf-8").splitlines():
        texts += [part.strip() for part in contamination.BORDER.split(json.loads(line)["followup"]) if part.strip()]
    return [text for text in texts if len(words_of(text)) >= contamination.SHORTEST]


def plant(rng: random.Random, row: dict[str, str], text: str, number: int) -> Dialogue:
    """The row's dialogue with `text` in it: as a turn of its own, or in the middle of one, typed another way or not."""
    if rng.random() < 0.3:
        text = text.upper()
    if rng.random() < 0.3:
        text = text.replace(", ", " ").replace(". ", "; ")
    turns = [row["question"], row["answer"]]
    way = rng.randrange(3)
    if way == 0:
        turns += [text, "Let me think about that one."]
    elif way == 1:
        turns[0] = f"{turns[0]}\n\nHere is another one. {text} Take your time."
    else:
        turns[1] = f"{turns[1]} This reminds me of: {text} But that is another matter."
    return dialogue(*turns, number=number)


def paraphrase(rng: random.Random, text: str) -> str:
    """One word in twelve dropped or replaced."""
    words = [word if rng.random() > 1 / 12 else rng.choice(["", "some", "about", "then"]) for word in text.split()]
    return " ".join(word for word in words if word)


@pytest.mark.slow
def test_planted_copies_are_found_and_real_rows_are_left_alone(real_data_dir, monkeypatch):
    monkeypatch.setattr(contamination, "DOWNLOADS", real_data_dir)
    search = Contamination(["gsm8k", "mathchat"])
    lines = (real_data_dir / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rng = random.Random(0)
    texts = rng.sample(evaluation_texts(real_data_dir), PLANTED)
    planted = [plant(rng, rng.choice(rows), text, number) for number, text in enumerate(texts)]
    found = sum(search.find(one) is not None for one in planted)
    real = [gsm8k.to_dialogue(row, str(number)) for number, row in enumerate(rows)]
    wrong = sum(search.find(one) is not None for one in real)
    light = sum(search.find(dialogue(paraphrase(rng, text), "x")) is not None for text in texts)
    recall, precision = found / PLANTED, found / (found + wrong)
    print(f"copies: recall {recall:.3f} of {PLANTED}, precision {precision:.4f}: {wrong} of {len(real)} real rows met")
    print(f"light paraphrases (one word in twelve): recall {light / PLANTED:.3f}")
    assert recall >= 0.95 and precision >= 0.99
