"""An exported row is read by its tool's own reader to the same turns, and by our sources to the same dialogue."""

import hashlib
import importlib
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
from datasets import load_dataset
from trl.data_utils import apply_chat_template, is_conversational

from data_prep.__main__ import main
from data_prep.dialogue import Dialogue, DialogueError, content_hash
from data_prep.encode import Encoder
from data_prep.export import FORMATS, to_llamafactory
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.sources import SOURCES
from tests.assets import cache_root
from tests.data_prep.byte_encoder import write_rows


def call(name, number, **arguments):
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(number, name, content):
    return {"role": "tool", "tool_call_id": f"call_{number}", "name": name, "content": content}


INTEGER = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": INTEGER}},
    {"type": "function", "function": {"name": "g", "description": "G.", "parameters": {
        "type": "object", "properties": {"y": {"type": "array", "default": None}}, "required": ["y"]}}},
]  # fmt: skip
F_ONE, G = call("f", 0, x=1), call("g", 1, y=[1, "é"])
PLAIN = {"id": "plain", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
CALLS = {
    "id": "calls",
    "tools": TOOLS,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "f and g?"},
        {"role": "assistant", "content": "Both at once.", "tool_calls": [F_ONE, G]},
        result(0, "f", '{"temp_c": 4}'),
        result(1, "g", "[1,2]"),  # compact JSON: other text than json.dumps writes, and must stay
        {"role": "assistant", "content": "", "tool_calls": [call("f", 2, x=2)]},
        result(2, "f", "no"),
        {"role": "assistant", "content": "4 degrees."},
        {"role": "user", "content": "Thanks."},
        {"role": "assistant", "content": "Welcome."},
    ],
}
UNTRAINED = {"id": "untrained", "messages": [
    {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "5", "train": False},
    {"role": "user", "content": "No."}, {"role": "assistant", "content": "4"}]}  # fmt: skip
THOUGHT = {"role": "assistant", "content": "4", "thinking": "Two and two."}
THINKING = {"id": "thinking", "messages": [{"role": "user", "content": "2+2?"}, THOUGHT]}
ROWS = [PLAIN, CALLS, UNTRAINED, THINKING]


def export(folder, name, rows):
    source = write_rows(folder / "in.jsonl", rows)
    out = folder / f"{name}.jsonl"
    assert main(["export", "--format", name, "--source", "messages", "--in", str(source), "--out", str(out)]) == 0
    return out


def dialogues(path, source="messages"):
    with Quarantine(None) as quarantine:
        found = list(iter_dialogues(source, [str(path)], quarantine))
    assert not quarantine.rejected, quarantine.examples
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_our_own_source_reads_the_same_dialogues_back(tmp_path, name):
    rows = [PLAIN, CALLS]
    rows += [UNTRAINED] if FORMATS[name].carries_untrained else []
    rows += [THINKING] if FORMATS[name].source == "messages" else []
    back = dialogues(export(tmp_path, name, rows), FORMATS[name].source)
    there = dialogues(tmp_path / "in.jsonl")
    assert [one.id for one in back] == [one.id for one in there]
    assert [content_hash(one) for one in back] == [content_hash(one) for one in there]


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_cannot_carry_is_said_with_its_count(tmp_path, capsys, name):
    export(tmp_path, name, ROWS)
    said = capsys.readouterr().out
    assert "kept 4 of 4" in said and "load it with: " in said
    assert ("note: 1 dialogues hold a turn marked train: false" in said) == (name in ("trl", "llamafactory"))
    assert ("note: 1 dialogues have their thinking in the text" in said) == (name == "sharegpt")


REAL = {
    "button/airline.jsonl": "button",
    "button/glaive.jsonl": "button",
    "glaive/glaive_toolcall_en_demo.json": "sharegpt",
    "mathchatsync/tutoring.json": "mathchatsync",
}


def test_real_dialogues_come_back_the_same_or_are_refused(real_data_dir):
    for file, source in REAL.items():
        with Quarantine(None) as quarantine:
            read = list(iter_dialogues(source, [str(real_data_dir / file)], quarantine))
        for name, form in FORMATS.items():
            refused = 0
            for dialogue in read:
                try:
                    row = json.loads(json.dumps(form.to_row(dialogue)))
                except DialogueError:
                    refused += 1
                    continue
                if dialogue.messages[-1].role == "assistant" and not any(m.thinking for m in dialogue.messages):
                    back = SOURCES[form.source].to_dialogue(row, "-")
                    assert content_hash(back) == content_hash(dialogue), (name, dialogue.id)
            print(f"{file} as {name}: {len(read) - refused} of {len(read)}")
            assert refused == 0 or name == "llamafactory"


# TRL: what its SFTTrainer does with a row.


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trl_renders_the_rows_as_the_encoder_does(tmp_path, load_test_tokenizer):
    tokenizer = load_test_tokenizer("qwen3")
    path = export(tmp_path, "trl", ROWS)
    loaded = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    encoder = Encoder(tokenizer, tool_format="native")
    for row, dialogue in zip(loaded, dialogues(tmp_path / "in.jsonl"), strict=True):
        assert is_conversational(row)
        tools = json.loads(row["tools"]) if row["tools"] else None  # as SFTTrainer reads that column
        messages, our_tools = encoder.messages(dialogue)
        ours = tokenizer.apply_chat_template(messages, tools=our_tools, tokenize=False)
        assert apply_chat_template({"messages": row["messages"]}, tokenizer, tools)["text"] == ours


# LLaMA-Factory: its converter and its call formatter, from its wheel; its other modules want an older stack.

WHEEL = "llamafactory-0.9.5-py3-none-any.whl"
WHEEL_SHA256 = "10776e9b259798bf65f6c5343f6298f0302e92e9cd47472abe29eef69e286c6a"


@pytest.fixture(scope="module")
def llamafactory():
    wheel = cache_root() / "wheels" / WHEEL
    if not wheel.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(wheel.parent)]
        if subprocess.run([*command, "llamafactory==0.9.5"], capture_output=True, check=False).returncode:
            pytest.skip("LLaMA-Factory's wheel can't be fetched here")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == WHEEL_SHA256
    folder = wheel.with_suffix("")
    if not folder.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    before = set(sys.modules)
    for name in ("llamafactory", "llamafactory.data", "llamafactory.extras"):
        package = types.ModuleType(name)  # without its __init__, which imports the whole trainer
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    try:
        yield types.SimpleNamespace(
            converter=importlib.import_module("llamafactory.data.converter"),
            formatter=importlib.import_module("llamafactory.data.formatter"),
            parser=importlib.import_module("llamafactory.data.parser"),
        )
    finally:
        for name in set(sys.modules) - before:
            if name.startswith("llamafactory"):
                del sys.modules[name]


def converted(llamafactory, row):
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    attributes = llamafactory.parser.DatasetAttr("hf_hub", "mine")
    attributes.join({"formatting": "sharegpt", "columns": columns})
    convert = llamafactory.converter.SharegptDatasetConverter(attributes, None)
    return convert({"system": None, "tools": None, **row})


def test_llamafactory_reads_every_turn(llamafactory, tmp_path):
    path = export(tmp_path, "llamafactory", ROWS)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        read = converted(llamafactory, row)
        assert len(read["_prompt"]) + len(read["_response"]) == len(row["conversations"]) > 0
        assert read["_response"][0]["content"] == row["conversations"][-1]["value"]
        assert (read["_system"], read["_tools"]) == (row.get("system"), row.get("tools"))


def test_llamafactory_finds_the_thought_the_calls_and_the_tools(llamafactory):
    row = to_llamafactory(Dialogue.from_dict(CALLS))
    [turn, other] = [turn["value"] for turn in row["conversations"] if turn["from"] == "function_call"]
    formatter = llamafactory.formatter.FunctionFormatter(slots=["{{content}}"], tool_format="qwen")
    marks = {"thought_words": ("<think>\n", "\n</think>\n\n"), "tool_call_words": ("<tool_call>", "</tool_call>")}
    [text] = formatter.apply(content=turn, **marks)
    assert text == (
        'Both at once.\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {"y": [1, "é"]}}\n</tool_call>'
    )
    assert formatter.apply(content=other, **marks) == [
        '<tool_call>\n{"name": "f", "arguments": {"x": 2}}\n</tool_call>'
    ]
    [tools] = llamafactory.formatter.ToolFormatter(tool_format="qwen").apply(content=row["tools"])
    assert '"name": "f"' in tools and '"description": "G."' in tools


ASKED, ANSWERED = PLAIN["messages"]
MARKED = {"role": "assistant", "content": "<tool_call>", "tool_calls": [call("f", 0)]}


@pytest.mark.parametrize(
    ("messages", "why"),
    [([ASKED, ASKED, ANSWERED], "turn 1 is from human"), ([ASKED, MARKED], "reads as a mark")],
)
def test_what_llamafactory_would_skip_or_misread_is_refused(messages, why):
    with pytest.raises(DialogueError, match=why):
        to_llamafactory(Dialogue.from_dict({"id": "x", "messages": messages}))


def test_a_tail_that_trains_nothing_is_cut_for_llamafactory_and_counted(tmp_path, capsys):
    tail = {"id": "tail", "messages": [*PLAIN["messages"], {"role": "user", "content": "c"}]}
    path = export(tmp_path, "llamafactory", [tail])
    assert len(json.loads(path.read_text())["conversations"]) == 2
    assert "note: 1 dialogues end before their last user or tool turn" in capsys.readouterr().out


# axolotl (0.19.0) pins another transformers and imports its whole trainer: checked by what its chat_template.py reads.


def test_axolotl_rows_are_what_its_chat_template_strategy_reads(tmp_path):
    path = export(tmp_path, "axolotl", ROWS)
    loaded = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    plain, calls, untrained, thinking = loaded
    assert plain["tools"] is None and json.loads(calls["tools"]) == TOOLS  # _get_tools: a list, or JSON text of one
    made = [call for message in calls["messages"] for call in message.get("tool_calls") or ()]
    arguments = [json.loads(call["function"]["arguments"]) for call in made]  # transform_message: json.loads of text
    assert arguments == [{"x": 1}, {"y": [1, "é"]}, {"x": 2}]
    training = [message.get("training") for message in untrained["messages"]]  # None: as roles_to_train says
    assert training == [None, False, None, None]
    assert thinking["messages"][1]["reasoning_content"] == "Two and two."  # its field_thinking


def test_the_output_never_overwrites_an_input(tmp_path):
    source = write_rows(tmp_path / "in.jsonl", [PLAIN])
    with pytest.raises(SystemExit):
        main(["export", "--format", "trl", "--source", "messages", "--in", str(source), "--out", str(source)])
    assert Path(source).read_text()
