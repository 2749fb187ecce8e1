"""Laws of the loop in which a model's calls are executed and their results go back to it."""

from __future__ import annotations

import json

import msgspec
import pytest

from data_prep.dialogue import Dialogue, Message, ToolCall, assistant_turns, last_turn_only
from data_prep.encode import CONTEXT, Encoder
from eval.agent import can_be_written, replay
from eval.protocol import Reply, Step
from eval.tasks import program
from tests.data_prep.encoders import encoder
from tests.eval import policies
from tests.eval.helpers import TOOL, reply_of

ASKED = Dialogue(id="d", source="test", messages=(Message(role="user", content="Weather?"),), tools=(TOOL,))
CALL = reply_of('I look.<call>[{"name": "forecast", "arguments": {"city": "Oslo"}}]</call>', True)
TWO_CALLS = reply_of('<call>[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"x": 1}}]</call>', True)
ANSWER = reply_of("So it is.<final>4 degrees.</final>", True)
BROKEN = reply_of("<call>[{", True)
TOO_LONG = Reply("", None, "prompt_too_long", "rejected", "", "", 9000, 0)


class Echo:
    """Returns its call as text, and counts."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []

    def execute(self, call: ToolCall) -> str:
        self.calls.append(call)
        return json.dumps([call.name, call.arguments])


def test_an_episode_goes_on_with_the_results_of_the_last_calls_in_call_order() -> None:
    episode = replay(ASKED, [TWO_CALLS, CALL], Echo(), 5)
    assert episode.ending is None
    roles = [message.role for message in episode.dialogue.messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert [message.content for message in episode.dialogue.messages if message.role == "tool"] == [
        '["a", {}]', '["b", {"x": 1}]', '["forecast", {"city": "Oslo"}]',
    ]  # fmt: skip
    assert episode.dialogue.messages[:1] == ASKED.messages and episode.dialogue.tools == ASKED.tools


def test_calls_are_numbered_through_the_dialogue_and_each_result_names_its_call() -> None:
    messages = replay(ASKED, [TWO_CALLS, CALL], Echo(), 5).dialogue.messages
    assert [call.id for message in messages for call in message.tool_calls] == ["call_0", "call_1", "call_2"]
    assert [(m.tool_call_id, m.name) for m in messages if m.role == "tool"] == [
        ("call_0", "a"), ("call_1", "b"), ("call_2", "forecast"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("replies", "ending", "answer", "reason", "executed"),
    [
        ([], None, None, None, 0),
        ([CALL], None, None, None, 1),
        ([CALL, ANSWER], "answer", "4 degrees.", None, 1),
        ([ANSWER], "answer", "4 degrees.", None, 0),
        ([CALL, BROKEN], "unparsed", None, "unclosed", 1),
        ([CALL, TOO_LONG], "rejected", None, "prompt_too_long", 1),
        ([CALL, TWO_CALLS, CALL], "step_limit", None, None, 4),
        ([CALL, CALL, ANSWER], "answer", "4 degrees.", None, 2),
    ],
)
def test_an_episode_ends_with_an_answer_an_unreadable_turn_or_the_step_limit(
    replies: list[Reply], ending: str | None, answer: str | None, reason: str | None, executed: int
) -> None:
    environment = Echo()
    episode = replay(ASKED, replies, environment, 3)
    assert (episode.ending, episode.answer, episode.reason) == (ending, answer, reason)
    assert len(environment.calls) == executed


def test_the_next_user_turn_goes_on_behind_the_replies_read_with_calls_numbered_on() -> None:
    replies, environment = [TWO_CALLS, ANSWER, CALL, ANSWER], Echo()
    first = replay(ASKED, replies, environment, 3)
    assert first.replies_read == 2 and first.ending == "answer"
    again = msgspec.structs.replace(first.dialogue, messages=(*first.dialogue.messages, *ASKED.messages))
    second = replay(again, replies[first.replies_read :], environment, 3)
    assert second.replies_read == 2 and len(environment.calls) == 3
    assert [call.id for m in second.dialogue.messages for call in m.tool_calls] == ["call_0", "call_1", "call_2"]


def nested(depth: int) -> dict:
    value: dict = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("arguments", "writable"),
    [
        ({"city": "Vadsø \x1b[2J <script>"}, True),
        (nested(30), True),
        (nested(100), False),
        (nested(100_000), False),
        ({"x": [float("nan")]}, False),
        ({"x": float("inf")}, False),
        ({"x": 10**4000}, True),
        ({"x": 10**5000}, False),
        ({"\ud800": 1}, False),
    ],
)
def test_a_call_that_cannot_stand_in_the_next_prompt_is_not_executed_and_ends_the_episode(
    arguments: dict, writable: bool
) -> None:
    message = Message(role="assistant", tool_calls=(ToolCall("call_0", "forecast", arguments),))
    environment = Echo()
    environment.execute = lambda call: environment.calls.append(call) or "{}"  # type: ignore[method-assign,func-returns-value]
    episode = replay(ASKED, [CALL._replace(message=message)], environment, 5)
    assert (episode.reason, len(environment.calls)) == ((None, 1) if writable else ("unwritable_call", 0))
    assert can_be_written(arguments) is writable


def spoken(made: Encoder, dialogue: Dialogue, turn: Message) -> Reply:
    """The turn as a model would generate it after the prompt, in ids, and as the encoder's parser reads these."""
    whole = last_turn_only(msgspec.structs.replace(dialogue, messages=(*dialogue.messages, turn)))
    sample, prompt = made.encode(whole)[-1], made.prompt_ids(dialogue)
    assert sample.input_ids[: len(prompt)] == prompt and CONTEXT not in sample.kinds[len(prompt) : len(prompt) + 1]
    message = made.parse(sample.input_ids[len(prompt) :], has_tools=True)
    return Reply("", message, None, "stop", "", "", len(prompt), len(sample.input_ids) - len(prompt))


@pytest.mark.parametrize("tool_format", ["native", "button"])
def test_an_episode_goes_through_the_encoder_in_either_tool_format(tool_format: str) -> None:
    made = encoder("qwen2_5", tool_format, control_text="plain")
    for item in program.load([], 8).items:
        steps: list[Step] = []
        while (request := program.next_request(item, steps)) is not None:
            steps.append(Step(request.dialogue, spoken(made, request.dialogue, policies.gold(item, request.dialogue))))
        assert program.score(item, steps).values == policies.run(item, policies.gold).values
        assert len(assistant_turns(steps[-1].dialogue)) == len(steps) - 1
