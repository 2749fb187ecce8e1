"""The three simulated agents: a user who wants the composed task, an assistant who calls functions, and the functions.

The assistant sees the sub-tasks and must not show it. Its calls are checked as it writes them: one that does not fit
its function is sent back once.
"""

from __future__ import annotations

import json

import msgspec

from data_prep.button import MARKERS, dump_json, from_button_tool
from data_prep.checks import check_dialogue
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.synth.button.switches import Switches
from data_prep.synth.button.tasks import clock_sentence
from data_prep.synth.button.toolbox import arguments_problem, result_problem
from data_prep.synth.button.values import (
    Function,
    MessageReply,
    Toolbox,
    Trajectory,
    TurnReply,
    WithholdingReply,
)
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.prompts import Prompts

PARALLEL_ON_SHARE = 0.5  # ours: the paper's share is not published
MAX_TURNS = 12
ERRORS = (
    "service temporarily unavailable, please retry",
    "request timed out before it was processed, please retry",
    "internal error, nothing was changed, please retry",
)
PARALLEL = {
    True: "Calls that don't need each other's results go together into one turn, and only those.",
    False: "Make one call at a time.",
}
GO_ON = "Do everything that the user asks for before you give a final answer."
ASK = (
    "The user forgot a detail that a call needs. Call nothing yet; ask for it in the final answer, with a question "
    "mark, and take no value for it from the notes."
)
DECLINE = (
    "None of the functions can do this. Call nothing; say so in the final answer, say what is lacking, and make up no "
    "result."
)


async def simulate(prompts: Prompts, switches: Switches, box: Toolbox, ask: Ask) -> list[Trajectory]:
    """The dialogue of one toolbox."""
    return [await Simulation(prompts, switches, box, ask).run()]


class Simulation:
    """One dialogue in the making."""

    def __init__(self, prompts: Prompts, switches: Switches, box: Toolbox, ask: Ask):
        self.prompts, self.switches, self.box, self.ask = prompts, switches, box, ask
        self.tools = tuple(to_tool(function) for function in box.listed)
        self.functions = {function.name: function for function in box.listed}
        self.clock = clock_sentence(box.composed.clock)
        self.parallel = ask.rng.random() < PARALLEL_ON_SHARE
        self.messages: list[Message] = [Message(role="system", content=self.clock)] if self.clock else []
        self.tags = list(box.composed.tags)
        self.consistent = ask.rng.random() < switches.consistent_tools
        self.checked = ask.rng.random() < switches.check_results
        self.results: dict[str, str] = {}  # by call
        self.failing_call = ask.rng.randrange(2) if "tool_errors" in self.tags else None
        self.tags += [
            name for name, on in (("consistent_tools", self.consistent), ("check_results", self.checked)) if on
        ]

    async def run(self) -> Trajectory:
        """Play the dialogue to its end. Raises Rejected."""
        composed = self.box.composed
        if "missing_parameter" in self.tags:
            await self._with_missing_parameter()
        elif "user_turns" in self.tags:
            await self._say("user", task=composed.before_last)
            await self._assist(composed.sub_tasks[:-1], GO_ON)
            await self._say("user_next", task=composed.sub_tasks[-1], conversation=self._conversation())
            await self._assist(composed.sub_tasks, GO_ON)
        else:
            await self._say("user", task=composed.task)
            await self._assist(
                composed.sub_tasks, DECLINE if self.box.lacking else GO_ON, may_call=not self.box.lacking
            )
        return Trajectory(self.box, tuple(self.messages), self.parallel, tuple(self.tags))

    async def _with_missing_parameter(self) -> None:
        composed = self.box.composed
        prompt = self.prompts.fill("user_withholding", task=composed.task, clock=self.clock)

        def check(reply: WithholdingReply) -> None:
            if reply.withheld.lower() not in composed.task.lower():
                raise ValueError(f"the detail {reply.withheld!r} does not stand in what you want")

        asked = await self.ask.json(prompt, WithholdingReply, check)
        self.messages.append(Message(role="user", content=asked.message.strip()))
        await self._assist(composed.sub_tasks, ASK, may_call=False)
        question = self.messages[-1].content
        if "?" not in question:
            raise Rejected("no_question", f"the assistant does not ask for {asked.withheld!r}: {question[:200]}")
        await self._say("user_answer", message=asked.message, question=question, withheld=asked.withheld)
        if asked.withheld.lower() not in self.messages[-1].content.lower():
            raise Rejected("detail_not_given", f"{asked.withheld!r} is not in {self.messages[-1].content[:200]!r}")
        await self._assist(composed.sub_tasks, GO_ON)

    async def _say(self, prompt: str, **values: str) -> None:
        """The user's next message."""
        reply = await self.ask.json(self.prompts.fill(prompt, clock=self.clock, **values), MessageReply)
        self.messages.append(Message(role="user", content=reply.message.strip()))

    async def _assist(self, sub_tasks: tuple[str, ...], guidance: str, may_call: bool = True) -> None:
        """The assistant's turns until its next final answer."""
        for _ in range(MAX_TURNS):
            prompt = self.prompts.fill(
                "assistant",
                clock=self.clock,
                functions=dump_json([msgspec.to_builtins(function) for function in self.box.listed]),
                sub_tasks="\n".join(f"{number}. {text}" for number, text in enumerate(sub_tasks, 1)),
                conversation=self._conversation(),
                parallel=PARALLEL[self.parallel],
                guidance=guidance,
            )
            reply = await self.ask.json(prompt, TurnReply, lambda turn: self._check_turn(turn, may_call))
            message = self._to_message(reply)
            self.messages.append(message)
            if not message.tool_calls:
                return
            for call in message.tool_calls:
                content = await self._result(call)
                self.messages.append(Message(role="tool", content=content, tool_call_id=call.id, name=call.name))
        raise Rejected("too_many_turns", f"no final answer after {MAX_TURNS} turns")

    def _to_message(self, turn: TurnReply) -> Message:
        thought = " ".join(part.strip() for part in (turn.observation, turn.thought) if part.strip())
        if not turn.calls:
            return Message(role="assistant", content=turn.final.strip(), thinking=thought)
        first = sum(len(message.tool_calls) for message in self.messages)
        calls = tuple(
            ToolCall(id=f"call_{first + place}", name=call.name, arguments=call.arguments)
            for place, call in enumerate(turn.calls)
        )
        return Message(role="assistant", content=thought, tool_calls=calls)

    def _check_turn(self, turn: TurnReply, may_call: bool) -> None:
        """Raises ValueError, as the model is told it."""
        message = self._to_message(turn)
        if any(marker in text for marker in MARKERS for text in (message.content, message.thinking or "")):
            raise ValueError("leave out tags such as <call> and <final>; they are added later")
        if turn.calls and not may_call:
            raise ValueError("call nothing in this turn")
        if len(turn.calls) > 1 and not self.parallel:
            raise ValueError("make one call at a time")
        if len({call_key(call) for call in message.tool_calls}) < len(message.tool_calls):
            raise ValueError("the same call stands in the list twice")
        check_dialogue(Dialogue(id="-", source="button", messages=(*self.messages, message), tools=self.tools))
        for call in message.tool_calls:
            problem = arguments_problem(self.functions[call.name], call.arguments)
            if problem:
                raise ValueError(f"{call.name}: {problem}")

    async def _result(self, call: ToolCall) -> str:
        """What the function returns, as JSON text."""
        key = call_key(call)
        if self.failing_call == 0:
            self.failing_call = None
            return dump_json({"error": self.ask.rng.choice(ERRORS)})
        if self.failing_call is not None:
            self.failing_call -= 1
        if self.consistent and key in self.results:
            return self.results[key]
        function = self.functions[call.name]

        def check(result: dict[str, object]) -> None:
            problem = result_problem(function, result) if self.checked else None
            if problem:
                raise ValueError(problem)

        prompt = self.prompts.fill(
            "tool",
            clock=self.clock,
            function=dump_json(msgspec.to_builtins(function)),
            call=key,
            history=self._history() if self.consistent else "",
        )
        result = await self.ask.json(prompt, dict, check)
        self.results[key] = dump_json(result)
        return self.results[key]

    def _history(self) -> str:
        """What the tool agent must not contradict."""
        if not self.results:
            return ""
        earlier = "\n".join(f"{call} returned {result}" for call, result in self.results.items())
        return f"Earlier calls of this session; contradict nothing in them:\n\n<earlier>\n{earlier}\n</earlier>\n"

    def _conversation(self) -> str:
        lines = []
        for message in self.messages:
            if message.role == "tool":
                lines.append(f"Result of {message.name}: {message.content}")
            elif message.tool_calls:
                lines.append(f"Assistant calls: {json.dumps([json.loads(call_key(c)) for c in message.tool_calls])}")
            elif message.role != "system":
                lines.append(f"{message.role.capitalize()}: {message.content}")
        return "\n".join(lines)


def call_key(call: ToolCall) -> str:
    """A call as JSON text, equal for equal calls."""
    return json.dumps({"name": call.name, "arguments": call.arguments}, sort_keys=True, ensure_ascii=False)


def to_tool(function: Function) -> dict[str, object]:
    """The function in the OpenAI form."""
    return from_button_tool(msgspec.to_builtins(function))
