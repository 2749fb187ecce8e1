"""BUTTON's pipeline end to end, as a process of its own, against the loopback model with every fault switched on."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from data_prep.quarantine import Quarantine, iter_dialogues
from tests.synth.endpoint.button_model import SENTINEL, say
from tests.synth.endpoint.kills import compare_with_kills


def check_rows(path: Path, rows: int) -> None:
    """Nothing malformed, by the source's reader and by a validator that shares no code with it; nothing leaked."""
    text = path.read_text(encoding="utf-8")
    assert SENTINEL not in text and SENTINEL.lower() not in text.lower()
    with Quarantine(None) as quarantine:
        assert len(list(iter_dialogues("button", [str(path)], quarantine))) == rows
    assert quarantine.rejected == 0
    for line in text.splitlines():
        validate(json.loads(line)["messages"])


def validate(messages: list[dict[str, str]], results_fit: bool = True) -> None:
    """An independent reading of BUTTON's format: alternation, tags, calls by JSON schema, results in call order."""
    listed = json.loads(messages[0]["content"].split("<tool>\n")[1].split("\n</tool>")[0])
    tools = {tool["name"]: tool for tool in listed}
    assert len(tools) == len(listed)
    parallel_off = "one function at a time" in messages[0]["content"]
    before, calls = "system", []
    for message in messages[1:]:
        role, content = message["role"], message["content"]
        assert role in {"system": ["user"], "user": ["assistant"], "tool": ["assistant"],
                        "assistant": ["tool"] if calls else ["user"]}[before]  # fmt: skip
        if role == "assistant":
            body = content.partition("<call>" if "<call>" in content else "<final>")
            assert body[0].strip() and body[2].endswith("</call>" if "<call>" in content else "</final>")
            calls = json.loads(body[2].removesuffix("</call>")) if "<call>" in content else []
            assert len(calls) <= 1 or not parallel_off
            for call in calls:
                tool = tools[call["name"]]
                schema = {"type": "object", "properties": tool["parameters"], "required": tool["required"],
                          "additionalProperties": False}  # fmt: skip
                jsonschema.validate(call["arguments"], schema)
        elif role == "tool":
            results = json.loads(content)
            assert [(r["name"], r["arguments"]) for r in results] == [(c["name"], c["arguments"]) for c in calls]
            for result in results:
                if results_fit and "error" not in result["results"]:
                    assert set(result["results"]) == set(tools[result["name"]]["responses"])
        before = role
    assert before == "assistant" and not calls


def test_a_run_killed_at_random_points_makes_the_same_rows_and_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    out, _ = compare_with_kills("button", say, tmp_path, rows=20, kills=3)
    check_rows(out, 20)
