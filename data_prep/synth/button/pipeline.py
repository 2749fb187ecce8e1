"""BUTTON's stages joined: seed dialogues in, rows in BUTTON's format out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from data_prep.button import dump_json
from data_prep.checks import check_dialogue
from data_prep.dialogue import Dialogue, DialogueError
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.sources import button as rows
from data_prep.synth.button.agents import call_key, simulate, to_tool
from data_prep.synth.button.scenarios import Deduplicate, expand, extract
from data_prep.synth.button.switches import FAITHFUL, Switches
from data_prep.synth.button.tasks import atomic_task, compose, filter_consistent, filter_realistic
from data_prep.synth.button.toolbox import ListTools, ReuseFunctions, generate_functions
from data_prep.synth.button.values import Seed, Trajectory
from data_prep.synth.button.verify import verify
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.pipeline import Row, Stage, Together
from data_prep.synth.endpoint.prompts import Prompts
from data_prep.synth.endpoint.run import Pipeline

OUR_SEEDS = Path(__file__).parent / "seeds.jsonl"
PROMPTS = Path(__file__).parent / "prompts"
MAX_SEED_CHARS = 8_000


def button_pipeline(switches: Switches, seed_source: str = "sharegpt", seed_file: str | None = None) -> Pipeline:
    """The pipeline over our own seed dialogues, or those of a file that `seed_source` reads. Raises as reading does."""
    prompts = Prompts(PROMPTS)
    stages: list[Stage | Together] = [
        Stage("extract", partial(extract, prompts)),
        Together("deduplicate", Deduplicate(of_seeds=True)),
        Stage("expand", partial(expand, prompts)),
        Together("deduplicate_again", Deduplicate(of_seeds=False)),
        Stage("atomic_task", partial(atomic_task, prompts, switches)),
        Stage("compose", partial(compose, prompts, switches)),
        Stage("consistency", partial(filter_consistent, prompts)),
        *([Stage("realism", partial(filter_realistic, prompts, switches))] if switches.realism else []),
        Stage("functions", partial(generate_functions, prompts)),
        *([Together("reuse_functions", ReuseFunctions(switches))] if switches.reuse_functions else []),
        *([Together("list_tools", ListTools(switches))] if switches != FAITHFUL else []),
        Stage("agents", partial(simulate, prompts, switches)),
        Stage("verify", partial(verify, switches)),
        Together("unique", Unique()),
        Stage("export", export),
    ]
    with Quarantine(None) as quarantine:
        file = seed_file or str(OUR_SEEDS)
        dialogues = [(d.id, as_text(d)) for d in iter_dialogues(seed_source, [file], quarantine)]
    if not dialogues:
        raise DialogueError("no_seeds", f"{file}: no row can be read as {seed_source}; see python -m data_prep check")
    settings = {
        "switches": msgspec.to_builtins(switches),
        "seeds": {"file": seed_file or "our own", "read": quarantine.read, "rejected": dict(quarantine.by_reason)},
    }
    to_row = exact_row if switches == FAITHFUL else tagged_row
    return Pipeline("button", stages, rounds(dialogues), prompts, to_row, settings)


def rounds(dialogues: list[tuple[str, str]]) -> Iterator[tuple[str, Seed]]:
    """The seeds over and over: in each round but the first, another expansion of their scenarios."""
    for number in count():
        for name, text in dialogues:
            yield name, Seed(name, text, number)


def as_text(dialogue: Dialogue) -> str:
    """A seed dialogue as a prompt shows it; a long one ends at the last whole message that fits."""
    lines: list[str] = []
    for message in dialogue.messages:
        if message.role != "system":
            calls = "".join(f" [calls {call.name}]" for call in message.tool_calls)
            lines.append(f"{message.role.capitalize()}: {message.content}{calls}")
        if sum(map(len, lines)) > MAX_SEED_CHARS and len(lines) > 1:
            lines.pop()
            break
    return "\n".join(lines)


class Unique:
    """Rejects a dialogue whose user says and whose assistant calls what an earlier one's did, whatever the clock."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    async def __call__(self, trajectories: list[Trajectory], ask: Ask) -> Sequence[Sequence[Trajectory] | Rejected]:
        return [self._look(trajectory) for trajectory in trajectories]

    def _look(self, trajectory: Trajectory) -> Sequence[Trajectory] | Rejected:
        said = [message.content for message in trajectory.messages if message.role == "user"]
        called = [[call_key(call) for call in message.tool_calls] for message in trajectory.messages]
        digest = hashlib.sha256(dump_json([said, [calls for calls in called if calls]]).encode()).digest()
        if digest in self._seen:
            return Rejected("duplicate_row", f"an earlier dialogue has the same requests and calls: {said[0][:200]!r}")
        self._seen.add(digest)
        return [trajectory]


async def export(trajectory: Trajectory, ask: Ask) -> list[tuple[dict[str, Any], Trajectory]]:
    """The published row, read back by the source's own reader and checked as every data set is."""
    dialogue = Dialogue(
        id="-",
        source="button",
        messages=trajectory.messages,
        tools=tuple(to_tool(function) for function in trajectory.toolbox.listed),
        meta={"parallel_calls": trajectory.parallel},
    )
    row = rows.to_row(dialogue)
    try:
        back = rows.to_dialogue(row, "-")
        check_dialogue(back)
    except DialogueError as error:
        raise Rejected(error.code, error.message) from error
    if rows.to_row(back) != row:
        raise Rejected("not_round_trip", "the row is not read back as it was written")
    return [(row, trajectory)]


def exact_row(row: Row) -> dict[str, Any]:
    """The row in the published form and nothing else."""
    return row.value[0]


def tagged_row(row: Row) -> dict[str, Any]:
    """The published form with an id and with what made the row; never the plan."""
    published, trajectory = row.value
    composed = trajectory.toolbox.composed
    meta = {
        "tags": sorted(trajectory.tags),
        "shape": composed.shape,
        "parallel_calls": trajectory.parallel,
        "seed": row.seed,
    }
    return {"id": f"synth-button-{row.id}", **published, "meta": meta}
