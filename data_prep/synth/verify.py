"""`python -m data_prep.synth.verify rows.jsonl`: prove every row of a synthetic BUTTON file from its text alone.

Nothing of the composition is used: tools are read from the system prompt, calls from the assistant's text. Each call is
executed again on a fresh world and compared; each argument must stand in the user's message or in an earlier result;
each number in a thought or an answer must have been seen by then, and a thought that counts turns must count right.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from jsonschema import Draft202012Validator

from data_prep.synth.functions import ToolError
from data_prep.synth.world import World

NUMBER = re.compile(r"\d+(?:\.\d+)?")
TOOLS = re.compile(r"<tool>\n(.*)\n</tool>", re.DOTALL)
TURN = re.compile(r"(.*?)<(call|final)>(.*)</\2>", re.DOTALL)
COUNT = re.compile(r"\w+ (\d+) of (\d+): ")  # "Step 2 of 3: "
OFF = "You should call one function at a time"
MIN_TOOLS, MIN_CALLS, MAX_CALLS = 4, 2, 4


def check_row(row: dict[str, Any]) -> list[str]:
    """Everything that is wrong with an exported row; an empty list for a sound one."""
    system, *turns = row["messages"]
    listing = TOOLS.search(system["content"])
    tools = {tool["name"]: tool for tool in json.loads(listing.group(1))} if listing else {}
    one_at_a_time = OFF in system["content"]
    world = World(row["meta"]["world"], row["meta"]["split"])
    problems = [] if len(tools) >= MIN_TOOLS else [f"only {len(tools)} tools"]
    seen = ""
    values: list[Any] = []
    called = spoken = 0
    for number, turn in enumerate(turns):
        if turn["role"] == "user":
            problems += [f"the request names the tool {name}" for name in tools if name in turn["content"]]
            seen += " " + turn["content"]
            called = spoken = 0
        if turn["role"] != "assistant":
            continue
        match = TURN.fullmatch(turn["content"])
        result = turns[number + 1] if number + 1 < len(turns) and turns[number + 1]["role"] == "tool" else None
        if match is None or (match.group(2) == "final") != (result is None):
            return [*problems, f"not a call with results, nor an answer: {turn['content'][:80]!r}"]
        thought, _, action = match.groups()
        spoken += 1
        counted = COUNT.match(thought)
        if counted:
            own, last = int(counted.group(1)), int(counted.group(2))
            if own != spoken or (own == last) != (result is None):
                problems.append(f"turn {spoken} of the request counts itself as {counted.group()!r}")
            thought = thought[counted.end() :]
        problems += [f"number from nowhere in {thought!r}: {n}" for n in _unseen(thought, seen)]
        if result is None:
            problems += [f"number from nowhere in the answer: {n}" for n in _unseen(action, seen)]
            if not MIN_CALLS <= called <= MAX_CALLS:
                problems.append(f"{called} calls for one request")
            continue
        calls = json.loads(action)
        called += len(calls)
        if one_at_a_time and len(calls) > 1:
            problems.append(f"{len(calls)} calls in one turn under the one-at-a-time sentence")
        for call in calls:
            problems += _check_call(call, tools, seen, values)
        executed = _execute(world, calls)
        if json.loads(result["content"]) != executed:
            problems.append(f"executed again: {executed}; the row says {result['content']}")
        seen += " " + result["content"]
        values += [value for entry in json.loads(result["content"]) for value in entry["results"].values()]
    if turns[0]["role"] != "user" or "<final>" not in turns[-1]["content"]:
        problems.append("the dialogue does not go from a request to an answer")
    return problems


def _check_call(call: dict[str, Any], tools: dict[str, Any], seen: str, values: list[Any]) -> list[str]:
    tool = tools.get(call["name"])
    if tool is None:
        return [f"{call['name']} is not in the tool list"]
    schema = {
        "type": "object",
        "properties": tool["parameters"],
        "required": tool["required"],
        "additionalProperties": False,
    }
    problems = [
        f"{call['name']}: {error.message}" for error in Draft202012Validator(schema).iter_errors(call["arguments"])
    ]
    for name, value in call["arguments"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        given = re.search(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", seen)
        if given is None and value not in values:
            problems.append(f"{call['name']}: {name}={value!r} comes from nowhere")
    return problems


def _execute(world: World, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        return [{**call, "results": world.call(call["name"], call["arguments"])} for call in calls]
    except ToolError as error:
        return [{"error": str(error)}]


def _unseen(text: str, seen: str) -> set[str]:
    return set(NUMBER.findall(text)) - set(NUMBER.findall(seen))


def main(argv: list[str]) -> int:
    """Check a file; prints the first problems and the count, exit status 1 where there is any."""
    rows = bad = 0
    with open(argv[0], encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            rows += 1
            problems = check_row(json.loads(line))
            bad += bool(problems)
            if problems and bad <= 10:
                print(f"{argv[0]}:{number}: {'; '.join(problems)}", file=sys.stderr)
    print(f"{rows - bad} of {rows} rows proven")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
