"""BUTTON's text format, both ways: canonical messages to the paper's `<tool>/<call>/<final>` text, and its parser.

    system:    ... <tool>\n[{"name", "description", "parameters", "required", "responses"}]\n</tool> ...
    assistant: I should look first.<call>[{"name": "f", "arguments": {"x": 1}}]</call>
    tool:      [{"name": "f", "arguments": {"x": 1}, "results": {"y": 2}}]
    assistant: That settles it.<final>It is 2.</final>

The wording of the system prompt, its misspelling included, is the published one (BUTTONInstruct, CC BY 4.0).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from data_prep.dialogue import Dialogue, Message, ToolCall, function_of

SYSTEM_HEAD = (
    "You are an expert in using functions (i.e., tools) to solve users' tasks. "
    "The functions available for you to use are detailed below: \n<tool>\n"
)
SYSTEM_MIDDLE = (
    "\n</tool>\n\nIn your response, you need first provide your observation and thought on the user's task, "
    "the current situation, and what you plan to do next. After your thinking, you can do following two things:\n"
    "**Function Call**: For fountion calling, you need to provide the function name and its arguments. "
    "The function name must be same as its name in above function list, and the arguments must obey the format "
    'required by the function. Enclose the function call within the tag "<call></call>". '
)
PARALLEL_ON = (
    "If possible, you can call multiple functions in parallel, be sure the functions called parallelly are "
    "independent of each other."
)
PARALLEL_OFF = "You should call one function at a time, and wait for the response before calling the next function."
SYSTEM_TAIL = (
    "\n**Final Answer**: When you believe the task is complete, you may use 'final_answer' to provide a detailed "
    'summary of the results to give to the user, enclose the final answer within the tag "<final></final>".'
)
MARKERS = ("<call>", "</call>", "<final>", "</final>")


class TurnParseError(ValueError):
    """Generated text that is no well-formed turn; `code` is counted in reports as the reason for 'unparsed'."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.code, self.message)


def dump_json(value: Any) -> str:
    """JSON text as the published rows write it: default separators, non-ASCII kept as it is."""
    return json.dumps(value, ensure_ascii=False)


def to_button_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A JSON-schema function in BUTTON's flat form: parameters unwrapped, `required` and `responses` beside them."""
    function = function_of(tool)
    schema = function.get("parameters") or {}
    responses = function.get("return") or {}
    flat = {
        "name": function["name"],
        "description": function.get("description", ""),
        "parameters": schema.get("properties") or {},
        "required": list(schema.get("required") or ()),
        "responses": responses.get("properties", {}) if isinstance(responses, dict) else {},
    }
    return flat


def from_button_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """BUTTON's flat tool as a JSON-schema function; `responses` becomes `return`, the key transformers documents."""
    parameters = tool.get("parameters") or {}
    if parameters.get("type") == "object" and isinstance(parameters.get("properties"), dict):
        schema = dict(parameters)  # already wrapped: some rows carry plain JSON Schema
        schema.setdefault("required", list(tool.get("required", ())))
    else:
        schema = {"type": "object", "properties": parameters, "required": list(tool.get("required") or ())}
    function = {"name": tool["name"], "description": tool.get("description", ""), "parameters": schema}
    responses = tool.get("responses")
    if responses:
        function["return"] = {"type": "object", "properties": responses}
    return {"type": "function", "function": function}


def system_prompt(tools: tuple[dict[str, Any], ...] | list[dict[str, Any]], parallel_calls: bool = True) -> str:
    """BUTTON's system prompt with this tool list and the ON or OFF sentence about parallel calls."""
    listing = dump_json([to_button_tool(tool) for tool in tools])
    sentence = PARALLEL_ON if parallel_calls else PARALLEL_OFF
    return f"{SYSTEM_HEAD}{listing}{SYSTEM_MIDDLE}{sentence}{SYSTEM_TAIL}"


def uses_button_prompt(dialogue: Dialogue) -> bool:
    """Whether this dialogue is written with BUTTON's markup; one without tools is plain chat."""
    return bool(dialogue.tools) or "parallel_calls" in dialogue.meta


def thought_of(message: Message) -> str:
    """All that the assistant says before it acts: `thinking`, and beside a call its `content` too."""
    parts = [message.thinking or "", message.content if message.tool_calls else ""]
    return "\n\n".join(part for part in parts if part)


def render_turn(message: Message) -> tuple[str, str]:
    """An assistant turn as (thought, action): the thought's text, then `<call>...</call>` or `<final>...</final>`."""
    if message.tool_calls:
        calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
        return thought_of(message), f"<call>{dump_json(calls)}</call>"
    return thought_of(message), f"<final>{message.content}</final>"


def render_results(calls: tuple[ToolCall, ...], results: list[Message]) -> str:
    """The tool message: one JSON entry per result, in call order; result text that is JSON is embedded as JSON."""
    by_id = {call.id: call for call in calls if call.id}
    entries = []
    for position, result in enumerate(results):
        call = by_id.get(result.tool_call_id or "")
        if call is None and position < len(calls):
            call = calls[position]
        entries.append(
            {
                "name": call.name if call else result.name,
                "arguments": call.arguments if call else {},
                "results": json_or_text(result.content),
            }
        )
    return dump_json(entries)


def json_or_text(text: str) -> Any:
    """The value of JSON text, or the text itself where it is none (NaN, Infinity and 1e999 are not JSON)."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def to_messages(dialogue: Dialogue) -> list[dict[str, str]]:
    """A canonical dialogue as BUTTON's own messages: roles system, user, assistant, tool, text only."""
    if not uses_button_prompt(dialogue):
        return [{"role": m.role, "content": plain_content(m)} for m in dialogue.messages]
    prompt = system_prompt(dialogue.tools, dialogue.meta.get("parallel_calls", True))
    messages = list(dialogue.messages)
    if messages and messages[0].role == "system":
        prompt = f"{prompt}\n\n{messages.pop(0).content}"
    rows = [{"role": "system", "content": prompt}]
    calls: tuple[ToolCall, ...] = ()
    results: list[Message] = []
    for position, message in enumerate(messages):
        if message.role == "tool":
            results.append(message)
            if position + 1 == len(messages) or messages[position + 1].role != "tool":
                rows.append({"role": "tool", "content": render_results(calls, results)})
                results = []
        elif message.role == "assistant":
            calls = message.tool_calls
            rows.append({"role": "assistant", "content": "".join(render_turn(message))})
        else:
            rows.append({"role": message.role, "content": message.content})
    return rows


def plain_content(message: Message) -> str:
    """Thinking before the answer with a blank line between, where nothing else can carry it."""
    if message.role == "assistant" and message.thinking and message.thinking.strip():
        return f"{message.thinking.strip()}\n\n{message.content}"
    return message.content


def parse_turn(text: str) -> Message:
    """Read a turn in BUTTON's format back into a message: calls, or a final answer, with the thought before it.

    Several `<call>` blocks and a single object instead of a list are read as well. Raises TurnParseError with code
    `no_action`, `unclosed`, `call_json`, `call_shape` or `trailing_text`.
    """
    match = re.search(r"<(call|final)>", text)
    if match is None:
        raise TurnParseError("no_action", "neither <call> nor <final> in the turn")
    thought, kind = text[: match.start()], match.group(1)
    if kind == "final":
        end = text.find("</final>", match.end())
        if end < 0:
            raise TurnParseError("unclosed", "<final> is never closed")
        if text[end + len("</final>") :].strip():
            raise TurnParseError("trailing_text", "text after </final>")
        return Message(role="assistant", content=text[match.end() : end], thinking=thought or None)
    calls: list[ToolCall] = []
    rest = text[match.start() :]
    while rest.strip():
        rest = rest.lstrip()
        if not rest.startswith("<call>"):
            raise TurnParseError("trailing_text", f"text after </call>: {rest[:60]!r}")
        end = rest.find("</call>")
        if end < 0:
            raise TurnParseError("unclosed", "<call> is never closed")
        calls += parse_calls(rest[len("<call>") : end], start=len(calls))
        rest = rest[end + len("</call>") :]
    if not calls:
        raise TurnParseError("call_shape", "<call> holds no call")
    return Message(role="assistant", content=thought, tool_calls=tuple(calls))


def parse_calls(text: str, start: int = 0) -> list[ToolCall]:
    """The calls inside one `<call>` block: a JSON list of {"name", "arguments"}, or one such object."""
    value = parse_json(text)
    entries = value if isinstance(value, list) else [value]
    calls: list[ToolCall] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise TurnParseError("call_shape", f"a call must be an object with a name, not {str(entry)[:80]}")
        arguments = entry.get("arguments", {})
        if not isinstance(arguments, dict):
            raise TurnParseError("call_shape", f"arguments must be an object, not {type(arguments).__name__}")
        calls.append(ToolCall(id=f"call_{start + len(calls)}", name=entry["name"], arguments=arguments))
    return calls


def parse_json(text: str) -> Any:
    """The value of a call's JSON. Raises TurnParseError with code `call_json`."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise TurnParseError("call_json", f"the call is not JSON: {error}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text)
