"""GTA end to end: the model calls tools itself, at most 10 turns, and answers.

    python -m eval run MODEL --tasks gta --data DIR --out REPORT      DIR holds the release's dataset.json

The calculator is live, other tools answer from the sample's gold results (eval/environments/gta.py); the published
numbers have all tools live, so compare ours with ours. Tool F1 is the published one, over all samples: a gold call is
hit where its tool's name occurs anywhere among the sample's calls, precision is hits by calls made, recall hits by gold
calls. As no mean over items gives it, it stands under `totals`; the metrics `f1_*` are the same within a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from data_prep.dialogue import Dialogue, ToolCall, call_to_dict
from eval import agent
from eval.environments.gta import GtaEnvironment
from eval.gta_data import Sample, Similarity, answer_score, data_files, read_samples, similarity_or_none
from eval.protocol import Item, Loaded, Request, Score, Step, Task

MAX_TURNS = 10
MAX_NEW_TOKENS = 512
CATEGORIES = {
    "perception": ("OCR", "ImageDescription", "RegionAttributeDescription", "TextToBbox"),
    "operation": ("DrawBox", "AddText", "GoogleSearch"),
    "logic": ("Calculator", "Solver", "Plot", "MathOCR", "CountGivenObject"),
    "creativity": ("TextToImage", "ImageStylization"),
}


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """One item per sample; the 57 of the release without a gold answer count for the tools alone."""
    samples, left_out = read_samples(data_dirs)
    return Loaded([make_item(sample) for sample in samples[:limit]], left_out)


def make_item(sample: Sample) -> Item:
    """The query as the dialogue, the gold chain as the gold."""
    results = {message.tool_call_id: message.content for message in sample.messages if message.role == "tool"}
    calls = [call for message in sample.messages for call in message.tool_calls]
    chain = [{"call": call_to_dict(call), "result": results.get(call.id, "")} for call in calls]
    gold = {"chain": chain, "answer": sample.answer, "files": sample.files}
    first = next(index for index, message in enumerate(sample.messages) if message.role == "user")
    dialogue = Dialogue(id=f"gta-{sample.id}", source="gta", messages=sample.messages[: first + 1], tools=sample.tools)
    return Item(dialogue.id, dialogue.id, dialogue, gold)


def gold_chain(item: Item) -> list[tuple[ToolCall, str]]:
    """The gold calls with their results, in gold order."""
    calls = [step["call"] for step in item.gold["chain"]]
    read = [ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]
    return list(zip(read, (step["result"] for step in item.gold["chain"]), strict=True))


def play(item: Item, steps: Sequence[Step]) -> tuple[agent.Episode, GtaEnvironment]:
    """The episode that the model's turns make, and the environment as they leave it."""
    environment = GtaEnvironment(item.dialogue.tools, item.gold["files"], gold_chain(item))
    return agent.replay(item.dialogue, [step.reply for step in steps], environment, MAX_TURNS), environment


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    episode, _ = play(item, steps)
    return None if episode.ending else Request(episode.dialogue, MAX_NEW_TOKENS)


def scorer(similarity: Callable[[], Similarity | None]) -> Callable[[Item, Sequence[Step]], Score]:
    """The task's `score` with this source of a similarity function, which is asked when first needed."""

    def score(item: Item, steps: Sequence[Step]) -> Score:
        episode, environment = play(item, steps)
        answer = item.gold["answer"]
        values: dict[str, float] = {}
        notes = {"ending": episode.ending or "unfinished", "gold_answer": _form(answer)}
        if answer is not None:
            compare = similarity() if isinstance(answer, list) else None
            found = answer_score(episode.answer or "", answer, compare)
            if found is None:  # whatever the model did: else only its failures would count
                notes["unscored"] = "no similarity model (package sentence-transformers)"
            else:
                values["ans_acc"] = found if episode.answer else 0.0
        gold = [call.name for call, _ in environment.chain]
        for category, count in tool_counts(gold, environment.called).items():
            if count["gold"]:  # fixed by the sample, so that two models are compared on the same ones
                values[f"f1_{category}"] = min(1.0, 2 * count["hit"] / (count["gold"] + count["made"]))
        notes |= {"calls": str(len(environment.called)), "failed_calls": str(len(environment.errors))}
        unread = {name: episode.reason for name, value in values.items() if episode.reason and not value}
        return Score(values, unread, notes)

    return score


def _form(answer: Any) -> str:
    return "none" if answer is None else "words" if isinstance(answer, dict) else "sentences"


def tool_counts(gold: Sequence[str], called: Sequence[str]) -> dict[str, Counter[str]]:
    """Of one sample by category: `gold` calls, those of them whose tool was called (`hit`), and calls `made`."""
    counts = {}
    for category, names in CATEGORIES.items():
        wanted = [name for name in gold if name in names]
        made = sum(name in names for name in called)
        counts[category] = Counter(gold=len(wanted), hit=sum(name in called for name in wanted), made=made)
    return counts


def totals(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The published F1 over all samples: 2PR / (P + R) with P = hit / made and R = hit / gold, 0 where nothing is hit.

    A category that the gold chains never use is absent. A gold tool that is called twice and made once counts two
    hits, so a value can exceed 1; the published score can too.
    """
    whole: dict[str, Counter[str]] = {category: Counter() for category in CATEGORIES}
    for record in records:
        gold = [step["call"]["function"]["name"] for step in record["gold"]["chain"]]
        turns = [
            step["message"] for step in record["steps"] if step["message"] and agent.can_be_written(step["message"])
        ]
        called = [call["function"]["name"] for turn in turns for call in turn.get("tool_calls", ())]
        for category, count in tool_counts(gold, called).items():
            whole[category] += count
    return {
        f"tool_f1_{category}": 2 * count["hit"] / (count["gold"] + count["made"])
        for category, count in whole.items()
        if count["gold"]
    }


TASK = Task(
    name="gta",
    version=1,
    description="GTA, whole queries with tool calls (the release's data in --data DIR)",
    metrics={
        "ans_acc": "A: answered with all gold words and no forbidden one, or its best similarity with a gold sentence",
    }
    | {f"f1_{category}": f"samples whose gold has {category} calls: F1 of the tools called" for category in CATEGORIES},
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=data_files,
    load=load,
    next_request=next_request,
    score=scorer(similarity_or_none),
    totals=totals,
)
