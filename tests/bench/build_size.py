"""python -m tests.bench.build_size ROWS: builds so many small dialogues; prints seconds and peak memory as JSON."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep import build as module
from data_prep.duplicates import Duplicates
from data_prep.encode_rows import Encoding
from tests.data_prep.byte_encoder import byte_encoder, recipe_of

SPENT: Counter[str] = Counter()


def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, its wall time added to SPENT."""

    def measured(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            SPENT[part] += time.perf_counter() - started

    return measured


def main(rows: int) -> None:
    """Build and print."""
    module.read_all = timed("reading, checking, deduplication", module.read_all)
    module.pack = timed("packing", module.pack)
    module.write_split = timed("writing", module.write_split)
    Duplicates.find_or_add = timed("of it deduplication", Duplicates.find_or_add)  # type: ignore[method-assign]
    Encoding.run = timed("encoding", Encoding.run)  # type: ignore[method-assign]
    encoder = byte_encoder()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for number in range(rows):
                turns = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": f"{number + 1}."}]
                file.write(json.dumps({"id": f"chat-{number}", "messages": turns}) + "\n")
        recipe = recipe_of(path, deduplicate="exact", held_out_share=0.01)
        started = time.perf_counter()
        module.build(recipe, Path(folder) / "out", encoder, num_proc=1, quiet=True)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "parts": SPENT, "peak": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
