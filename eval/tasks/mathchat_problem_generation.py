"""MathChat problem generation. Row: {"question", "answer": "... #### 18", "new_problem": "New Problem: ..."}

Given a seed problem with its solution, the model writes a new problem and solves it; no system prompt, greedy, 1,024
new tokens. Scored here is what can be computed: the solution's own arithmetic, and whether its final number
comes out of it. Whether the problem is any good is a judge's to say, `python -m eval judge`.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.dialogue import Dialogue, Message
from data_prep.equations import equations, final_number_computed
from data_prep.mathchat_form import copied, parts
from eval.protocol import Item, Loaded, Score, Step, Task
from eval.tasks.common import asked_once, data_file, read_rows, spoken

MAX_NEW_TOKENS = 1024
FILE = "mathchat/P2P_Generation.jsonl"
DOWNLOAD = "mathchat"
OPENING = (  # what the published script asks for, in our words
    "Write a new math problem, starting from a seed problem that I will give you. Your problem should go deeper into "
    "the seed's topic, or use the same mathematical principles in another context. Solve it as well, in detail, and "
    "apply those principles correctly."
)
CONSENT = "Understood, please give me the seed problem."
METRICS = {
    "two_parts": "a problem, and under a heading its solution",
    "new": "the problem does not repeat the seed's wording",
    "arithmetic": "every equation of the solution that can be recomputed holds, and there is one",
    "answer_computed": "the solution's final number is a side of such an equation",
}


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """Every row; the published script filters none."""
    path = data_file(data_dirs, FILE, DOWNLOAD)
    items: list[Item] = []
    for index, row in enumerate(read_rows(path, ("question", "answer", "new_problem"), limit)):
        messages = (
            Message(role="user", content=OPENING),
            Message(role="assistant", content=CONSENT),
            Message(role="user", content=f"Seed problem: {row['question']} Solution: {row['answer']}\n"),
        )
        dialogue = Dialogue(id=f"problem_generation-{index}", source="mathchat", messages=messages)
        gold = {"problem": row["question"], "answer": row["answer"], "reference": row["new_problem"]}
        items.append(Item(dialogue.id, dialogue.id, dialogue, gold))
    return Loaded(items, {})


def score(item: Item, steps: Sequence[Step]) -> Score:
    """See METRICS. What cannot be recomputed scores 0 as unparsed, so that leaving it out gains nothing."""
    if steps[0].reply.finish_reason == "rejected":
        return Score(dict.fromkeys(METRICS, 0.0), dict.fromkeys(METRICS, str(steps[0].reply.error)))
    problem, solution = parts(spoken(steps)[0])
    found = equations(solution) if solution else []
    all_hold = bool(found) and all(equation.holds for equation in found)
    values = {
        "two_parts": bool(problem and solution),
        "new": bool(problem) and not copied(problem, item.gold["problem"]),
        "arithmetic": all_hold,
        "answer_computed": bool(found) and final_number_computed(solution or "", found),
    }
    reason = "no_equation" if solution else "no_solution"
    unparsed = {} if found else {"arithmetic": reason, "answer_computed": reason}
    notes = {"equations": "none" if not found else "all hold" if all_hold else "some do not hold"}
    return Score({name: float(value) for name, value in values.items()}, unparsed, notes)


def feed(item: Item) -> list[Message]:
    """The reference turn, for known-answer tests and the judge's calibration."""
    return [Message(role="assistant", content=item.gold["reference"])]


TASK = Task(
    name="mathchat_problem_generation",
    version=2,
    description="MathChat problem generation: a new problem from a seed, with its solution, 1,319 seeds",
    metrics=METRICS,
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=lambda data_dirs: [data_file(data_dirs, FILE, DOWNLOAD)],
    load=load,
    next_request=asked_once(MAX_NEW_TOKENS),
    score=score,
)
