"""accelerate launch ... tests/bench/peak_memory.py OUT.json RECIPE.yaml [key=value ...]: train.py, its peak measured.

Writes OUT.json.RANK for each process: {"level": bytes before the model is loaded, "peak": the most afterwards}. Both
are the kernel's: VmRSS, and VmHWM after it was set back. Freed memory is given back first, so the level holds none.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import train


def status(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> int:
    out, arguments = f"{sys.argv[1]}.{os.environ.get('RANK', '0')}", sys.argv[2:]
    load_model, levels = train.load_model, []

    def measured(*given: Any) -> Any:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
        levels.append(status("VmRSS"))
        return load_model(*given)

    train.load_model = measured
    failed = train.main(arguments)
    if failed:
        return failed
    Path(out).write_text(json.dumps({"level": levels[0], "peak": status("VmHWM")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
