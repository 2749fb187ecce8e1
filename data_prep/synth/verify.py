"""`python -m data_prep.synth.verify rows.jsonl`: prove every row of a synthetic BUTTON file from its text alone.

Nothing of the composition is used: tools are read from the system prompt, calls from the assistant's text. Each call is
executed again on a fresh world and compared, those of one turn in the opposite order too; each argument must stand in
the user's messages or in an earlier result, or be a date that the user named relative to today; each number in an
answer or a thought must have been seen by then, and a thought that counts turns must count right. A call that met an
error is untrained and refused by the function in these words, or is made again, the same, in the next turn.
"""

from __future__ import annotations

import calendar
import datetime
import json
import re
import sys
from copy import deepcopy
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from data_prep.synth.functions import ToolError
from data_prep.synth.world import World

NUMBER = re.compile(r"\d+(?:\.\d+)?")
TOOLS = re.compile(r"<tool>\n(.*)\n</tool>", re.DOTALL)
TURN = re.compile(r"(.*?)<(call|final)>(.*)</\2>", re.DOTALL)
COUNT = re.compile(r"\w+ (\d+) of (\d+): ")  # "Step 2 of 3: "
TODAY = re.compile(r"(?:Today is|Current date:) .*?(\d{4}-\d\d-\d\d)")
OFF = "You should call one function at a time"
MIN_TOOLS, MIN_CALLS, MAX_CALLS = 4, 2, 6
MONTHS = calendar.month_name[1:]


def check_row(row: dict[str, Any]) -> list[str]:
    """Everything that is wrong with an exported row; an empty list for a sound one."""
    return _Check(row).problems()


class _Check:
    """One row, read from its first message to its last."""

    def __init__(self, row: dict[str, Any]):
        system, *self.turns = row["messages"]
        self.meta = row["meta"]
        listing = TOOLS.search(system["content"])
        self.tools = {tool["name"]: tool for tool in json.loads(listing.group(1))} if listing else {}
        self.one_at_a_time = OFF in system["content"]
        context = system["content"].rpartition("</final>")[2]
        today = TODAY.search(context)
        self.today = datetime.date.fromisoformat(today.group(1)) if today else None
        self.world = World(self.meta["world"], self.meta["split"])
        self.seen = context if today else ""  # what the user, the results and the clock said
        self.values: list[Any] = []  # of results
        self.called = self.spoken = 0  # calls made and turns counted for the request
        self.failed: list[tuple[str, Any]] = []  # calls to be made again; arguments None where they were the mistake
        self.asked_back: str | None = None  # what was known when the assistant asked for more
        self.found: list[str] = []

    def problems(self) -> list[str]:
        """Everything that is wrong."""
        if len(self.tools) < MIN_TOOLS:
            self.found.append(f"only {len(self.tools)} tools")
        for number, turn in enumerate(self.turns):
            after = self.turns[number + 1] if number + 1 < len(self.turns) else {"role": "end", "content": ""}
            if turn["role"] == "user":
                self._hear(turn["content"])
            elif turn["role"] == "assistant" and not self._take_turn(turn, after):
                return self.found
        if self.turns[0]["role"] != "user" or "<final>" not in self.turns[-1]["content"]:
            self.found.append("the dialogue does not go from a request to an answer")
        if self.asked_back is not None:
            self.found.append("the assistant asked for what no call needed")
        return self.found

    def _hear(self, text: str) -> None:
        self.found += [f"the request names the tool {name}" for name in self.tools if name in text]
        self.seen += " " + text
        if self.today:
            self.seen += " " + " ".join(sorted(dates_in(text, self.today)))
        self.called = self.spoken = 0

    def _take_turn(self, turn: dict[str, Any], after: dict[str, Any]) -> bool:
        """Check an assistant's turn and its results; False where it can't be read."""
        match = TURN.fullmatch(turn["content"])
        answers = after["role"] != "tool"
        if match is None or (match.group(2) == "final") != answers:
            self.found.append(f"not a call with results, nor an answer: {turn['content'][:80]!r}")
            return False
        thought, _, action = match.groups()
        self.spoken += not self.failed
        counted = COUNT.match(thought)
        if counted:
            own, last = int(counted.group(1)), int(counted.group(2))
            if own != self.spoken or (own == last) != answers:
                self.found.append(f"turn {self.spoken} of the request counts itself as {counted.group()!r}")
            thought = thought[counted.end() :]
        self.found += [f"number from nowhere in {thought!r}: {n}" for n in _unseen(thought, self.seen)]
        if not answers:
            self._check_calls(json.loads(action), json.loads(after["content"]), turn.get("train", True))
            self.seen += " " + after["content"]
            return True
        self.found += [f"number from nowhere in the answer: {n}" for n in _unseen(action, self.seen)]
        if self.failed:
            self.found.append("a call that failed is not made again")
        if not self.called:
            self._check_no_calls(after["role"])
        elif not MIN_CALLS <= self.called <= MAX_CALLS:
            self.found.append(f"{self.called} calls for one request")
        return True

    def _check_no_calls(self, role_after: str) -> None:
        """An answer without a call asks back, or says that no listed tool will do."""
        if self.meta.get("situation") == "missing" and role_after == "user" and self.asked_back is None:
            self.asked_back = self.seen
        elif self.meta.get("situation") != "no_tool":
            self.found.append("0 calls for one request")
        elif set(self.meta["chain"]) <= set(self.tools):
            self.found.append("every tool that the request needs is listed, and none is called")

    def _check_calls(self, calls: list[dict[str, Any]], entries: list[dict[str, Any]], trained: bool) -> None:
        if self.one_at_a_time and len(calls) > 1:
            self.found.append(f"{len(calls)} calls in one turn under the one-at-a-time sentence")
        if [{"name": e["name"], "arguments": e["arguments"]} for e in entries] != calls:
            self.found.append("the results are not those of the calls")
            return
        made = [(call["name"], call["arguments"]) for call in calls]
        for name, arguments in self.failed:
            if (name, arguments) not in made and (arguments is not None or name not in dict(made)):
                self.found.append("a call that failed is not made again")
        self.failed = []
        start = deepcopy(self.world) if len(calls) > 1 else None
        for call, entry in zip(calls, entries, strict=True):
            self._check_entry(call, entry["results"], trained)
        if not trained and not self.failed:
            self.found.append("an untrained turn without an error")
        if start is not None and not self.failed and not _same_backwards(entries, start):
            self.found.append("parallel calls depend on each other")

    def _check_entry(self, call: dict[str, Any], results: dict[str, Any], trained: bool) -> None:
        if "error" not in results:
            self.found += _check_call(call, self.tools, self.seen, self.values)
            if self.asked_back is not None and _check_call(call, self.tools, self.asked_back, self.values):
                self.asked_back = None  # it needed the reply
            executed = _execute(self.world, call)
            self.called += 1
            self.values += results.values()
        elif trained:  # the tool's failure, not the call's: nothing happened, and what it says is its own
            self.found += _check_call(call, self.tools, self.seen, self.values)
            self.failed.append((call["name"], call["arguments"]))
            return
        else:
            executed = _execute(self.world, call)
            self.failed.append((call["name"], None))
        if executed != results:
            self.found.append(f"executed again: {executed}; the row says {results}")


def _execute(world: World, call: dict[str, Any]) -> dict[str, Any]:
    try:
        return world.attempt(call["name"], call["arguments"])
    except ToolError as error:
        return {"error": str(error)}


def _same_backwards(entries: list[dict[str, Any]], before: World) -> bool:
    world = deepcopy(before)
    return all(_execute(world, entry) == entry["results"] for entry in reversed(entries))


def _check_call(call: dict[str, Any], tools: dict[str, Any], seen: str, values: list[Any]) -> list[str]:
    tool = tools.get(call["name"])
    if tool is None:
        return [f"{call['name']} is not in the tool list"]
    validator = _validator(json.dumps([tool["parameters"], tool["required"]]))
    problems = [f"{call['name']}: {error.message}" for error in validator.iter_errors(call["arguments"])]
    for name, value in call["arguments"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        given = re.search(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", seen)
        if given is None and value not in values:
            problems.append(f"{call['name']}: {name}={value!r} comes from nowhere")
    return problems


@lru_cache(maxsize=1024)
def _validator(text: str) -> Draft202012Validator:
    parameters, required = json.loads(text)
    schema = {"type": "object", "properties": parameters, "required": required, "additionalProperties": False}
    return Draft202012Validator(schema)


def dates_in(text: str, today: datetime.date) -> set[str]:
    """Every date that a text names relative to today: a day of this year by its month, of this or the next month, or
    so many days ahead."""
    found = set()
    for pattern, month_of in (
        (rf"(\d+) ({'|'.join(MONTHS)})", lambda m: MONTHS.index(m[2]) + 1),
        (rf"({'|'.join(MONTHS)}) (\d+)", lambda m: MONTHS.index(m[1]) + 1),
        (r"the (\d+)(?:st|nd|rd|th) of (?:this|the current) month", lambda m: today.month),
        (r"the (\d+)(?:st|nd|rd|th) of (?:next|the coming) month", lambda m: today.month % 12 + 1),
    ):
        for match in re.finditer(pattern, text):
            day = next(int(group) for group in match.groups() if group.isdigit())
            found.add(datetime.date(today.year, month_of(match), day).isoformat())
    for match in re.finditer(r"(?:day|date) (\d+) days (?:from now|ahead)", text):
        found.add((today + datetime.timedelta(days=int(match[1]))).isoformat())
    if re.search(r"day (?:after|that follows) tomorrow", text):
        found.add((today + datetime.timedelta(days=2)).isoformat())
    return found


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
