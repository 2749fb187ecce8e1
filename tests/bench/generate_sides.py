"""python -m tests.bench.generate_sides RUNS MATHS_DIR CALLS.jsonl: one JSON object with what every side took and said.

The sides of bench_generate.py, in a process of their own with all cores. Each holds the same conversations with the
same model, greedy, in float32: `ours` is HfBackend; `sequential` is the loop of most scripts, one conversation after
another, every round from its beginning; `padded` is `generate` on left-padded batches of as many rows as ours may
have, round by round, in the order of the file. Sides take turns, so that what else the machine does meets all of them;
the sequential loop, whose time is a sum over its conversations, holds a share of them in each turn, one pass in all.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers.utils import logging

from eval.backends.decode import Job, OnDone
from eval.backends.hf import HfBackend, Loaded, load_model
from eval.backends.turns import Prompt, prompt_of, reply_of
from eval.protocol import Item, Reply, Request, Step, Task
from eval.tasks import TASKS
from training.smollm2 import smollm2_dir

ROWS = 12
ITEMS = {"mathchat_follow_up": 12, "calls": 12}
NEW_TOKENS = 32
Ids = list[int]
Said = dict[tuple[int, int], tuple[Ids, Ids]]  # (conversation, round) -> prompt and new ids


class Talk:
    """The conversations of one side: what is to be asked, and what was said."""

    def __init__(self, task: Task, items: Sequence[Item]):
        self.task, self.items = task, items
        self.steps: list[list[Step]] = [[] for _ in items]
        self.asked: list[Request | None] = [None] * len(items)
        self.said: Said = {}

    def ask(self, index: int) -> Request | None:
        """The next request of a conversation."""
        request = self.task.next_request(self.items[index], self.steps[index])
        self.asked[index] = request._replace(max_new_tokens=NEW_TOKENS) if request else None
        return self.asked[index]

    def hear(self, index: int, reply: Reply) -> Request | None:
        """Take in a reply; what the conversation asks then."""
        request = self.asked[index]
        assert request is not None
        self.steps[index].append(Step(request.dialogue, reply))
        return self.ask(index)

    def note(self, index: int, prompt: Ids, new: Ids) -> None:
        """Remember the ids of a turn; called before `hear`."""
        self.said[index, len(self.steps[index])] = (prompt, new)


class Noting(HfBackend):
    """HfBackend that notes the ids of every turn."""

    talk: Talk

    def _run(self, jobs: list[Job], done: OnDone) -> list[Job]:
        def noted(job: Job, new: Ids, stopped: bool) -> Job | None:
            self.talk.note(job.index, job.prompt, list(new))
            return done(job, new, stopped)

        return super()._run(jobs, noted)


def ours(loaded: Loaded, talk: Talk) -> None:
    """All conversations through our engine."""
    backend = Noting(loaded, ROWS)
    backend.talk = talk
    backend.generate([request for index in range(len(talk.items)) if (request := talk.ask(index))], talk.hear)


def sequential(loaded: Loaded, talk: Talk) -> None:
    """One conversation after another; every round computes its whole prompt."""
    for index in range(len(talk.items)):
        request = talk.ask(index)
        while request:
            [(_, reply)] = generated(loaded, talk, [(index, request)])
            request = talk.hear(index, reply)


def padded(loaded: Loaded, talk: Talk) -> None:
    """Batches of ROWS in the order of the file; the next round begins once all have ended this one."""
    turns = [(index, request) for index in range(len(talk.items)) if (request := talk.ask(index))]
    while turns:
        heard = [
            (index, talk.hear(index, reply))
            for at in range(0, len(turns), ROWS)
            for index, reply in generated(loaded, talk, turns[at : at + ROWS])
        ]
        turns = [(index, request) for index, request in heard if request]


def generated(loaded: Loaded, talk: Talk, turns: Sequence[tuple[int, Request]]) -> Iterator[tuple[int, Reply]]:
    """One call of `generate`, left-padded."""
    prompts = [prompt_of(loaded.encoder, request, None) for _, request in turns]
    assert all(isinstance(prompt, Prompt) for prompt in prompts)
    width = max(len(prompt.ids) for prompt in prompts)
    stops, pad = loaded.stop_ids, loaded.stop_ids[0]
    ids = torch.tensor([[pad] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts])
    out = loaded.model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, eos_token_id=stops, pad_token_id=pad,
        max_new_tokens=NEW_TOKENS, temperature=None, top_p=None, top_k=None,
    )[:, width:].tolist()  # fmt: skip
    for (index, request), prompt, new in zip(turns, prompts, out, strict=True):
        end = next((place + 1 for place, token in enumerate(new) if token in stops), None)
        talk.note(index, prompt.ids, new[:end])
        yield index, reply_of(loaded.encoder, request.dialogue, prompt, new[:end], end is not None)


SIDES: dict[str, Callable[[Loaded, Talk], None]] = {"ours": ours, "padded": padded, "sequential": sequential}


class Took(NamedTuple):
    """What a side took. `computed`: prompt tokens that went through the model, padding included."""

    seconds: float
    cpu_seconds: float
    computed: int


def take(side: Callable[[Loaded, Talk], None], loaded: Loaded, talk: Talk) -> Took:
    """Let a side hold its conversations."""
    fed: list[int] = []

    def count(module: Any, arguments: Any, options: dict[str, Any]) -> None:
        rows, tokens = options["input_ids"].shape
        if tokens > 1:  # a step of decoding feeds one token a row
            fed.append(rows * tokens)

    hook = loaded.model.register_forward_pre_hook(count, with_kwargs=True)
    wall, cpu = time.perf_counter(), time.process_time()
    side(loaded, talk)
    took = Took(time.perf_counter() - wall, time.process_time() - cpu, sum(fed))
    hook.remove()
    return took


def difference(model: Any, mine: Said, theirs: Said, conversation: int) -> float | None:
    """Where two sides say something else: how far apart the logits of the two tokens are, computed without a cache.

    None where all rounds are equal. Later rounds of a conversation that differs have other prompts, and say nothing.
    """
    rounds = sorted(number for index, number in mine if index == conversation)
    for key in [(conversation, number) for number in rounds]:
        (prompt, new), (other_prompt, other) = mine[key], theirs[key]
        assert prompt == other_prompt, "equal words so far must give equal prompts"
        if new != other:
            at = next(place for place, pair in enumerate(zip(new, other, strict=False)) if pair[0] != pair[1])
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([prompt + new[:at]]), use_cache=False).logits[0, -1]
            top_two = logits.topk(2)
            assert set(top_two.indices.tolist()) == {new[at], other[at]}, "not the two likeliest tokens"
            return float(top_two.values[0] - top_two.values[1])
    return None


def measured(loaded: Loaded, task: Task, items: Sequence[Item], runs: int) -> dict[str, Any]:
    """All sides by turns, and what they said."""
    took: dict[str, list[Took]] = {name: [] for name in SIDES}
    said: dict[str, Said] = {name: {} for name in SIDES}
    for turn in range(runs):
        for name, side in SIDES.items():
            which = range(turn, len(items), runs) if name == "sequential" else range(len(items))
            talk = Talk(task, [items[index] for index in which])
            took[name].append(take(side, loaded, talk))
            said[name] |= {(which[index], number): ids for (index, number), ids in talk.said.items()}
            print(task.name, name, took[name][-1], file=sys.stderr, flush=True)
    asked = [prompt for prompt, _ in said["ours"].values()]
    found: dict[str, Any] = {
        "conversations": len(items), "turns": len(asked), "rows": ROWS, "limit": NEW_TOKENS,
        "prompt_tokens": sum(map(len, asked)),
        "longest": max(map(len, asked)), "shortest": min(map(len, asked)), "sides": {}, "gaps": {},
    }  # fmt: skip
    for name in SIDES:
        over_turns = sum if name == "sequential" else statistics.median
        total = {field: over_turns([getattr(one, field) for one in took[name]]) for field in Took._fields}
        found["sides"][name] = total | {"new_tokens": sum(len(new) for _, new in said[name].values())}
        gaps = [difference(loaded.model, said["ours"], said[name], index) for index in range(len(items))]
        found["gaps"][name] = [gap for gap in gaps if gap is not None]
    return found


def main(runs: int, *data: str) -> None:
    """Measure both workloads."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    loaded = load_model(str(smollm2_dir()), "float32", tool_format="button")
    work = [(TASKS[name], TASKS[name].load(data, count).items) for name, count in ITEMS.items()]
    for side in SIDES.values():
        side(loaded, Talk(work[-1][0], work[-1][1][:1]))  # the first call of each pays for what is loaded late
    print(json.dumps({task.name: measured(loaded, task, items, runs) for task, items in work}))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
