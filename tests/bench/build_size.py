"""python -m tests.bench.build_size ROWS WORDS key=value ...: builds ROWS dialogues of WORDS words with these fields of
the recipe; prints the seconds, those of its parts, and its own peak memory, in bytes, as JSON.

Importing torch and transformers takes most of a small build's memory. So a build of a few rows comes first, and the
peak counts from what is resident after it, the high-water mark being set back then. Buffers of a fixed size (a million
tokens being written, half a million remembered) are made smaller, so that the smaller build fills them too.
"""

from __future__ import annotations

import gc
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from data_prep import build as module
from data_prep import samples, tokens
from data_prep.duplicates import Duplicates
from data_prep.encode_rows import Encoding
from tests.data_prep.byte_encoder import byte_encoder, recipe_of

WARM_UP_ROWS = 1_000
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


def resident(field: str) -> int:
    """VmRSS or VmHWM (the most there was) of this process, in bytes."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def set_mark_back() -> bool:
    """Make VmHWM what is resident now; whether this system lets a process do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def made(folder: Path, rows: int, words: int, fields: dict[str, Any]) -> float:
    """Write the rows and build them; returns the build's seconds."""
    path = folder / f"{rows}.jsonl"
    said = " and".join([""] * words)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            turns = [
                {"role": "user", "content": f"{number}{said}?"},
                {"role": "assistant", "content": f"{number + 1}."},
            ]
            file.write(json.dumps({"id": f"chat-{number}", "messages": turns}) + "\n")
    recipe = recipe_of(path, **fields)
    encoder = byte_encoder()
    started = time.perf_counter()
    module.build(recipe, folder / f"{rows}", encoder, num_proc=1, quiet=True)
    return time.perf_counter() - started


def main(rows: int, words: int, fields: dict[str, Any]) -> None:
    """Build and print."""
    module.read_all = timed("reading, checking, deduplication", module.read_all)
    module.select = timed("splitting and mixing", module.select)
    module.pack = timed("packing", module.pack)
    module.write_split = timed("writing", module.write_split)
    Duplicates.find_or_add = timed("of it deduplication", Duplicates.find_or_add)  # type: ignore[method-assign]
    Encoding.run = timed("encoding", Encoding.run)  # type: ignore[method-assign]
    tokens.CACHED_TOKENS, samples.BATCH_TOKENS = 20_000, 50_000
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder), WARM_UP_ROWS, words, fields)
        SPENT.clear()
        gc.collect()
        before, exact = resident("VmRSS"), set_mark_back()
        seconds = made(Path(folder), rows, words, fields)
        most = resident("VmHWM") if exact else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {"rows": rows, "seconds": seconds, "parts": SPENT, "peak": most - before, "mark_set_back": exact}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), {key: yaml.safe_load(value) for key, _, value in
                                              (field.partition("=") for field in sys.argv[3:])})  # fmt: skip
