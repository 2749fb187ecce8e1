r"""The lenient scorers of later work on MathChat; the exact one is `data_prep.numbers.strict`.

paper_like("... = 6 * 200 = 1200 dollars", gold)            reads a number from any text
"""

from __future__ import annotations

from fractions import Fraction

from data_prep.numbers import MAX_CHARS, Number, Verdict, braced, clean, numbers, rounded_to, stated_numbers


def paper_like(text: str, gold: Number) -> Verdict:
    r"""The scorer common in later work on MathChat, for comparable numbers.

    Text after the last "The answer is", else the last `\boxed{}`; then after the last "="; then the first number, or
    the last one where neither marker was found. An integer gold is compared rounded, a decimal one within 4 %. Lenient:
    it reads a number from any text, so its unparsed count is near zero; use it beside `strict`, never alone.
    """
    text = text[-MAX_CHARS:]
    marker, boxed = text.rfind("The answer is"), braced(text, "\\boxed")
    if marker >= 0:
        text = text[marker + len("The answer is") :]
    elif boxed:
        text = boxed[-1]
    found = stated_numbers(text[text.rfind("=") + 1 :])
    if not found:
        return Verdict(False, "no_number")
    answer = found[0] if marker >= 0 or boxed else found[-1]
    if gold.value.denominator == 1:
        return Verdict(rounded_to(answer.value, 0) == gold.value)
    return Verdict(abs(answer.value - gold.value) <= Fraction(4, 100) * abs(gold.value))


def last_number(text: str) -> Number | None:
    """The last number of a text, whatever stands around it."""
    found = numbers(clean(text[-MAX_CHARS:]))
    return found[-1] if found else None
