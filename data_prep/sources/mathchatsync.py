"""MathChatsync, maths dialogues in ShareGPT form: human first, human and gpt in turn, 1 to 16 pairs, no tools.

    {"conversations": [{"from": "human", "value": "A train travels 60 miles ..."},
                       {"from": "gpt", "value": "It takes 2 hours."}, {"from": "human", "value": "And back?"}, ...]}

A gpt turn with `train: false` (or `weight: 0`) is not trained on; synthetic rows mark gpt's own wrong attempts so, and
may carry a turn's rationale under `thinking`.
meta["seed"] is a key of the problem, so that a split by groups keeps dialogues about one problem together: the first
paragraph of the first human turn, or the whole turn where that paragraph is too short to be a problem.
"""

from __future__ import annotations

from typing import Any

from data_prep.button import plain_content
from data_prep.dialogue import Dialogue, DialogueError, Message, Role
from data_prep.sources.common import id_of, is_trained, list_of, seed_key, text_of

ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant"}
SPEAKERS = {role: speaker for speaker, role in ROLES.items()}
PROBLEM_CHARS = 40  # "Solve this problem:" alone would put every dialogue into one group


def to_dialogue(row: dict[str, Any], row_id: str) -> Dialogue:
    """The row as a dialogue. Raises DialogueError: `row_keys`, `no_messages`, `message_role`, `non_text_content`."""
    turns = list_of(row, "conversations", "a key 'conversations' with a list of {from, value}")
    messages = []
    for index, turn in enumerate(turns):
        speaker = turn.get("from") if isinstance(turn, dict) else None
        if not isinstance(speaker, str) or speaker not in ROLES:
            raise DialogueError("message_role", f"turn {index} is from {speaker!r}; wanted human or gpt")
        trained = is_trained(turn, f"turn {index}") or speaker == "human"
        thinking = text_of(turn["thinking"], f"the thinking of turn {index}") if turn.get("thinking") else None
        content = text_of(turn.get("value"), f"turn {index}")
        messages.append(Message(role=ROLES[speaker], content=content, thinking=thinking, train=trained))
    if messages[0].role != "user":
        raise DialogueError("no_request", "turn 0 is from 'gpt'; a MathChatsync dialogue opens with the human")
    problem = messages[0].content.strip().split("\n\n")[0]
    key = seed_key(problem if len(problem) >= PROBLEM_CHARS else messages[0].content)
    return Dialogue(id=id_of(row, row_id), source="mathchatsync", messages=tuple(messages), meta={"seed": key})


def to_row(dialogue: Dialogue) -> dict[str, Any]:
    """The way back; thinking stands before its answer. Raises DialogueError where the form has no place for a turn."""
    turns = []
    for index, message in enumerate(dialogue.messages):
        if message.role not in SPEAKERS or message.tool_calls:
            raise DialogueError("message_role", f"message {index} ({message.role}) has no place in MathChatsync's form")
        mark = {} if message.train else {"train": False}
        turns.append({"from": SPEAKERS[message.role], "value": plain_content(message), **mark})
    return {"conversations": turns}
