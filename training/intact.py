"""What a folder's files were when it was complete, so that a cut or changed one is noticed before it is read.

"files": {"model.safetensors": {"bytes": 538090408, "xxh3": "9f2c..."}, ...}      in the folder's manifest.json
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xxhash

BLOCK_BYTES = 1 << 24
# Written again after the folder is complete: a later evaluation puts its scores into the model card.
UNHASHED = ("manifest.json", "README.md")

Fingerprint = dict[str, Any]  # {"bytes": int, "xxh3": str}


def fingerprints(folder: Path) -> dict[str, Fingerprint]:
    """Size and hash of every file in the folder but UNHASHED, by path relative to it; each is on the disk by then.

    xxh3 is no defence against forgery; it finds what disks and copies do, at the speed the files can be read.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in UNHASHED]
    with ThreadPoolExecutor(max_workers=8) as pool:  # the hash lets go of Python's lock
        found = list(pool.map(_fingerprint, paths))
    return {path.relative_to(folder).as_posix(): one for path, one in zip(paths, found, strict=True)}


def damage(folder: Path, expected: Mapping[str, Fingerprint]) -> str | None:
    """What is wrong with the first file that is not as `expected`; None where all are. Extra files are no damage."""
    present = {name: folder / name for name in expected if (folder / name).is_file()}
    for name, was in expected.items():
        if name not in present:
            return f"{name} is missing"
        size = present[name].stat().st_size
        if size != was["bytes"]:
            return f"{name} has {size:,} bytes, it was saved with {was['bytes']:,}"
    with ThreadPoolExecutor(max_workers=8) as pool:
        hashes = dict(zip(present, pool.map(_hash, present.values()), strict=True))
    changed = next((name for name, was in expected.items() if hashes[name] != was["xxh3"]), None)
    return None if changed is None else f"{changed} has other contents than were saved"


def _fingerprint(path: Path) -> Fingerprint:
    with path.open("rb") as file:
        os.fsync(file.fileno())  # older checkpoints go once this one is complete; it must outlive a power failure
    return {"bytes": path.stat().st_size, "xxh3": _hash(path)}


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
