"""What several tasks share: finding data, reading rows, MathChat's `A:`/`B:` text, and scoring numbers.

"A: If Janet donates 2 ...\\nB: ... The answer is \\ANSWER{14}.\\n\\nA: On Wednesdays ...\\nB: ..."
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from data_prep.dialogue import Message
from data_prep.mathchat_form import Turns, split_turns
from data_prep.numbers import Verdict, gold_numbers, strict
from eval.protocol import Claim, EvalError, Item, Reply, Request, Score, Step
from eval.scorers import last_number, paper_like


def data_file(data_dirs: Sequence[str], name: str, download: str) -> str:
    """The first of the data directories that holds the file. Raises EvalError naming the download command."""
    for folder in data_dirs:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise EvalError(
        f"{name} is in none of: {', '.join(data_dirs)}; fetch it with `python -m data_prep download {download}`, "
        "or name its directory with --data"
    )


def read_rows(path: str, keys: Sequence[str], limit: int | None) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file that must hold these keys as text. Raises EvalError with file and row."""
    with open(path, "rb") as file:
        read = 0
        for line_number, line in enumerate(file, 1):
            if not line.strip():
                continue
            if limit is not None and read >= limit:
                return
            yield _checked_row(path, line_number, line, keys)
            read += 1
    if not read:
        raise EvalError(f"{path}: the file is empty; fetch it again")


def _checked_row(path: str, line_number: int, line: bytes, keys: Sequence[str]) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EvalError(f"{path}:{line_number}: not JSON ({error}); fetch the file again") from error
    missing = [key for key in keys if not isinstance(row, dict) or not isinstance(row.get(key), str)]
    if missing:
        raise EvalError(f"{path}:{line_number}: no text under {', '.join(missing)}; is this the right file?")
    return row


def two_a_turns(
    path: str, key: str, answers: int, limit: int | None
) -> tuple[list[tuple[int, dict[str, Any], Turns]], dict[str, int]]:
    """(number, row, turns) of rows whose dialogue under `key` has two A turns, and how many others were left out.

    So the published scripts keep them. B must have spoken `answers` times at least. Raises EvalError.
    """
    kept: list[tuple[int, dict[str, Any], Turns]] = []
    left_out = 0
    for index, row in enumerate(read_rows(path, ("question", "answer", key), None)):
        turns = split_turns(row[key])
        if len(turns.a) != 2 or len(turns.b) < answers:
            left_out += 1
            continue
        if limit is not None and len(kept) >= limit:
            break
        kept.append((index, row, turns))
    if not kept:
        raise EvalError(
            f"{path}: no row holds a dialogue of two A turns and {answers} B turns under {key}; fetch it again"
        )
    return kept, {"not_two_a_turns": left_out} if left_out else {}


def question_prompt(question: str) -> Message:
    """The published wording of the first round."""
    return Message(role="user", content="Solve this problem: " + question)


def said(reply: Reply) -> Message:
    """The model's own turn as it goes back into the dialogue: as parsed, or the bare text where nothing parsed."""
    return reply.message or Message(role="assistant", content=reply.text)


def spoken(steps: Sequence[Step]) -> list[str]:
    """What the model said in each step, as scorers read it."""
    return [said(step.reply).content for step in steps]


def asked_once(max_new_tokens: int) -> Callable[[Item, Sequence[Step]], Request | None]:
    """`next_request` of a task with one turn."""
    return lambda item, steps: None if steps else Request(item.dialogue, max_new_tokens)


def one_claim(gold: dict[str, Any], texts: Sequence[str]) -> list[Claim]:
    """`claims` of a task with one turn: its answer."""
    return [Claim("", gold["answer"], texts[0])]


def score_attempt(item: Item, steps: Sequence[Step]) -> Score:
    """`score` of the two error tasks: the one answer, and again by whether the attempt shown is right."""
    whole = number_values(one_claim(item.gold, spoken(steps)), [step.reply for step in steps])
    return by_attempt(whole, item.gold["attempt_right"])


def gold_kind(gold: str) -> str:
    """`one`, `several` or `none`: how many distinct numbers the reference answer states."""
    count = len({number.value for number in gold_numbers(gold)})
    return "one" if count == 1 else "several" if count else "none"


def attempt_right(attempt: str, gold: str) -> bool:
    """Whether a "wrong" attempt's last number is the gold: about one row in seven, with nothing to correct."""
    last, golds = last_number(attempt), gold_numbers(gold)
    return last is not None and bool(golds) and last.value == golds[0].value


def number_values(claims: Sequence[Claim], replies: Sequence[Reply]) -> Score:
    """Both scorers over claims, one a reply. A gold that is not one number is counted, not scored."""
    values: dict[str, float] = {}
    unparsed: dict[str, str] = {}
    notes: dict[str, str] = {}
    for (suffix, gold, text), reply in zip(claims, replies, strict=True):
        notes["gold" + suffix] = gold_kind(gold)
        if notes["gold" + suffix] != "one":
            continue
        for name, scorer in (("strict", strict), ("paper_like", paper_like)):
            verdict = scorer(text, gold_numbers(gold)[0])
            if reply.finish_reason == "rejected":  # its text is the reason, not an answer
                verdict = Verdict(False, str(reply.error))
            values[name + suffix] = float(verdict.correct)
            if verdict.unparsed:
                unparsed[name + suffix] = verdict.unparsed
    return Score(values, unparsed, notes)


def by_attempt(whole: Score, attempt_right: bool) -> Score:
    """The same values again under the group of rows whose "wrong" attempt is right, or really wrong."""
    group = "_attempt_right" if attempt_right else "_attempt_wrong"
    values = whole.values | {name + group: value for name, value in whole.values.items()}
    unparsed = whole.unparsed | {name + group: code for name, code in whole.unparsed.items()}
    return Score(values, unparsed, whole.notes | {"attempt": group.removeprefix("_attempt_")})


BY_ATTEMPT = {
    "strict": "stated final answer equals the gold number",
    "paper_like": "lenient scorer of later work",
    "strict_attempt_wrong": "strict, where the attempt shown is really wrong",
    "paper_like_attempt_wrong": "lenient, where the attempt shown is really wrong",
    "strict_attempt_right": "strict, where the attempt shown is right already",
    "paper_like_attempt_right": "lenient, where the attempt shown is right already",
}
