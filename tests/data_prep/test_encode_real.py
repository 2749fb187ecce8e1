"""Real dialogues: what is kept equals the oracle, what is refused is refused for a reason true of the template."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.dialogue import Dialogue
from data_prep.encode import RejectedDialogue
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.sources import messages
from tests.data_prep import oracle
from tests.data_prep.encoders import CASES, encoder

FILES = {
    "airline": ("button", "button/airline.jsonl"),
    "glaive in button": ("button", "button/glaive.jsonl"),
    "tutoring": ("mathchatsync", "mathchatsync/tutoring.json"),
    "gsm8k": ("gsm8k", "gsm8k/train.jsonl"),
    "gsm8k test": ("gsm8k", "gsm8k/test.jsonl"),
    "glaive": ("sharegpt", "glaive/glaive_toolcall_en_demo.json"),
}
WITHOUT_TOOLS = {"tutoring", "gsm8k", "gsm8k test"}  # both tool formats are one there
# What a template loses of tools, by its text: then no dialogue with tools can be native.
NATIVE_LOSES = {
    **dict.fromkeys(("llama3", "llama3_1", "deepseek_v3", "smollm2"), "template_drops_tools"),
    **dict.fromkeys((case for case in CASES if case.startswith("shipped")), "template_drops_tools"),
    "gemma3": "template_raises",  # it refuses any role that does not alternate with the user's
}

# Every row takes most of an hour on two cores: REAL_STEP=1 runs them all.
REAL_STEP = int(os.environ.get("REAL_STEP", "50"))


def real_dialogues(folder: Path, name: str) -> Iterator[Dialogue]:
    if name == "tau_bench":
        tools = json.loads((folder / "tau_bench" / "airline_tools.json").read_text())
        for number, row in enumerate(json.loads((folder / "tau_bench" / "gpt-4o-airline.json").read_text())):
            yield messages.to_dialogue({"messages": row["traj"], "tools": tools}, f"tau-{number}")
        return
    source, file = FILES[name]
    yield from iter_dialogues(source, [str(folder / file)], Quarantine(None))


def assert_exact_or_truly_refused(case: str, tool_format: str, dialogues: list[Dialogue]) -> None:
    made = encoder(case, tool_format)
    for dialogue, result in zip(dialogues, made.encode_batch(dialogues), strict=True):
        if isinstance(result, RejectedDialogue):
            assert result.code == true_reason(case, tool_format, dialogue), (dialogue.id, result)
        else:
            assert true_reason(case, tool_format, dialogue) is None, dialogue.id
            assert sorted(result) == oracle.expected_samples(made, dialogue, CASES[case].known), dialogue.id


def true_reason(case: str, tool_format: str, dialogue: Dialogue) -> str | None:
    """Why a person reading the template would say that it can't carry this dialogue."""
    if tool_format != "native" or not dialogue.tools:
        return None
    if case == "mistral_nemo":  # a message with calls is rendered without its content
        lost = any(m.tool_calls and (m.content + (m.thinking or "")).strip() for m in dialogue.messages if m.train)
        return "template_drops_thought" if lost else None
    return NATIVE_LOSES.get(case)


@pytest.mark.parametrize("case", list(CASES))
def test_a_sample_of_the_real_dialogues_is_encoded_as_the_oracle_says(case: str, real_data_dir: Path) -> None:
    for name, step, count in (("airline", 71, 2), ("glaive in button", 29, 5), ("tutoring", 83, 4), ("gsm8k", 997, 4),
                              ("glaive", 37, 6)):  # fmt: skip
        chosen = list(real_dialogues(real_data_dir, name))[::step][:count]
        for tool_format in ("auto", "native") if name == "glaive" else ("auto",):
            assert_exact_or_truly_refused(case, tool_format, chosen)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, "tau_bench"])
@pytest.mark.parametrize("case", list(CASES))
def test_every_real_dialogue_is_encoded_as_the_oracle_says(case: str, name: str, real_data_dir: Path) -> None:
    dialogues = list(real_dialogues(real_data_dir, name))[::REAL_STEP]
    for tool_format in ("auto",) if name in WITHOUT_TOOLS or name == "tau_bench" else ("native", "button"):
        assert_exact_or_truly_refused(case, tool_format, dialogues)


def test_auto_takes_native_where_the_template_loses_nothing() -> None:
    native = {case for case in CASES if encoder(case).tool_format == "native"}
    assert native == {"qwen2_5", "qwen3"}
