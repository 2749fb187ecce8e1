"""python -m tests.bench.encode_sides RUNS SOURCE FILE ...: one JSON object with the seconds of every side.

The sides of bench_encode.py, in a process of their own: thread counts are read when libraries are imported, and
tests/conftest.py sets them to 1. Sides take turns, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import psutil
import pyarrow as pa
from datasets import Dataset, Features, Json, Value
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

from data_prep.dialogue import Dialogue
from data_prep.encode import Encoder
from data_prep.fit import Fit, Fitted
from data_prep.quarantine import Quarantine, iter_dialogues
from data_prep.samples import labels_of
from data_prep.workers import Workers
from recipes.load import validate
from tests.assets import tokenizer_dir

logging.set_verbosity_error()
datasets.disable_progress_bars()
datasets.disable_caching()

CORES = len(os.sched_getaffinity(0))
CHUNK = 32  # dialogues a worker is given at once; a build gives 256, which would not share out so few evenly
Columns = list[pa.Array]


class Spent(NamedTuple):
    """Seconds of the wall clock, and of the CPU by this process and those it started."""

    wall: float
    cpu: float


def now() -> Spent:
    """What is spent so far."""
    me = psutil.Process()
    running = [process.cpu_times() for process in me.children(recursive=True)]
    return Spent(time.perf_counter(), sum(sum(times[:4]) for times in [me.cpu_times(), *running]))


def spent(work: Callable[[], Any]) -> Spent:
    """What one call costs."""
    before = now()
    work()
    return since(before)


def since(before: Spent) -> Spent:
    """What was spent meanwhile."""
    after = now()
    return Spent(after.wall - before.wall, after.cpu - before.cpu)


def ours(fit: Fit, dialogues: Sequence[Dialogue]) -> tuple[list[Columns], Spent]:
    """Columns, and the seconds from dialogues in memory to them by workers that are up but have seen none of them."""
    chunks = [list(dialogues[at : at + CHUNK]) for at in range(0, len(dialogues), CHUNK)]
    with Workers(CORES, pickle.dumps(fit.encode)) as workers:
        list(workers.map([[], []] * CORES))
        before = now()
        columns = [_columns(fitted) for fitted in workers.map(chunks)]
        return columns, since(before)


def _columns(fitted: Fitted) -> Columns:
    labels = labels_of(fitted.input_ids, fitted.kinds, fitted.lengths, ["thought", "call", "answer"])
    offsets = pa.array(np.concatenate([[0], np.cumsum(fitted.lengths)]).astype(np.int32))
    return [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (fitted.input_ids, fitted.kinds, labels)]


def trl(encoder: Encoder, dialogues: Sequence[Dialogue]) -> tuple[SFTTrainer, Dataset]:
    """TRL's trainer with a model of no size, and the rows as the chat template is given them."""
    pairs = [encoder.messages(dialogue) for dialogue in dialogues]
    rows = {
        "messages": [json.dumps(messages) for messages, _ in pairs],
        "tools": [json.dumps(tools) if tools else None for _, tools in pairs],
    }
    data = Dataset.from_dict(rows).cast(Features({"messages": Json(), "tools": Value("string")}))
    config = Qwen2Config(
        vocab_size=len(encoder.tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    arguments = SFTConfig(
        output_dir="none", assistant_only_loss=True, max_length=None, packing=False,
        report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
    )  # fmt: skip
    first = data.select([0])
    trainer = SFTTrainer(
        Qwen2ForCausalLM(config), args=arguments, train_dataset=first, processing_class=encoder.tokenizer
    )
    return trainer, data


def differences(
    encoder: Encoder, theirs: Dataset, columns: list[Columns]
) -> tuple[dict[str, int], Iterator[tuple[str, int]]]:
    """Token counts of both sides, and what the tokens that only one of them trains are."""
    ids = [row.as_py() for column in columns for row in column[0]]
    labels = [row.as_py() for column in columns for row in column[2]]
    only: Counter[str] = Counter()
    counts: Counter[str] = Counter(rows=len(ids), same_ids=0, trained_by_both=0, trained=0)
    for row, (our_ids, our_labels) in zip(theirs, zip(ids, labels, strict=True), strict=True):
        counts["same_ids"] += row["input_ids"] == our_ids
        counts["trained"] += sum(label != -100 for label in our_labels)
        for at, (a, b) in enumerate(zip(row["labels"], our_labels, strict=False)):
            if (a == -100) == (b == -100):
                counts["trained_by_both"] += a != -100
            else:
                before = encoder.tokenizer.decode(our_ids[max(0, at - 1) : at])
                token = encoder.tokenizer.decode([our_ids[at]])
                only[f"{'ours' if a == -100 else 'TRL'} alone trains {token!r} behind {before!r}"] += 1
    return dict(counts), iter(only.most_common(6))


def main(runs: int, source: str, files: Sequence[str]) -> None:
    """Measure all sides in turn, `runs` times."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir("qwen2_5"))
    encoder = Encoder(tokenizer)
    dialogues = list(iter_dialogues(source, files, Quarantine(None)))
    fields = {"name": "bench", "model_name_or_path": "none", "max_length": 100_000, "learning_rate": 1e-4,
              "output_dir": "none", "held_out_share": 0,
              "train_data": [{"source": "messages", "path": ["none"]}]}  # fmt: skip
    fit = Fit(validate(fields, "bench"), Encoder(tokenizer))  # one that has seen none of the dialogues
    kept = {at for at, result in enumerate(encoder.encode_batch(dialogues)) if isinstance(result, list)}
    refused = len(dialogues) - len(kept)
    dialogues = [dialogue for at, dialogue in enumerate(dialogues) if at in kept]
    texts = [encoder.template.finished(*encoder.messages(dialogue)) for dialogue in dialogues]
    backend = tokenizer.backend_tokenizer
    trainer, data = trl(encoder, dialogues)

    few = data.select(range(2))

    def prepare(rows: Dataset, processes: int | None) -> Dataset:
        trainer.args.dataset_num_proc = processes
        return trainer._prepare_dataset(rows, tokenizer, trainer.args, False, None, "train")

    def prepared(processes: int | None) -> Spent:
        """What TRL spends but for its start, which more rows would not lengthen: it hashes a tokenizer, say."""
        whole, start = spent(lambda: prepare(data, processes)), spent(lambda: prepare(few, processes))
        return Spent(whole.wall - start.wall, whole.cpu - start.cpu)

    def tokenize() -> list[list[int]]:
        return [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]

    columns, _ = ours(fit, dialogues)
    counts, only = differences(encoder, prepare(data, None), columns)
    tokens = sum(len(column[0].values) for column in columns)
    times: dict[str, list[Spent]] = {"ours": [], "bare": [], "trl": [], "trl_procs": []}
    for _ in range(runs):
        times["ours"].append(ours(fit, dialogues)[1])
        times["bare"].append(spent(tokenize))
        times["trl"].append(prepared(None))
        times["trl_procs"].append(prepared(CORES))
    result = {
        "cores": CORES, "dialogues": len(dialogues), "refused": refused, "tokens": tokens, "counts": counts,
        "only": dict(only), "seconds": {side: statistics.median(one.wall for one in of) for side, of in times.items()},
        "cpu": {side: statistics.median(one.cpu for one in of) for side, of in times.items()},
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
