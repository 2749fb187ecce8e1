r"""Read numbers out of mathematical prose and compare them; pure functions, each documented by the trap it avoids.

    gold_numbers("... \n#### 1,200")                            -> [Number(Fraction(1200), 0)]
    strict("... The answer is \ANSWER{\$1,200.00}.", gold)      exact, from a stated final answer only

Every value is a `Fraction`: floats would make 0.1 + 0.2 wrong, overflow on long numbers and compare NaN to anything.
Every regular expression is linear, and only the last MAX_CHARS are read: model output may hold a million digits, and
what it states as its answer stands at the end.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

MAX_CHARS = 50_000
MAX_DIGITS = 60  # no gold is near; a longer number reads as HUGE, because int() of a million digits takes minutes
HUGE = Fraction(10) ** MAX_DIGITS * 10


class Number(NamedTuple):
    """A number as written. decimals: digits after the point, None for a fraction such as 2/3."""

    value: Fraction
    decimals: int | None


class Verdict(NamedTuple):
    """Wrong and unparsed differ: `unparsed` is the reason code when there was no answer to compare."""

    correct: bool
    unparsed: str | None = None


_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2212\u2013\ufe63\uff0d", "-"))
_GROUPS = re.compile(r"(?<=\d)(?:\\[,!;: ]|,\\!|[~'_\u00a0\u2007\u2009\u2019\u202f])(?=\d{3}(?!\d))")
_UNWRAP = re.compile(r"\\(?:text|textbf|mathbf|mathrm|textrm|textit|underline|boxed|ANSWER)\s?\{([^{}]*+)\}")
_FRAC = re.compile(r"\\[cdt]?frac\s?(?:\{\s?(-?[\d,]{1,60})\s?\}|(\d))\s?(?:\{\s?([\d,]{1,60})\s?\}|(\d))")
_VULGAR = re.compile("(?<=\\d)\\s?(?=[\u00bc-\u00be\u2150-\u215e])|[\u00bc-\u00be\u2150-\u215e]")
_SQUARED = re.compile(r"(?<=[A-Za-z])\^\s?(?:[23]|\{\s?[23]\s?\})(?!\d)|(?<=\d[ckm]m)[23]\b|(?<=\d [ckm]m)[23]\b")
_NUMBER = re.compile(
    r"""(?P<sign>(?<![\w)\]%.}])-(?=[$€£¥₹]?[\d.]))?  # '16-3' and '16 - 3' subtract; '= -3' and '(-3)' are negative
        [$€£¥₹]?\s?(?P<sign2>(?<=[$€£¥₹])-)?
        (?:(?P<whole>\d{1,60})[ ](?=\d++/\d))? # the 4 of '4 2/3'
        (?P<digits>\d{1,3}(?:,\d{3})++(?!\d)|\d++)?
        (?P<point>(?<=\d)\.\d++|(?<!\d)\.\d++)?
        (?:(?<=\d)/(?P<under>\d{1,60})(?!\d|/|\.\d))?
    """,
    re.VERBOSE,
)
_STATED = re.compile(
    r"answer(?: to (?:the|this|your|that) (?:problem|question))?[\s*}\"]{0,6}"
    r"(?:\bis\b(?!\s+not\b)|(?:would|should|must|will) be\b|equals\b|:|=)"
    r"|^[#*\s]{1,8}(?:final )?answer[*\s]{0,6}$",  # a heading
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"####(?=[\s*$€£¥₹\\({\[+-]{0,8}(?:boxed\{|text\{)?[\s$\\-]{0,4}\.?\d)(?!\s*\d+[.)]\s*[*A-Za-z])")
_BOX = re.compile(r"\\(?:fbox|framebox|boxed)\s{0,3}(?=\{)")
_SPACED_GROUPS = re.compile(r"(?<![\d.,/-])(\d{1,3}(?: \d{3})++)(?![\d/]|[.,]\d{3})")
_SPACED_SIGN = re.compile(
    r"(\A|[=:({\[$])([^\S\n]*)(?:-[^\S\n]++|minus[^\S\n]++)(?=[$€£¥₹]?[\d.])|\bnegative (?=[$€£¥₹]?[\d.])"
)
_CURRENCY = re.compile(r"\b(?:US|USD|EUR|GBP)\s?(?=[$€£¥]?\d)")
_SCALED = re.compile(
    r"(?<![\w.,/])(\d{1,3}(?:,\d{3})++|\d{1,60})(\.\d{1,60})?"
    r"(?:\s?(?:\\times|\\cdot|[x*\u00d7])\s?10\s?\^\s?\{?\s?(-?\d{1,2})\s?\}?|[eE]([+-]?\d{1,2})\b"
    r"|\s(hundred|thousand|million|billion|trillion)s?\b|([kK])\b)"
)
_WORKING = re.compile(r"\A(?:(?:[-+*/x\u00d7\u00f7^().,\d\s$%]|\\times|\\cdot)*+=)+")  # "3 * 6 = 18"
_ROOT = re.compile(r"\\sqrt\s?(?:\[\d\])?\s?\{[^{}]{0,80}\}|\u221a\s?\d+")
_POWERS = {"k": 3, "hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n")


def clean(text: str) -> str:
    r"""LaTeX and typographic dress off, so that `1{,}200`, `\$1,200`, `1\,200` and `−5` read as numbers.

    `4\frac{2}{3}` becomes `4 2/3`; contents of `\text{}`, `\boxed{}` and `\ANSWER{}` stay, their wrappers go.
    """
    text = _GROUPS.sub(",", text.translate(_DASHES).replace("{,}", ",")).replace("\u00a0", " ")
    text = _VULGAR.sub(lambda match: unicodedata.normalize("NFKC", match[0]) or " ", text).replace("\u2044", "/")
    text = re.sub(r"\\([$%#&])", r"\1", text)
    text = re.sub(r"\\[,;:! ]|\\(?:left|right|quad)\b|~", " ", text)
    text = re.sub(r"\\[()\[\]]", " ", text)
    text = re.sub(r"(?<=\d)\s?(?=\\[cdt]?frac)", " ", text)
    text = _FRAC.sub(lambda match: f"{match[1] or match[2]}/{match[3] or match[4]}".replace(",", ""), text)
    for _ in range(4):  # deeper than the published data nest; bounded, so that crafted output costs no more
        text, count = _UNWRAP.subn(r"\1", text)
        if not count:
            break
    return _SQUARED.sub("", text)  # the 2 of cm^2 is no number


def stated_numbers(text: str) -> list[Number]:
    """Numbers of what stands as an answer, where more forms have one meaning than in prose.

    There `1 200` is one number, `1 / 2` a fraction, `- 5` and `minus 5` are negative, `1.2 x 10^3`, `1.2e3`, `1.2k` and
    `1.2 thousand` are 1200, `3 * 6 = 18` states 18, and the 2 of a root is not the answer. A dozen stays a unit: GSM8K
    asks for dozens.
    """
    text = _WORKING.sub("", _ROOT.sub(" ", clean(text)))
    text = _CURRENCY.sub("", _SPACED_SIGN.sub(r"\1\2-", text))
    text = _SPACED_GROUPS.sub(lambda match: match[0].replace(" ", ","), text)
    return numbers(re.sub(r"(?<=\d) / (?=\d)", "/", _SCALED.sub(_written_out, text)))


def _written_out(match: re.Match[str]) -> str:
    """Scientific notation and words of scale in digits."""
    whole, point, ten, e, word, k = match.groups()
    power = int(ten or e or _POWERS[word or k.lower()])
    return format(Decimal(f"{whole.replace(',', '')}{point or ''}e{power}"), "f")


def numbers(text: str) -> list[Number]:
    """Every number of cleaned text, in order; '$', '%' and units are dropped, so 62.5% is 62.5.

    A time such as 6:23 and a size such as 7x7 are two numbers: whoever needs one number must not guess.
    """
    found = []
    for match in _NUMBER.finditer(text):
        if match["digits"] is None and match["point"] is None:
            continue
        found += _values(match)
    return found


def _values(match: re.Match[str]) -> list[Number]:
    digits, point, under, whole = (match[name] or "" for name in ("digits", "point", "under", "whole"))
    sign = -1 if match["sign"] or match["sign2"] else 1
    if len(digits) + len(point) > MAX_DIGITS:
        return [Number(sign * HUGE, 0)]
    value = Fraction((digits.replace(",", "") or "0") + point)
    if not under:
        return [Number(sign * value, max(len(point) - 1, 0))]
    if int(under) == 0:
        return [Number(sign * value, 0), Number(Fraction(0), 0)]
    return [Number(sign * (int(whole or 0) + value / int(under)), None)]


def braced(text: str, command: str) -> list[str]:
    r"""Contents of every `\command{...}`, braces balanced by one scan: `[^}]*` would cut `\boxed{\frac{1}{2}}`.

    `\boxed{5\}`, as the published data writes it, closes as well; one never closed yields nothing.
    """
    contents, start = [], text.find(command + "{")
    while start >= 0:
        depth, begin = 1, start + len(command) + 1
        position = begin
        while position < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth == 0:
            contents.append(text[begin : position - 1])
        start = text.find(command + "{", position)
    return contents


def stated_answer(text: str) -> str | None:
    r"""What the text states as its final answer, uncleaned; None where it states none.

    In order: the line after the last `####` that a number follows or that is the last line ("#### Step 2" amid a text
    is a heading), unless "answer is" or a box come after it; the sentence after the last "answer is" that holds a digit
    (within it only `\ANSWER{}` and `\boxed{}`, where there are any, since "\ANSWER{84} dollars, at 7 a day" states one
    number); the last `\ANSWER{}` or `\boxed{}`; the last `\text{}` or `\mathbf{}` that holds a digit. A last number
    alone is no statement, and "the answer is not 18" neither.
    """
    text = _BOX.sub(r"\\boxed", text)
    marks = list(_STATED.finditer(text))
    last_digit = max((match.start() for match in re.finditer(r"\d", text)), default=-1)
    while len(marks) > 1 and marks[-1].end() > last_digit:  # "I hope that this answer is helpful."
        marks.pop()
    hashes = [match.start() for match in _HASHES.finditer(text)]
    if "\n" not in text[text.rfind("####") :].strip():  # the last line
        hashes.append(text.rfind("####"))
    last = max(marks[-1].start() if marks else -1, text.rfind("\\boxed{"), text.rfind("\\ANSWER{"))
    if hashes and hashes[-1] > last:
        return text[hashes[-1] + 4 :].lstrip().partition("\n")[0]
    segment = text[marks[-1].end() :] if marks else text
    contents = braced(segment, "\\ANSWER") or braced(segment, "\\boxed")
    if contents:
        return " ; ".join(dict.fromkeys(contents)) if marks else contents[-1]
    if marks:
        end = _SENTENCE_END.search(segment, _first_digit(segment))
        return segment[: end.start()] if end else segment
    for command in ("\\text", "\\textbf", "\\mathbf"):
        held = [content for content in braced(text, command) if any(map(str.isdigit, content))]
        if held:
            return held[-1]
    return None


def _first_digit(text: str) -> int:
    match = re.search(r"\d", text)
    return match.start() if match else 0


def gold_numbers(text: str) -> list[Number]:
    """The numbers of a reference answer; one number can be scored, several or none are reported apart."""
    stated = stated_answer(text)
    return [] if stated is None else stated_numbers(stated)


def strict(text: str, gold: Number) -> Verdict:
    """Exact value of a stated final answer.

    Traps: a right number in the working but not stated; two numbers stated, one of them right; 15.9 for 16; a gold
    rounded to cents against an unrounded answer, a fraction or three decimals at least (compared at the gold's
    decimals: 20/3 and 6.667 for 6.67, but not 7.54 for 7.5); 2.67 for a gold of 8/3 (compared at the answer's decimals,
    two at least).
    """
    stated = stated_answer(text[-MAX_CHARS:])
    if stated is None:
        return Verdict(False, "no_stated_answer")
    found = stated_numbers(stated)
    if len({number.value for number in found}) != 1:
        return Verdict(False, "several_numbers" if found else "no_number")
    return Verdict(same_number(found[0], gold))


def same_number(answer: Number, gold: Number) -> bool:
    """Equal by value, or equal once the finer of the two is rounded as the other is written (see `strict`)."""
    if answer.value == gold.value:
        return True
    if gold.decimals is None:
        return (answer.decimals or 0) >= 2 and rounded_to(gold.value, answer.decimals or 0) == answer.value
    unrounded = answer.decimals is None or answer.decimals >= 3
    return gold.decimals >= 1 and unrounded and rounded_to(answer.value, gold.decimals) == gold.value


def rounded_to(value: Fraction, decimals: int) -> Fraction:
    """Half away from zero, as people round; Python's round() is half to even."""
    scale = 10**decimals
    rounded = (2 * abs(value) * scale + 1) // 2
    return Fraction(rounded if value >= 0 else -rounded, scale)
