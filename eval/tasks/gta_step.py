"""GTA step by step: at every gold assistant turn the model is given the gold history and makes one step.

    python -m eval run MODEL --tasks gta_step --data DIR --out REPORT      DIR holds the release's dataset.json

T are the turns whose gold is a call, A the last turns of samples with a gold answer (557 and 172 in the release); other
answering turns have no gold answer and are left out. Of a turn with several calls only the first counts. An error is an
unknown tool, an unknown or missing argument, a file that is not there, or a turn that cannot be read; a value of the
wrong type is none. See eval/gta_data.py for the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from data_prep.dialogue import Dialogue, Message, ToolCall, message_to_dict
from eval.call_scorers import same_json
from eval.gta_data import Sample, Similarity, answer_score, call_error, data_files, read_samples, similarity_or_none
from eval.protocol import Item, Loaded, Request, Score, Step, Task

MAX_NEW_TOKENS = 512
METRICS = {
    "inst_acc": "T + A: the step is of the right kind, call or answer, and without error",
    "tool_acc": "T: it is a call of the same tool",
    "arg_acc": "T: it is a call of the same tool with equal arguments",
    "summ_acc": "A: an answer with all gold words and no forbidden one, or its best similarity with a gold sentence",
}


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """One item per scored turn; `limit` counts turns."""
    samples, left_out = read_samples(data_dirs)
    counts = Counter(left_out)
    items: list[Item] = []
    for sample in samples:
        scored = list(_items(sample))
        items += scored
        counts["answer_without_gold"] += sum(turn.role == "assistant" for turn in sample.messages) - len(scored)
        answered = any(item.gold["answer"] is not None for item in scored)
        counts["gold_answer_without_turn"] += sample.answer is not None and not answered
    return Loaded(items[:limit], {reason: count for reason, count in counts.items() if count})


def _items(sample: Sample) -> Iterator[Item]:
    dialogue = Dialogue(id=f"gta-{sample.id}", source="gta", messages=sample.messages, tools=sample.tools)
    last = len(sample.messages) - 1
    for index, message in enumerate(sample.messages):
        if message.role != "assistant" or not (message.tool_calls or (index == last and sample.answer is not None)):
            continue
        answer = None if message.tool_calls else sample.answer
        gold = {"message": message_to_dict(message), "answer": answer, "files": sample.files}
        yield Item(f"gta-{sample.id}/{index}", f"gta-{sample.id}", dialogue.before(index), gold)


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    return None if steps else Request(item.dialogue, MAX_NEW_TOKENS)


def scorer(similarity: Callable[[], Similarity | None]) -> Callable[[Item, Sequence[Step]], Score]:
    """The task's `score` with this source of a similarity function, which is asked when first needed."""

    def score(item: Item, steps: Sequence[Step]) -> Score:
        reply = steps[0].reply
        if item.gold["answer"] is None:
            values, notes = _call_values(reply.message, item)
        else:
            values, notes = _answer_values(reply.message, item, similarity)
        return Score(values, {} if reply.error is None else dict.fromkeys(values, reply.error), notes)

    return score


def gold_call(item: Item) -> ToolCall:
    """The call that counts of the gold turn."""
    return Dialogue.from_dict({"id": "gold", "messages": [item.gold["message"]]}).messages[0].tool_calls[0]


def _call_values(read: Message | None, item: Item) -> tuple[dict[str, float], dict[str, str]]:
    values, notes = dict.fromkeys(("inst_acc", "tool_acc", "arg_acc"), 0.0), {"gold": "call"}
    if read is None or not read.tool_calls:
        return values, notes
    call, gold = read.tool_calls[0], gold_call(item)
    error = call_error(call, item.dialogue.tools, item.gold["files"])
    same_tool = call.name == gold.name
    values = {
        "inst_acc": float(error is None),
        "tool_acc": float(same_tool),
        "arg_acc": float(same_tool and same_json(call.arguments, gold.arguments)),
    }
    return values, notes | {"call": error or "without error"}


def _answer_values(
    read: Message | None, item: Item, similarity: Callable[[], Similarity | None]
) -> tuple[dict[str, float], dict[str, str]]:
    answer = item.gold["answer"]
    notes = {"gold": "answer", "gold_answer": "words" if isinstance(answer, dict) else "sentences"}
    answered = read is not None and not read.tool_calls
    values = {"inst_acc": float(answered)}
    compare = None if isinstance(answer, dict) else similarity()
    found = answer_score(read.content if read is not None and answered else "", answer, compare)
    if found is None:  # whatever the model did: else only its failures would count
        return values, notes | {"unscored": "no similarity model (package sentence-transformers)"}
    return values | {"summ_acc": found if answered else 0.0}, notes


TASK = Task(
    name="gta_step",
    version=1,
    description="GTA, each gold turn given the gold history (the release's data in --data DIR)",
    metrics=METRICS,
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=data_files,
    load=load,
    next_request=next_request,
    score=scorer(similarity_or_none),
)
