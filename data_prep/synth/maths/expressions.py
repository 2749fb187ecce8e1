"""`((v.boxes + v.crates) * v.price).calculation({"boxes": 3, "crates": 4, "price": 5})` -> `"(3 + 4) * 5 = 35"`.

Numbers of a story are names, its solution is trees over them; text and value both come from the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

Numbers = dict[str, int]
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


class Expression:
    """A tree; +, -, * and / build larger ones."""

    def __add__(self, other: Expression | int) -> Operation:
        return Operation("+", self, _tree(other))

    def __sub__(self, other: Expression | int) -> Operation:
        return Operation("-", self, _tree(other))

    def __mul__(self, other: Expression | int) -> Operation:
        return Operation("*", self, _tree(other))

    def __truediv__(self, other: Expression | int) -> Operation:
        return Operation("/", self, _tree(other))

    def value(self, numbers: Numbers) -> Fraction:
        """The exact value. Raises KeyError for a name without a number, ZeroDivisionError."""
        raise NotImplementedError

    def text(self, numbers: Numbers) -> str:
        """The tree with its numbers written in."""
        raise NotImplementedError


@dataclass(frozen=True)
class Name(Expression):
    """A number of the story."""

    name: str

    def value(self, numbers: Numbers) -> Fraction:
        return Fraction(numbers[self.name])

    def text(self, numbers: Numbers) -> str:
        return str(numbers[self.name])


@dataclass(frozen=True)
class Constant(Expression):
    """A number that the world fixes: 7 days a week, 100 percent."""

    number: int

    def value(self, numbers: Numbers) -> Fraction:
        return Fraction(self.number)

    def text(self, numbers: Numbers) -> str:
        return str(self.number)


@dataclass(frozen=True)
class Operation(Expression):
    """Two trees and what is done with them."""

    symbol: str
    left: Expression
    right: Expression

    def value(self, numbers: Numbers) -> Fraction:
        return OPERATIONS[self.symbol](self.left.value(numbers), self.right.value(numbers))

    def text(self, numbers: Numbers) -> str:
        return f"{_operand(self.left, numbers)} {self.symbol} {_operand(self.right, numbers)}"

    def calculation(self, numbers: Numbers) -> str:
        """`5 * 12 = 60`."""
        return f"{self.text(numbers)} = {self.value(numbers)}"


class Names:
    """`v.boxes` is `Name("boxes")`."""

    def __getattr__(self, name: str) -> Name:
        return Name(name)


v = Names()


def _tree(value: Expression | int) -> Expression:
    return Constant(value) if isinstance(value, int) else value


def _operand(tree: Expression, numbers: Numbers) -> str:
    return f"({tree.text(numbers)})" if isinstance(tree, Operation) else tree.text(numbers)
