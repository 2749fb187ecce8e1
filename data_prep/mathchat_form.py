"""The text forms of MathChat's benchmark: dialogues as `A:`/`B:` turns, a new problem under headings.

"A: If Janet donates 2 ...\\nB: ... The answer is \\ANSWER{14}.\\n\\nA: On Wednesdays ...\\nB: ..."
"New Problem: David has 120 apples ...\\n\\nSolution: 120 - 20 - 30 = 70 apples ..."
"""

from __future__ import annotations

import re
from typing import NamedTuple

from data_prep.numbers import MAX_CHARS

COPIED_WORDS = 8  # in a row; half of the new problem's such runs in the seed are a copy
TURN = re.compile(r"\n*\s*(A:|B:)")  # as the published scripts split; bold markers stay in the text as they do there
_SOLUTION = re.compile(
    r"(?:^|\n)[\s*#>_]{0,20}(?:[\w-]{1,20} ){0,3}(?:solution|answer)\b[^\n:.]{0,40}[:\n]", re.IGNORECASE
)
_PROBLEM = re.compile(
    r"\A[\s*#>_]{0,20}(?:[\w-]{1,20} ){0,3}(?:problem|question)\b[^\n:.]{0,40}[:\n][\s*_]{0,20}", re.IGNORECASE
)


class Turns(NamedTuple):
    """The turns of speaker A (the user) and of speaker B (the assistant)."""

    a: list[str]
    b: list[str]


def split_turns(text: str) -> Turns:
    """Turns of MathChat's dialogue text, stripped; a preamble before the first turn is dropped."""
    pieces = TURN.split(text)
    turns = Turns([], [])
    for speaker, said in zip(pieces[1::2], pieces[2::2], strict=True):
        (turns.a if speaker == "A:" else turns.b).append(said.strip())
    return turns


class Parts(NamedTuple):
    """A generated problem and its solution; the solution is None where no heading says that it begins."""

    problem: str
    solution: str | None


def parts(text: str) -> Parts:
    """Cut at the first line that opens with a heading such as `Solution:`, `**Detailed solution**` or `### Answer`."""
    text = text[:MAX_CHARS]
    heading = _SOLUTION.search(text)
    if heading is None:
        return Parts(text.strip(), None)
    problem = text[: heading.start()].strip()
    opening = _PROBLEM.match(problem)
    return Parts(problem[opening.end() :] if opening else problem, text[heading.end() :].strip())


def new_problem_text(problem: str, solution: str) -> str:
    """A new problem as the benchmark writes it; `parts` takes it apart again."""
    return f"New Problem: {problem.strip()}\n\nSolution: {solution.strip()}"


def copied(problem: str, seed: str) -> bool:
    """Whether half of the problem's runs of COPIED_WORDS words stand in the seed."""
    runs = _runs(problem)
    return bool(runs) and 2 * len(runs & _runs(seed)) >= len(runs)


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    length = min(COPIED_WORDS, len(words))
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)} if words else set()
