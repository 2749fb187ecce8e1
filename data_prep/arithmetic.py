"""Arithmetic of a few numbers, computed exactly and within bounds; what a model wrote is never given to `eval`.

evaluate(tokenize("(16 - 3 - 4) * 2")) -> Fraction(18)
evaluate(tokenize("9^9^9")) raises NotArithmetic: values, exponents, lengths and nesting are bounded
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

MAX_DIGITS = 40  # of one number as written
MAX_BITS = 2048  # of a numerator or denominator on the way
MAX_EXPONENT = 64
MAX_DEPTH = 20

Kind = Literal["number", "operator", "open", "close", "percent", "equals", "about", "word", "stop", "unknown"]


class NotArithmetic(Exception):
    """Not one expression of numbers, + - * / ^, percent signs and brackets, or beyond the bounds."""


class Token(NamedTuple):
    """A piece of text. spaced: white space stands before it, which tells `2x` from `2 x 3`."""

    kind: Kind
    text: str
    spaced: bool


_TOKEN = re.compile(
    r"""(?P<number>\d{1,3}(?:,\d{3})++(?!\d)(?:\.\d++)?|\d++(?:\.\d++)?|\.\d++)
      | (?P<operator>\*\*|[-+*/^])
      | (?P<open>[(\[]) | (?P<close>[)\]])
      | (?P<percent>%)
      | (?P<equals>=) | (?P<about>\N{ALMOST EQUAL TO})
      | (?P<word>[^\W\d_]++)
      | (?P<stop>[,;:.!?\n])
      | (?P<space>[^\S\n]++|[$\u20ac\u00a3]) | (?P<unknown>\\?.)
    """,
    re.VERBOSE,
)


def tokenize(text: str) -> list[Token]:
    """All tokens of a text; currency signs count as white space, what has no meaning here is `unknown`."""
    tokens, spaced = [], False
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind != "space":
            tokens.append(Token(kind, match[0], spaced))  # type: ignore[arg-type]
        spaced = kind == "space"
    return tokens


def evaluate(tokens: Sequence[Token], percent: Fraction = Fraction(1, 100)) -> Fraction:
    """The value of all tokens as one expression, `%` multiplying by `percent`. Raises NotArithmetic."""
    parser = _Parser(tokens, percent)
    value = parser.sum(0)
    if parser.next is not None:
        raise NotArithmetic(f"{parser.next.text!r} is left over")
    return value


class _Parser:
    """Recursive descent; a number before a bracket, or two brackets, multiply."""

    def __init__(self, tokens: Sequence[Token], percent: Fraction):
        self.tokens = tokens
        self.position = 0
        self.percent = percent

    @property
    def next(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self, *texts: str) -> str | None:
        """The next operator, consumed, if it is one of these."""
        token = self.next
        if token is None or token.kind != "operator" or token.text not in texts:
            return None
        self.position += 1
        return token.text

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while sign := self.take("+", "-"):
            term = self.product(depth)
            value = _bounded(value + term if sign == "+" else value - term)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.signed(depth)
        while True:
            if operator := self.take("*", "/"):
                factor = self.signed(depth)
                if operator == "/" and not factor:
                    raise NotArithmetic("a division by zero")
                value = _bounded(value / factor if operator == "/" else value * factor)
            elif self.next is not None and self.next.kind == "open":
                value = _bounded(value * self.power(depth))
            else:
                return value

    def signed(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise NotArithmetic("too deep")
        if sign := self.take("-", "+"):
            return self.power(depth) * (-1 if sign == "-" else 1)
        return self.power(depth)

    def power(self, depth: int) -> Fraction:
        base = self.atom(depth)
        if not self.take("^", "**"):
            return base
        exponent = self.signed(depth + 1)
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or (not base and exponent < 0):
            raise NotArithmetic(f"an exponent that is no whole number up to {MAX_EXPONENT}")
        return _bounded(base ** int(exponent))

    def atom(self, depth: int) -> Fraction:
        token = self.next
        self.position += 1
        if token is None:
            raise NotArithmetic("the expression breaks off")
        if token.kind == "number":
            if len(token.text) > MAX_DIGITS:
                raise NotArithmetic("a number that is too long")
            value = Fraction(token.text.replace(",", ""))
        elif token.kind == "open":
            value = self.sum(depth + 1)
            if self.next is None or self.next.kind != "close":
                raise NotArithmetic("a bracket is not closed")
            self.position += 1
        else:
            raise NotArithmetic(f"{token.text!r} where a number should be")
        while self.next is not None and self.next.kind == "percent":
            self.position += 1
            value = _bounded(value * self.percent)
        return value


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise NotArithmetic("a value that is too large")
    return value
