r"""Equations that a solution writes out, found in prose and recomputed exactly.

    equations("70 apples at $1.50 make 70 * $1.50 = $105.")  -> [Equation("70 * 1.50 = 105", 105, 105, holds=True)]
    equations("Janet sells 16 - 3 - 4 = <<16-3-4=8>>8 eggs") -> two equations that do not hold

Read are numbers, signs, brackets and units behind numbers; where anything else touches a side (a variable, a root,
"million"), that side is not checked: an equation said to be wrong should be wrong. `=` allows for rounding to the
decimals that are written, one at least; `≈` for one unit of the last place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from data_prep.arithmetic import NotArithmetic, Token, evaluate, tokenize
from data_prep.numbers import Number, clean, numbers, same_number, stated_answer

MAX_CHARS = 20_000  # the end of a text that is longer
MAX_LINE_CHARS = 2_000
MAX_EQUATIONS = 200
MAX_SIDE_TOKENS = 40
UNIT_WORDS = 3  # "5 apples for each" is dropped behind a number; a longer run of words ends the expression
SCALES = {"hundred", "thousand", "million", "billion", "dozen", "half", "third", "quarter", "squared", "cubed"}
UNIT_LETTERS = {"m", "g", "l", "L", "h", "s", "a"}  # "5 m", "$3 a day"; "5m" and other letters may be variables
ROUNDED_PLACES = 3  # a figure with as many decimals is taken as rounded itself: within ROUNDED_SHARE
ROUNDED_SHARE = Fraction(1, 1000)

_CALCULATOR = re.compile(r"<<([^<>]{1,200})>>")  # GSM8K's own notation
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]{1,80})\}\s?\{([^{}]{1,80})\}")
_MIXED = re.compile(r"(?<![\d.])(\d{1,20})\s?\\[dt]?frac\s?\{(\d{1,20})\}\s?\{(\d{1,20})\}")
_EXPONENT = re.compile(r"\^\s?\{([^{}]{1,20})\}")
_BULLET = re.compile(r"^[^\S\n]{0,20}[-*\u2022][^\S\n]", re.MULTILINE)
_REMARK = re.compile(r"\([A-Za-z][^()\d=*/+\n]{0,60}\)")  # "$105 (for melons) + $4"
_TIME = re.compile(r"(?<=\d):(?=\d)")
_BOLD = re.compile(r"(?<![\d)])\*\*|\*\*(?![\d(])")
_TIMES = re.compile(r"\\times\b|\\cdot\b|[\u00d7\u00b7\u22c5\u2217]|(?<=[\d)%])\s?[xX]\s?(?=[$\d(.])")
_DIVIDED = re.compile(r"\\div\b|\u00f7")
_APPROXIMATELY = re.compile(r"\\approx\b|\u2245")
_NEXT_LINE = re.compile(r"(?<!\s)\s++(?=[=\u2248])|&(?==)")


class Equation(NamedTuple):
    """Two neighbouring sides of an equals sign, one of them a calculation."""

    text: str
    left: Fraction
    right: Fraction
    holds: bool

    @property
    def scales(self) -> tuple[int, ...]:
        """What a figure of the equation may be called in words: 0.56 is 56 where a percent sign stands."""
        return (1, 100) if "%" in self.text else (1,)


def equations(text: str) -> list[Equation]:
    """Equations of a text that can be recomputed, in order, `<<...>>` first; at most MAX_EQUATIONS."""
    text = text[-MAX_CHARS:]
    found: list[Equation] = []
    for piece in (*_CALCULATOR.findall(text), _CALCULATOR.sub("", text)):
        for chain in _chains(_simplify(tokenize(_plain(piece)))):
            found += _check_chain(chain)
            if len(found) >= MAX_EQUATIONS:
                return found[:MAX_EQUATIONS]
    return found


def final_number_computed(solution: str, found: Sequence[Equation]) -> bool:
    """Whether a number of the stated answer, or of the last line where none is stated, is a side of an equation.

    A side that is no whole number may have been rounded either way: whole buses, whole stamps.
    """
    stated = stated_answer(solution[-MAX_CHARS:])
    finals = {
        number.value for number in numbers(clean(stated or solution.strip()[-MAX_LINE_CHARS:].rpartition("\n")[2]))
    }
    sides = {
        side * scale for equation in found for side in (equation.left, equation.right) for scale in equation.scales
    }
    return bool(finals & (sides | {floor(side) for side in sides} | {ceil(side) for side in sides}))


def _plain(text: str) -> str:
    """Signs for LaTeX commands and typographic characters."""
    text = clean(_fractions(_BULLET.sub(" ", _NEXT_LINE.sub(" ", text))))
    text = _EXPONENT.sub(r"^(\1)", _fractions(text))
    text = _REMARK.sub(" ", text)
    text = _APPROXIMATELY.sub("\u2248", _DIVIDED.sub("/", _TIMES.sub("*", _BOLD.sub("", text))))
    return re.sub(r"\bpercent\b", "%", _TIME.sub("@", text))


def _fractions(text: str) -> str:
    for _ in range(3):
        text = _FRACTION.sub(r"((\1)/(\2))", _MIXED.sub(r"(\1+\2/\3)", text))
    return text


def _simplify(tokens: Sequence[Token]) -> Iterator[Token]:
    """Units dropped, "of" and "x" as `*`; where an expression cannot go on, a `word`, `stop` or `unknown`."""
    position, before = 0, "stop"
    while position < len(tokens):
        token = tokens[position]
        if token.kind == "word":
            end = position
            while end < len(tokens) and tokens[end].kind == "word":
                end += 1
            following = tokens[end].kind if end < len(tokens) else "stop"
            token, position = _words(tokens[position:end], before, following), end
            if token.text == "unit":
                continue
        else:
            following = tokens[position + 1].kind if position + 1 < len(tokens) else "stop"
            position += 1
            if token.text == "/" and following == "word":  # "$300/share"
                continue
            if token.kind == "number" and before == "number":  # "4 2/3", or two figures side by side
                token = token._replace(kind="unknown")
        yield token
        before = token.kind


def _words(run: Sequence[Token], before: str, following: str) -> Token:
    """What a run of words between two other tokens is: `unit` (nothing), a multiplication, a border, or unknown."""
    first, last, numbered = run[0].text, run[-1].text, following in ("number", "open")
    if before not in ("number", "close", "percent"):
        return Token("word", "words", True)
    if numbered and (last in ("x", "X") or (first == "of" and before != "number")):
        return Token("operator", "*", True)
    variables = [w for w in (run[0], run[-1]) if len(w.text) == 1 and not (w.spaced and w.text in UNIT_LETTERS)]
    if variables or first.lower() in SCALES:
        return Token("unknown", first, True)
    if numbered and last == "and" and len(run) <= UNIT_WORDS:  # "3 hours and 15 minutes"
        return Token("unknown", last, True)
    return Token("word", "words" if numbered or len(run) > UNIT_WORDS else "unit", True)


def _chains(tokens: Iterator[Token]) -> Iterator[list[Token]]:
    """Runs of tokens between borders that hold an equals sign, each with the border on either side."""
    chain: list[Token] = [Token("stop", "", False)]
    for token in tokens:
        chain.append(token)
        if token.kind in ("word", "stop", "unknown"):
            if any(part.kind in ("equals", "about") for part in chain):
                yield chain
            chain = [token]
    chain.append(Token("stop", "", False))
    if any(part.kind in ("equals", "about") for part in chain):
        yield chain


def _check_chain(chain: list[Token]) -> Iterator[Equation]:
    """Every two neighbouring sides that can be computed; `chain` stands between its borders."""
    border_before, border_after = chain[0], chain[-1]
    sides: list[list[Token]] = [[]]
    signs: list[str] = []
    for token in chain[1:-1]:
        if token.kind in ("equals", "about"):
            signs.append(token.kind)
            sides.append([])
        else:
            sides[-1].append(token)
    checked = [_inner(side) for side in sides]
    checked[0] = _suffix(sides[0], border_before)
    checked[-1] = _prefix(sides[-1], border_after)
    for index, sign in enumerate(signs):
        left, right = checked[index], checked[index + 1]
        if left and right and any(token.kind == "operator" for token in (*left, *right)):
            equation = _compare(left, right, sign)
            if equation is not None:
                yield equation


def _inner(side: list[Token]) -> list[Token]:
    return side if len(side) <= MAX_SIDE_TOKENS and _computes(side) else []


def _suffix(side: list[Token], border: Token) -> list[Token]:
    """The longest end of the first side that computes, or nothing where what stands before it might belong to it.

    A figure alone is no calculation there: "Day 5 = 22 - 5", "1 hour = 60 minutes".
    """
    side = side[-MAX_SIDE_TOKENS:]
    for start in range(len(side)):
        if _computes(side[start:]):
            before = side[start - 1] if start else border
            joined = before.kind in ("operator", "close", "percent", "unknown")
            led = (
                side[start].kind in ("operator", "open") and before.kind == "word"
            )  # "the rest - 3 = 5", "f(7) = 3 * 7"
            signed = side[start].kind == "operator" and (side[start].text == "+" or side[start + 1].spaced)
            calculated = any(token.kind == "operator" for token in side[start + 1 :])
            return side[start:] if calculated and not (joined or led or signed) else []
    return []


def _prefix(side: list[Token], border: Token) -> list[Token]:
    """The longest beginning of the last side that computes, or nothing where it goes on with something unread."""
    side = side[:MAX_SIDE_TOKENS]
    for end in range(len(side), 0, -1):
        if _computes(side[:end]):
            after = side[end] if end < len(side) else border
            return [] if after.kind in ("operator", "open", "unknown") else side[:end]
    return []


def _computes(tokens: list[Token]) -> bool:
    try:
        evaluate(tokens)
    except NotArithmetic:
        return False
    return True


def _compare(left: list[Token], right: list[Token], sign: str) -> Equation | None:
    """The equation, under whichever reading of its percent signs makes it hold: "5/20 * 100 = 25%" is meant well."""
    readings = []
    for left_percent in (Fraction(1, 100), Fraction(1)):
        for right_percent in (Fraction(1, 100), Fraction(1)):
            try:
                readings.append((evaluate(left, left_percent), evaluate(right, right_percent)))
            except NotArithmetic:
                return None
    text = f"{_text(left)} {'=' if sign == 'equals' else '≈'} {_text(right)}"
    for values in readings:
        if _same(values, left, right, sign):
            return Equation(text, *values, holds=True)
    return Equation(text, *readings[0], holds=False)


def _same(values: tuple[Fraction, Fraction], left: list[Token], right: list[Token], sign: str) -> bool:
    """Equal, or as equal as the figures are written: rounded or cut off at their decimals."""
    places = (_decimals(left), _decimals(right))
    gap = abs(values[0] - values[1])
    if sign == "about":
        return gap <= Fraction(1, 10 ** min((place for place in places if place is not None), default=2))
    if any(len(token.text.partition(".")[2]) >= ROUNDED_PLACES for token in (*left, *right)):
        return gap <= ROUNDED_SHARE * max(abs(values[0]), abs(values[1]))
    if same_number(Number(values[0], None), Number(values[1], places[1] or 0)):
        return True
    return any(place is not None and place >= 2 and gap < Fraction(1, 10**place) for place in places)


def _decimals(side: list[Token]) -> int | None:
    """Digits after the point of a side that is one figure; None for a calculation."""
    written = [token for token in side if token.kind != "percent" and token.text not in ("-", "+")]
    return len(written[0].text.partition(".")[2]) if len(written) == 1 else None


def _text(side: list[Token]) -> str:
    return "".join(f" {t.text} " if t.kind == "operator" else t.text for t in side).strip()
