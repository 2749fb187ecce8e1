"""A rule-based maths model for the loopback server, and an independent proof of what was made with it.

The model knows one small language of its own: it reads numbers out of the prompt it is sent and computes with them.
`Model(wrong=0.1)` makes one in ten of its final numbers wrong and remembers the texts in `planted`.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from typing import Any

FINAL = re.compile(r"The answer is (-?\d+)\.")
EQUATION = re.compile(r"(-?[\d(][\d ()+*/-]*?) = (-?\d+)")
CHANGES = {
    "more": (re.compile(r"suppose (\d+) more are added"), lambda n, k: n + k, "{n} + {k}"),
    "fewer": (re.compile(r"suppose (\d+) are taken off"), lambda n, k: n - k, "{n} - {k}"),
    "times": (re.compile(r"suppose everything is (\d+) times as much"), lambda n, k: n * k, "{n} * {k}"),
}
WORDINGS = {
    "more": "And {lead}, suppose {k} more are added to that result: what is it then?",
    "fewer": "And {lead}, suppose {k} are taken off that result: what remains?",
    "times": "And {lead}, suppose everything is {k} times as much: what is the result?",
}
LEADS = ("on a Monday", "in winter", "next year", "for a neighbour", "after lunch", "at the fair", "in a bigger town",
         "this evening", "with a discount", "before school", "in the end", "at the harbour")  # fmt: skip
THINGS = ("marbles", "stamps", "shells", "beads", "tickets", "cards", "ribbons", "buttons", "coins", "seeds")
PLACES = ("crate", "basket", "drawer", "sack", "chest", "bucket", "case", "tin")
PEOPLE = ("Ada", "Ravi", "Lena", "Omar", "Mina", "Jonas", "Tessa", "Hugo", "Ines", "Kofi")
STORY = re.compile(r"(\d+) \w+ hold (\d+) \w+ each; (\d+) of all those \w+ are (?:lost|sold|given to a friend)")


def story(rng: random.Random) -> tuple[str, int, int, int]:
    """A problem in the model's own words, with its three numbers."""
    place, thing, who = rng.choice(PLACES), rng.choice(THINGS), rng.choice(PEOPLE)
    a, b, c = rng.randrange(3, 40), rng.randrange(11, 60), rng.randrange(2, 30)
    fate = rng.choice(("lost", "sold", "given to a friend"))
    lead = rng.choice(LEADS).capitalize()
    text = f"{lead} {who} counts. {a} {place}s hold {b} {thing} each; {c} of all those {thing} are {fate}."
    return f"{text} How many {thing} does {who} keep?", a, b, c


class Model:
    """`say(body)` for the loopback server; `wrong` is the share of replies with a wrong final number."""

    def __init__(self, wrong: float = 0.0):
        self.wrong = wrong
        self.planted: set[str] = set()
        self.lock = threading.Lock()

    def say(self, body: dict[str, Any]) -> str:
        prompt = body["messages"][0]["content"]
        if '{"ok": true}' in prompt:  # whether schemas are taken
            return '{"ok": true}'
        rng = random.Random(hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest())
        off = rng.randrange(1, 9) if rng.random() < self.wrong else 0
        rule = next(rule for sentence, rule in RULES.items() if sentence in prompt)
        texts = {name: tagged(prompt, name) for name in ("problem", "solution", "dialogue", "question", "attempt")}
        reply, text = rule(texts, rng, off)
        if off and text:
            with self.lock:
                self.planted.add(text)
        return reply


def tagged(prompt: str, name: str) -> str:
    """What stands between <name> and </name>."""
    found = re.search(rf"<{name}>\n(.*?)\n</{name}>", prompt, re.DOTALL)
    return found[1] if found else ""


def final(text: str) -> int:
    """The last final number stated in a text."""
    return int(FINAL.findall(text)[-1])


def without_final(text: str) -> str:
    return text[: text.rindex("The answer is")].strip()


Told = dict[str, str]


def solution(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    text = f"Let us go through it. {without_final(told['solution'])} The answer is {final(told['solution']) + off}."
    return text, text


def explanation(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    left, right = rng.choice(EQUATION.findall(told["solution"]))
    asked = f"I don't see it yet, {rng.choice(LEADS)} or not: why is {left} computed?"
    text = f"Because the story puts these numbers together in this way: {left} = {right}, nothing else fits."
    if off:
        text += f" The answer is {final(told['solution']) + off}."
    return json.dumps({"question": asked, "explanation": text}), text


def follow_up(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    before = final(told["solution"])
    kind = rng.choice(list(CHANGES) if abs(before) < 10_000 else ["more", "fewer"])
    amount = rng.randrange(2, 5) if kind == "times" else rng.randrange(2, 60)
    _, change, expression = CHANGES[kind]
    question = WORDINGS[kind].format(lead=rng.choice(LEADS), k=amount)
    calculation = expression.format(n=before, k=amount)
    return json.dumps({"question": question, "calculation": calculation, "answer": change(before, amount) + off}), ""


def change_of(question: str, before: int) -> tuple[str, int]:
    """(calculation, result) of a follow-up question in the model's language."""
    for pattern, change, expression in CHANGES.values():
        if found := pattern.search(question):
            amount = int(found[1])
            return expression.format(n=before, k=amount), change(before, amount)
    raise AssertionError(f"not in the model's language: {question!r}")


def answer(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    if found := STORY.search(told["question"]):
        a, b, c = map(int, found.groups())
        text = f"All in all {a} * {b} = {a * b}, and {a * b} - {c} = {a * b - c} stay. The answer is {a * b - c + off}."
    else:
        calculation, value = change_of(told["question"], final(told["dialogue"]))
        text = f"We go on from the last result: {calculation} = {value}. The answer is {value + off}."
    return text, text


def attempt(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    right = final(told["solution"])
    slip = 0 if off else rng.choice((-10, -2, -1, 1, 2, 10))
    left, _ = EQUATION.findall(told["solution"])[-1]
    text = f"I get {left} = {right + slip} {rng.choice(LEADS)}. The answer is {right + slip}."
    return json.dumps({"attempt": text, "mistake": f"{left} is not {right + slip}."}), text


def correction(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    right = final(told["solution"])
    left, value = EQUATION.findall(told["solution"])[-1]
    text = f"You are right to doubt it: in fact {left} = {value}. The answer is {right + off}."
    doubt = f"Is the last step really right, {rng.choice(LEADS)}?"
    return json.dumps({"hint": doubt, "correction": text}), text


def analysis(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    left, value = EQUATION.findall(told["solution"])[-1]
    wrong = final(told["attempt"])
    text = (
        f"The attempt says {left} = {wrong}, and there it goes wrong {rng.choice(LEADS)}: {left} = {value}. "
        f"The answer is {final(told['solution']) + off}."
    )
    return text, text


def new_problem(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    problem, a, b, c = story(rng)
    text = f"First {a} * {b} = {a * b}. Then {a * b} - {c} = {a * b - c}. The answer is {a * b - c + off}."
    return json.dumps({"problem": problem, "solution": text}), text


def rationale(told: Told, rng: random.Random, off: int) -> tuple[str, str]:
    return json.dumps({"thought": f"They want to see the steps, so I take them one by one {rng.choice(LEADS)}."}), ""


RULES = {
    "Write your reply to the student in your own words. Explain": solution,
    "the student asks about something in the tutor's working": explanation,
    "Write the student's next question": follow_up,
    "Now the student asks:": answer,
    "Write a solution as a learner might": attempt,
    "Then\nthe tutor admits": correction,
    "what is right in the attempt": analysis,
    "Write a new maths problem from it": new_problem,
    "Write what the tutor thinks": rationale,
}


def calculated(text: str) -> int:
    """A calculation of whole numbers with + - * / and brackets, by a recursive reading of its own."""
    tokens = re.findall(r"\d+|[()+*/-]", text)

    def expression(level: int) -> int:
        if level == 2:
            token = tokens.pop(0)
            if token != "(":
                return -expression(2) if token == "-" else int(token)
            value = expression(0)
            tokens.pop(0)
            return value
        value = expression(level + 1)
        while tokens and tokens[0] in ("+-", "*/")[level]:
            sign, other = tokens.pop(0), expression(level + 1)
            if sign == "/":
                assert value % other == 0
            value = {"+": value + other, "-": value - other, "*": value * other}.get(sign) or value // other
        return value

    value = expression(0)
    assert not tokens, text
    return value


def proven(row: dict[str, Any], golds: dict[str, int]) -> list[str]:
    """Everything that is wrong with a row, from its text and the seeds' golds alone; [] for a sound one."""
    turns = row["conversations"]
    if [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2) or not 2 <= len(turns) <= 32:
        return ["human and gpt do not alternate, or the depth is not 1 to 16"]
    problem = next((problem for problem in golds if turns[0]["value"].startswith(problem)), None)
    if problem is None:
        return ["the first turn does not pose a seed's problem"]
    wrong, known = [], golds[problem]
    for human, gpt in zip(turns[::2], turns[1::2], strict=True):
        if any(pattern.search(human["value"]) for pattern, _, _ in CHANGES.values()) and "\n" not in human["value"]:
            known = change_of(human["value"], known)[1]
        if gpt["value"].startswith("New Problem: "):
            a, b, c = map(int, STORY.search(gpt["value"]).groups())  # type: ignore[union-attr]
            known = a * b - c
        stated = FINAL.findall(gpt["value"])
        if gpt.get("train") is False:
            wrong += [f"an untrained turn is right: {gpt['value']}"] if int(stated[-1]) == known else []
        elif stated and int(stated[-1]) != known:
            wrong.append(f"{stated[-1]} for {known}: {gpt['value']}")
        elif not stated and "Because the story" not in gpt["value"]:
            wrong.append(f"no answer: {gpt['value']}")
        if gpt.get("train") is not False:
            cited = human["value"]
            wrong += [
                f"{left} = {right} is wrong"
                for left, right in EQUATION.findall(gpt["value"])
                if calculated(left) != int(right) and f"{left} = {right}" not in cited
            ]
        extra = {*gpt} - {"from", "value", "train", "thinking"} | {*human} - {"from", "value"}
        noise = [
            text for text in (human["value"], gpt["value"]) if "Sure, here" in text or "```" in text or "{" in text
        ]
        wrong += [f"keys {extra}"] * bool(extra) + [f"noise: {text}" for text in noise]
    return wrong
