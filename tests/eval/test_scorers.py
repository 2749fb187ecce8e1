"""Numbers in prose: what is read, what is refused, and that hostile output costs nothing."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.numbers import Number, clean, gold_numbers, numbers, stated_answer, strict
from eval.scorers import last_number, paper_like


def values(text: str) -> list[Fraction]:
    return [number.value for number in numbers(clean(text))]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1,319 rows", [1319]),
        (r"\$1{,}200", [1200]),
        (r"1\,200", [1200]),
        ("$-150", [-150]),
        ("-$150", [-150]),
        ("\u22125", [-5]),
        ("16 - 3 - 4", [16, 3, 4]),
        ("16-3", [16, 3]),
        ("it is -3.", [-3]),
        (r"62.5\%", [Fraction(125, 2)]),
        ("2/3 hours", [Fraction(2, 3)]),
        (r"\frac{192}{77}", [Fraction(192, 77)]),
        (r"4\frac{2}{3} pounds", [Fraction(14, 3)]),
        ("4 2/3 pounds", [Fraction(14, 3)]),
        (".5 and 5.", [Fraction(1, 2), 5]),
        ("90cm", [90]),
        ("7x7", [7, 7]),
        ("6:23 PM", [6, 23]),
        ("€92.3", [Fraction(923, 10)]),
        ("5/0", [5, 0]),
        ("none", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, wanted: list[Fraction]) -> None:
    assert values(text) == wanted


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_a_right_number_stays_right_however_it_is_formatted(number: int, zeros: int) -> None:
    gold = Number(Fraction(number), 0)
    plain = f"{number:,}" + ("." + "0" * zeros if zeros else "")
    for said in (plain, f"${plain}", rf"\boxed{{{plain}}}", rf"\ANSWER{{{plain} dollars}}", f"**{plain}**"):
        assert strict(f"So we add 3 and 4. The answer is {said}.", gold).correct, said
        assert paper_like(f"So we add 3 and 4. The answer is {said}.", gold).correct, said


UNITS = ("{} dollars", "{} km/h", "{}%", "{} eggs per day", r"{} \text{{ m}}", "{}cm", "about {}", "exactly {}!")


@given(st.integers(-(10**12), 10**12), st.sampled_from(UNITS), st.integers(1, 10**6))
def test_a_unit_leaves_a_right_number_right_and_a_changed_one_wrong(number: int, unit: str, change: int) -> None:
    gold = Number(Fraction(number), 0)
    for frame in (r"\boxed{{{}}}", r"\ANSWER{{{}}}", "**{}**", "${}"):
        said = "So we add 3 and 4. The answer is " + frame.format(unit.format(f"{number:,}")) + "."
        if unit[0] == "{" or "$" not in frame:
            assert strict(said, gold).correct and paper_like(said, gold).correct, said
        assert not strict(said, gold._replace(value=gold.value + change)).correct, said
        assert not paper_like(said, gold._replace(value=gold.value + change)).correct, said


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_a_changed_number_becomes_wrong(number: int, change: int) -> None:
    verdict = strict(f"The answer is {number + change}.", Number(Fraction(number), 0))
    assert verdict == (False, None)


def test_strict_wants_a_statement_and_says_when_there_is_none() -> None:
    gold = Number(Fraction(16), 0)
    assert strict("He has 20 - 4 = 16 left.", gold) == (False, "no_stated_answer")
    assert strict("The answer is 16 or 17.", gold) == (False, "several_numbers")
    assert strict("The answer is unclear.", gold) == (False, "no_number")
    assert strict("The answer is 15.9.", gold) == (False, None)
    assert paper_like("He has 20 - 4 = 16 left.", gold).correct
    assert paper_like("no idea", gold) == (False, "no_number")


def test_a_rounded_decimal_is_right_at_the_precision_it_was_written_with() -> None:
    cents, third = Number(Fraction(667, 100), 2), Number(Fraction(8, 3), None)
    assert strict("The answer is 20/3.", cents).correct
    assert strict("The answer is 6.6667", cents).correct
    assert not strict("The answer is 6.7", cents).correct
    assert strict("The answer is 2.67.", third).correct
    assert not strict("The answer is 2.7.", third).correct
    assert paper_like("The answer is 6.5", cents).correct  # within 4 %
    assert not paper_like("The answer is 6.3", cents).correct


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r"... The answer is \ANSWER{14}.", "14"),
        (r"The answer is \(\boxed{5\} liters\).", "5"),
        (r"The answer is \(\text{ANSWER:} 180\).", "180"),
        (r"The answer is \(\text{ANSWER} = 176\).", "176"),
        (r"The answer is \(\text{ANSWER: 1100 ml}\).", "1100"),
        (r"The answer is \(\mathbf{280}\).", "280"),
        (r"The answer is $9,000.", "9000"),
        (r"she will need \(\text{18 additional books}\) for the row of 4.", "18"),
        ("5 = <<5=5>>5, the answer is <<5=5>>5.\n#### 5", "5"),
        (r"\ANSWER{84 dollars} at 7 a day", "84"),
        (r"is \boxed{\frac{1}{2}}", "1/2"),
    ],
)
def test_every_odd_form_of_the_published_gold_is_read(text: str, wanted: str) -> None:
    assert {number.value for number in gold_numbers(text)} == {Fraction(wanted)}


@pytest.mark.parametrize(
    "said",
    [
        "1 200", "1\u202f200", "1\u00a0200", "1\u2009200", "1'200", "1_200", r"1\;200", "1~200", r"$1,\!200$", "1.2e3",
        r"1.2 \times 10^3", "1.2 \u00d7 10^{3}", "1.2 thousand", "12 hundred", "1.2k", r"\frac{2,400}{2}", "2400 / 2",
        "1200 m^2", r"1200\text{ cm}^{2}", "1200 cm3", "3 * 400 = 1200 eggs", r"3 \times 400 = \$1,200", "\u00a51200",
    ],
)  # fmt: skip
def test_an_answer_written_another_way_stays_right_and_its_neighbour_and_negative_wrong(said: str) -> None:
    for text in (f"The answer is {said}.", f"#### {said}", rf"So \boxed{{{said}}}"):
        assert strict(text, Number(Fraction(1200), 0)).correct, text
        assert paper_like(text, Number(Fraction(1200), 0)).correct or "boxed" in text or "####" in text, text
        for other in (1201, -1200, 12, 120):
            assert not strict(text, Number(Fraction(other), 0)).correct, text


@pytest.mark.parametrize(
    ("said", "value"),
    [("- 5", -5), ("minus 5", -5), ("negative 5", -5), ("-\u00a55", -5), ("-US$5", -5), ("\u20115", -5), ("$- 5$", -5),
     (r"\frac12", "1/2"), (r"-\frac12", "-1/2"), (r"\cfrac{1}{2}", "1/2"), ("\u00bd", "1/2"), ("2\u00bd", "5/2"),
     ("1\u20442", "1/2"), ("1 / 2", "1/2")],
)  # fmt: skip
def test_signs_and_fractions_are_read_in_every_dress(said: str, value: str | int) -> None:
    gold = Number(Fraction(value), 0 if isinstance(value, int) else None)
    assert strict(f"The answer is {said}.", gold).correct
    assert not strict(f"The answer is {said}.", gold._replace(value=-gold.value)).correct


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 18 million.", "The answer is 18k", r"The answer is \sqrt{18}", "The answer is \u221a18",
        "The answer is not 18.", "#### Step 18: add\nSo it is 19.", "#### 18. Add\nso there are 19",
        "#### Step 18: add\nSo it is \\boxed{19}", "The answer is 18 x 10^2", "The answer is 18\u00bd",
    ],
)  # fmt: skip
def test_a_number_that_is_not_the_answer_is_not_taken_for_it(text: str) -> None:
    assert not strict(text, Number(Fraction(18), 0)).correct


@pytest.mark.parametrize(
    "text",
    [
        "#### Step 3: Sum\n10 + 8 = \\boxed{18}", "The answer is 18. I hope that this answer is helpful.",
        "### Final Answer\n\n18 eggs", "So the answer must be 18.", "The answer to the problem is 18.", "####\n18",
        r"\boxed {18}", r"\fbox{18}", "#### **18**", "#### Total: 18",
    ],
)  # fmt: skip
def test_an_answer_is_found_where_models_state_it(text: str) -> None:
    assert strict(text, Number(Fraction(18), 0)) == (True, None)


def test_a_decimal_near_the_gold_is_another_number() -> None:
    gold = Number(Fraction(15, 2), 1)
    assert strict("The answer is 7.50.", gold).correct
    for other in ("7.51", "7.54", "7.45", "7.4"):
        assert strict(f"The answer is {other}.", gold) == (False, None)


def test_unclosed_braces_state_nothing() -> None:
    assert stated_answer(r"so \boxed{12") is None


HOSTILE = {
    "digits": "9" * 1_000_000,
    "digits and commas": "1," * 300_000 + "1",
    "fraction": "The answer is " + "1/" * 300_000,
    "mixed": "1 " * 300_000 + "/2",
    "braces": "\\boxed{" * 100_000,
    "closed braces": "\\boxed{" * 50_000 + "1" + "}" * 50_000,
    "text": "\\text{" * 100_000 + "5" + "}" * 100_000,
    "answers": "answer is " * 100_000,
    "stars": "answer" + "*" * 500_000,
    "spaces": "answer" + " " * 500_000,
    "nan": "The answer is NaN, Infinity, 1e999999999, \ud800",
    "arabic digits": "The answer is \u0661\u0662\u00b2",
    "hashes": "#" * 500_000,
    "hashes and spaces": "####        " * 50_000,
    "headings": "\n# answer     " * 50_000,
    "working": "The answer is " + "1+" * 300_000,
    "equals": "The answer is " + "1=" * 300_000,
    "groups": "The answer is " + "1 " + "000 " * 200_000,
    "powers": "The answer is " + "1 x 10^99 " * 50_000,
    "roots": "The answer is " + "\\sqrt{" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_output_neither_crashes_nor_hangs_a_scorer(name: str) -> None:
    gold = Number(Fraction(5), 0)
    started = time.process_time()
    verdicts = [strict(HOSTILE[name], gold), paper_like(HOSTILE[name], gold)]
    last_number(HOSTILE[name])
    assert time.process_time() - started < 8
    assert not verdicts[0].correct or name in ("text", "closed braces")


@given(st.text())
def test_any_text_can_be_scored(text: str) -> None:
    assert strict(text, Number(Fraction(5), 0)).correct in (True, False)
    assert paper_like(text, Number(Fraction(1, 3), None)).correct in (True, False)
