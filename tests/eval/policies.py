"""Scripted policies for the task `program`: each says the next turn of an episode from what the dialogue shows.

score = run(item, gold)        the gold policy's score: it retries what failed, calls turn by turn, and answers
"""

from __future__ import annotations

import json
from collections.abc import Callable

from data_prep import button
from data_prep.dialogue import Dialogue, Message, ToolCall
from eval.protocol import Item, Score, Step
from eval.tasks import program
from tests.eval.helpers import reply_of

Policy = Callable[[Item, Dialogue], Message]


def text_of(turn: Message) -> str:
    return "".join(button.render_turn(turn))


def calling(*calls: tuple[str, dict]) -> Message:
    """A turn that makes these calls."""
    made = tuple(ToolCall(f"call_{number}", name, arguments) for number, (name, arguments) in enumerate(calls))
    return Message(role="assistant", content="I call.", tool_calls=made)


def answering(text: str) -> Message:
    return Message(role="assistant", content=text, thinking="I answer.")


def answered_calls(dialogue: Dialogue) -> list[tuple[ToolCall, bool]]:
    """The calls made so far, and whether each got a result rather than an error."""
    calls = [call for message in dialogue.messages for call in message.tool_calls]
    results = [json.loads(message.content) for message in dialogue.messages if message.role == "tool"]
    return [(call, "error" not in result) for call, result in zip(calls, results, strict=True)]


def gold(item: Item, dialogue: Dialogue) -> Message:
    """The calls of the first turn that has any left undone; then the answer."""
    done = [(call.name, call.arguments) for call, good in answered_calls(dialogue) if good]
    for turn in item.gold["calls"]:
        left = [(call["name"], call["arguments"]) for call in turn if (call["name"], call["arguments"]) not in done]
        if left:
            return calling(*left)
    return answering(item.gold["answer"])


def parallel_calls_reversed(item: Item, dialogue: Dialogue) -> Message:
    turn = gold(item, dialogue)
    return calling(*((call.name, call.arguments) for call in turn.tool_calls[::-1])) if turn.tool_calls else turn


def answers_at_once(item: Item, dialogue: Dialogue) -> Message:
    return answering(item.gold["answer"])


def leaves_out_the_last_call(item: Item, dialogue: Dialogue) -> Message:
    turn = gold(item, dialogue)
    last = item.gold["calls"][-1][-1]["name"] if turn.tool_calls else None
    left = [(call.name, call.arguments) for call in turn.tool_calls if call.name != last]
    return calling(*left) if left else answering(item.gold["answer"])


def calls_everything_twice(item: Item, dialogue: Dialogue) -> Message:
    turn = gold(item, dialogue)
    twice = [(call.name, call.arguments) for call in turn.tool_calls for _ in range(2)]
    return calling(*twice) if twice else turn


def gives_up_after_an_error(item: Item, dialogue: Dialogue) -> Message:
    failed = any(not good for _, good in answered_calls(dialogue))
    return answering("It did not work.") if failed else gold(item, dialogue)


def always_calls(item: Item, dialogue: Dialogue) -> Message:
    """Calls the first tool listed with values of the right types, then answers."""
    function = dialogue.tools[0]["function"]
    values = {"string": "Vienna", "integer": 3, "number": 2.5}
    arguments = {name: values[schema["type"]] for name, schema in function["parameters"]["properties"].items()}
    return calling((function["name"], arguments)) if dialogue.messages[-1].role == "user" else answering("Done.")


def never_stops(item: Item, dialogue: Dialogue) -> Message:
    first = (item.gold["calls"] or [[{"name": "f", "arguments": {}}]])[0][0]
    return calling((first["name"], first["arguments"]))


def steps_of(item: Item, policy: Policy) -> list[Step]:
    """The episode's turns under a policy, in BUTTON's format."""
    steps: list[Step] = []
    while (request := program.next_request(item, steps)) is not None:
        steps.append(Step(request.dialogue, reply_of(text_of(policy(item, request.dialogue)), True)))
    return steps


def run(item: Item, policy: Policy) -> Score:
    """The score of an episode under a policy."""
    return program.score(item, steps_of(item, policy))
