"""The canonical dialogue: the one form that every source is read into and every consumer starts from.

    {"id": "button-17", "source": "button",
     "messages": [
       {"role": "user", "content": "Weather in Oslo?"},
       {"role": "assistant", "content": "I need the forecast.", "tool_calls": [
         {"id": "call_0", "type": "function",
          "function": {"name": "forecast", "arguments": {"city": "Oslo"}}}]},
       {"role": "tool", "tool_call_id": "call_0", "name": "forecast", "content": "{\"temp_c\": 4}"},
       {"role": "assistant", "content": "4 degrees.", "thinking": "The result answers it."}],
     "tools": [{"type": "function", "function": {"name": "forecast", "parameters": {...}}}],
     "meta": {}}

This is the OpenAI / TRL "conversational with tools" form, so any other trainer can read the files we write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")

JSON = msgspec.json.Encoder(order="sorted")


class DialogueError(ValueError):
    """A dialogue that is not in the canonical form.

    `code` is a short stable reason (`message_role`, `call_arguments`, ...) that reports count by.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self):
        return type(self), (self.code, self.message)


class ToolCall(msgspec.Struct, frozen=True):
    """One call of one function; `arguments` is a JSON object, never its text."""

    id: str
    name: str
    arguments: dict[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `tool_calls`, `thinking` and `train` belong to the assistant, `tool_call_id` and `name` to a tool."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str | None = None
    train: bool = True
    tool_call_id: str | None = None
    name: str | None = None


class Dialogue(msgspec.Struct, frozen=True, kw_only=True):
    """A whole dialogue; `tools` are JSON-schema functions in the OpenAI form."""

    id: str
    source: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    meta: dict[str, Any] = msgspec.field(default_factory=dict)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Dialogue:
        """Read a canonical row; `tools` and `arguments` may be JSON text, as they are in Arrow files.

        A missing `id` becomes the content's hash. Raises DialogueError.
        """
        if not isinstance(row, dict):
            raise DialogueError("row_type", f"a dialogue must be a JSON object, not {type(row).__name__}")
        messages = row.get("messages")
        if not isinstance(messages, (list, tuple)) or not messages:
            raise DialogueError("messages", "'messages' must be a non-empty list")
        read = tuple(_read_message(index, message) for index, message in enumerate(messages))
        tools = tuple(_read_tools(row.get("tools")))
        meta = _from_json_text(row.get("meta") or {}, "meta")
        if not isinstance(meta, dict):
            raise DialogueError("meta", f"'meta' must be an object, not {type(meta).__name__}")
        dialogue = cls(id=str(row.get("id") or ""), source=str(row.get("source") or "messages"),
                       messages=read, tools=tools, meta=meta)  # fmt: skip
        return dialogue if dialogue.id else msgspec.structs.replace(dialogue, id=content_hash(dialogue))

    def to_dict(self) -> dict[str, Any]:
        """The canonical row: plain dicts and lists, keys that carry nothing left out."""
        return {
            "id": self.id,
            "source": self.source,
            "messages": [message_to_dict(message) for message in self.messages],
            "tools": [dict(tool) for tool in self.tools],
            "meta": dict(self.meta),
        }

    def before(self, index: int) -> Dialogue:
        """The dialogue as it stood before message `index`: what the model is prompted with for that turn."""
        return msgspec.structs.replace(self, messages=self.messages[:index])


def message_to_dict(message: Message) -> dict[str, Any]:
    """One canonical message as a plain dict."""
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [call_to_dict(call) for call in message.tool_calls]
    if message.thinking is not None:
        row["thinking"] = message.thinking
    if not message.train:
        row["train"] = False
    if message.tool_call_id is not None:
        row["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        row["name"] = message.name
    return row


def call_to_dict(call: ToolCall) -> dict[str, Any]:
    """One call in the OpenAI form, arguments as an object."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def function_of(tool: dict[str, Any]) -> dict[str, Any]:
    """The `function` object of a tool in the OpenAI form: name, description, parameters."""
    return tool["function"]


def leaves(value: Any) -> Iterator[Any]:
    """The texts, numbers and booleans in a JSON value, in its order, however deep; null says nothing."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += reversed(value.values())
        elif isinstance(value, list):
            left += reversed(value)
        elif value is not None:
            yield value


def content_hash(dialogue: Dialogue) -> str:
    """16 hex digits over messages and tools, whatever the id, source and meta say; equal content, equal hash."""
    content = [[message_to_dict(m) for m in dialogue.messages], list(dialogue.tools)]
    for message in content[0]:
        for call in message.get("tool_calls", ()):
            call.pop("id")
        message.pop("tool_call_id", None)
    return hashlib.sha256(JSON.encode(content)).hexdigest()[:16]


def assistant_turns(dialogue: Dialogue, trained_only: bool = False) -> list[int]:
    """Indices of the assistant's messages, with `trained_only` those that are not marked `train: false`."""
    return [
        index
        for index, message in enumerate(dialogue.messages)
        if message.role == "assistant" and (message.train or not trained_only)
    ]


def last_turn_only(dialogue: Dialogue) -> Dialogue:
    """The dialogue with all assistant turns but the last that is trained marked `train: false`."""
    messages = list(dialogue.messages)
    for index in assistant_turns(dialogue, trained_only=True)[:-1]:
        messages[index] = msgspec.structs.replace(messages[index], train=False)
    return msgspec.structs.replace(dialogue, messages=tuple(messages))


def write_jsonl(path: str, dialogues: Iterable[Dialogue]) -> int:
    """Write canonical dialogues, one JSON object a line; returns how many."""
    encoder = msgspec.json.Encoder()
    count = 0
    with open(path, "wb") as file:
        for dialogue in dialogues:
            file.write(encoder.encode(dialogue.to_dict()) + b"\n")
            count += 1
    return count


def _read_message(index: int, row: Any) -> Message:
    where = f"message {index}"
    if not isinstance(row, dict):
        raise DialogueError("message_type", f"{where} must be an object, not {type(row).__name__}")
    role = row.get("role")
    if role not in ROLES:
        raise DialogueError("message_role", f"{where} has role {role!r}; wanted one of {', '.join(ROLES)}")
    content = row.get("content")
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise DialogueError(
            "non_text_content", f"{where} has {type(content).__name__} content; only text can be trained on here"
        )
    calls = _from_json_text(row.get("tool_calls") or (), f"{where}'s tool_calls") or ()
    if not isinstance(calls, (list, tuple)):
        raise DialogueError("call_type", f"{where}'s tool_calls must be a list, not {calls!r:.60}")
    thinking = row.get("thinking")
    if thinking is not None and not isinstance(thinking, str):
        raise DialogueError("thinking_type", f"{where}'s thinking must be text, not {type(thinking).__name__}")
    train = row.get("train")
    if train is not None and not isinstance(train, bool):
        raise DialogueError("train_type", f"{where}'s train must be true or false, not {train!r}")
    if role != "assistant" and (calls or thinking is not None or train is not None):
        raise DialogueError("assistant_keys", f"{where} is '{role}' but carries tool_calls, thinking or train")
    return Message(
        role=role,
        content=content,
        tool_calls=tuple(_read_call(f"{where}, call {k}", call) for k, call in enumerate(calls)),
        thinking=thinking,
        train=train is not False,
        tool_call_id=row.get("tool_call_id") if role == "tool" else None,
        name=row.get("name") if role == "tool" else None,
    )


def _read_call(where: str, row: Any) -> ToolCall:
    if not isinstance(row, dict):
        raise DialogueError("call_type", f"{where} must be an object, not {type(row).__name__}")
    function = row.get("function", row)
    if not isinstance(function, dict):
        raise DialogueError("call_type", f"{where}: 'function' must be an object, not {type(function).__name__}")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise DialogueError("call_name", f"{where} has no function name")
    arguments = _from_json_text(function.get("arguments", {}), f"{where}'s arguments")
    if not isinstance(arguments, dict):
        raise DialogueError("call_arguments", f"{where}'s arguments must be an object, not {arguments!r:.80}")
    return ToolCall(id=str(row.get("id") or ""), name=name, arguments=arguments)


def _read_tools(tools: Any) -> list[dict[str, Any]]:
    tools = _from_json_text(tools or [], "tools") or []
    if not isinstance(tools, (list, tuple)):
        raise DialogueError("tools", f"'tools' must be a list, not {type(tools).__name__}")
    read = []
    for index, tool in enumerate(tools):
        if isinstance(tool, dict) and "function" not in tool and "name" in tool:
            tool = {"type": "function", "function": tool}
        if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict) or not tool["function"].get("name"):
            raise DialogueError("tools", f"tool {index} must be {{'type': 'function', 'function': {{'name', ...}}}}")
        read.append(tool)
    return read


def _from_json_text(value: Any, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise DialogueError("json", f"{what} is not JSON ({error}): {value[:80]!r}") from error
