r"""Problems with checked answers from a question/answer file: GSM8K's train.jsonl, or your own.

{"question": "Natalia sold clips to 48 ...", "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips ...\n#### 72"}
{"problem": "What is the sum of ...", "solution": "We add ... so the sum is $\\boxed{12}$."}
{"question": "What is 3 * 4?", "answer": "12"}
"""

from __future__ import annotations

from typing import Any, NamedTuple

from data_prep.numbers import Number, gold_numbers, numbers
from data_prep.readers import RawRow, Unreadable
from data_prep.sources.gsm8k import ANNOTATION, BENCHMARK_KEYS
from data_prep.synth.endpoint.ask import Rejected

KEYS = (("question", "answer"), ("problem", "solution"))


class Problem(NamedTuple):
    """A question that stands on its own, how it is solved, and the number that comes out, as text."""

    question: str
    solution: str
    answer: str

    @property
    def gold(self) -> Number:
        """The answer as a number; `answer` was written by this package, so that it is one."""
        return numbers(self.answer)[0]


# What the prompts' own examples are about, so that a dry run reads them as good replies; every task in them has 10 as
# its answer.
EXAMPLE = {
    "question": "Tom has 3 boxes with 4 pens in each. He gives 2 pens away. How many pens does he have left?",
    "answer": "He has 3 * 4 = <<3*4=12>>12 pens. Without the gift, 12 - 2 = <<12-2=10>>10 are left.\n#### 10",
}


def read_problem(raw: RawRow) -> Problem:
    """The row's problem. Raises Rejected: `unreadable_json`, `row_keys`, `benchmark_row`, `no_gold`, ..."""
    row = raw.value
    if isinstance(row, Unreadable):
        raise Rejected("unreadable_json", row.message)
    question, solution = _texts(row)
    stated = gold_numbers(solution) or numbers(solution if len(solution) < 40 else "")
    values = {number.value for number in stated}
    if len(values) != 1:
        code = "several_golds" if values else "no_gold"
        raise Rejected(
            code, f"the answer must state one number, in `#### N`, \\boxed{{N}} or alone: {solution[-60:]!r}"
        )
    answer = number_text(stated[0])
    worked = ANNOTATION.sub("", solution.rpartition("####")[0] or solution).strip()
    return Problem(question, f"{worked}\nThe answer is {answer}.", answer)


def _texts(row: Any) -> tuple[str, str]:
    """(question, worked answer) of a row."""
    found = sorted(map(str, row)) if isinstance(row, dict) else [type(row).__name__]
    benchmark = [key for key in BENCHMARK_KEYS if key in found]
    if benchmark:
        raise Rejected("benchmark_row", f"key '{benchmark[0]}' marks a row of the MathChat benchmark")
    for keys in KEYS:
        if isinstance(row, dict) and all(isinstance(row.get(key), str) and row[key].strip() for key in keys):
            return row[keys[0]].strip(), row[keys[1]].strip()
    raise Rejected("row_keys", f"wanted text under question and answer, or problem and solution; found {found}")


def number_text(number: Number) -> str:
    """`1200`, `-3`, `2.50` or `2/3`: as `numbers` reads it back."""
    if number.decimals is None:
        return str(number.value)
    whole, rest = divmod(
        abs(number.value.numerator) * 10**number.decimals // number.value.denominator, 10**number.decimals
    )
    sign = "-" if number.value < 0 else ""
    return f"{sign}{whole}" + (f".{rest:0{number.decimals}d}" if number.decimals else "")
