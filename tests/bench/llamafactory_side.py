"""PYTHON llamafactory_side.py TOKENIZER_DIR ROWS_DIR RUNS PROCESSES: LLaMA-Factory's own preparation, timed.

Run by bench_encode.py under the Python of $LLAMAFACTORY_PYTHON, since LLaMA-Factory asks for other versions than this
project pins. ROWS_DIR holds rows.json (`export --format llamafactory`) and dataset_info.json. Prints one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

from datasets import disable_caching, disable_progress_bars
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.loader import _get_merged_dataset, _get_preprocessed_dataset
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import AutoTokenizer, Seq2SeqTrainingArguments

disable_caching()
disable_progress_bars()


def main(tokenizer_dir: str, rows_dir: str, runs: int, processes: int) -> dict[str, Any]:
    """Seconds of every run, but for the start (two rows), and the tokens they gave."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    data_args = DataArguments(
        template="qwen", dataset="rows", dataset_dir=rows_dir, cutoff_len=100_000, overwrite_cache=True,
        preprocessing_num_workers=processes,
    )  # fmt: skip
    data_args.dataset = ["rows"]
    training = Seq2SeqTrainingArguments(output_dir="none", report_to="none", use_cpu=True, log_level="error")
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    rows = _get_merged_dataset(["rows"], ModelArguments(model_name_or_path=tokenizer_dir), data_args, training, "sft")

    def prepare(some: Any) -> tuple[float, Any]:
        started = time.perf_counter()
        made = _get_preprocessed_dataset(some, data_args, training, "sft", template, tokenizer, None)
        return time.perf_counter() - started, made

    seconds = []
    for _ in range(runs):
        whole, made = prepare(rows)
        start, _ = prepare(rows.select(range(2)))
        seconds.append(whole - start)
    ids = made["input_ids"]
    trained = sum(label != -100 for labels in made["labels"] for label in labels)
    return {"seconds": seconds, "rows": len(ids), "tokens": sum(map(len, ids)), "trained": trained}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(result))
