r"""What must be true of a turn before it is used; the numbers are recomputed, never believed.

    final_answer("He has 12 - 2 = 10 pens. The answer is 10.", gold)      the text, or Rejected("wrong_final_number")
    recomputed("(3 + 2) * 4 - 2", "18.0")                                 "18", or the same for another claim

A ValueError is about form: the model is told and may write the turn again. Rejected is about content: it is not told,
for a model that hears what should come out makes its working fit.
"""

from __future__ import annotations

import re
from fractions import Fraction

from data_prep.arithmetic import NotArithmetic, evaluate, tokenize
from data_prep.equations import equations, final_number_computed
from data_prep.mathchat_form import new_problem_text, parts
from data_prep.numbers import Number, clean, gold_numbers, numbers, same_number, stated_answer, strict
from data_prep.synth.endpoint.ask import Rejected
from data_prep.synth.mathchat.problems import number_text

SPEAKER = re.compile(r"^\W{0,4}(?:Student|Tutor|Human|Assistant|User|GPT)\W{0,4}:", re.MULTILINE)
CHATTER = re.compile(r"\A(?:Sure|Certainly|Of course|Here)\b[^\n\d]{0,80}\n\s*\n")  # to us, not to the student
ENDING = re.compile(r"The answer is (?:(?!\.\s)[^\n]){1,60}\Z")  # no further sentence, no further line
MARKUP = ("<<", ">>", "####", "```")  # GSM8K's calculator, its last line, code: none of it is said in a dialogue
HIDDEN = re.compile(r"\b(?:reference|gold) (?:solution|answer)\b", re.IGNORECASE)
MOST_DECIMALS = 2


def spoken(text: str) -> str:
    """A turn's text, stripped. Raises ValueError where it is empty, plays both parts, or shows what is behind it."""
    text = text.strip()
    if not text:
        raise ValueError("the turn is empty")
    if SPEAKER.search(text):
        raise ValueError("write the text of the turn alone, without speakers' names")
    if CHATTER.match(text):
        raise ValueError("begin with the turn itself, without an introduction")
    markup = next((mark for mark in MARKUP if mark in text), None) or HIDDEN.search(text)
    if markup:
        raise ValueError(f"{markup if isinstance(markup, str) else markup[0]!r} has no place in the dialogue")
    return text


def final_answer(text: str, gold: Number, quoted: str = "") -> str:
    """A tutor's turn that ends in the gold number, its arithmetic sound; equations of `quoted` may be cited as wrong.

    Raises ValueError where no one number is stated, Rejected `wrong_final_number` or `wrong_equation`.
    """
    text = spoken(text)
    verdict = strict(text, gold)
    if verdict.unparsed or not ENDING.search(text):
        raise ValueError("end with the sentence 'The answer is N.', where N is one number, and nothing after it")
    if not verdict.correct:
        raise Rejected("wrong_final_number", f"{number_text(gold)} is right, not {text[-80:]!r}")
    return sound(text, quoted)


def sound(text: str, quoted: str = "") -> str:
    """The text, if every equation in it that can be recomputed holds. Raises Rejected `wrong_equation`."""
    cited = {equation.text for equation in equations(quoted)}
    wrong = [e.text for e in equations(text) if not e.holds and e.text not in cited]
    if wrong:
        raise Rejected("wrong_equation", f"{wrong[0]} does not hold")
    return text


def agrees(text: str, gold: Number) -> str:
    """A turn that need not state the answer, but if it does, the gold; sound as well."""
    text = spoken(text)
    if stated_answer(text) is not None and not strict(text, gold).correct:
        raise Rejected("wrong_final_number", f"{number_text(gold)} is right, not {text[-80:]!r}")
    return sound(text)


def wrong_attempt(text: str, gold: Number) -> str:
    """An attempt that states one number other than the gold. Raises ValueError, or Rejected `attempt_is_right`."""
    text = spoken(text)
    verdict = strict(text, gold)
    if verdict.unparsed or not ENDING.search(text):
        raise ValueError("the attempt must end with the sentence 'The answer is N.', where N is one number")
    if verdict.correct:
        raise Rejected("attempt_is_right", f"the attempt reaches {number_text(gold)} as well")
    return text


def asked(text: str) -> str:
    """A student's question: no answer in it."""
    text = spoken(text)
    if stated_answer(text) is not None:
        raise ValueError("the question must not state an answer")
    return text


def hint(text: str, question: str, gold: Number) -> str:
    """A remark that something is wrong; the answer, unless it is a number of the question, is not in it."""
    text = spoken(text)
    given = {number.value for number in numbers(clean(question))}
    if gold.value not in given and any(same_number(number, gold) for number in numbers(clean(text))):
        raise ValueError("the student's remark must not give the right answer away")
    return text


def recomputed(calculation: str, claimed: str) -> str:
    """The value of one arithmetic expression, as text, if it is what is claimed.

    Raises ValueError where it is no expression or no plain number comes out, Rejected `wrong_final_number` where the
    claim is another.
    """
    tokens = tokenize(clean(calculation.partition("=")[0]))
    if not any(token.kind == "operator" for token in tokens):
        raise ValueError(f"calculation {calculation[:60]!r} must be an expression such as (3 + 2) * 4")
    try:
        value = evaluate(tokens)
    except NotArithmetic as error:
        raise ValueError(f"calculation {calculation[:60]!r} can't be computed ({error})") from error
    result = _plain(value)
    said = numbers(clean(claimed))
    if len(said) != 1:
        raise ValueError(f"answer {claimed[:60]!r} must be one number")
    if said[0].value != value:
        raise Rejected("wrong_final_number", f"{calculation[:80]} is {value}, not {claimed[:40]}")
    return result


def _plain(value: Fraction) -> str:
    """`18` or `2.5`."""
    if (value * 10**MOST_DECIMALS).denominator != 1:
        raise ValueError(f"the result needs more than {MOST_DECIMALS} decimals; use other numbers")
    text = number_text(Number(value, MOST_DECIMALS))
    return text.rstrip("0").rstrip(".")


def new(question: str, dialogue: str) -> str:
    """A question that was not asked before. Raises Rejected `asked_before`."""
    if question.lower() in dialogue.lower():
        raise Rejected("asked_before", f"the dialogue has this question already: {question[:80]!r}")
    return question


def two_parts(problem: str, solution: str) -> None:
    """A problem and its solution, which computes its answer and can be told apart again under their headings.

    Raises ValueError, Rejected `wrong_equation`, `answer_not_computed` or `several_numbers`.
    """
    asked(problem)
    spoken(solution)
    golds = gold_numbers(solution)
    if len({gold.value for gold in golds}) != 1 or not ENDING.search(solution.strip()):
        raise ValueError("the solution must end with the sentence 'The answer is N.', where N is one number")
    sound(solution)
    if not final_number_computed(solution, equations(solution)):
        raise Rejected("answer_not_computed", f"no equation of the solution has its answer: {solution[-80:]!r}")
    if parts(new_problem_text(problem, solution)) != (problem.strip(), solution.strip()):
        raise ValueError("neither part may have a heading such as 'Solution:' of its own")


def thought(text: str) -> str:
    """A rationale: no answer stated, arithmetic sound."""
    text = spoken(text)
    if stated_answer(text) is not None:
        raise ValueError("the thought must not state the answer")
    return sound(text)
