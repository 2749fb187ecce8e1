"""`say(body)`: a rule-based model that plays every part of BUTTON's pipeline, from what the prompts say.

It knows one kind of story (codes are looked up, quotes need codes, forms need quotes) with many words in it, marks the
sub-tasks with SENTINEL, and now and then does what models do: leaks the plan, makes an argument up, forgets one.
"""

from __future__ import annotations

import calendar
import json
import re
from random import Random
from typing import Any

SENTINEL = "ZQ7-PLAN"
WORDS = {
    "actions": "planning booking comparing cancelling renewing checking ordering renting insuring repairing choosing",
    "subjects": "ferry museum hotel concert garage bakery clinic theatre library vineyard airport stadium campsite "
    "marina gallery warehouse hostel cinema aquarium market castle orchard brewery observatory tramway cottage",
    "whom": "family work friends grandparents students neighbours colleagues twins pensioners scouts tourists "
    "newcomers musicians gardeners nurses builders sailors cyclists beekeepers translators",
    "occasions": "before-the-holidays on-a-small-budget at-short-notice in-midwinter despite-rain after-an-illness "
    "without-a-car during-a-strike for-an-anniversary under-renovation overnight abroad",
    "places": "Lyon Porto Bergen Graz Siena Gdansk Malmo Leuven Bilbao Zadar Turku Cork Basel Tartu Nantes Girona",
    "others": "parking catering cleaning insurance luggage guide breakfast shuttle storage tasting permit lighting",
    "forms": "refund booking permit discount membership visitor loyalty safety",
    "names": "Ana-Ruiz Bo-Lindqvist Chen-Wei Dara-Okafor Emil-Novak Fay-Turner Gus-Keller Hana-Sato",
}
WORD_LISTS = [[word.replace("-", " ") for word in words.split()] for words in WORDS.values()]
ACTIONS, SUBJECTS, WHOM, OCCASIONS, PLACES, OTHERS, FORMS, NAMES = WORD_LISTS
MONTHS = list(calendar.month_name)

LOOK_UP = re.compile(r"[Ll]ook up the (\w+) code for (\w+) on (\d+) (\w+) (\d{4})")
QUOTE = re.compile(r"[Ww]ith the (\w+) (code|quote|form)(?: and the (\w+) code)?, get the (\w+) quote for (\d+) people")
FORM = re.compile(r"[Ww]ith the (\w+) (quote|form), file the (\w+) form for (\w+ \w+)")


def say(body: dict[str, Any]) -> str:
    """The reply to a request."""
    prompt = body["messages"][0]["content"]
    rng = Random(f"{prompt}{body.get('seed')}{len(body['messages'])}")
    return json.dumps(next(rule for start, rule in RULES.items() if start in prompt)(prompt, rng))


def section(prompt: str, name: str) -> str:
    match = re.search(rf"<{name}>\n(.*?)\n\s*</{name}>", prompt, re.DOTALL)
    return match[1].strip() if match else ""


def scenario(prompt: str, rng: Random) -> dict[str, Any]:
    return {
        "scenario": f"{rng.choice(ACTIONS)} a {rng.choice(SUBJECTS)} for {rng.choice(WHOM)} {rng.choice(OCCASIONS)}"
    }


def expand(prompt: str, rng: Random) -> dict[str, Any]:
    action, _, subject, _ = section(prompt, "scenario").split(maxsplit=3)
    action, subject = (rng.choice(ACTIONS), subject) if "its action" in prompt else (action, rng.choice(SUBJECTS))
    return {"scenario": f"{action} a {subject} for {rng.choice(WHOM)} {rng.choice(OCCASIONS)}"}


def look_up(subject: str, rng: Random) -> str:
    day = f"{rng.randint(1, 28)} {rng.choice(MONTHS[1:])} {rng.choice((2026, 2027))}"
    return f"Look up the {subject} code for {rng.choice(PLACES)} on {day}"


def atomic_task(prompt: str, rng: Random) -> dict[str, Any]:
    return {"task": f"{look_up(section(prompt, 'scenario').split()[2], rng)} ({SENTINEL})."}


def made(task: str) -> tuple[str, str]:
    """What the last step of a task makes: its word and `code`, `quote` or `form`."""
    found = re.findall(r"the (\w+) (code|quote|form)", task)
    return found[-1]


def follow(task: str, first: tuple[str, str], second: str | None, rng: Random) -> tuple[str, str]:
    taken = {word for word, _ in re.findall(r"the (\w+) (code|quote|form)", task)}
    if first[1] == "quote":
        form = rng.choice([word for word in FORMS if word not in taken] or FORMS)
        return f"With the {first[0]} quote, file the {form} form for {rng.choice(NAMES)}", f"file the {form} form"
    other = rng.choice([word for word in OTHERS if word not in taken] or OTHERS)
    also = f" and the {second} code" if second else ""
    step = f"With the {first[0]} {first[1]}{also}, get the {other} quote for {rng.randint(2, 30)} people"
    return step, f"get the {other} quote"


def joined(*steps: str) -> str:
    return (
        ", and ".join(step.replace(f" ({SENTINEL}).", "").rstrip(".").replace("With", "with") for step in steps) + "."
    )


def sequential(prompt: str, rng: Random) -> dict[str, Any]:
    task = section(prompt, "task")
    step, _ = follow(task, made(task), None, rng)
    return {"subsequent_task": f"{step} ({SENTINEL}).", "composed_task": joined(task, step)}


def parallel(prompt: str, rng: Random) -> dict[str, Any]:
    task = section(prompt, "task")
    first = made(task)
    beside = look_up(rng.choice([word for word in SUBJECTS if word != first[0]]), rng)
    step, _ = follow(task, first, made(beside)[0], rng)
    return {
        "parallel_task": f"{beside} ({SENTINEL}).",
        "subsequent_task": f"{step} ({SENTINEL}).",
        "composed_task": joined(task, beside, step),
    }


def consistency(prompt: str, rng: Random) -> dict[str, Any]:
    return {"thought": "I compared them.", "consistent": rng.random() < 0.93}


def realism(prompt: str, rng: Random) -> dict[str, Any]:
    return {"thought": "People do.", "score": rng.choice((5, 5, 4, 4, 5, 4, 5, 2))}


STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
TYPES = {"code": STRING, "quote": NUMBER, "form": STRING}


def steps_of(text: str) -> list[tuple[str, dict[str, Any], dict[str, Any], str, str]]:
    """(function, parameters, arguments as far as the text gives them, result key, result type) of every sub-task."""
    steps = []
    for line in text.splitlines():
        if found := LOOK_UP.search(line):
            word, place, day, month, year = found.groups()
            date = f"{year}-{MONTHS.index(month):02d}-{int(day):02d}"
            arguments: dict[str, Any] = {"place": place, "date": date}
            steps.append((f"look_up_{word}_code", {"place": STRING, "date": STRING}, arguments, f"{word}_code", "code"))
        elif found := QUOTE.search(line):
            word, kind, second, other, people = found.groups()
            parameters = {f"{word}_{kind}": TYPES[kind], **({f"{second}_code": STRING} if second else {})}
            parameters["people"] = INTEGER
            steps.append((f"get_{other}_quote", parameters, {"people": int(people)}, f"{other}_quote", "quote"))
        elif found := FORM.search(line):
            word, kind, form, name = found.groups()
            parameters = {f"{word}_{kind}": TYPES[kind], "name": STRING}
            steps.append((f"file_{form}_form", parameters, {"name": name}, f"{form}_form", "form"))
    return steps


def functions(prompt: str, rng: Random) -> dict[str, Any]:
    lists = []
    for name, parameters, _, key, kind in steps_of(section(prompt, "sub_tasks")):
        words = name.replace("_", " ")
        described = {each: {**schema, "description": each.replace("_", " ")} for each, schema in parameters.items()}
        function = {"name": name, "description": f"{words.capitalize()}.", "parameters": described,
                    "required": list(parameters), "responses": {key: TYPES[kind]}}  # fmt: skip
        lists.append([function])
    return {"functions": lists}


def user(prompt: str, rng: Random) -> dict[str, Any]:
    task = section(prompt, "what you want") or section(prompt, "what you want next")
    if rng.random() > 0.03:
        task = task.replace(f" ({SENTINEL})", "")
    return {"message": f"{rng.choice(('Hello!', 'Hi there,', 'Please help me:'))} {task}"}


def user_withholding(prompt: str, rng: Random) -> dict[str, Any]:
    task = section(prompt, "what you want").replace(f" ({SENTINEL})", "")
    place = LOOK_UP.search(task)[2]  # type: ignore[index]
    return {"message": task.replace(place, "my city"), "withheld": place}


def user_answer(prompt: str, rng: Random) -> dict[str, Any]:
    return {"message": f"I mean {section(prompt, 'the detail')}."}


def results_in(conversation: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in re.findall(r"^Result of (\w+): (.*)$", conversation, re.MULTILINE):
        result = json.loads(text)
        if "error" not in result:
            found |= {name: result, **result}
    return found


def assistant(prompt: str, rng: Random) -> dict[str, Any]:
    conversation, notes = section(prompt, "conversation"), section(prompt, "notes for you alone")
    turn: dict[str, Any] = {"observation": "I see what is wanted.", "thought": "I go on with what is still missing."}
    if rng.random() < 0.02:
        turn["thought"] = f"The plan says: {notes.splitlines()[-1]}"
    if "forgot a detail" in prompt:
        return turn | {"final": "Which city do you mean?"}
    if "None of the functions" in prompt:
        return turn | {"final": "I am sorry, none of my functions can do that; one that looks up codes is lacking."}
    results = results_in(conversation)
    calls = []
    for name, parameters, arguments, _, _ in steps_of(notes):
        needed = [key for key in parameters if key not in arguments]
        if name not in results and all(key in results for key in needed):
            calls.append({"name": name, "arguments": {**{key: results[key] for key in needed}, **arguments}})
    if not calls:
        key = steps_of(notes)[-1][3]
        return turn | {"final": f"It is all done: the {key.replace('_', ' ')} is {results.get(key)}."}
    if "Make one call at a time" in prompt:
        calls = calls[:1]
    if rng.random() < 0.03:
        calls[0]["arguments"].popitem()
    elif rng.random() < 0.03 and "people" in calls[0]["arguments"]:
        calls[0]["arguments"]["people"] = 777
    return turn | {"calls": calls}


def tool(prompt: str, rng: Random) -> dict[str, Any]:
    ((key, schema),) = json.loads(section(prompt, "function"))["responses"].items()
    if rng.random() < 0.03:
        return {"status": "ok"}
    if schema == NUMBER:
        return {key: rng.randint(20, 900) + 0.5}
    return {key: f"{rng.choice('ABCDEFGH')}{rng.choice('KLMNPQ')}-{rng.randint(1000, 9999)}"}


RULES = {
    "Name the everyday situation": scenario,
    "Make another one from it": expand,
    "Write one small task": atomic_task,
    "Extend a task by what comes next": sequential,
    "Extend a task by one that runs beside": parallel,
    "the sub-tasks that it is to be done by": consistency,
    "Would somebody really ask": realism,
    "Define the functions": functions,
    "with every name, place, date, code": user,
    "but forget one detail": user_withholding,
    "forgot a detail. ": user_answer,
    "has done the first thing you wanted": user,
    "who does what a user asks": assistant,
    "You play the part of a function": tool,
    "Reply with the JSON object": lambda prompt, rng: {"ok": True},
}
