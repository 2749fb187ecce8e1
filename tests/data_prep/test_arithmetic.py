"""Equations in prose: what is recomputed, what is left alone, and that a wrong one is found."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.arithmetic import NotArithmetic, evaluate, tokenize
from data_prep.equations import equations


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(16 - 3 - 4) * 2", 18),
        ("2 + 3 * 4 ^ 2", 50),
        ("-2 ^ 2", -4),
        ("2(3 + 4)(5)", 70),
        ("1,000 / 8", 125),
        (".5 * 4", 2),
        ("50 * 20%", 10),
        ("[1 + 2] * 3 / 2", Fraction(9, 2)),
        ("2 ** -1", Fraction(1, 2)),
    ],
)
def test_expressions_are_computed_exactly(text: str, value: Fraction) -> None:
    assert evaluate(tokenize(text)) == value


@pytest.mark.parametrize(
    "text",
    ["", "1 +", "(1", "1)", "1 / 0", "0 ^ -1", "2 ^ 0.5", "9 ^ 9 ^ 9", "9 ^ 65", "(" * 30 + "1" + ")" * 30, "9" * 41,
     "2x", "__import__('os')", "1 2", "*".join(["9" * 40] * 20)],
)  # fmt: skip
def test_what_is_no_bounded_expression_is_refused(text: str) -> None:
    with pytest.raises(NotArithmetic):
        evaluate(tokenize(text))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs.", [True, True]),
        ("Janet sells 16 - 3 - 4 = <<16-3-4=8>>9 duck eggs.", [False, True]),
        ("So 70 apples * $1.50/apple = $105 every week.", [True]),
        (r"\[ 5 \times \frac{1}{2} = 2.5 \text{ km} \]", [True]),
        (r"\frac{240 \text{ miles}}{48 \text{ miles per hour}} = 5 \text{ hours}", [True]),
        (r"26\frac{2}{3} + 1 = 27\frac{2}{3}", [True]),
        ("2 * 3 + 4 = 6 + 4 = 11", [True, False]),
        ("16 eggs - 3 for breakfast - 4 for muffins = 9 eggs", [True]),
        ("$105 (for melons) + $409.50 (for figs) = $514.50", [True]),
        ("7 x 8 = 54", [False]),
        ("10 / 3 = 3.33, and 2 / 3 = 0.66", [True, True]),
        ("10 / 3 = 3.43", [False]),
        ("10 / 3 = 3", [False]),
        ("10 / 3 ≈ 3", [True]),
        ("20% of 50 = 10; 5/20 * 100 = 25%; 40 - 20% * 40 = 32", [True, True, True]),
        ("- 80 + 40 = 120 cards", [True]),
        ("5 * 3\n= 15", [True]),
        ("**5 * 3 = 14**", [False]),
        ("3 + 4 = 7 million", []),
        ("2x + 3 = 11 and x + 3 = 7, so 2x = 8", []),
        ("3m + 13 = 115", []),
        ("the rest - 3 = 5", []),
        ("1 hour = 60 minutes", []),
        ("f(7) = 3 * 7", []),
        ("Day 5 = 22 - 5", []),
        (r"\sqrt{10} + 1 = 4.16", []),
        ("2.5 hours + 45 minutes = 3 hours and 15 minutes", []),
        ("profit = 5 * 3 = 15", [True]),
        ("no numbers here", []),
    ],
)
def test_equations_in_prose_are_found_and_judged(text: str, holds: list[bool]) -> None:
    assert [equation.holds for equation in equations(text)] == holds


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from("+-*"), st.integers(-(10**6), 10**6))
def test_a_true_equation_holds_and_the_same_with_another_result_does_not(
    a: int, b: int, sign: str, change: int
) -> None:
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    for form in (
        f"So {a:,} apples {sign} ${b} = {{}} in all.",
        f"<<{a}{sign}{b}={{}}>>",
        rf"\({a} {sign} {b} = {{}}\)",
    ):
        (equation,) = equations(form.format(result))
        assert equation.holds
        (equation,) = equations(form.format(result + change))
        assert equation.holds == (change == 0)


HOSTILE = {
    "digits": "9" * 1_000_000 + " + 1 = 2",
    "brackets": "(" * 100_000,
    "sum": "1+" * 50_000 + "=1",
    "chain": "1=" * 50_000,
    "calculators": "<<" * 100_000,
    "tower": "9^9^9^9 = 1",
    "fractions": "\\frac{" * 20_000,
    "spaces": " " * 500_000 + "=",
    "half open": "1 + (=1," * 10_000,
    "stars": "*" * 100_000,
    "products": ("1*" * 19 + "=2, ") * 400,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_equations_cost_next_to_nothing(name: str) -> None:
    started = time.process_time()
    assert not any(equation.holds for equation in equations(HOSTILE[name]))
    assert time.process_time() - started < 5


@given(st.text(alphabet="0123456789+-*/^()=%.,x $\\{}≈\n", max_size=80))
def test_any_text_can_be_searched(text: str) -> None:
    for equation in equations(text):
        assert equation.text
