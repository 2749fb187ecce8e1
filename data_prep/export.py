"""python -m data_prep export --format trl|axolotl|llamafactory|sharegpt --source NAME --in FILE ... --out FILE.jsonl

Canonical dialogues in another trainer's own rows. What it can't carry is refused to quarantine.jsonl, or counted:

    trl           {"messages": [...], "tools": "[...]"}: calls with arguments as objects, thinking as reasoning_content
    axolotl       the same with arguments as JSON text, and "training": false on a turn that is not trained
    llamafactory  {"conversations": [{"from": "human", "value"}, ...], "tools": "[...]", "system"}, strictly alternating
    sharegpt      the same without that rule, results one by one, "weight": 0 on a turn that is not trained

`tools` is JSON text everywhere: in a column of objects Arrow would give each tool the parameters of all others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from data_prep.button import plain_content
from data_prep.cli.reading import add_reading_arguments, open_dialogues, share, write_report
from data_prep.dialogue import Dialogue, DialogueError, Message, function_of, message_to_dict
from data_prep.outfile import OutFile
from data_prep.quarantine import Quarantine, TooManyRejected
from data_prep.sources import sharegpt

# LLaMA-Factory (0.9.5, data/formatter.py) takes what stands before this mark in a function_call turn as text before
# the calls, and reads as reasoning what an answer has between <think> marks.
CALLS = ("<tool_call>", "</tool_call>")

Row = dict[str, Any]


class Format(NamedTuple):
    """`to_row` raises DialogueError `export` for a dialogue that the format can't carry; `source` reads rows back."""

    to_row: Callable[[Dialogue], Row]
    source: str
    carries_untrained: bool
    carries_thinking: bool
    how_to_load: str


def to_trl(dialogue: Dialogue) -> Row:
    """{"id", "messages", "tools"}; TRL hands both to the chat template as they are."""
    messages = [_openai(message) for message in dialogue.messages]
    for message in messages:
        message.pop("train", None)
    return _with_tools(dialogue, {"id": dialogue.id, "messages": messages}, list(dialogue.tools))


def to_axolotl(dialogue: Dialogue) -> Row:
    """As for TRL, but safe in Arrow structs: axolotl parses `arguments` and `tools` from JSON text."""
    messages = [_openai(message) for message in dialogue.messages]
    for message in messages:
        if "train" in message:
            message["training"] = message.pop("train")
        for call in message.get("tool_calls", ()):
            function = call["function"]
            call["function"] = {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
    return _with_tools(dialogue, {"id": dialogue.id, "messages": messages}, list(dialogue.tools))


def to_llamafactory(dialogue: Dialogue) -> Row:
    """User or result, then assistant or calls, in turn; what comes after the assistant's last turn trains nothing."""
    messages = list(dialogue.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else ""
    while messages and messages[-1].role != "assistant":
        messages.pop()
    turns: list[dict[str, str]] = []
    results: list[str] = []
    for message in messages:
        if message.role == "tool":
            results.append(message.content)
            continue
        if results:
            turns.append({"from": "observation", "value": _joined(results)})
            results = []
        turns.append(_turn(message))
    _refuse_not_alternating(turns)
    # LLaMA-Factory takes "" as none, and fails where no row of a file has a column that dataset_info.json names.
    row: Row = {"id": dialogue.id, "conversations": turns, "system": system, "tools": ""}
    return _with_tools(dialogue, row, [function_of(tool) for tool in dialogue.tools])


def to_sharegpt(dialogue: Dialogue) -> Row:
    """The rows that our source `sharegpt` reads, with the dialogue's id."""
    return {"id": dialogue.id, **sharegpt.to_row(dialogue)}


def _openai(message: Message) -> Row:
    row = message_to_dict(message)
    if "thinking" in row:
        row["reasoning_content"] = row.pop("thinking")
    return row


def _with_tools(dialogue: Dialogue, row: Row, tools: list[Any]) -> Row:
    return {**row, "tools": json.dumps(tools, ensure_ascii=False)} if dialogue.tools else row


def _joined(results: list[str]) -> str:
    """One observation: the result, or a JSON list of parallel ones, each as JSON where that gives back its text."""
    return results[0] if len(results) == 1 else json.dumps([_value(text) for text in results], ensure_ascii=False)


def _value(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return value if not isinstance(value, str) and json.dumps(value, ensure_ascii=False) == text else text


def _turn(message: Message) -> dict[str, str]:
    if message.role == "user":
        return {"from": "human", "value": message.content}
    if not message.tool_calls:
        thought = f"<think>\n{message.thinking}\n</think>\n\n" if message.thinking else ""
        return {"from": "gpt", "value": thought + message.content}
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    value, thought = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False), plain_content(message)
    if any(mark in text for mark in CALLS for text in (value, thought)):
        raise DialogueError(
            "export", f"a call turn holds {CALLS[0]} or {CALLS[1]}, which LLaMA-Factory reads as a mark"
        )
    return {"from": "function_call", "value": f"{thought}\n{value.join(CALLS)}" if thought else value}


def _refuse_not_alternating(turns: list[dict[str, str]]) -> None:
    for index, turn in enumerate(turns):
        wanted = ("gpt", "function_call") if index % 2 else ("human", "observation")
        if turn["from"] not in wanted:
            raise DialogueError(
                "export",
                f"turn {index} is from {turn['from']}, where LLaMA-Factory takes {' or '.join(wanted)} only and would "
                "skip the row; export to sharegpt, or join turns of one speaker",
            )


FORMATS: dict[str, Format] = {
    "trl": Format(
        to_trl, "messages", False, True,
        'load_dataset("json", data_files={out!r}, split="train") for SFTTrainer\'s train_dataset; datasets 5 or newer '
        "(an older one fills the arguments of calls with nulls)",
    ),
    "axolotl": Format(
        to_axolotl, "messages", True, True,
        "datasets: [{{path: {out}, ds_type: json, type: chat_template, field_messages: messages, "
        "message_field_training: training}}]",
    ),
    "llamafactory": Format(
        to_llamafactory, "sharegpt", False, True,
        'dataset_info.json: {{"mine": {{"file_name": "{out}", "formatting": "sharegpt", "columns": {{"messages": '
        '"conversations", "system": "system", "tools": "tools"}}}}}}',
    ),
    "sharegpt": Format(to_sharegpt, "sharegpt", True, False, "python -m data_prep check --source sharegpt --in {out}"),
}  # fmt: skip


def losses(dialogue: Dialogue, form: Format, name: str) -> list[str]:
    """What the format changes about a dialogue that it can carry, in words."""
    found = []
    if not form.carries_untrained and any(not message.train for message in dialogue.messages):
        found.append(f"hold a turn marked train: false, which {name} trains on: it has no such mark")
    if not form.carries_thinking and any(message.thinking for message in dialogue.messages):
        found.append("have their thinking in the text of the answer")
    if name == "llamafactory" and dialogue.messages[-1].role != "assistant":
        found.append("end before their last user or tool turn, which trains nothing")
    return found


def main(argv: Sequence[str]) -> int:
    """Write the file; 0, or 1 where more than --max-rejected of the rows are bad or can't be carried."""
    parser = argparse.ArgumentParser(prog="python -m data_prep export", description=__doc__.split("\n\n")[1])
    parser.add_argument("--format", required=True, choices=FORMATS, help="whose rows to write")
    add_reading_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE.jsonl")
    parser.add_argument("--max-rejected", type=share, default=0.05, metavar="SHARE", help="0 to 1 (default: 0.05)")
    args = parser.parse_args(argv)
    rejected_to = Path(args.out).with_name("quarantine.jsonl")
    if not args.out.endswith(".jsonl") or Path(args.out) == rejected_to:
        parser.error(f"--out must end in .jsonl and not be quarantine.jsonl, unlike {args.out!r}")
    if any(Path(name).resolve() in (Path(args.out).resolve(), rejected_to.resolve()) for name in args.inputs):
        parser.error("an input would be overwritten; name another output")
    form, changed = FORMATS[args.format], Counter[str]()
    with Quarantine(rejected_to) as quarantine, OutFile(args.out) as out:
        for dialogue in open_dialogues(args, quarantine):
            try:
                row = form.to_row(dialogue)
            except DialogueError as error:
                quarantine.reject(dialogue, error.code, error.message)
                continue
            changed.update(losses(dialogue, form, args.format))
            out.write(msgspec.json.encode(row) + b"\n")
        try:
            quarantine.check(args.max_rejected)
        except TooManyRejected as error:
            out.discard()
            print(f"error: {error}; {args.out} was not written", file=sys.stderr)
            return 1
    print(quarantine.summary())
    for what, count in changed.items():
        print(f"note: {count:,} dialogues {what}")
    print(f"load it with: {form.how_to_load.format(out=args.out)}")
    write_report(args.report, quarantine)
    return 0
